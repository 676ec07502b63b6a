"""What is measured: a loss, what is asked of it, and data of a size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import lossary as ls
from lossary.expr.graph import topological

VALUE, CURVED = "value+gradient", "gradient+curvature"

FUNCTIONS = {
    "erf", "exp", "expm1", "lgamma", "log", "log1p", "pow", "sigmoid", "softplus",
    "tanh", "xlogy",
}  # fmt: skip
"""Primitives that cost many instructions; a loss without is arithmetic."""


@dataclass(frozen=True)
class Case:
    """One line of the results at one size.

    Attributes
    ----------
    name
        How it is called in the results.
    loss
        The loss.
    what
        `VALUE` or `CURVED`.
    dtype
        ``"float32"`` or ``"float64"``.
    items
        Numbers in the prediction.
    shape
        Of the prediction, for a number of items.
    target
        ``"like"`` the prediction, class ``"labels"``, or a ``"distribution"``.
    beside
        What is given beside target and prediction: ``"weights"``, a ``"mask"``, or "".
    floor
        What cannot be avoided: a name of `floors.STREAMS`, or "2 products".
    """

    name: str
    loss: Any
    what: str = VALUE
    dtype: str = "float32"
    items: int = 0
    shape: tuple[int, ...] = ()
    target: str = "like"
    beside: str = ""
    floor: str = "add"

    def at(self, items: int) -> Case:
        """Return the case at a size."""
        return replace(self, items=max(items // self._row, 1) * self._row)

    @property
    def _row(self) -> int:
        return int(np.prod(self.shape)) if self.shape else 1

    @property
    def key(self) -> tuple[str, str]:
        """What peers look for in their tables."""
        smoothed = " smoothed" if self.loss.parameters.get("label_smoothing") else ""
        return self.loss.name + smoothed, self.target

    @property
    def arithmetic(self) -> bool:
        """Whether no function but arithmetic is computed for an item."""
        formula = self.loss.formula
        results = (formula.value, formula.gradient, formula.curvature)
        roots = results[:2] if self.what == VALUE else results[1:]
        pointwise = self.loss.structure.name == "pointwise"
        return pointwise and not any(n.op in FUNCTIONS for n in topological(roots))


def drawn(case: Case) -> tuple[Any, Any]:
    """Draw target and prediction; with weights or a mask, the target is a pair."""
    y, z = _target_and_prediction(case)
    if not case.beside:
        return y, z
    x = np.random.default_rng(1).random(z.shape, z.dtype)
    return (y, x > 0.25 if case.beside == "mask" else x + z.dtype.type(0.1)), z


def _target_and_prediction(case: Case) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shape = (case.items // case._row, *case.shape) if case.shape else (case.items,)
    dtype: Any = np.dtype(case.dtype)
    z = rng.standard_normal(shape, dtype)
    if case.target == "labels":
        return rng.integers(0, shape[-1], shape[:-1]), z
    if case.target == "distribution":
        y = rng.random(shape, dtype) + dtype.type(0.01)
        return y / y.sum(axis=-1, keepdims=True), z
    kind = case.loss.target.name
    y = rng.standard_normal(shape, dtype)
    y = TARGETS[kind](y) if kind in TARGETS else y
    return y, np.abs(z) if case.loss.prediction.name == "above_minus_one" else z


def _half(y: Any) -> Any:
    return (y > 0).astype(y.dtype)


TARGETS: dict[str, Callable[[Any], Any]] = {
    "label": _half,
    "fraction": _half,
    "mask": _half,
    "count": lambda y: np.rint(np.abs(y)),
    "nonzero": lambda y: np.copysign(np.abs(y) + y.dtype.type(0.1), y),
    "above_minus_one": np.abs,
}


def losses_of(structure: str) -> list[Any]:
    """Return the registry's losses of a structure."""
    found = map(ls.get, ls.names())
    return [loss for loss in found if loss.structure.name == structure]


def pointwise(dtype: str, what: str = VALUE) -> list[Case]:
    """Return every pointwise loss of the registry."""
    floor = "add" if what == VALUE else "add, 2 results"
    return [
        Case(loss.name, loss, what, dtype, floor=floor)
        for loss in losses_of("pointwise")
    ]


def beside(dtype: str) -> list[Case]:
    """Return an arithmetic and a transcendental loss with weights, and with a mask."""
    return [
        Case(f"{name}, {given}", ls.get(name), dtype=dtype, beside=given,
             floor=f"add, {given}")
        for name in ("squared_error", "binary_cross_entropy")
        for given in ("weights", "mask")
    ]  # fmt: skip


CLASSES = (2, 10, 1000, 32_000)
SOFT = {"cross_entropy, soft": "cross_entropy", "kl_divergence": "kl_divergence"}
"""Losses of distributions, by what they are called here."""


def rows(dtype: str, what: str = VALUE) -> list[Case]:
    """Return class losses, with few classes and many."""
    make = partial(Case, what=what, dtype=dtype)
    found = [
        make(f"{name}, {k} classes", ls.get(name), shape=(k,), target="labels",
             floor="add 1" if what == VALUE else "add 1, 2 results")
        for name in ("cross_entropy", "focal")
        for k in CLASSES
    ]  # fmt: skip
    if what == CURVED:
        return found
    few, smoothed = (10, 1000), ls.cross_entropy(label_smoothing=0.1)
    return [
        *found,
        *(make(f"cross_entropy, smoothed, {k} classes", smoothed, shape=(k,),
               target="labels", floor="add 1") for k in few),
        *(make(f"{label}, {k} classes", ls.get(name), shape=(k,), target="distribution")
          for label, name in SOFT.items() for k in few),
    ]  # fmt: skip


PIXELS, WIDE = (256, 256), 128


def others(dtype: str) -> list[Case]:
    """Return losses of images and of embeddings."""
    of_images = [
        Case(f"{loss.name}, 256 x 256 images", loss, dtype=dtype, shape=PIXELS,
             floor="add, two passes")
        for loss in losses_of("overlap")
    ]  # fmt: skip
    return of_images + [
        Case(f"{loss.name}, {WIDE} wide", loss, dtype=dtype, shape=(WIDE,),
             floor="2 products")
        for loss in losses_of("pairwise")
    ]  # fmt: skip
