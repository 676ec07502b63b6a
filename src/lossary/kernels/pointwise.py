"""Fused kernels of pointwise losses.

Arrays hold one item each, of equal size, float32 or float64; ``weight`` and ``keep``
may be absent. A row that is not kept, or whose weight is 0, is removed whatever it
holds. Arithmetic is in the dtype of the prediction, sums are in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lossary.expr.formula import Formula
from lossary.expr.graph import symbol
from lossary.kernels.call import (
    OUTPUTS,
    Compiled,
    Totals,
    What,
    lowered,
    specialised,
    sweep,
    uniform_values,
)
from lossary.kernels.interval import Interval, Ranges
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import KINDS, Value, choose, vector
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.staging import line
from lossary.kernels.llvm.walk import FLAG, SIGNATURE, constants, walk
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.weights import prepared, reads, share


@dataclass(frozen=True)
class Variant:
    """What a kernel is printed for.

    Attributes
    ----------
    formula
        The loss.
    what
        What is computed.
    kind
        ``"float"`` or ``"double"``.
    weight, keep
        Whether weights are read, and whether a mask is.
    ranges
        What counted targets and predictions are compared with, if they are.
    """

    formula: Formula
    what: What
    kind: str
    weight: bool
    keep: bool
    ranges: Ranges


def printed(variant: Variant) -> str:
    """Print the module of one kernel.

    The numbers of its calls are the scale and the uniform values.
    """
    kind = variant.kind
    function = Function(SIGNATURE)
    roots = lowered(variant.formula, variant.what)
    inputs = [symbol(name) for name in variant.formula.inputs]
    parts = uniform(roots)
    scale, *numbers = constants(function, kind, 1 + len(parts))
    known = dict(zip(parts, numbers, strict=True))
    removing = variant.weight or variant.keep
    outside = function.variable(function.constant(False, vector(kind).of("i1")))

    def body(i: Value, live: Value, ins: Any, outs: Any) -> list[Value]:
        y, z = (x.load(i) for x in ins[:2])
        own, counted = share(ins, i, live, variant.weight, variant.keep)
        results = computed(roots, known | dict(zip(inputs, (y, z), strict=True)))
        sums = []
        if variant.what != "grad_and_hess":
            loss = results.pop(0)
            sums.append(choose(counted, loss if own is None else own * loss, 0.0))
        for out, result in zip(outs, results, strict=True):
            scaled = scale * result if own is None else own * (scale * result)
            out.store(choose(counted, scaled, 0.0) if removing else scaled, i)
        for x, legal in zip((y, z), variant.ranges, strict=True):
            if legal:
                outside.set(outside.get() | (counted & _outside(x, legal)))
        return sums

    found = [kind, kind, *reads(kind, variant.weight, variant.keep)]
    outputs = [kind] * OUTPUTS[variant.what]
    walk(function, kind, found, outputs, int(variant.what != "grad_and_hess"), body)
    if any(variant.ranges):
        with function.when(function.any(outside.get())):
            function.store(function.constant(1), function["slots"], FLAG)
    return function.text()


def _outside(x: Value, legal: Interval) -> Value:
    """Say where a value is not legal."""
    bad = (x < legal.low) | (x > legal.high)
    if legal.ends_only:
        bad = (x == x) & (x != legal.low) & (x != legal.high)
    return bad if legal.excluded is None else bad | (x == legal.excluded)


@lru_cache(maxsize=1024)
def _kernel(variant: Variant) -> Compiled:
    name = f"pointwise-{variant.what}-{variant.kind}"
    return load(printed(variant), name)


@lru_cache(maxsize=4096)
def planned(
    formula: Formula,
    what: What,
    params: tuple[float, ...],
    kind: str,
    weight: bool,
    keep: bool,
    ranges: Ranges,
) -> tuple[Compiled, tuple[float, ...]]:
    """Return a kernel, and its numbers but for the scale."""
    formula, params = specialised(formula, params)
    uniforms = uniform_values(formula, what, params)
    variant = Variant(formula, what, kind, weight, keep, ranges)
    return _kernel(variant), uniforms


def _run(
    formula: Formula,
    what: What,
    params: Sequence[float],
    arrays: tuple[Any, Any, Any, Any],
    outputs: Sequence[Any],
    scale: float,
    ranges: Ranges,
) -> tuple[float, bool]:
    """Run a kernel over all chunks; return Σ w·l and whether a limit was crossed."""
    y, z, weight, keep = arrays
    weighted, masked = weight is not None, keep is not None
    kernel, numbers = planned(
        formula, what, tuple(params), KINDS[z.dtype], weighted, masked, ranges
    )
    lines = [line(y), line(z)]
    if weighted or masked:
        lines += prepared(weight, keep, z.dtype)
    filled = [line(x) for x in outputs]
    adds = int(what != "grad_and_hess")
    sums, outside = sweep(kernel, z.size, lines + filled, (scale, *numbers), adds)
    for x, (flat, _) in zip(outputs, filled, strict=True):
        if flat is not x and not np.may_share_memory(x, flat):  # it has no one stride
            x[...] = flat.reshape(x.shape)
    return sum(sums), outside


def _arrays(y: Any, z: Any, weight: Any, keep: Any) -> tuple[Any, Any, Any, Any]:
    z = np.asarray(z)
    return np.asarray(y, z.dtype), z, weight, keep


def total(
    formula: Formula,
    params: Sequence[float],
    y: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    y_range: Interval | None = None,
    z_range: Interval | None = None,
) -> Totals:
    """Add up the losses.

    Parameters
    ----------
    formula
        The loss.
    params
        Its parameters, in the formula's order.
    y, z
        Target and prediction.
    weight
        A weight per item.
    keep
        True where an item counts.
    y_range, z_range
        What is legal, to be checked on the way.
    """
    arrays = _arrays(y, z, weight, keep)
    ranges = y_range, z_range
    return Totals(*_run(formula, "value", params, arrays, (), 1.0, ranges))


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    y: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    scale: float = 1.0,
    out: Any = None,
    y_range: Interval | None = None,
    z_range: Interval | None = None,
) -> tuple[Totals, Any]:
    """Add up the losses, and write scale·w·gradient for each item.

    Parameters
    ----------
    formula, params, y, z, weight, keep, y_range, z_range
        As for `total`.
    scale
        The factor of the gradient.
    out
        Where the gradient goes: an array of the prediction's shape and dtype. Worth
        passing in a loop: fresh memory costs as much as the whole pass.
    """
    arrays = _arrays(y, z, weight, keep)
    out = np.empty(np.shape(z), arrays[1].dtype) if out is None else out
    ranges = y_range, z_range
    found = _run(formula, "value_and_grad", params, arrays, (out,), scale, ranges)
    return Totals(*found), out


def grad_and_hess(
    formula: Formula,
    params: Sequence[float],
    y: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Write w·gradient and w·curvature for each item.

    Parameters
    ----------
    formula, params, y, z, weight, keep
        As for `total`.
    out
        Two arrays to fill, as for `value_and_grad`.
    """
    arrays = _arrays(y, z, weight, keep)
    if out is None:
        out = (
            np.empty(np.shape(z), arrays[1].dtype),
            np.empty(np.shape(z), arrays[1].dtype),
        )
    _run(formula, "grad_and_hess", params, arrays, out, 1.0, (None, None))
    return out
