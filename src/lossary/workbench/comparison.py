"""The record of a comparison of two losses, its verdict and its sentence.

The verdict rests on the wider of two intervals (see `lossary.workbench.inference`)
and on a region of practical equivalence: a difference that nobody would notice is
not a difference, however sure it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from lossary.workbench.inference import Estimate, student_quantile
from lossary.workbench.metric import Metric

SURE = 0.95  # posterior share inside the region that makes two losses equivalent
LIKELY = 0.90  # posterior share beyond the region that makes one likely better


class Verdict(StrEnum):
    """The words that a comparison ends in."""

    BETTER = "BETTER"
    LIKELY_BETTER = "LIKELY BETTER"
    EQUIVALENT = "EQUIVALENT"
    INCONCLUSIVE = "INCONCLUSIVE"
    LIKELY_WORSE = "LIKELY WORSE"
    WORSE = "WORSE"


@dataclass(frozen=True)
class Comparison:
    """A candidate loss against a control under one metric.

    Differences are candidate - control in the metric's own unit; `improvement` is
    the same with the direction handled, so that positive means better.

    Attributes
    ----------
    candidate_score, control_score : float
        Means over folds.
    corrected, rows : Estimate
        The two estimates of the difference.
    fold_differences : tuple of float
    rope : float
        Differences up to this size count as none.
    p_holm : float or None
        Filled by `with_holm` when there are several candidates.
    """

    metric: Metric
    candidate: str
    control: str
    candidate_score: float
    control_score: float
    fold_differences: tuple[float, ...]
    corrected: Estimate
    rows: Estimate
    test_to_train: float
    n_rows: int
    rope: float
    level: float = 0.95
    p_holm: float | None = None

    @property
    def difference(self) -> float:
        """Candidate minus control, mean over folds."""
        return self.corrected.mean

    @property
    def improvement(self) -> float:
        """The difference, positive where the candidate is better."""
        return self.difference if self.metric.greater_is_better else -self.difference

    @property
    def headline(self) -> Estimate:
        """The more doubtful of the two estimates: the one to believe."""
        return max(self.corrected, self.rows, key=lambda e: e.width)

    @property
    def improvement_interval(self) -> tuple[float, float]:
        """The headline interval, positive where the candidate is better."""
        low, high = self.headline.low, self.headline.high
        return (low, high) if self.metric.greater_is_better else (-high, -low)

    @property
    def p(self) -> float:
        """The two-sided p-value of the headline estimate."""
        return self.headline.p_value

    @property
    def probabilities(self) -> tuple[float, float, float]:
        """The posterior of: worse, equivalent, better."""
        below, inside, above = self.headline.within(self.rope)
        if self.metric.greater_is_better:
            return below, inside, above
        return above, inside, below

    @property
    def verdict(self) -> Verdict:
        """The word for it.

        BETTER and WORSE: the headline interval lies beyond the region, and Holm's
        p-value, where there is one, agrees. EQUIVALENT: 95 % of the posterior lies
        inside the region. LIKELY: 90 % lies beyond it on one side.
        """
        low, high = self.improvement_interval
        worse, inside, better = self.probabilities
        agreed = self.p_holm is None or self.p_holm <= 1 - self.level
        if agreed and low > self.rope:
            return Verdict.BETTER
        if agreed and high < -self.rope:
            return Verdict.WORSE
        if inside >= SURE:
            return Verdict.EQUIVALENT
        if better >= LIKELY:
            return Verdict.LIKELY_BETTER
        if worse >= LIKELY:
            return Verdict.LIKELY_WORSE
        return Verdict.INCONCLUSIVE

    @property
    def remedy(self) -> str:
        """Say what would resolve an inconclusive comparison; else nothing."""
        if self.verdict is not Verdict.INCONCLUSIVE:
            return ""
        if self.rope == 0:
            return "a region of practical equivalence above 0 would help to decide"
        repeats = self._folds_needed()
        if repeats is not None:
            return f"about {repeats} folds in all would resolve it"
        # The half-width shrinks with the root of the rows: n' = n (half / rope)².
        times = (self.headline.width / 2 / self.rope) ** 2
        if times <= 1:
            return "the difference lies at the edge of what counts as one"
        if times > 1000:
            return "more than 1000 times as many rows would be needed to resolve it"
        rows = float(f"{times * self.n_rows:.2g}")
        more = _few_digits(times)
        return f"about {rows:,.0f} rows ({more} times as many) would resolve it"

    def _folds_needed(self) -> int | None:
        """Count the folds that bring the interval inside the region, if any can."""
        if self.rows.width / 2 > self.rope or self.corrected.width / 2 <= self.rope:
            return None
        quantile = student_quantile(self.corrected.df, (1 + self.level) / 2)
        variance = float(np.var(self.fold_differences, ddof=1))
        # The part that more repeats cannot remove is the shared training rows.
        room = (self.rope / quantile) ** 2 / variance - self.test_to_train
        now = len(self.fold_differences)
        return math.ceil(1 / room) if room > 0 and now < 1 / room < 20 * now else None

    @property
    def sentence(self) -> str:
        """Say it in words: verdict, effect, interval, region and p-value together."""
        show = self.metric.show
        before, after = show(self.control_score), show(self.candidate_score)
        size = show(abs(self.difference), difference=True)
        if self.difference == 0:
            effect = f"leaves {self.metric.title} at {before}"
        else:
            verb = "lowers" if self.difference < 0 else "raises"
            effect = f"{verb} {self.metric.title} from {before} to {after}, by {size}"
        low, high = (self._side(x) for x in (self.headline.low, self.headline.high))
        p = self.p if self.p_holm is None else self.p_holm
        chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        parts = (
            f"{100 * self.level:g} % interval {low} to {high}",
            f"up to {show(self.rope, difference=True)} counts as none",
            chance + ("" if self.p_holm is None else " after Holm"),
            *([self.remedy] if self.remedy else []),
        )
        against = f"{self.candidate} against {self.control}"
        return f"{self.verdict}: {against} {effect} ({'; '.join(parts)})."

    def _side(self, difference: float) -> str:
        shown = self.metric.show(abs(difference), difference=True)
        return (
            f"{shown} {'lower' if difference < 0 else 'higher'}" if difference else "0"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and text, ready for JSON."""
        worse, inside, better = self.probabilities
        return {
            "metric": self.metric.name,
            "candidate": self.candidate,
            "control": self.control,
            "candidate_score": self.candidate_score,
            "control_score": self.control_score,
            "difference": self.difference,
            "improvement": self.improvement,
            "interval_corrected": [self.corrected.low, self.corrected.high],
            "interval_rows": [self.rows.low, self.rows.high],
            "interval": [self.headline.low, self.headline.high],
            "p": self.p,
            "p_corrected": self.corrected.p_value,
            "p_holm": self.p_holm,
            "p_better": better,
            "p_equivalent": inside,
            "p_worse": worse,
            "rope": self.rope,
            "level": self.level,
            "n_rows": self.n_rows,
            "n_folds": len(self.fold_differences),
            "verdict": str(self.verdict),
            "sentence": self.sentence,
        }


def _few_digits(x: float) -> str:
    """Write a factor as a person would: 1.6, 12, 110."""
    return f"{x:.1f}" if x < 10 else f"{float(f'{x:.2g}'):,.0f}"
