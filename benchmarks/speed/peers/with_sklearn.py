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
    name, rows = case.loss.name, z.shape[0]
    if case.key == ("cross_entropy", "labels"):
        loss, factor = sk.HalfMultinomialLoss(n_classes=z.shape[1]), 1.0
    elif case.target == "like" and name in OWN:
        loss, factor = OWN[name]
    else:
        return {}
    y, first = y.astype(z.dtype, copy=False), np.empty_like(z)
    if case.what == VALUE:
        value = np.empty(rows, z.dtype)

        def run() -> Any:
            loss.loss_gradient(
                y, z, loss_out=value, gradient_out=first, n_threads=threads
            )
            return value.mean(dtype=np.float64)

        return {
            "scikit-learn": Task(
                run, lambda mean: (factor * mean, first * (factor / rows))
            )
        }

    second = np.empty_like(z)

    def curved() -> None:
        loss.gradient_hessian(
            y, z, gradient_out=first, hessian_out=second, n_threads=threads
        )

    return {"scikit-learn": Task(curved, lambda _: (factor * first, factor * second))}
