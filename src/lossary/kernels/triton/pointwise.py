"""Pointwise losses on a card: values, gradients and sums in one pass over memory.

Half precision is read and written as it is; arithmetic is in float32 or float64, sums
are in float64: one for each block, which are added in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.formula import Formula
from lossary.expr.graph import symbol
from lossary.kernels.call import What, lowered, specialised, uniform_values
from lossary.kernels.interval import Interval
from lossary.kernels.llvm.lanes import Type
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.triton import calls
from lossary.kernels.triton.calls import Inputs, Scale, Totals, uniform_blocks
from lossary.kernels.triton.modules import load
from lossary.kernels.triton.values import KINDS, NAMES, Block, Body, indented

BLOCK = 1024
"""Items of one program."""

READ = """
    item = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = item < n
    {target} = tl.load(target_at + item, mask=there, other=1.0).to({real})
    {score} = tl.load(score_at + item, mask=there, other=1.0).to({real})
{lines}
"""

# Limits are two ends, whether only these are legal, and a value that is not, or NaN.
SUMS = """
@triton.jit
def beyond(x, limits_at):
    low, high = tl.load(limits_at), tl.load(limits_at + 1)
    x = x.to(tl.float64)
    strict = tl.where(x == x, tl.load(limits_at + 2), 0.0) != 0.0
    bad = (x < low) | (x > high) | (x == tl.load(limits_at + 3))
    return bad | (strict & (x != low) & (x != high))


@triton.jit
def kernel(
    target_at, score_at, weight_at, keep_at, gradient_at, scale_at, numbers_at,
    sums_at, n, programs,
    WEIGHTED: tl.constexpr, KEPT: tl.constexpr, SCALED: tl.constexpr,
    WRITTEN: tl.constexpr, LIMITED: tl.constexpr, BLOCK: tl.constexpr,
):
{read}
    share = tl.full((BLOCK,), 1.0, {real})
    counted = there
    if WEIGHTED:
        share = tl.load(weight_at + item, mask=there, other=0.0).to({real})
        counted = counted & (share != 0.0)
    if KEPT:
        counted = counted & (tl.load(keep_at + item, mask=there, other=0) != 0)
    loss = tl.where(counted, share * {first}, {zero})
    program = tl.program_id(0)
    tl.store(sums_at + program, tl.sum(loss.to(tl.float64), axis=0))
    if LIMITED:
        found = beyond({target}, numbers_at + {limits})
        found = (found | beyond({score}, numbers_at + {limits} + 4)) & counted
        found = tl.sum(found.to(tl.int32), axis=0)
        tl.store(sums_at + programs + program, found.to(tl.float64))
    if WRITTEN:
        slope = {last}
        if SCALED:
            slope = tl.load(scale_at).to({real}) * slope
        slope = tl.where(counted, share * slope, {zero})
        tl.store(gradient_at + item, slope, mask=there)
"""

CURVES = """
@triton.jit
def kernel(
    target_at, score_at, gradient_at, curvature_at, numbers_at, n, BLOCK: tl.constexpr
):
{read}
    tl.store(gradient_at + item, {first}, mask=there)
    tl.store(curvature_at + item, {last}, mask=there)
"""


def printed(formula: Formula, what: What, dtype: str) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss.
    what
        What is computed for each item.
    dtype
        What is computed in, ``"float32"`` or ``"float64"``.
    """
    kind, roots, body = KINDS[dtype], lowered(formula, what), Body("(BLOCK,)")
    parts = uniform(roots)
    known = {symbol(x): Block(body, Type(kind), x) for x in formula.inputs}
    results = computed(roots, known | uniform_blocks(body, parts, kind))
    target, score = formula.inputs
    names = {"target": target, "score": score, "real": NAMES[kind]}
    return (CURVES if what == "grad_and_hess" else SUMS).format(
        **names,
        read=READ.format(**names, lines=indented(body.lines)).strip("\n"),
        first=results[0].name,
        last=results[-1].name,
        limits=len(parts),
        zero=f"tl.full((), 0.0, {NAMES[kind]})",
    )


@lru_cache(maxsize=256)
def _kernel(formula: Formula, what: What, dtype: str) -> Callable[..., Any]:
    return load(printed(formula, what, dtype), f"{what}_{dtype}")


def _planned(
    inputs: Inputs, what: What
) -> tuple[Callable[..., Any], tuple[float, ...], int]:
    """Return a kernel, its numbers, and how many programs it takes."""
    formula, params = specialised(inputs.formula, inputs.params)
    numbers = uniform_values(formula, what, params)
    return _kernel(formula, what, inputs.real), numbers, -(-inputs.z.numel() // BLOCK)


def run(inputs: Inputs, scale: Scale = 1.0, out: torch.Tensor | None = None) -> Totals:
    """Add up the losses and, where there is room, write scale·w·gradient.

    Parameters
    ----------
    inputs
        What is read.
    scale
        A number, or a tensor of one number.
    out
        Where the gradient goes: contiguous, of the prediction's shape.

    Returns
    -------
    Totals
        ``outside`` says that a counted value is not legal.
    """
    y, z, weight, keep = inputs.flat()
    assert z is not None
    kernel, numbers, programs = _planned(
        inputs, "value" if out is None else "value_and_grad"
    )
    limited = any(inputs.ranges)
    if limited:
        numbers += tuple(x for r in inputs.ranges for x in _limits(r or Interval()))
    factor = calls.scale_on_card(scale, z.device)
    sums = torch.empty((1 + limited, programs), dtype=torch.float64, device=z.device)
    calls.start(
        kernel, programs, z,
        y, z, weight, keep, None if out is None else out.view(-1), factor,
        calls.on_card(numbers, z.device), sums, z.numel(), programs,
        WEIGHTED=weight is not None, KEPT=keep is not None, SCALED=factor is not None,
        WRITTEN=out is not None, LIMITED=limited, BLOCK=BLOCK,
    )  # fmt: skip
    totals = sums.sum(1)
    return Totals(totals[0], totals[1] != 0 if limited else None)


def _limits(legal: Interval) -> tuple[float, ...]:
    excluded = math.nan if legal.excluded is None else legal.excluded
    return legal.low, legal.high, float(legal.ends_only), excluded


def curved(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradient and curvature of each item, in the prediction's format.

    Weights and masks are not looked at.
    """
    y, z, *_ = inputs.flat()
    assert z is not None
    kernel, numbers, programs = _planned(inputs, "grad_and_hess")
    gradient, curvature = (
        torch.empty(inputs.z.shape, dtype=z.dtype, device=z.device) for _ in range(2)
    )
    calls.start(
        kernel, programs, z,
        y, z, gradient.view(-1), curvature.view(-1),
        calls.on_card(numbers, z.device), z.numel(), BLOCK=BLOCK,
    )  # fmt: skip
    return gradient, curvature
