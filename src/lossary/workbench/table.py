"""The decision table: what each loss scored, and how it compares with the control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.workbench.scores import Array
from lossary.workbench.splits import Split
from lossary.workbench.statistics import (
    Comparison,
    corrected_t,
    paired_comparison,
    with_holm,
)
from lossary.workbench.transforms import labels
from lossary.workbench.trial import Arm, Experiment, Trial


@dataclass(frozen=True)
class Row:
    """One loss in the table.

    Attributes
    ----------
    loss : str
    mean : float or None
        Of the metric over folds; None when a fold failed.
    se_corrected : float or None
        The standard error of `mean`, corrected for shared training rows.
    per_fold : tuple of float or None
        In the order of the splits; None for a fold that failed.
    comparison : Comparison or None
        With the control; None for the control itself and after a failure.
    other_metrics : dict
        Metric → mean over folds; None where it is not defined for this loss.
    seconds : float
        Mean of a trial.
    failures : tuple of str
        What went wrong, each sentence once.
    tier, reason, transform : str
        Why it is a candidate, and what is done to its predictions.
    complexity : int
        0 for the control, 1 for a loss as it is, 2 where something is set or tuned.
    """

    loss: str
    mean: float | None
    se_corrected: float | None
    per_fold: tuple[float | None, ...]
    comparison: Comparison | None
    other_metrics: dict[str, float | None]
    seconds: float
    failures: tuple[str, ...]
    tier: str
    reason: str
    transform: str
    complexity: int

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and text, ready for JSON."""
        shallow = {k: v for k, v in vars(self).items() if k != "comparison"}
        comparison = self.comparison and self.comparison.to_dict()
        return shallow | {"comparison": comparison}


@dataclass(frozen=True)
class Results:
    """All trials of an experiment, by loss, in the order of the splits."""

    experiment: Experiment
    arms: tuple[Arm, ...]
    splits: tuple[Split, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    predictions: Mapping[str, tuple[Array | None, ...]]

    def complete(self, loss: str) -> bool:
        """Say whether no trial of a loss failed."""
        return all(not trial.failure for trial in self.trials[loss])

    def out_of_fold(self, loss: str) -> Array:
        """Give predictions by repeat and row; NaN where a trial failed."""
        return self._laid_out(self.predictions[loss])

    def as_scored(self, loss: str) -> Array:
        """Give out-of-fold predictions in the form that the metric takes."""
        if self.experiment.metric.prediction != "label":
            return self.out_of_fold(loss)
        pairs = zip(self.predictions[loss], self.trials[loss], strict=True)
        return self._laid_out(
            [None if p is None else labels(p, trial.threshold) for p, trial in pairs]
        )

    def _laid_out(self, parts: Sequence[Array | None]) -> Array:
        classes = next((p.shape[1:] for p in parts if p is not None), ())
        shape = (1 + self.splits[-1].repeat, len(self.experiment.y), *classes)
        laid = np.full(shape, np.nan)
        for split, p in zip(self.splits, parts, strict=True):
            if p is not None:
                laid[split.repeat, split.test] = p
        return laid

    def compare(self, loss: str, control: str, rope: float | None) -> Comparison:
        """Compare two losses that both went through."""
        return paired_comparison(
            self.experiment.metric,
            self.experiment.y,
            self.as_scored(loss),
            self.as_scored(control),
            [(s.repeat, s.test) for s in self.splits],
            sample_weight=self.experiment.w,
            rope=rope,
            names=(loss, control),
        )


def decision_table(
    results: Results, control: str, rope: float | None
) -> tuple[Row, ...]:
    """Make the table: a row per loss, best first, failed ones last."""
    compared = _comparisons(results, control, rope)
    metric = results.experiment.metric
    rows = [_row(results, arm, control, compared.get(arm.name)) for arm in results.arms]
    sign = -1 if metric.greater_is_better else 1
    return tuple(
        sorted(rows, key=lambda r: math.inf if r.mean is None else sign * r.mean)
    )


def _comparisons(
    results: Results, control: str, rope: float | None
) -> dict[str, Comparison]:
    through = [arm.name for arm in results.arms if results.complete(arm.name)]
    if control not in through:
        return {}
    others = [loss for loss in through if loss != control]
    compared = with_holm(results.compare(loss, control, rope) for loss in others)
    return dict(zip(others, compared, strict=True))


def _row(
    results: Results, arm: Arm, control: str, comparison: Comparison | None
) -> Row:
    trials = results.trials[arm.name]
    through = results.complete(arm.name)
    metric = results.experiment.metric
    per_fold = tuple(t.scores.get(metric.name) for t in trials)
    mean, error = _mean(per_fold, results.splits) if through else (None, None)
    return Row(
        loss=arm.name,
        mean=mean,
        se_corrected=error,
        per_fold=per_fold,
        comparison=comparison,
        other_metrics={
            m.name: _known_mean([t.scores.get(m.name) for t in trials])
            for m in results.experiment.others
        },
        seconds=float(np.mean([t.seconds for t in trials])),
        failures=tuple(dict.fromkeys(t.failure for t in trials if t.failure)),
        tier=arm.tier,
        reason=arm.reason,
        transform=arm.transform,
        complexity=0 if arm.name == control else 1 + arm.tuned,
    )


def _mean(
    scores: Sequence[float | None], splits: Sequence[Split]
) -> tuple[float, float]:
    """Average over folds, with the corrected standard error of the average."""
    ratio = float(np.mean([len(s.test) / len(s.train) for s in splits]))
    estimate = corrected_t(np.array(scores, dtype=np.float64), ratio)
    return estimate.mean, estimate.standard_error


def _known_mean(scores: Sequence[float | None]) -> float | None:
    known = [s for s in scores if s is not None]
    return float(np.mean(known)) if known and len(known) == len(scores) else None
