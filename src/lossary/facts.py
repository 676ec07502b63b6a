"""What is true of a loss, measured on its own formula rather than declared.

A fact is found by walking along straight lines through the space of predictions: a
loss is convex if its slope never falls along any of them, and its gradient is bounded
if it stops growing far out. A law checks every fact against random points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lossary.loss import Loss

Line = tuple[Any, np.ndarray, np.ndarray]
"""Targets, predictions along a line (first axis), and the line's direction."""


@dataclass(frozen=True)
class Facts:
    """Properties of a loss at its bound parameters.

    Attributes
    ----------
    convex : bool
        In the prediction, for every target.
    gradient_bound : float or None
        The largest gradient of one item in one prediction; infinity if unbounded,
        None where it depends on the size of the image or the length of the vectors.
    symmetric : bool
        Errors to either side (or of either class) cost alike.
    elicits : str
        The functional that minimises the expected loss; empty where none is declared.
    link : str
        From the response scale to the prediction that a model adds up.
    """

    convex: bool
    gradient_bound: float | None
    symmetric: bool
    elicits: str
    link: str


@lru_cache(maxsize=256)
def of(loss: Loss) -> Facts:
    """Measure the facts of a loss.

    Examples
    --------
    >>> import lossary as ls
    >>> ls.huber(delta=2.0).facts.gradient_bound
    2.0
    >>> ls.binary_focal.facts.convex
    False
    """
    return Facts(
        convex=all(_rises(loss, line) for line in _lines(loss, 1e2)),
        gradient_bound=_bound(loss),
        symmetric=_symmetric(loss),
        elicits=_elicits(loss),
        link=loss.definition.link,
    )


def _elicits(loss: Loss) -> str:
    functional = loss.definition.elicits
    smoothed = functional and loss.parameters.get("label_smoothing")
    return f"{functional}, after label smoothing" if smoothed else functional


# -- lines through the space of predictions -------------------------------------------

_TARGETS = {
    "real": (0.0, 0.5, -3.0),
    "nonzero": (0.5, -3.0, 1.0),
    "positive": (0.5, 1.0, 3.0),
    "count": (0.0, 1.0, 3.0),
    "above_minus_one": (0.0, 0.5, 3.0),
    "fraction": (0.0, 1.0, 0.3),
    "probability": (0.0, 1.0, 0.3),
    "label": (0.0, 1.0),
}


def _lines(loss: Loss, reach: float) -> Iterator[Line]:
    if loss.structure.name == "pointwise":
        yield from _pointwise_lines(loss, reach)
    elif loss.structure.name == "rowwise":
        yield from _rowwise_lines(loss, reach)
    elif loss.structure.name == "pairwise":
        yield from _pairwise_lines(loss, reach)
    else:
        yield from _mask_lines(loss, reach)


def _steps(loss: Loss, reach: float) -> np.ndarray:
    """Return predictions from far left to far right, dense near the middle."""
    name = loss.form
    if name in ("probability", "class_probability"):
        tail = np.geomspace(1 / reach, 0.5, 200)
        return np.concatenate([tail, 1 - tail[-2::-1]])
    tail = np.geomspace(1 / reach, reach, 400)
    if name in ("positive", "above_minus_one"):
        return tail - (1 if name == "above_minus_one" else 0)
    if name == "log" or loss.definition.link == "half_logit":
        tail = tail[tail <= 300]
    return np.concatenate([-tail[::-1], [0.0], tail, np.linspace(-8, 8, 321)])


def _pointwise_lines(loss: Loss, reach: float) -> Iterator[Line]:
    steps = np.unique(_steps(loss, reach))
    targets = _TARGETS[loss.target.name]
    if loss.target.name == "nonzero":
        targets = (*targets, 1 / reach)
    for y in targets:
        yield np.full_like(steps, y), steps, np.array(1.0)


