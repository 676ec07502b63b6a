"""Fused kernels of pointwise losses.

Arrays hold one item each, of equal size, float32 or float64; ``weight`` and ``keep``
may be absent. A row that is not kept, or whose weight is 0, is removed whatever it
holds. Arithmetic is in the dtype of the prediction, sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossary.expr.formula import Formula
from lossary.kernels import threads
from lossary.kernels.cache import load
from lossary.kernels.printing import (
    Interval,
    Scale,
    Totals,
    What,
    bounds,
    chunk_count,
    coded,
    flat,
    indented,
    prepared,
    printed_header,
    specialised,
    uniform_lines,
    uniform_values,
    weigh,
)

KERNEL = """

real, real_type = np.{dtype}, blocks.real_types["{dtype}"]
numbers, data = read(types.float64), read(real_type)


@njit(
    types.void(
        data, data, data, read(types.uint8), types.float64, numbers, numbers,
        types.int64, types.int64, written(types.float64), written(types.uint8),
        {output_types}
    ),
    **blocks.compiled,
)
def kernel(
    targets, predictions, weight, keep, factor, uniforms, limits, first, last, sums,
    outside, {outputs}
):
{uniforms}
    scale, n = real(factor), predictions.shape[0]
    losses, shares = np.zeros(BLOCK, real), np.ones(BLOCK, real)
    running = np.zeros(BLOCK)
    for chunk in range(first, last):
        end = min(n, (chunk + 1) * CHUNK)
        for start in range(chunk * CHUNK, end, BLOCK):
            stop = min(start + BLOCK, end)
            ys, zs = targets[start:stop], predictions[start:stop]
{slices}
            for i in range(stop - start):
                {inputs} = ys[i], zs[i]
{body}
{stores}
{after}
            if limits.size:
                outside[chunk] |= blocks.beyond(ys, shares, limits[:3])
                outside[chunk] |= blocks.beyond(zs, shares, limits[3:])
        sums[chunk] = blocks.fold(running)
"""

OUTPUTS: dict[str, tuple[str, ...]] = {
    "value": (),
    "value_and_grad": ("gradient",),
    "grad_and_hess": ("gradient", "curvature"),
}


def printed(formula: Formula, what: What, weighted: bool, dtype: str) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss.
    what
        ``"value"``, ``"value_and_grad"`` or ``"grad_and_hess"``.
    weighted
        Whether weights or a mask are read.
    dtype
        ``"float32"`` or ``"float64"``.
    """
    code = coded(formula, what)
    outputs = OUTPUTS[what]
    results = list(code.results)
    slices = [f"{name}s = {name}[start:stop]" for name in outputs]
    stores, after = [], []
    if weighted:
        slices.append("blocks.effective(weight, keep, start, stop, shares)")
        stores.append("share = shares[i]")
    choose = "zero if share == zero else share * {}" if weighted else "{}"
    if what != "grad_and_hess":
        stores.append(f"losses[i] = {choose.format(results.pop(0))}")
        after.append("blocks.accumulate(running, losses[: stop - start])")
    for name, result in zip(outputs, results, strict=True):
        stores.append(f"{name}s[i] = {choose.format(f'(scale * {result})')}")
    text = KERNEL.format(
        dtype=dtype,
        outputs=", ".join(outputs),
        output_types="written(real_type), " * len(outputs),
        uniforms=indented(uniform_lines(code), 1),
        slices=indented(slices, 3),
        inputs=", ".join(formula.inputs),
        body=indented(code.lines, 4),
        stores=indented(stores, 4),
        after=indented(after, 3),
    )
    return printed_header(code, dtype) + text


Key = tuple[Formula, What, bool, str]

_kernels: dict[Key, Callable[..., Any]] = {}
_served: set[Key] = set()


def ready(
    formula: Formula, dtype: Any, what: What = "value_and_grad", weighted: bool = False
) -> bool:
    """Say whether a kernel is in memory, so that calling it compiles nothing.

    `weighted` asks for the kernel that reads weights or a mask.
    """
    return (formula, what, weighted, np.dtype(dtype).name) in _served


def _kernel(
    formula: Formula, what: What, weighted: bool, dtype: str
) -> Callable[..., Any]:
    key = (formula, what, weighted, dtype)
    if key not in _kernels:
        text = printed(formula, what, weighted, dtype)
        _kernels[key] = load(text, f"pointwise_{what}_{dtype}")
    return _kernels[key]


def _run(
    formula: Formula,
    what: What,
    params: Sequence[float],
    arrays: tuple[Any, Any, Any, Any],
    outputs: Sequence[Any],
    scale: float,
    limits: np.ndarray[Any, Any],
) -> tuple[float, bool]:
    """Run a kernel over all chunks; return Σ w·l and whether a limit was crossed."""
    _, z, weight, keep = arrays
    weighted = bool(weight.size or keep.size)
    _served.add((formula, what, weighted, z.dtype.name))
    formula, params = specialised(formula, tuple(params))
    kernel = _kernel(formula, what, weighted, z.dtype.name)
    uniforms = uniform_values(formula, coded(formula, what), params)
    chunks = chunk_count(z.size)
    sums, outside = np.zeros(chunks), np.zeros(chunks, np.uint8)

    def part(first: int, last: int) -> None:
        kernel(*arrays, scale, uniforms, limits, first, last, sums, outside, *outputs)

    threads.run(part, chunks)
    return float(sums.sum()), bool(outside.any())


def _arrays(y: Any, z: Any, weight: Any, keep: Any) -> tuple[Any, Any, Any, Any]:
    z = flat(z, None)
    return flat(y, z.dtype), z, *prepared(weight, keep, z.dtype)


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
        Closed intervals to check on the way, as two ends and whether only the ends
        are inside; NaN lies in every interval.
    """
    arrays = _arrays(y, z, weight, keep)
    denominator, count = weigh(*arrays[2:], arrays[1].size)
    limits = bounds(y_range, z_range)
    numerator, outside = _run(formula, "value", params, arrays, (), 1.0, limits)
    return Totals(numerator, denominator, count, outside)


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    y: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    scale: Scale = 1.0,
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
        A number, or a function of Σw and the count that gives it.
    out
        Where the gradient goes: a contiguous array of the prediction's shape and
        dtype. Worth passing in a loop: fresh memory costs as much as the whole pass.
    """
    arrays = _arrays(y, z, weight, keep)
    denominator, count = weigh(*arrays[2:], arrays[1].size)
    factor = scale(denominator, count) if callable(scale) else scale
    out = np.empty(np.shape(z), arrays[1].dtype) if out is None else out
    limits = bounds(y_range, z_range)
    numerator, outside = _run(
        formula, "value_and_grad", params, arrays, (out.reshape(-1),), factor, limits
    )
    return Totals(numerator, denominator, count, outside), out


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
    flats = tuple(o.reshape(-1) for o in out)
    _run(formula, "grad_and_hess", params, arrays, flats, 1.0, bounds(None, None))
    return out
