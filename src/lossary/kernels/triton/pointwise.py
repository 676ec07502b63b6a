"""Pointwise losses on a card: values, gradients and sums in one pass over memory.

Arrays hold one item each, of equal size; ``weight`` and ``keep`` may be absent. A row
that is not kept, or whose weight is 0, is removed whatever it holds. Half precision
is read and written as it is; arithmetic is in float32 or float64, sums are in float64:
one for each block, which are added in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.formula import Formula
from lossary.expr.graph import symbol
from lossary.kernels.call import (
    EVERYTHING,
    Interval,
    What,
    lowered,
    specialised,
    uniform_values,
)
from lossary.kernels.llvm.lanes import Type
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.triton import calls
from lossary.kernels.triton.calls import Scale, Totals, uniform_blocks
from lossary.kernels.triton.modules import load
from lossary.kernels.triton.values import KINDS, NAMES, Block, Body, indented

BLOCK = 1024
"""Items of one program."""

# Limits are two ends, and whether only the ends themselves are inside.
KERNEL = """
@triton.jit
def beyond(x, limits_at):
    low, high = tl.load(limits_at), tl.load(limits_at + 1)
    x = x.to(tl.float64)
    strict = tl.where(x == x, tl.load(limits_at + 2), 0.0) != 0.0
    return (x < low) | (x > high) | (strict & (x != low) & (x != high))


@triton.jit
def kernel(
    target_at, score_at, weight_at, keep_at, gradient_at, scale_at, numbers_at,
    sums_at, n, programs,
    WEIGHTED: tl.constexpr, KEPT: tl.constexpr, SCALED: tl.constexpr,
    WRITTEN: tl.constexpr, LIMITED: tl.constexpr, BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    item = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = item < n
    {target} = tl.load(target_at + item, mask=there, other=1.0).to({real})
    {score} = tl.load(score_at + item, mask=there, other=1.0).to({real})
    share = tl.full((BLOCK,), 1.0, {real})
    counted = there
    if WEIGHTED:
        share = tl.load(weight_at + item, mask=there, other=0.0).to({real})
        counted = counted & (share != 0.0)
    if KEPT:
        counted = counted & (tl.load(keep_at + item, mask=there, other=0) != 0)
{lines}
    loss = tl.where(counted, share * {value}, {zero})
    tl.store(sums_at + program, tl.sum(loss.to(tl.float64), axis=0))
    if LIMITED:
        found = beyond({target}, numbers_at + {limits})
        found = (found | beyond({score}, numbers_at + {limits} + 3)) & counted
        found = tl.sum(found.to(tl.int32), axis=0)
        tl.store(sums_at + programs + program, found.to(tl.float64))
    if WRITTEN:
        slope = {slope}
        if SCALED:
            slope = tl.load(scale_at).to({real}) * slope
        slope = tl.where(counted, share * slope, {zero})
        tl.store(gradient_at + item, slope, mask=there)
"""


def printed(formula: Formula, what: What, dtype: str) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss.
    what
        ``"value"`` or ``"value_and_grad"``.
    dtype
        What is computed in, ``"float32"`` or ``"float64"``.
    """
    kind, roots, body = KINDS[dtype], lowered(formula, what), Body("(BLOCK,)")
    parts = uniform(roots)
    target, score = formula.inputs
    known = {symbol(x): Block(body, Type(kind), x) for x in formula.inputs}
    results = computed(roots, known | uniform_blocks(body, parts, kind))
    return KERNEL.format(
        lines=indented(body.lines),
        target=target,
        score=score,
        value=results[0].name,
        slope=results[-1].name,
        limits=len(parts),
        real=NAMES[kind],
        zero=f"tl.full((), 0.0, {NAMES[kind]})",
    )


@lru_cache(maxsize=256)
def _kernel(formula: Formula, what: What, dtype: str) -> Callable[..., Any]:
    return load(printed(formula, what, dtype), f"{what}_{dtype}")


def total(
    formula: Formula,
    params: Sequence[float],
    y: torch.Tensor,
    z: torch.Tensor,
    *,
    weight: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
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
    ranges = y_range, z_range
    return _run(formula, params, (y, z, weight, keep), ranges, 1.0, None)


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    y: torch.Tensor,
    z: torch.Tensor,
    *,
    weight: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    scale: Scale = 1.0,
    out: torch.Tensor | None = None,
    y_range: Interval | None = None,
    z_range: Interval | None = None,
) -> tuple[Totals, torch.Tensor]:
    """Add up the losses, and write scale·w·gradient for each item.

    Parameters
    ----------
    formula, params, y, z, weight, keep, y_range, z_range
        As for `total`.
    scale
        A number, or a tensor of one number.
    out
        Where the gradient goes: contiguous, of the prediction's shape.
    """
    if out is None:
        out = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    ranges = y_range, z_range
    return _run(formula, params, (y, z, weight, keep), ranges, scale, out), out


def _run(
    formula: Formula,
    params: Sequence[float],
    arrays: Sequence[torch.Tensor | None],
    ranges: tuple[Interval | None, Interval | None],
    scale: Scale,
    out: torch.Tensor | None,
) -> Totals:
    y, z, weight, keep = map(calls.flat, arrays)
    assert z is not None
    formula, params = specialised(formula, tuple(params))
    what: What = "value" if out is None else "value_and_grad"
    numbers, limited = uniform_values(formula, what, params), any(ranges)
    if limited:
        numbers += tuple(float(x) for r in ranges for x in r or EVERYTHING)
    factor = calls.scale_on_card(scale, z.device)
    programs = -(-z.numel() // BLOCK)
    sums = torch.empty((1 + limited, programs), dtype=torch.float64, device=z.device)
    calls.start(
        _kernel(formula, what, calls.real_of(z)), programs, z,
        y, z, weight, keep, None if out is None else out.view(-1), factor,
        calls.on_card(numbers, z.device), sums, z.numel(), programs,
        WEIGHTED=weight is not None, KEPT=keep is not None, SCALED=factor is not None,
        WRITTEN=out is not None, LIMITED=limited, BLOCK=BLOCK,
    )  # fmt: skip
    totals = sums.sum(1)
    return Totals(totals[0], totals[1] != 0 if limited else None)