def _rowwise_lines(loss: Loss, reach: float) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    steps = np.unique(_steps(loss, reach))
    if loss.form == "class_probability":
        rows = np.stack([steps, (1 - steps) / 2, (1 - steps) / 2], axis=-1)
        directions = [(rows, np.array([1.0, -0.5, -0.5]))]
    else:
        bases = rng.normal(size=(6, 3))
        ways = [*np.eye(3), *rng.normal(size=(3, 3))]
        directions = [
            (base + steps[:, None] * way, np.asarray(way))
            for base, way in zip(bases, ways, strict=True)
        ]
    labels = loss.structure.indexed(loss.structure.signatures[0])
    for rows, way in directions:
        for k in range(3):
            if labels:
                yield np.full(len(rows), k), rows, way
            else:
                yield np.tile(np.roll([0.7, 0.3, 0.0], k), (len(rows), 1)), rows, way


def _mask_lines(loss: Loss, reach: float) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    steps = np.unique(_steps(loss, min(reach, 1e3)))
    for _ in range(4):
        mask, base, way = (
            rng.integers(0, 2, 4),
            rng.normal(size=4),
            rng.normal(size=4),
        )
        if loss.form == "probability":
            base, way = rng.uniform(0.3, 0.7, 4), rng.uniform(-0.3, 0.3, 4)
            steps = np.linspace(-1, 1, 201)
        z = base + steps[:, None] * way
        yield np.tile(mask.astype(float), (len(z), 1)), z, way


def _pairwise_lines(loss: Loss, reach: float) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    steps = np.unique(_steps(loss, reach))[:, None, None]
    for _ in range(4):
        keys, base, way = rng.normal(size=(3, 3, 2))
        yield keys, base + steps * way, way


def _slope(loss: Loss, line: Line) -> np.ndarray:
    y, z, _ = line
    if loss.structure.name == "pairwise":  # every step is a batch of its own
        slopes = [loss.value_and_grad(y, rows, reduction="sum")[1] for rows in z]
        return np.reshape(slopes, (len(z), -1))
    _, gradient = loss.value_and_grad(y, z, reduction="sum", check="off")
    return np.asarray(gradient)


def _rises(loss: Loss, line: Line) -> bool:
    """Say whether the slope along a line never falls, up to rounding."""
    way = line[2].ravel() if loss.structure.name == "pairwise" else line[2]
    gradient = _slope(loss, line)
    slope = gradient * way if way.ndim == 0 else gradient @ way
    slope = slope[np.isfinite(slope)]
    fall = -np.diff(slope).min(initial=0.0)
    return bool(fall <= 1e-9 * max(1.0, abs(slope).max(initial=0.0)))


def _bound(loss: Loss) -> float | None:
    if loss.structure.name in ("overlap", "pairwise"):
        return None
    if "label_smoothing" in loss.parameters:
        # Of many classes each gets a vanishing part of it: the bound is the same.
        loss = loss.bind(label_smoothing=0.0)
    bound = max(_steepest(loss, line) for line in _lines(loss, 1e6))
    further = max(_steepest(loss, line) for line in _lines(loss, 1e12))
    return bound if further <= bound * (1 + 1e-6) else math.inf


def _steepest(loss: Loss, line: Line) -> float:
    gradient = _slope(loss, line)
    return float(np.nanmax(abs(gradient)))


def _symmetric(loss: Loss) -> bool:
    """Compare mirrored errors, or the two classes with mirrored scores."""
    if loss.structure.name != "pointwise":
        return loss.structure.name == "rowwise"
    r = np.linspace(0.1, 5.0, 50)
    if loss.target.name in ("label", "fraction"):
        ones = np.ones_like(r)
        score = r / 6 if loss.form == "probability" else r
        mirrored = 1 - score if loss.form == "probability" else -score
        pairs = [(ones, score), (0 * ones, mirrored)]
    elif loss.form == "real" and loss.target.name in ("real", "nonzero"):
        pairs = [(3 + 0 * r, 3 + r), (3 + 0 * r, 3 - r)]
    else:
        return False
    left, right = (loss(y, z, reduction="none") for y, z in pairs)
    return bool(np.allclose(left, right, rtol=1e-12, atol=0))
