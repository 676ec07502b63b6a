"""The plan of a comparison: everything that is settled before the first trial."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from lossary.workbench.data import Dataset
from lossary.workbench.metric import Metric, offends
from lossary.workbench.metrics import get_metric
from lossary.workbench.models import Model
from lossary.workbench.splits import Split, digest, repeated_splits
from lossary.workbench.statistics import ROPE_SHARE
from lossary.workbench.trial import INNER_FOLDS, Arm, Experiment

# Reported beside the chosen metric, where the target allows it.
OTHERS = {
    "regression": ("rmse", "mae", "mape", "rmsle", "r2", "bias"),
    "binary": ("log_loss", "brier", "accuracy", "f1", "auc"),
    "multiclass": ("log_loss", "brier", "accuracy"),
}
LIBRARIES = ("numpy", "scikit-learn", "lightgbm")


@dataclass(frozen=True)
class Plan:
    """What is compared, on what, and how; see `lossary.compare` for the fields."""

    data: Dataset
    metric: Metric
    model: Model
    arms: tuple[Arm, ...]
    control: Arm
    folds: int
    repeats: int
    seed: int
    rope: float | None

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The splits that every loss is trained on."""
        return repeated_splits(
            self.data.y,
            folds=self.folds,
            repeats=self.repeats,
            seed=self.seed,
            stratify=self.stratify,
        )

    @property
    def stratify(self) -> bool:
        """Whether the target is classes, of which every part gets its share."""
        return self.data.task != "regression"

    @property
    def fixed(self) -> dict[str, Any]:
        """What trials must agree in to belong to one study."""
        return {
            "data": self.data.sha256,
            "model": str(self.model),
            "metric": self.metric.name,
            "folds": self.folds,
            "seed": self.seed,
            "lossary": version("lossary"),
            **self.versions,
        }

    @property
    def asked(self) -> dict[str, Any]:
        """What may change while the trials stay as they are."""
        return {
            "data": self.data.name,
            "target": self.data.target,
            "losses": [arm.name for arm in self.arms],
            "control": self.control.name,
            "repeats": self.repeats,
            "rope": self.rope,
        }

    @property
    def versions(self) -> dict[str, str]:
        """The libraries whose release the numbers depend on."""
        return {name: version(name) for name in LIBRARIES}

    @cached_property
    def experiment(self) -> Experiment:
        """What all trials share."""
        return Experiment(
            X=self.data.X,
            y=self.data.y,
            w=self.data.weight,
            model=self.model,
            metric=self.metric,
            others=tuple(self._others()),
            identity=json.dumps(self.fixed, sort_keys=True),
            stratify=self.stratify,
        )

    def _others(self) -> list[Metric]:
        beside = [get_metric(name) for name in OTHERS[self.data.task]]
        y = self.data.y
        return [
            metric
            for metric in beside
            # A multiclass target is checked against the classes of the prediction.
            if metric != self.metric
            and (self.data.task == "multiclass" or not offends(metric.y_kind, y).any())
        ]

    @property
    def protocol(self) -> dict[str, Any]:
        """Say how it was compared, for the reader of a report."""
        kind = "repeated stratified K-fold" if self.stratify else "repeated K-fold"
        share = f"{100 * ROPE_SHARE:g} % of the control's {self.metric.name}"
        return {
            "splitter": kind,
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "splits": digest(self.splits),
            "region_of_equivalence": share if self.rope is None else "as given",
            "intervals": "the wider of two: folds with the Nadeau–Bengio correction, "
            "and paired rows; p-values after Holm",
            "tuning": "none: every loss is trained with the same settings, from its "
            "own best constant and with gradients brought to one scale",
            "transforms": "fitted inside each training part, on predictions out of "
            f"{INNER_FOLDS} inner folds where the part's own would flatter",
            "estimand": "the average over training sets of this size, not one fitted "
            "model",
            "limits": "one data set; rows are taken to be independent, and new data to "
            "be like these",
            "versions": {"lossary": version("lossary"), **self.versions},
        }

    def reproduce(self) -> dict[str, str]:
        """Say how to get the same numbers, as a command and in Python."""
        others = [_source(arm) for arm in self.arms if arm is not self.control]
        return {"command": self._command(others), "python": self._python(others)}

    def _command(self, others: list[str]) -> str:
        known = all([self.data.source, _source(self.control), *others])
        if not known:  # objects of a session have no name on a command line
            return ""
        words = ["lossary", "compare", self.data.source]
        if self.data.target:
            words += ["--target", self.data.target]
        words += ["--metric", self.metric.name, "--model", str(self.model)]
        for loss in others:
            words += ["--loss", loss]
        words += ["--control", _source(self.control)]
        for name in ("folds", "repeats", "seed"):
            words += [f"--{name}", str(getattr(self, name))]
        if self.rope is not None:
            words += ["--rope", repr(self.rope)]
        return shlex.join(words)

    def _python(self, others: list[str]) -> str:
        data = repr(self.data.source) if self.data.source else "X, y"
        named = ", ".join(
            repr(source) if source else arm.loss.name
            for arm in self.arms
            for source in [_source(arm)]
            if arm is not self.control
        )
        lines = [
            "import lossary as ls",
            "",
            "study = ls.compare(",
            f"    {data},",
            f"    metric={self.metric.name!r},",
            f"    model={str(self.model)!r},",
            f"    losses=[{named}],",
            f"    control={_source(self.control) or self.control.loss.name!r},",
            f"    folds={self.folds}, repeats={self.repeats}, seed={self.seed},",
            ")",
        ]
        return "\n".join(lines)


def _source(arm: Arm) -> str:
    """Name a loss and its transform the way they can be asked for again."""
    end = arm.name.removeprefix(repr(arm.loss))
    return f"{arm.source}{end}" if arm.source else ""
