"""The score to beat: the best constant prediction, fitted on each training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import LossaryError
from lossary.workbench.metric import Metric
from lossary.workbench.scores import Array
from lossary.workbench.splits import Split

LEVELS = 200  # constants that are tried, at quantiles of the target


def baseline(
    metric: Metric,
    y: NDArray[Any],
    w: Array | None,
    splits: Sequence[Split],
    n_classes: int | None = None,
) -> float | None:
    """Score the best constant prediction under a metric, averaged over the splits.

    Parameters
    ----------
    metric : Metric
    y, w : array, shape (n,)
        Targets (class codes for classes) and weights.
    splits : sequence of Split
    n_classes : int, optional
        None for a target of numbers.

    Returns
    -------
    float or None
        None where the metric is not defined for a constant.

    Examples
    --------
    >>> from lossary.workbench.metrics import get_metric
    >>> from lossary.workbench.splits import repeated_splits
    >>> y = np.array([0, 1, 0, 0, 0, 1, 0, 0])
    >>> splits = repeated_splits(y, folds=2, repeats=1, stratify=True)
    >>> baseline(get_metric("accuracy"), y, None, splits, n_classes=2)
    0.75
    """
    weights = np.ones(len(y)) if w is None else w
    found = []
    for split in splits:
        train, test = split.train, split.test
        best, score = None, -np.inf
        for constant in _constants(metric, y[train], weights[train], n_classes):
            value = _score(metric, y[train], constant, weights[train])
            if value is not None and _goodness(metric, value) > score:
                best, score = constant, _goodness(metric, value)
        value = None if best is None else _score(metric, y[test], best, weights[test])
        if value is None:
            return None
        found.append(value)
    return float(np.mean(found))


def _constants(
    metric: Metric, y: NDArray[Any], w: Array, n_classes: int | None
) -> Iterator[Array | np.float64]:
    """Give the constants worth trying for a metric."""
    if n_classes is None:
        yield np.average(y, weights=w)
        yield from np.unique(np.quantile(y, np.linspace(0, 1, LEVELS + 1)))
    elif metric.prediction == "label":
        yield from map(np.float64, range(n_classes))
    else:
        shares = np.bincount(y.astype(np.intp), w, n_classes) / w.sum()
        yield shares[1] if n_classes == 2 else shares


def _score(
    metric: Metric, y: NDArray[Any], constant: Array | np.float64, w: Array
) -> float | None:
    p = np.broadcast_to(constant, (len(y), *np.shape(constant)))
    try:
        return metric.value(y, p, w)
    except LossaryError:
        return None


def _goodness(metric: Metric, value: float) -> float:
    return value if metric.greater_is_better else -value
