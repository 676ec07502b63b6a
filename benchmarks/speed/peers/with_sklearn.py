"""scikit-learn's compiled losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn._loss import loss as sk

from speed.cases import VALUE, Case
from speed.tasks import Task

OWN: dict[str, tuple[Any, float]] = {
    "squared_error": (sk.HalfSquaredError(), 2.0),
    "absolute_error": (sk.AbsoluteError(), 1.0),
    "huber": (sk.HuberLoss(delta=1.0), 1.0),
    "pinball": (sk.PinballLoss(quantile=0.5), 1.0),
    "poisson": (sk.HalfPoissonLoss(), 1.0),
    "tweedie": (sk.HalfTweedieLoss(power=1.5), 1.0),
    "binary_cross_entropy": (sk.HalfBinomialLoss(), 1.0),
    "exponential": (sk.ExponentialLoss(), 1.0),
}
"""Each with the factor that makes it the loss of ours."""


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return the fused passes, into arrays that are there."""
    name, target = case.key
    if case.key == ("cross_entropy", "labels"):
        loss, factor = sk.HalfMultinomialLoss(n_classes=z.shape[1]), 1.0
    elif target == "like" and name in OWN and case.beside != "mask":
        loss, factor = OWN[name]
    else:
        return {}
    y, weights = y if case.beside else (y, None)
    y, first = y.astype(z.dtype, copy=False), np.empty_like(z)
    arrays: dict[str, Any] = {"y_true": y, "raw_prediction": z, "gradient_out": first}
    if case.what == VALUE:
        return {"scikit-learn": _value(loss, factor, arrays, weights, threads)}
    second = np.empty_like(z)

    def curved() -> None:
        loss.gradient_hessian(**arrays, hessian_out=second, n_threads=threads)

    return {"scikit-learn": Task(curved, lambda _: (factor * first, factor * second))}


def _value(
    loss: Any, factor: float, arrays: dict[str, Any], weights: Any, threads: int
) -> Task:
    first, rows = arrays["gradient_out"], len(arrays["y_true"])
    losses = np.empty(rows, first.dtype)

    def run() -> tuple[Any, Any]:
        loss.loss_gradient(
            **arrays, loss_out=losses, sample_weight=weights, n_threads=threads
        )
        total = rows if weights is None else weights.sum(dtype=np.float64)
        return losses.sum(dtype=np.float64) / total, total

    return Task(run, lambda found: (factor * found[0], first * (factor / found[1])))
