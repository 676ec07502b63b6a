"""When a compiled kernel serves a call, and how it is called with a batch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from lossary import kernels
from lossary.expr.formula import Formula

COMPILED_FROM = 1 << 18
"""Items from which compiling a kernel is worth its second, once per machine."""

LOADED_FROM = 1 << 12
"""Items from which a kernel that is in memory already beats NumPy."""


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
    return z.size >= COMPILED_FROM or _loaded(kernel, formula, y, z, counting, what)


def _loaded(
    kernel: str, formula: Formula, y: Any, z: Any, counting: Any, what: str
) -> bool:
    """Say whether the kernel of a call is in memory, so that it compiles nothing."""
    if kernel == "rows":
        kinds = {"labels": y.ndim < z.ndim}
    else:
        counts = counting is not None
        kinds = {
            "weighted": counts
            and (counting.weight is not None or counting.keep is not None)
        }
    return bool(_module(kernel).ready(formula, z.dtype, what, **kinds))


def _module(kernel: str) -> Any:
    return importlib.import_module(f"lossary.kernels.{kernel}")


def _options(batch: Any) -> dict[str, Any]:
    counting = batch.counting
    return {"weight": counting.weight, "keep": counting.keep}


def _ranges(kernel: str, batch: Any) -> dict[str, Any]:
    if kernel != "pointwise":
        return {}
    return dict(zip(("y_range", "z_range"), batch.ranges, strict=True))


def _heeded(totals: Any, batch: Any) -> float:
    """Return the numerator; name the offending rows if the kernel met any."""
    if totals.outside and batch.complain is not None:
        batch.complain()
    return float(totals.numerator)


def total(
    kernel: str, formula: Formula, params: tuple[float, ...], batch: Any
) -> float:
    """Return Σ w·l."""
    totals = _module(kernel).total(
        formula, params, batch.y, batch.z, **_options(batch), **_ranges(kernel, batch)
    )
    return _heeded(totals, batch)


def gradient(
    kernel: str,
    formula: Formula,
    params: tuple[float, ...],
    batch: Any,
    scale: float,
    out: np.ndarray,
) -> float:
    """Fill the gradient, scaled and weighted, and return Σ w·l."""
    totals, _ = _module(kernel).value_and_grad(
        formula,
        params,
        batch.y,
        batch.z,
        **_options(batch),
        **_ranges(kernel, batch),
        scale=float(scale),
        out=out,
    )
    return _heeded(totals, batch)


def curvature(
    kernel: str, formula: Formula, params: tuple[float, ...], y: Any, z: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and curvature of each item."""
    gradient, curvature = _module(kernel).grad_and_hess(formula, params, y, z)
    return gradient, curvature
