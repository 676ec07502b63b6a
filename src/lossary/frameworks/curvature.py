"""The curvature of a loss in a form that makes Newton steps safe.

A booster divides by it, so that a curvature of zero, or below, or far smaller than
the loss is steep, sends the scores anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.arrays import library_of
from lossary.loss import Loss

Array = NDArray[np.float64]

MODES = ("exact", "clipped", "majorised", "unit")
"""Where the curvature comes from, from the most to the least literal; a loss declares
one of the first three. The last is 1 per row, for learners that find the length of
their steps by other means, or that do without."""

TASKS = {
    "label": "binary",
    "fraction": "binary",
    "class_index": "multiclass",
    "distribution": "multiclass",
}
"""What is predicted, by the kind of the target; regression for all others."""


def task_of(loss: Loss) -> str:
    """Return what a loss predicts: "regression", "binary" or "multiclass"."""
    return TASKS.get(loss.definition.target, "regression")


def curved(
    loss: Loss,
    y: NDArray[Any],
    z: Array,
    sample_weight: Array | None = None,
    mode: str | None = None,
) -> tuple[Array, Array]:
    """Return gradient and curvature per row, by default in the loss's own mode."""
    return _CURVATURES[mode or mode_of(loss)](loss, y, z, sample_weight)


_STEADY = 0.1  # a curvature below this share of the secant's asks for wild steps


@lru_cache(maxsize=256)
def mode_of(loss: Loss) -> str:
    """Choose the curvature that makes Newton steps safe."""
    if loss.definition.majoriser is not None:
        return "majorised"
    if loss.structure.name == "overlap" or not loss.facts.convex:
        return "majorised" if _is_location(loss) else "clipped"
    if loss.structure.name == "rowwise":
        return "exact"
    r = np.concatenate([s * np.geomspace(1e-3, 1e3, 13) for s in (-1.0, 1.0)])
    y = np.ones_like(r)  # a target that every kind allows
    gradient, curvature = loss.grad_and_hess(y, y + r, check="off")
    if _is_location(loss):
        steady = (curvature * r >= _STEADY * gradient)[r > 0]
        return "exact" if steady.all() else "majorised"
    return "exact" if (curvature > 0).any() else "clipped"


@lru_cache(maxsize=256)
def kinked(loss: Loss) -> bool:
    """Say whether the loss is linear on both sides of its target.

    Nothing but the slopes of the two sides then decides which constant is best: it is
    a quantile.
    """
    if not _is_location(loss):
        return False
    r = np.concatenate([s * np.geomspace(1e-3, 1e3, 13) for s in (-1.0, 1.0)])
    y = np.ones_like(r)
    gradient, curvature = loss.grad_and_hess(y, y + r, check="off")
    return bool(gradient.any()) and not curvature.any()


def _is_location(loss: Loss) -> bool:
    """Say whether the loss compares a score with a real target of the same scale."""
    return (
        loss.structure.name == "pointwise"
        and loss.form == "real"
        and loss.definition.link == "identity"
        and task_of(loss) == "regression"
    )


def _exact(
    loss: Loss, y: NDArray[Any], z: Array, w: Array | None
) -> tuple[Array, Array]:
    gradient, curvature = loss.grad_and_hess(y, z, check="off")
    return gradient, curvature


def _clipped(
    loss: Loss, y: NDArray[Any], z: Array, w: Array | None
) -> tuple[Array, Array]:
    if loss.structure.name == "overlap":
        # A mean over images has no gradient per row; give its sum one row's size.
        _, mean = loss.value_and_grad(y, z, sample_weight=w, check="off")
        share = 1.0 if w is None else np.where(w > 0, w, 1.0)
        gradient = (mean.T * len(z) / share).T
        return gradient, abs(gradient)
    gradient, curvature = loss.grad_and_hess(y, z, check="off")
    floor = abs(gradient)
    if not curvature.any():
        # Piecewise linear: rows already right have no slope, and must count as well,
        # or every leaf would take the same step.
        floor = np.full_like(floor, floor.max() or 1.0)
    return gradient, np.maximum(curvature, floor)


def _majorised(
    loss: Loss, y: NDArray[Any], z: Array, w: Array | None
) -> tuple[Array, Array]:
    gradient, _ = loss.grad_and_hess(y, z, check="off")
    r = z - y
    # The curvature g/r has a pole at r = 0, where it would pin a row that is right
    # by chance. Below the typical residual, as the gradient weighs rows, it is held.
    pull = abs(gradient) if w is None else (w * abs(gradient).T).T
    total = float(pull.sum())
    typical = float(np.vdot(pull, abs(r))) / total if total > 0 else 1.0
    typical = max(typical, np.finfo(np.float64).tiny ** 0.5)
    typical = max(typical, 1e-12 * float(abs(y).max()))  # what y + r does not round off
    held = np.where(r < 0, -1.0, 1.0) * np.maximum(abs(r), typical)
    at = y + held
    declared = loss.definition.majoriser
    if declared is None:  # the secant: the tightest quadratic of an even loss
        slope, _ = loss.grad_and_hess(y, at, check="off")
        return gradient, abs(slope / held)
    return gradient, _evaluate(declared, loss, y, at)


def _evaluate(formula: Any, loss: Loss, y: Array, z: Array) -> Array:
    values = loss.parameters
    names = (*formula.inputs, *formula.params)
    run = library_of(y).run(formula.value, names)
    return np.asarray(run(y, z, *(values[p] for p in formula.params)))


def _unit(
    loss: Loss, y: NDArray[Any], z: Array, w: Array | None
) -> tuple[Array, Array]:
    gradient, curvature = loss.grad_and_hess(y, z, check="off")
    curvature.fill(1.0)
    return gradient, curvature


_CURVATURES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "exact": _exact,
    "clipped": _clipped,
    "majorised": _majorised,
    "unit": _unit,
}
