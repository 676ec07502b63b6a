"""NumPy, as one writes a loss and its derivatives by hand: pointwise and class losses.

Exponentials are of numbers that are not positive and differences are taken once, which
is stable and fast: `np.logaddexp` takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from speed.cases import VALUE, Case
from speed.peers.numpy_means import CONTRASTIVE, OVERLAPS
from speed.tasks import Task

Pair = Callable[[Any, Any], tuple[Any, Any]]


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


def _squared(y: Any, z: Any) -> Any:
    r = z - y
    return r * r, 2 * r


def _absolute(y: Any, z: Any) -> Any:
    r = z - y
    return abs(r), np.sign(r)


def _percentage(y: Any, z: Any) -> Any:
    r, size = z - y, abs(y)
    return abs(r) / size, np.sign(r) / size


def _pinball(y: Any, z: Any) -> Any:
    r = z - y
    return np.maximum(-0.5 * r, 0.5 * r), 0.5 * np.sign(r)


def _huber(y: Any, z: Any) -> Any:
    r = z - y
    a, q = abs(r), np.clip(r, -1, 1)
    return q * q / 2 + (a - abs(q)), q


def _log_cosh(y: Any, z: Any) -> Any:
    r = z - y
    a = abs(r)
    return a + np.log1p(np.exp(-2 * a)) - 0.6931471805599453, np.tanh(r)


def _robust(y: Any, z: Any) -> Any:
    r = z - y
    root = np.sqrt(r * r + 1)
    return root - 1, r / root


def _squared_log(y: Any, z: Any) -> Any:
    r = np.log1p(z) - np.log1p(y)
    return r * r, 2 * r / (1 + z)


def _poisson(y: Any, z: Any) -> Any:
    mean = np.exp(z)
    return mean - y * z, mean - y


def _tweedie(y: Any, z: Any) -> Any:
    root = np.exp(0.5 * z)
    pull = y / root
    return 2 * (pull + root), root - pull


def _logistic(y: Any, z: Any) -> Any:
    return _softplus(z) - y * z, _sigmoid(z) - y


def _focal_parts(y: Any, z: Any) -> Any:
    s = 2 * y - 1
    x = s * z
    p = _sigmoid(x)
    return s, p, 1 - p, -_softplus(-x)


def _focal(y: Any, z: Any) -> Any:
    s, p, q, log_p = _focal_parts(y, z)
    return -q * q * log_p, s * q * q * (2 * p * log_p - q)


def _hinge(y: Any, z: Any) -> Any:
    s = 2 * y - 1
    margin = 1 - s * z
    return np.maximum(margin, 0), np.where(margin > 0, -s, 0)


def _squared_hinge(y: Any, z: Any) -> Any:
    s = 2 * y - 1
    short = np.maximum(1 - s * z, 0)
    return short * short, -2 * s * short


def _exponential(y: Any, z: Any) -> Any:
    s = 1 - 2 * y
    e = np.exp(s * z)
    return e, s * e


ITEMS: dict[str, Pair] = {
    "squared_error": _squared,
    "absolute_error": _absolute,
    "absolute_percentage_error": _percentage,
    "squared_log_error": _squared_log,
    "pinball": _pinball,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "general_robust": _robust,
    "poisson": _poisson,
    "tweedie": _tweedie,
    "binary_cross_entropy": _logistic,
    "binary_focal": _focal,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "exponential": _exponential,
}
"""Value and gradient of each item."""


def _flat(gradient: Callable[[Any, Any], Any]) -> Pair:
    """Return gradient and curvature of a loss made of straight pieces."""

    def both(y: Any, z: Any) -> Any:
        slope = gradient(y, z)
        return slope, np.zeros_like(slope)

    return both


def _hinge_slope(y: Any, z: Any) -> Any:
    s = 1 - 2 * y
    return s * (s * z > -1)


def _log_cosh_curvature(y: Any, z: Any) -> Any:
    t = np.tanh(z - y)
    return t, 1 - t * t


def _robust_curvature(y: Any, z: Any) -> Any:
    r = z - y
    inverse = 1 / np.sqrt(r * r + 1)
    return r * inverse, inverse * inverse * inverse


def _squared_log_curvature(y: Any, z: Any) -> Any:
    r, inverse = np.log1p(z) - np.log1p(y), 1 / (1 + z)
    return 2 * r * inverse, 2 * (1 - r) * inverse * inverse


def _poisson_curvature(y: Any, z: Any) -> Any:
    mean = np.exp(z)
    return mean - y, mean


def _tweedie_curvature(y: Any, z: Any) -> Any:
    root = np.exp(0.5 * z)
    pull = y / root
    return root - pull, 0.5 * (root + pull)


def _logistic_curvature(y: Any, z: Any) -> Any:
    p = _sigmoid(z)
    return p - y, p * (1 - p)


def _focal_curvature(y: Any, z: Any) -> Any:
    s, p, q, log_p = _focal_parts(y, z)
    bent = p * q * q * (5 * q + 2 * (q - 2 * p) * log_p)
    return s * q * q * (2 * p * log_p - q), bent


def _huber_curvature(y: Any, z: Any) -> Any:
    r = z - y
    return np.clip(r, -1, 1), (abs(r) <= 1).astype(z.dtype)


def _squared_hinge_curvature(y: Any, z: Any) -> Any:
    s = 2 * y - 1
    short = np.maximum(1 - s * z, 0)
    return -2 * s * short, 2 * (short > 0).astype(z.dtype)


def _exponential_curvature(y: Any, z: Any) -> Any:
    s = 1 - 2 * y
    e = np.exp(s * z)
    return s * e, e


CURVATURES: dict[str, Pair] = {
    "squared_error": lambda y, z: (2 * (z - y), np.full_like(z, 2)),
    "absolute_error": _flat(lambda y, z: np.sign(z - y)),
    "absolute_percentage_error": _flat(lambda y, z: np.sign(z - y) / abs(y)),
    "squared_log_error": _squared_log_curvature,
    "pinball": _flat(lambda y, z: 0.5 * np.sign(z - y)),
    "huber": _huber_curvature,
    "log_cosh": _log_cosh_curvature,
    "general_robust": _robust_curvature,
    "poisson": _poisson_curvature,
    "tweedie": _tweedie_curvature,
    "binary_cross_entropy": _logistic_curvature,
    "binary_focal": _focal_curvature,
    "hinge": _flat(_hinge_slope),
    "squared_hinge": _squared_hinge_curvature,
    "exponential": _exponential_curvature,
}
"""Gradient and curvature of each item."""


def _softmax(z: Any) -> tuple[Any, Any]:
    """Return probabilities and the logarithm of their denominator."""
    top = z.max(axis=1, keepdims=True)
    e = np.exp(z - top)
    total = e.sum(axis=1, keepdims=True)
    e /= total
    return e, (np.log(total) + top)[:, 0]


def _of_labels(y: Any, z: Any, smoothing: float = 0.0) -> Any:
    n, classes = z.shape
    gradient, below = _softmax(z)
    here = np.arange(n)
    value = below - (1 - smoothing) * z[here, y]
    if smoothing:
        value -= smoothing * z.mean(axis=1)
        gradient -= smoothing / classes
    gradient[here, y] -= 1 - smoothing
    gradient /= n
    return value.mean(), gradient


def _of_distributions(y: Any, z: Any) -> Any:
    gradient, below = _softmax(z)
    gradient -= y
    gradient /= len(z)
    return (below - (y * z).sum(axis=1)).mean(), gradient


def _kl_divergence(y: Any, z: Any) -> Any:
    value, gradient = _of_distributions(y, z)
    return value + (y * np.log(y)).sum() / len(y), gradient


def _class_curvature(y: Any, z: Any) -> Any:
    gradient, _ = _softmax(z)
    curvature = gradient * (1 - gradient)
    gradient[np.arange(len(z)), y] -= 1
    return gradient, curvature


def _focal_of_labels(y: Any, z: Any) -> Any:
    gradient, below = _softmax(z)
    here = np.arange(len(z))
    log_p = z[here, y] - below
    p = np.exp(log_p)
    q = 1 - p
    slope = q * (2 * p * log_p - q) / len(z)
    gradient *= -slope[:, None]
    gradient[here, y] += slope
    return (-q * q * log_p).mean(), gradient


MEANS: dict[tuple[str, str], Pair] = {
    ("cross_entropy", "labels"): _of_labels,
    ("cross_entropy smoothed", "labels"): partial(_of_labels, smoothing=0.1),
    ("focal", "labels"): _focal_of_labels,
    ("cross_entropy", "distribution"): _of_distributions,
    ("kl_divergence", "distribution"): _kl_divergence,
    **{(name, "like"): both for name, both in (OVERLAPS | CONTRASTIVE).items()},
}
"""Value and gradient of the mean."""


def _averaged(items: Pair, y: Any, z: Any) -> tuple[Any, Any]:
    value, gradient = items(y, z)
    gradient *= 1 / z.size
    return value.mean(), gradient


def _weighted(items: Pair, y: Any, z: Any) -> tuple[Any, Any]:
    y, w = y
    total = w.sum(dtype=z.dtype)
    value, gradient = items(y, z)
    return (w * value).sum() / total, gradient * (w / total)


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return NumPy at work, which has one thread but in products of matrices."""
    name, target = case.key
    table = ITEMS if case.what == VALUE else CURVATURES
    if target == "like" and name in table:
        run: Pair = table[name]
        if case.what == VALUE:
            run = partial(_weighted if case.beside else _averaged, run)
    elif case.what == VALUE and case.key in MEANS:
        run = MEANS[case.key]
    elif case.what != VALUE and case.key == ("cross_entropy", "labels"):
        run = _class_curvature
    else:
        return {}
    return {"NumPy": Task(lambda: run(y, z), lambda result: result)}
