"""What metrics compute: scores of rows, and statistics over weighted rows.

A statistic takes weights of shape (b, n) and gives b values: the plain value, a
weighted value and thousands of bootstrap resamples are the same call, because a
resample is a row of weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = Callable[[Array, Array], Array]
Statistic = Callable[[Array, Array, Array], Array]


def squared(y: Array, p: Array) -> Array:
    """Square the error."""
    return (p - y) ** 2


def absolute(y: Array, p: Array) -> Array:
    """Take the size of the error."""
    return np.abs(p - y)


def absolute_percentage(y: Array, p: Array) -> Array:
    """Divide the size of the error by the size of the target."""
    return np.abs(p - y) / np.abs(y)


def squared_log(y: Array, p: Array) -> Array:
    """Square the difference of ``log(1 + ·)``."""
    return (np.log1p(p) - np.log1p(y)) ** 2


def pinball(y: Array, p: Array, alpha: float) -> Array:
    """Weigh under-prediction by `alpha` and over-prediction by ``1 - alpha``."""
    return np.where(y >= p, alpha * (y - p), (1 - alpha) * (p - y))


def tweedie(y: Array, p: Array, power: float) -> Array:
    """Compute the unit deviance of the Tweedie family (1 Poisson, 2 gamma)."""
    if power == 0:
        return squared(y, p)
    if power == 1:
        log_ratio = np.log(np.where(y > 0, y, p) / p)  # 0·log 0 = 0
        return 2 * (y * log_ratio - y + p)
    if power == 2:
        return 2 * (np.log(p / y) + y / p - 1)
    a, b = 1 - power, 2 - power
    top = np.maximum(y, 0.0) ** b / (a * b)
    return 2 * (top - y * p**a / a + p**b / b)


def log_loss(y: Array, p: Array) -> Array:
    """Take minus the log of the probability given to the true class."""
    # Clipped like scikit-learn: one certain mistake must not make a mean infinite.
    eps = float(np.finfo(np.float64).eps)
    if p.ndim == 2:
        p = p[np.arange(len(y)), y.astype(np.intp)]
    else:
        p = np.where(y == 1, p, 1 - p)
    cost: Array = -np.log(np.clip(p, eps, 1 - eps))
    return cost


def brier(y: Array, p: Array) -> Array:
    """Square the distance from probabilities to what happened."""
    if p.ndim == 1:
        return squared(y, p)
    hit = np.arange(p.shape[1]) == y[:, None]
    distance: Array = ((p - hit) ** 2).sum(axis=1)
    return distance


def hit(y: Array, p: Array) -> Array:
    """Score 1 where the label is right."""
    hits: Array = (y == p).astype(np.float64)
    return hits


# --- statistics over rows; `w` has shape (b, n) and the result (b,) -------------


def mean(rows: Array, w: Array) -> Array:
    """Average row scores under each row of weights."""
    averages: Array = (w @ rows) / w.sum(axis=-1)
    return averages


def root_mean(y: Array, p: Array, w: Array, rows: Rows) -> Array:
    """Take the root of an average, so that it is in the unit of the target."""
    root: Array = np.sqrt(mean(rows(y, p), w))
    return root


def bias(y: Array, p: Array, w: Array) -> Array:
    """Divide the mean prediction by the mean target."""
    ratio: Array = (w @ p) / (w @ y)
    return ratio


def r2(y: Array, p: Array, w: Array) -> Array:
    """Take the share of the variance of the target that is explained."""
    centred = y - y.mean()  # moments about a nearby point keep their digits
    spread = mean(centred**2, w) - mean(centred, w) ** 2
    highest = np.where(w > 0, y, -np.inf).max(axis=1)
    lowest = np.where(w > 0, y, np.inf).min(axis=1)
    spread = np.where(highest > lowest, spread, np.nan)  # rounding is not a spread
    return 1 - mean(squared(y, p), w) / spread


def f1(y: Array, p: Array, w: Array) -> Array:
    """Take the harmonic mean of precision and recall; 0 where nothing is positive."""
    both, either = w @ (y * p), w @ (y + p)
    return np.where(either > 0, 2 * both / np.where(either > 0, either, 1), 0.0)


def auc(y: Array, p: Array, w: Array) -> Array:
    """Weighted Mann–Whitney: negatives below, and half of those tied."""
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
    w, y = w[:, order], y[order]
    positive = np.add.reduceat(w * y, starts, axis=1)
    negative = np.add.reduceat(w * (1 - y), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    total = positive.sum(axis=1) * negative.sum(axis=1)
    area: Array = (positive * below).sum(axis=1) / total
    return area
