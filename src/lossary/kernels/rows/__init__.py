"""Fused kernels of rowwise losses: softmax and loss while a row is in the cache.

The formula sees the log-odds of a class against all others, u = z - log Σ_others e^z.
Where labels are given, the others' maximum is subtracted, never the true class's own
score, so that a confident row keeps all its digits and nothing underflows, and the
formula is evaluated once per row, with more digits than the scores have. The loss
-y·log p needs no formula, but one logarithm a row. It, distributions, and smoothed
labels are computed in the format of the scores, and summed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_double, c_int64
from functools import lru_cache
from typing import Any

import numpy as np

from lossary.expr.formula import Formula
from lossary.kernels import threads
from lossary.kernels.call import (
    Compiled,
    Totals,
    What,
    address,
    evaluated,
    specialised,
)
from lossary.kernels.llvm.lanes import KINDS
from lossary.kernels.llvm.machine import load
from lossary.kernels.log_loss import is_log_loss
from lossary.kernels.rows import lanes, scan
from lossary.kernels.rows.parts import WIDEST, Variant
from lossary.kernels.sizes import CHUNK

FEW = 32
"""Up to so many classes, a row takes one lane; beyond, it takes whole vectors."""

FEW_FORMULAS = 10
"""The same where a formula is evaluated, and so printed, for every class."""


def _target(labels: bool, smoothed: bool) -> str:
    return ("smoothed" if smoothed else "label") if labels else "distribution"


def _width(formula: Formula, target: str, classes: int) -> int:
    """Return the number of classes that a kernel is printed for; 0 for any."""
    once = target == "label" or is_log_loss(formula)
    return classes if classes <= (FEW if once else FEW_FORMULAS) else 0


@lru_cache(maxsize=1024)
def _kernel(variant: Variant) -> Compiled:
    way = lanes if variant.width else scan
    name = f"rows-{variant.target}-{variant.what}-{variant.kind}"
    return load(way.printed(variant), name)


@lru_cache(maxsize=4096)
def planned(
    formula: Formula,
    what: What,
    params: tuple[float, ...],
    target: str,
    kind: str,
    classes: int,
    weight: bool,
    keep: bool,
) -> tuple[Compiled, tuple[float, ...]]:
    """Return a kernel, and what depends on parameters alone."""
    width = _width(formula, target, classes)
    formula, params = specialised(formula, params)
    variant = Variant(formula, what, kind, target, weight, keep, width)
    given = dict(zip(formula.params, params, strict=True))
    return _kernel(variant), evaluated(variant.roots, given)


def total(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    smoothing: float = 0.0,
) -> Totals:
    """Add up the losses of the rows; see `value_and_grad`."""
    call = _Call(target, z, (weight, keep), smoothing)
    return call.run(formula, "value", params, 1.0, ())


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    smoothing: float = 0.0,
    scale: float = 1.0,
    out: Any = None,
) -> tuple[Totals, Any]:
    """Add up the losses of the rows, and write scale·w·gradient.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    params
        Its parameters, in the formula's order.
    target
        A class number per row, or a distribution over the classes per row.
    z
        Class scores, float32 or float64, the class axis last.
    weight, keep
        A weight per row; True where a row counts.
    smoothing
        The share ε of a target that is spread evenly over all k classes: the formula
        sees (1 - ε)·y + ε/k.
    scale
        The factor of the gradient.
    out
        Where the gradient goes: a contiguous array of the shape and dtype of `z`. It
        may be `z` itself.

    Returns
    -------
    Totals
        ``outside`` says that a counted label names no class, its row costs NaN; or
        that a counted target is no distribution.
    numpy.ndarray
        The gradient in `z`.
    """
    call = _Call(target, z, (weight, keep), smoothing)
    out = np.empty(call.z.shape, call.z.dtype) if out is None else out
    return call.run(formula, "value_and_grad", params, scale, (out,)), out


def grad_and_hess(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    *,
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Return gradient and diagonal curvature in the class scores, of class numbers.

    Parameters are those of `value_and_grad`; `out` is two arrays to fill.
    """
    call = _Call(target, z, (None, None), 0.0)
    if out is None:
        out = np.empty_like(call.z), np.empty_like(call.z)
    call.run(formula, "grad_and_hess", params, 1.0, out)
    return out


class _Call:
    """The arrays of a call, each side by side in memory."""

    def __init__(
        self, target: Any, z: Any, counting: tuple[Any, Any], smoothing: float
    ) -> None:
        self.z = z = np.ascontiguousarray(z)
        self.classes = z.shape[-1]
        self.rows = z.size // self.classes
        labels = np.ndim(target) < z.ndim
        self.target = _target(labels, bool(smoothing))
        self.shares = 1 - smoothing, smoothing / self.classes
        self.y = np.ascontiguousarray(target, np.int64 if labels else z.dtype)
        weight, keep = counting
        self.weight, self.keep = _flat(weight, z.dtype), _flat(keep, np.bool_)

    def run(
        self,
        formula: Formula,
        what: What,
        params: Sequence[float],
        scale: float,
        outputs: tuple[Any, ...],
    ) -> Totals:
        """Compute all rows."""
        given = self.weight is not None, self.keep is not None
        aim = self.target, KINDS[self.z.dtype], self.classes
        kernel, uniforms = planned(formula, what, tuple(params), *aim, *given)
        numbers = scale, *self.shares, *uniforms
        reals = (c_double * len(numbers))(*numbers)
        chunk, step = chunk_of(self.classes), scan.step(self.classes)
        chunks = -(-self.rows // chunk)
        sums, flag = np.zeros(chunks), np.zeros(1, np.int8)
        first, second = (*outputs, None, None)[:2]
        arrays = (sums, flag, self.y, self.z, first, second, self.weight, self.keep)
        fixed = (self.rows, self.classes, chunk, step, *map(_address, arrays))

        def part(start: int, stop: int) -> None:
            work = np.empty(scan.room(self.classes), self.z.dtype)
            slots = (*fixed, address(work))
            kernel((c_int64 * len(slots))(*slots), reals, start, stop)

        threads.run(part, chunks)
        return Totals(float(sums.sum()), bool(flag[0]))


def chunk_of(classes: int) -> int:
    """Return the number of rows that are summed together, whoever does it."""
    rows = max(1, CHUNK // classes)
    return rows if rows < WIDEST else rows & -WIDEST


def _address(x: Any) -> int:
    return 0 if x is None else address(x)


def _flat(x: Any, dtype: Any) -> Any:
    """Return one number per row, side by side."""
    return None if x is None else np.ascontiguousarray(x, dtype).reshape(-1)
