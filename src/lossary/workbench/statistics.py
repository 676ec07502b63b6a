"""Comparing a candidate loss with a control on the same folds of the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DomainError, ParameterError, ShapeError
from lossary.workbench.comparison import Comparison, Verdict
from lossary.workbench.inference import (
    Estimate,
    Fold,
    corrected_t,
    holm,
    row_bootstrap,
    row_t,
)
from lossary.workbench.metric import Metric
from lossary.workbench.metrics import get_metric
from lossary.workbench.scores import Array

__all__ = [
    "Comparison",
    "Estimate",
    "Fold",
    "Verdict",
    "corrected_t",
    "fold_scores",
    "holm",
    "paired_comparison",
    "row_bootstrap",
    "row_t",
    "with_holm",
]

ROPE_SHARE = 0.01  # default region: this share of the control's metric


def fold_scores(
    metric: str | Metric,
    y: ArrayLike,
    predictions: ArrayLike,
    folds: Iterable[tuple[int, ArrayLike]],
    sample_weight: ArrayLike | None = None,
) -> Array:
    """Score out-of-fold predictions fold by fold.

    Parameters
    ----------
    metric : str or Metric
    y : array-like, shape (n,)
    predictions : array-like, shape (repeats, n) or (repeats, n, classes)
        On the scale that the metric asks for, transforms applied.
    folds : iterable of (repeat, rows)
        The rows that were held out together, and the repeat they belong to.
    sample_weight : array-like, shape (n,), optional

    Raises
    ------
    DomainError
        A value outside the metric's domain (rows named), or a fold on which the
        metric is undefined.

    Examples
    --------
    >>> fold_scores("mae", [1, 2, 3, 4], [[1, 3, 3, 6]], [(0, [0, 1]), (0, [2, 3])])
    array([0.5, 1. ])
    """
    metric = get_metric(metric)
    y, p = np.asarray(y), np.asarray(predictions)
    if p.ndim < 2 or p.shape[1] != len(y):
        raise ShapeError(
            f"predictions have shape {p.shape} and y has {len(y)} rows; "
            "predictions are (repeats, rows)"
        )
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    found = []
    for i, (repeat, held_out) in enumerate(folds):
        rows = np.asarray(held_out, dtype=np.intp)
        inside = np.zeros(len(y))
        inside[rows] = w[rows]
        try:  # all rows are passed, so that an error names rows of the data set
            found.append(metric.value(y, p[repeat], inside))
        except DomainError as error:
            raise DomainError(f"in fold {i}: {error}") from None
    return np.array(found)


def paired_comparison(
    metric: str | Metric,
    y: ArrayLike,
    candidate: ArrayLike,
    control: ArrayLike,
    folds: Sequence[tuple[int, ArrayLike]],
    *,
    sample_weight: ArrayLike | None = None,
    rope: float | None = None,
    level: float = 0.95,
    names: tuple[str, str] = ("candidate", "control"),
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two sets of out-of-fold predictions that were made on the same folds.

    Parameters
    ----------
    metric, y, folds, sample_weight
        As in `fold_scores`.
    candidate, control : array-like, shape (repeats, n) or (repeats, n, classes)
        Out-of-fold predictions of the two losses.
    rope : float, optional
        Differences up to this size count as none, in the metric's unit (0.01 of
        MAPE is one percentage point). Default: 1 % of the control's metric.
    level : float, default 0.95
    names : pair of str
        What to call the two in sentences.
    resamples, seed : int
        Of the bootstrap of rows, which metrics that are no mean of rows need.

    Raises
    ------
    DataError
        Fewer than two folds.
    DomainError
        Predictions that are NaN or outside the metric's domain (rows named).

    Examples
    --------
    >>> y = [1.0, 2.0, 3.0, 4.0]
    >>> folds = [(0, [0, 1]), (0, [2, 3])]
    >>> str(paired_comparison("mae", y, [y], [y], folds).verdict)
    'EQUIVALENT'
    """
    metric = get_metric(metric)
    if metric.greater_is_better is None:
        raise ParameterError(
            f"metric {metric.name} has no better direction; compare by another one"
        )
    y = np.asarray(y, dtype=np.float64)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    new, old = (np.asarray(p, dtype=np.float64) for p in (candidate, control))
    new_scores = fold_scores(metric, y, new, folds, w)
    old_scores = fold_scores(metric, y, old, folds, w)
    weighed = [Fold(r, _weighed(rows, w)) for r, rows in folds]
    ratio = float(
        np.mean([len(f.rows) / ((w > 0).sum() - len(f.rows)) for f in weighed])
    )
    differences = new_scores - old_scores
    corrected = corrected_t(differences, ratio, level)
    if metric.per_row is None:
        rows = row_bootstrap(
            metric, y, new, old, weighed, w, level=level, resamples=resamples, seed=seed
        )
    else:
        rows = row_t(*_row_differences(metric, y, new, old, weighed, w), level)
    control_score = float(old_scores.mean())
    return Comparison(
        metric=metric,
        candidate=names[0],
        control=names[1],
        candidate_score=float(new_scores.mean()),
        control_score=control_score,
        fold_differences=tuple(differences.tolist()),
        corrected=corrected,
        rows=rows,
        test_to_train=ratio,
        n_rows=int((w > 0).sum()),
        rope=_rope(rope, control_score),
        level=level,
    )


def with_holm(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Fill `p_holm` of candidates that were compared with one control.

    A verdict of BETTER or WORSE that does not survive becomes LIKELY.
    """
    listed = tuple(comparisons)
    adjusted = holm([c.p for c in listed])
    return tuple(
        replace(c, p_holm=float(p)) for c, p in zip(listed, adjusted, strict=True)
    )


def _weighed(rows: ArrayLike, w: Array) -> NDArray[np.intp]:
    index = np.asarray(rows, dtype=np.intp)
    return index[w[index] > 0]


def _row_differences(
    metric: Metric,
    y: Array,
    candidate: Array,
    control: Array,
    folds: Sequence[Fold],
    w: Array,
) -> tuple[Array, Array]:
    """Average each row's difference over the repeats that held it out."""
    assert metric.per_row is not None
    total, count = np.zeros(len(y)), np.zeros(len(y))
    for r, rows in folds:
        total[rows] += metric.per_row(y[rows], candidate[r, rows])
        total[rows] -= metric.per_row(y[rows], control[r, rows])
        count[rows] += 1
    seen = np.flatnonzero(count)
    return total[seen] / count[seen], w[seen]


def _rope(rope: float | None, control_score: float) -> float:
    if rope is None:
        return ROPE_SHARE * abs(control_score)
    if not (math.isfinite(rope) and rope >= 0):
        raise ParameterError(f"rope must be a number >= 0; got {rope}")
    return float(rope)
