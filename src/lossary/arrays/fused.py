"""When a compiled kernel serves a call, and how it is called with a batch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import kernels
from lossary.expr.formula import Formula

COMPILED_FROM = 1 << 11
"""Items from which a call is worth a kernel, which takes a tenth of a second, once.

Nothing but the call itself decides, so that it gives the same digits whatever was
computed before.
"""


@dataclass(slots=True)  # made at every call, as a batch is
class OnePass:
    """The sum Σ w·l of a call, to be taken in one pass over its items.

    Attributes
    ----------
    kernel
        The kernel of the loss's structure: "pointwise", "rows" or "smoothed_rows".
    formula, params
        The loss of an item, and the values of its parameters.
    batch
        The arrays of the call.
    plain
        Computes the same of a prediction with the library's own operations.
    smoothing
        The label smoothing of a loss over classes.
    """

    kernel: str
    formula: Formula
    params: tuple[float, ...]
    batch: Any
    plain: Callable[[Any], Any] | None = None
    smoothing: float = 0.0

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of what the text of the formula takes."""
        return (*self.formula.inputs, *self.formula.params)


def serves(kernel: str | None, z: Any) -> bool:
    """Say whether a compiled kernel is to compute predictions like these."""
    if kernel is None or z.dtype not in (np.float32, np.float64):
        return False
    return z.size >= COMPILED_FROM and kernels.available()


def weighed(weight: Any) -> Any:
    """Return what a kernel finds out about weights; None where none serves."""
    if type(weight) is np.ndarray and serves("weights", weight):
        return _module("weights").weigh(weight)
    return None


_SMOOTHED = "smoothed_rows"


def _module(kernel: str) -> Any:
    name = "rows" if kernel == _SMOOTHED else kernel
    return importlib.import_module(f"lossary.kernels.{name}")


def small_kernel(kind: str, *call: Any) -> Any:
    """Return a kernel of `lossary.kernels.small`, made by one of its functions."""
    return getattr(_module("small"), kind)(*call)


def _arguments(call: OnePass) -> tuple[Any, ...]:
    return call.formula, call.params, call.batch.y, call.batch.z


def _options(call: OnePass) -> dict[str, Any]:
    counting, ranges = call.batch.counting, call.batch.ranges
    options = {"weight": counting.weight, "keep": counting.keep}
    if call.kernel == "pointwise":
        options["y_range"], options["z_range"] = ranges
    if call.smoothing:
        options["smoothing"] = call.smoothing
    return options


def _heeded(totals: Any, batch: Any) -> float:
    """Return the numerator; name the offending rows if the kernel met any."""
    if totals.outside and batch.complain is not None:
        batch.complain()
    return float(totals.numerator)


def total(call: OnePass) -> float:
    """Return Σ w·l."""
    totals = _module(call.kernel).total(*_arguments(call), **_options(call))
    return _heeded(totals, call.batch)


def gradient(call: OnePass, scale: float, out: np.ndarray) -> float:
    """Fill the gradient, scaled and weighted, and return Σ w·l."""
    totals, _ = _module(call.kernel).value_and_grad(
        *_arguments(call), **_options(call), scale=float(scale), out=out
    )
    return _heeded(totals, call.batch)


def curvature(call: OnePass) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and curvature of each item."""
    gradient, curvature = _module(call.kernel).grad_and_hess(*_arguments(call))
    return gradient, curvature
