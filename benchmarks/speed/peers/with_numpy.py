"""NumPy, as one writes a loss and its gradient by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from speed.cases import VALUE, Case
from speed.tasks import Task

Pair = Callable[[Any, Any], tuple[Any, Any]]


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _huber(y: Any, z: Any) -> Any:
    r = z - y
    q = np.minimum(abs(r), 1)
    return q * q / 2 + (abs(r) - q), np.clip(r, -1, 1)


def _focal(y: Any, z: Any) -> Any:
    s = 2 * y - 1
    p = _sigmoid(s * z)
    log_p = -np.logaddexp(0, -s * z)
    return -((1 - p) ** 2) * log_p, s * (1 - p) ** 2 * (2 * p * log_p - (1 - p))


def _robust(y: Any, z: Any) -> Any:
    r = z - y
    root = np.sqrt(r * r + 1)
    return root - 1, r / root


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


def _tweedie(y: Any, z: Any) -> Any:
    a, b = y * np.exp(-0.5 * z), np.exp(0.5 * z)
    return 2 * a + 2 * b, b - a


def _poisson(y: Any, z: Any) -> Any:
    mean = np.exp(z)
    return mean - y * z, mean - y


def _squared_log(y: Any, z: Any) -> Any:
    r = np.log1p(z) - np.log1p(y)
    return r * r, 2 * r / (1 + z)


def _log_cosh(y: Any, z: Any) -> Any:
    r = z - y
    return np.logaddexp(r, -r) - np.log(r.dtype.type(2)), np.tanh(r)


def _pinball(y: Any, z: Any) -> Any:
    r = z - y
    return np.maximum(-0.5 * r, 0.5 * r), 0.5 * np.sign(r)


ITEMS: dict[str, Pair] = {
    "squared_error": lambda y, z: ((z - y) ** 2, 2 * (z - y)),
    "absolute_error": lambda y, z: (abs(z - y), np.sign(z - y)),
    "absolute_percentage_error": lambda y, z: (
        abs(z - y) / abs(y), np.sign(z - y) / abs(y),
    ),
    "squared_log_error": _squared_log,
    "pinball": _pinball,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "general_robust": _robust,
    "poisson": _poisson,
    "tweedie": _tweedie,
    "binary_cross_entropy": lambda y, z: (
        np.logaddexp(0, z) - y * z, _sigmoid(z) - y,
    ),
    "binary_focal": _focal,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "exponential": _exponential,
}  # fmt: skip
"""Value and gradient of each item."""


def _logistic_curvature(y: Any, z: Any) -> Any:
    p = _sigmoid(z)
    return p - y, p * (1 - p)


def _poisson_curvature(y: Any, z: Any) -> Any:
    mean = np.exp(z)
    return mean - y, mean


def _log_cosh_curvature(y: Any, z: Any) -> Any:
    t = np.tanh(z - y)
    return t, 1 - t * t


CURVATURES: dict[str, Pair] = {
    "squared_error": lambda y, z: (2 * (z - y), np.full_like(z, 2)),
    "huber": lambda y, z: (
        np.clip(z - y, -1, 1), (abs(z - y) <= 1).astype(z.dtype),
    ),
    "binary_cross_entropy": _logistic_curvature,
    "poisson": _poisson_curvature,
    "log_cosh": _log_cosh_curvature,
}  # fmt: skip
"""Gradient and curvature of each item."""


def _softmax_cross_entropy(y: Any, z: Any) -> Any:
    n = len(z)
    top = z.max(axis=1, keepdims=True)
    e = np.exp(z - top)
    total = e.sum(axis=1, keepdims=True)
    if y.ndim == 1:
        here = np.arange(n)
        value = (np.log(total) + top)[:, 0] - z[here, y]
        gradient = e / total
        gradient[here, y] -= 1
    else:
        value = (y * (np.log(total) + top - z)).sum(axis=1)
        gradient = e / total - y
    return value.mean(), gradient / n


def _kl_divergence(y: Any, z: Any) -> Any:
    value, gradient = _softmax_cross_entropy(y, z)
    return value + (y * np.log(y)).sum() / len(y), gradient


def _dice(y: Any, z: Any) -> Any:
    p = _sigmoid(z)
    tp, all_y, all_p = (x.sum(axis=(1, 2), keepdims=True) for x in (y * p, y, p))
    below = all_y + all_p
    slope = 2 * (tp / below - y) / below
    return (1 - 2 * tp / below).mean(), slope * p * (1 - p) / len(y)


MEANS: dict[str, Pair] = {
    "cross_entropy": _softmax_cross_entropy,
    "kl_divergence": _kl_divergence,
    "dice": _dice,
}
"""Value and gradient of the mean."""


def _averaged(items: Pair, y: Any, z: Any) -> tuple[Any, Any]:
    value, gradient = items(y, z)
    return value.mean(), gradient / z.size


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return NumPy at work, which has one thread."""
    name = case.loss.name
    table = {**ITEMS, **MEANS} if case.what == VALUE else CURVATURES
    if name not in table:
        return {}
    found = table[name]
    averaged = case.what == VALUE and name in ITEMS
    run = (lambda: _averaged(found, y, z)) if averaged else (lambda: found(y, z))
    return {"NumPy": Task(run, lambda result: result)}
