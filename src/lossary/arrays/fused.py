"""When a compiled kernel serves a call, and how it is called with a batch."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import kernels
from lossary.expr.formula import Formula

COMPILED_FROM = 1 << 13
"""Items from which a kernel is worth compiling: a tenth of a second, once."""

LOADED_FROM = 1
"""Items from which a kernel that is in memory already beats NumPy."""

CALLS = 1 << 10
"""Small calls that together took about as long as it takes to load a kernel."""


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


def serves(
    kernel: str | None,
    formula: Formula,
    y: Any,
    z: Any,
    counting: Any = None,
    what: str = "value_and_grad",
) -> bool:
    """Say whether a compiled kernel is to compute arrays like these."""
    if (
        kernel is None
        or z.size < LOADED_FROM
        or z.dtype not in (np.float32, np.float64)
    ):
        return False
    if not kernels.available():
        return False
    if z.size >= COMPILED_FROM or _loaded(kernel, formula, y, z, counting, what):
        return True
    _calls[kernel, formula, what] += 1
    return worth_loading(z.size, _calls[kernel, formula, what])


_calls: Counter[tuple[str, Formula, str]] = Counter()
"""How many calls of a kernel that is not in memory there have been."""


def _loaded(
    kernel: str, formula: Formula, y: Any, z: Any, counting: Any, what: str
) -> bool:
    """Say whether the kernel of a call is in memory, so that it compiles nothing."""
    kinds: dict[str, Any]
    if kernel == "overlap":
        kinds = {"classes": z.shape[-1] if y.ndim < z.ndim else 0}
    else:
        counts = counting is not None
        kinds = {
            "weighted": counts
            and (counting.weight is not None or counting.keep is not None)
        }
    if kernel in ("rows", _SMOOTHED):
        smoothed = kernel == _SMOOTHED
        labels, classes = y.ndim < z.ndim, z.shape[-1]
        kinds |= {"labels": labels, "classes": classes, "smoothed": smoothed}
    return bool(_module(kernel).ready(formula, z.dtype, what, **kinds))


_SMOOTHED = "smoothed_rows"


def _module(kernel: str) -> Any:
    name = "rows" if kernel == _SMOOTHED else kernel
    return importlib.import_module(f"lossary.kernels.{name}")


def worth_loading(items: int, calls: int) -> bool:
    """Say whether a kernel is worth loading for the last of so many calls."""
    return (items >= COMPILED_FROM or calls >= CALLS) and kernels.available()


def small_kernel(kind: str, *call: Any) -> Any:
    """Return a kernel of `lossary.kernels.small`."""
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
