"""Loss and gradient along the prediction: the numbers behind every plot of a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.combination import terms_of
from lossary.loss import Loss

Array = NDArray[np.float64]

CLASS_TARGETS = frozenset({"label", "fraction", "class_index", "distribution"})
POINTS = 161

# The window in which the shape of a loss is seen, by the kind of its prediction.
_WINDOWS = {
    "log": (-3.0, 2.5),
    "positive": (0.05, 5.0),
    "above_minus_one": (-0.5, 5.0),
    "probability": (0.005, 0.995),
    "class_probability": (0.005, 0.995),
    "embedding": (-0.99, 0.99),
}
_TARGETS = {"real": (0.0,), "probability": (0.2, 0.8), "embedding": (1.0,)}


@dataclass(frozen=True)
class Curve:
    """One loss at one target.

    Attributes
    ----------
    loss : Loss or Combination
    target : float
        The target, or the class: 1 is this one, 0 another.
    x, value, gradient : array, shape (points,)
        NaN where the loss is not defined.
    """

    loss: Any
    target: float
    x: Array
    value: Array
    gradient: Array


def is_class_loss(loss: Any) -> bool:
    """Say whether the targets of a loss are classes.

    Examples
    --------
    >>> import lossary as ls
    >>> is_class_loss(ls.hinge), is_class_loss(ls.huber)
    (True, False)
    """
    return _first(loss).target.name in CLASS_TARGETS


def window(loss: Any) -> tuple[float, float]:
    """Give the range of predictions to look at."""
    return _WINDOWS.get(_first(loss).form, (-4.0, 4.0))


def usual_targets(loss: Any) -> tuple[float, ...]:
    """Give the targets to look at: both classes, or values that show the shape.

    Examples
    --------
    >>> import lossary as ls
    >>> usual_targets(ls.hinge), usual_targets(ls.poisson)
    ((1.0, 0.0), (1.0, 3.0))
    """
    first = _first(loss)
    if is_class_loss(first):
        return (1.0, 0.0)
    return _TARGETS.get(first.target.name, (1.0, 3.0))


def own_curves(loss: Any) -> list[Curve]:
    """Follow a loss over its own prediction, at its usual targets."""
    x = np.linspace(*window(loss), POINTS)
    return [_curve(loss, y, x, x) for y in usual_targets(loss)]


def shared_curves(
    losses: Sequence[Any], targets: Sequence[float], span: tuple[float, float]
) -> list[Curve]:
    """Follow losses over one axis, on one scale.

    Losses of numbers share the response axis, losses of classes the raw score. Each
    starts at its own minimum and is divided by its mean absolute gradient, since
    neither a constant nor a factor says anything about what a model learns from it.
    """
    x = np.linspace(*span, POINTS)
    found = []
    for loss in losses:
        own = [_on_response(loss, y, x) for y in targets]
        size = float(np.nanmean(np.abs([c.gradient for c in own]))) or 1.0
        for c in own:
            value = (c.value - np.nanmin(c.value)) / size
            found.append(Curve(loss, c.target, x, value, c.gradient / size))
    return found


def _first(loss: Any) -> Loss:
    first: Loss = terms_of(loss)[0][1]
    return first


def _on_response(loss: Any, target: float, p: Array) -> Curve:
    if getattr(loss, "form", "") != "log":
        return _curve(loss, target, p, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = _curve(loss, target, np.log(p), p)
        return replace(curve, gradient=curve.gradient / p)


def _curve(loss: Any, target: float, z: Array, x: Array) -> Curve:
    ask = _QUESTIONS[_first(loss).structure.name]
    pairs = [ask(loss, target, float(at)) for at in z]
    value, gradient = np.array(pairs, dtype=np.float64).T
    return Curve(loss, target, x, value, gradient)


Answer = tuple[float, float]


def _item(loss: Any, target: float, z: float) -> Answer:
    return _answer(loss, [target], [z])


def _row(loss: Any, target: float, z: float) -> Answer:
    """Ask about one class of two: the other's score is 0 (or the rest)."""
    first = _first(loss)
    other = 1 - z if first.form == "class_probability" else 0.0
    y = [1 - target, target] if first.target.name == "distribution" else int(target)
    return _answer(loss, [y], [[other, z]], (0, 1))


def _pixel(loss: Any, target: float, z: float) -> Answer:
    """Ask about one pixel of two: the other is of the other class and undecided."""
    undecided = 0.5 if _first(loss).form == "probability" else 0.0
    return _answer(loss, [target, 1 - target], [z, undecided])


def _pair(loss: Any, target: float, z: float) -> Answer:
    """Ask about one row of two, at a cosine of z to its own key and right of it."""
    keys, side = np.eye(2), np.sqrt(1 - z * z)
    queries = np.array([[z, side], [0.0, 1.0]])
    value, gradient = loss.value_and_grad(keys, queries, reduction="sum")
    return float(value), float(gradient[0] @ [1.0, -z / side])


def _answer(loss: Any, y: Any, z: Any, at: Any = 0) -> Answer:
    score = np.asarray(z, dtype=np.float64)
    if not np.isfinite(score).all():
        return np.nan, np.nan
    value, gradient = loss.value_and_grad(np.asarray(y), score, check="off")
    return float(value), float(gradient[at])


_QUESTIONS: dict[str, Callable[[Any, float, float], Answer]] = {
    "pointwise": _item,
    "rowwise": _row,
    "overlap": _pixel,
    "pairwise": _pair,
}
