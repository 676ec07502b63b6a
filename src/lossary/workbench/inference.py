"""How sure a paired difference is: two estimates of its error, and Holm's step-down.

Folds of repeated cross-validation share training rows, so their differences are
not independent and a plain paired t-test rejects a true null half of the time. It
is not offered. The two estimates here look at the two sources of luck: which rows
were trained on (`corrected_t`) and which rows were scored (`row_t`,
`row_bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DataError, DomainError, ParameterError, some_rows
from lossary.workbench.metric import Metric
from lossary.workbench.scores import Array

_CHUNK = 4_000_000  # cells of one block of resamples: 32 MB


class Fold(NamedTuple):
    """One test part: the repeat it belongs to and the rows that were held out."""

    repeat: int
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class Estimate:
    """A difference and how sure it is: a Student t of `df`, shifted and scaled.

    Attributes
    ----------
    mean, standard_error, df : float
    low, high : float
        The interval of the level that was asked for.
    method : str
        What the error was estimated from.
    """

    mean: float
    standard_error: float
    df: float
    low: float
    high: float
    method: str

    @property
    def width(self) -> float:
        """The length of the interval."""
        return self.high - self.low

    @property
    def p_value(self) -> float:
        """The two-sided p-value of no difference at all."""
        if self.standard_error == 0:
            return float(self.mean == 0)
        return 2 * _student_cdf(self.df, -abs(self.mean) / self.standard_error)

    def below(self, x: float) -> float:
        """Give the posterior probability that the true difference is below `x`.

        With `corrected_t` this is the Bayesian correlated t-test under its usual
        flat prior: ρ/(1-ρ) for the test share ρ is n_test/n_train.

        References
        ----------
        Corani and Benavoli (2015), A Bayesian approach for comparing
        cross-validated algorithms on multiple data sets, Machine Learning 100.
        """
        if self.standard_error == 0:
            return float(self.mean < x)
        return _student_cdf(self.df, (x - self.mean) / self.standard_error)

    def within(self, rope: float) -> tuple[float, float, float]:
        """Split the posterior at ``±rope``: below, inside, above."""
        if self.standard_error == 0:
            side = 1 + int(math.copysign(abs(self.mean) > rope, self.mean))
            return (float(side == 0), float(side == 1), float(side == 2))
        below, above = self.below(-rope), 1 - self.below(rope)
        return below, max(0.0, 1 - below - above), above


def corrected_t(
    differences: ArrayLike, test_to_train: float, level: float = 0.95
) -> Estimate:
    """Estimate a mean difference over folds, corrected for shared training rows.

    Parameters
    ----------
    differences : array-like, shape (folds,)
        Candidate minus control, one value a fold, over all repeats.
    test_to_train : float
        n_test / n_train; 1/(k - 1) for k folds.
    level : float, default 0.95

    Raises
    ------
    DataError
        Fewer than two folds, which have no spread to learn from.
    DomainError
        A difference that is NaN or infinite.

    References
    ----------
    Nadeau and Bengio (2003), Inference for the generalization error, Machine
    Learning 52.

    Examples
    --------
    >>> e = corrected_t([0.1, 0.3, 0.2, 0.4], test_to_train=1 / 3)
    >>> round(e.mean, 3), round(e.standard_error, 4), e.df
    (0.25, 0.0986, 3)
    """
    d = _finite(differences, "fold")
    if not (math.isfinite(test_to_train) and test_to_train > 0):
        raise ParameterError(f"test_to_train must be above 0; got {test_to_train}")
    se = math.sqrt(float(d.var(ddof=1)) * (1 / len(d) + test_to_train))
    return _student(float(d.mean()), se, len(d) - 1, level, "folds, corrected")


def row_t(
    differences: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Estimate a (weighted) mean of row differences, each averaged over repeats.

    It holds the fitted models as they are: the luck is in which rows were scored.

    Examples
    --------
    >>> round(row_t([1.0, 2.0, 3.0]).standard_error, 4)
    0.5774
    """
    d = _finite(differences, "row")
    w = np.ones(len(d)) if weights is None else np.asarray(weights, dtype=np.float64)
    mean = float(w @ d / w.sum())
    spread = math.sqrt(float((w**2) @ (d - mean) ** 2)) / float(w.sum())
    se = spread * math.sqrt(len(d) / (len(d) - 1))
    return _student(mean, se, len(d) - 1, level, "rows")


def row_bootstrap(
    metric: Metric,
    y: Array,
    candidate: Array,
    control: Array,
    folds: Sequence[Fold],
    weights: Array,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate a difference by resampling rows, for metrics that are no mean of rows.

    Each resample draws rows once and recomputes the metric of both losses, fold by
    fold, from the same draw. Folds that a draw leaves undefined are left out of it.
    Predictions have shape (repeats, n). The interval is the percentile interval.
    """
    _check_level(level)
    if resamples < 100:
        raise ParameterError(f"resamples must be at least 100; got {resamples}")
    rng = np.random.default_rng(seed)
    n = len(y)
    step = max(1, _CHUNK // n)
    blocks = []
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        drawn = rng.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        draw = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n) * weights
        d = np.array(
            [
                metric.resampled(y[rows], candidate[r, rows], draw[:, rows])
                - metric.resampled(y[rows], control[r, rows], draw[:, rows])
                for r, rows in folds
            ]
        )
        known = np.isfinite(d)
        count = known.sum(axis=0)
        blocks.append(np.where(known, d, 0).sum(axis=0)[count > 0] / count[count > 0])
    draws = np.concatenate(blocks)
    if len(draws) < resamples / 2:
        raise DataError(
            f"metric {metric.name} is undefined in most resamples of the rows: "
            f"it needs {metric.needs} in every fold; use fewer folds or more rows"
        )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    se = float(draws.std(ddof=1))
    return Estimate(
        float(draws.mean()), se, n - 1, float(low), float(high), "rows, bootstrap"
    )


def holm(p_values: ArrayLike) -> Array:
    """Adjust p-values for their number: Holm's step-down.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J.
    Statist. 6.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise DomainError(f"p-values lie between 0 and 1; got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def student_quantile(df: float, q: float) -> float:
    """Give the quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, q))


def _student_cdf(df: float, x: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(df, x))


def _student(mean: float, se: float, df: int, level: float, method: str) -> Estimate:
    _check_level(level)
    half = student_quantile(df, (1 + level) / 2) * se
    return Estimate(mean, se, df, mean - half, mean + half, method)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ParameterError(
            f"level must be between 0 and 1, such as 0.95; got {level}"
        )


def _finite(differences: ArrayLike, what: str) -> Array:
    d = np.asarray(differences, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(d))
    if len(bad):
        raise DomainError(
            f"a difference of scores is NaN or infinite in {what} "
            f"{some_rows(bad).split(' ', 1)[1]}; a loss that failed there cannot be "
            "compared"
        )
    if len(d) < 2:
        raise DataError(
            f"{len(d)} {what} has no spread to judge a difference by; "
            f"at least 2 {what}s are needed (5 folds, repeated 5 times, is usual)"
        )
    return d
