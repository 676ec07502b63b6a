"""Rowwise losses of class numbers on a card: softmax and loss, a row at a time.

The formula sees the log-odds of the true class against all others,
u = z - log Σ_others e^z. The others have a maximum of their own, so that a confident
row keeps all its digits and nothing underflows. A program walks over its rows twice,
block by block: once for that maximum and the sum (the online softmax of Milakov and
Gimelshein 2018, Online normalizer calculation for softmax, arXiv:1805.02867), once to
write the gradient, which may go over the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.formula import Formula
from lossary.expr.graph import Node, symbol
from lossary.kernels import vecmath
from lossary.kernels.call import lowered, specialised, uniform_values
from lossary.kernels.llvm.lanes import Type, Value
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.triton import calls
from lossary.kernels.triton.calls import Scale, Totals, uniform_blocks
from lossary.kernels.triton.modules import load
from lossary.kernels.triton.values import KINDS, NAMES, Block, Body, function, indented

WIDEST = 4096
"""Classes that are looked at at once, at most."""

TILE = 2048
"""Scores that a program of short rows looks at at once."""

# The true class's score is read with the others and dropped afterwards: a mask with a
# hole would make many loads of a wide one. The formula is evaluated once per row, in
# float64. A score at the maximum counts 1 even where both are infinite.
KERNEL = """
@triton.jit
def against(x, top):
    shift = tl.where(top == {lowest}, {zero}, top)[:, None]
    return tl.where(x == shift, {one}, decay(x - shift))


@triton.jit
def kernel(
    label_at, score_at, weight_at, keep_at, gradient_at, scale_at, numbers_at,
    sums_at, rows, classes, programs,
    WEIGHTED: tl.constexpr, KEPT: tl.constexpr, SCALED: tl.constexpr,
    WRITTEN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    row = program.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    counted = row < rows
    share = tl.full((ROWS,), 1.0, tl.float64)
    if WEIGHTED:
        share = tl.load(weight_at + row, mask=counted, other=0.0).to(tl.float64)
        counted = counted & (share != 0.0)
    if KEPT:
        counted = counted & (tl.load(keep_at + row, mask=counted, other=0) != 0)
    label = tl.load(label_at + row, mask=counted, other=0).to(tl.int64)
    known = counted & (label >= 0) & (label < classes)
    first = row * classes
    own = tl.load(score_at + first + label, mask=known, other=float("nan"))

    top = tl.full((ROWS,), float("-inf"), {real})
    mass = tl.full((ROWS,), 0.0, tl.float64)
    for start in range(0, classes, BLOCK):
        here = counted[:, None] & (column + start < classes)
        place = score_at + (first[:, None] + (column + start))
        x = tl.load(place, mask=here, other=float("-inf")).to({real})
        x = tl.where(column + start == label[:, None], {lowest}, x)
        higher = tl.maximum(top, tl.max(x, axis=1))
        lowered = tl.where(top == higher, {one}, decay(top - higher))
        added = tl.sum(against(x, higher).to(tl.float64), axis=1)
        mass = mass * lowered.to(tl.float64) + added
        top = higher

    {score} = own.to(tl.float64) - top.to(tl.float64) - log(mass)
{lines}
    loss = tl.where(counted, share * {value}, 0.0)
    tl.store(sums_at + program, tl.sum(loss, axis=0))
    outside = tl.sum((counted & (known == 0)).to(tl.int32), axis=0)
    tl.store(sums_at + programs + program, outside.to(tl.float64))

    if WRITTEN:
        if SCALED:
            share = share * tl.load(scale_at).to(tl.float64)
        slope = tl.where(counted, share * {slope}, 0.0)
        # No other class, or none in reach: nothing to share the slope.
        alone = mass == 0.0
        shared = slope * -1.0 / tl.where(alone, 1.0, mass)
        shared = tl.where(alone, slope * 0.0, shared).to({real})[:, None]
        for start in range(0, classes, BLOCK):
            true = column + start == label[:, None]
            here = counted[:, None] & (column + start < classes)
            offset = first[:, None] + (column + start)
            x = tl.load(score_at + offset, mask=here, other=float("-inf"))
            filled = shared * against(x.to({real}), top)
            filled = tl.where(true, slope.to({real})[:, None], filled)
            inside = (row < rows)[:, None] & (column + start < classes)
            tl.store(gradient_at + offset, filled, mask=inside)
"""


def _of_true_class(formula: Formula) -> Formula:
    return formula.at(**{formula.inputs[0]: 1.0})


def printed(formula: Formula, dtype: str) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    dtype
        What the exponentials are computed in, ``"float32"`` or ``"float64"``.
    """
    kind, score, body = KINDS[dtype], formula.inputs[1], Body("(ROWS,)")
    roots = lowered(_of_true_class(formula), "value_and_grad")
    known: dict[Node, Value] = {symbol(score): Block(body, Type("double"), score)}
    known |= uniform_blocks(body, uniform(roots), "double")
    value, slope = computed(roots, known)
    real = NAMES[kind]
    text = KERNEL.format(
        lines=indented(body.lines),
        score=score,
        value=value.name,
        slope=slope.name,
        real=real,
        lowest=f'tl.full((), float("-inf"), {real})',
        zero=f"tl.full((), 0.0, {real})",
        one=f"tl.full((), 1.0, {real})",
    )
    decay = function("decay", vecmath.decay, kind)
    return "\n\n".join((decay, function("log", vecmath.log, "double"), text))


@lru_cache(maxsize=64)
def _kernel(formula: Formula, dtype: str) -> Callable[..., Any]:
    return load(printed(formula, dtype), f"rows_{dtype}")


def total(
    formula: Formula,
    params: Sequence[float],
    target: torch.Tensor,
    z: torch.Tensor,
    *,
    weight: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
) -> Totals:
    """Add up the losses of the rows; see `value_and_grad`."""
    return _run(formula, params, (target, weight, keep), z, 1.0, None)


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    target: torch.Tensor,
    z: torch.Tensor,
    *,
    weight: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    scale: Scale = 1.0,
    out: torch.Tensor | None = None,
) -> tuple[Totals, torch.Tensor]:
    """Add up the losses of the rows, and write scale·w·gradient.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    params
        Its parameters, in the formula's order.
    target
        A class number per row.
    z
        Class scores, of any precision, the class axis last.
    weight, keep
        A weight per row; True where a row counts.
    scale
        A number, or a tensor of one number.
    out
        Where the gradient goes: contiguous, of the shape of `z`; it may be `z`.

    Returns
    -------
    Totals
        ``outside`` says that a counted label names no class; its row costs NaN.
    torch.Tensor
        The gradient in `z`.
    """
    if out is None:
        out = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    return _run(formula, params, (target, weight, keep), z, scale, out), out


def _run(
    formula: Formula,
    params: Sequence[float],
    by_row: Sequence[torch.Tensor | None],
    z: torch.Tensor,
    scale: Scale,
    out: torch.Tensor | None,
) -> Totals:
    labels, weight, keep = map(calls.flat, by_row)
    assert labels is not None
    rows, classes = labels.numel(), z.shape[-1]
    formula, params = specialised(formula, tuple(params))
    numbers = uniform_values(_of_true_class(formula), "value_and_grad", params)
    factor = calls.scale_on_card(scale, z.device)
    block = min(WIDEST, 1 << max(classes - 1, 0).bit_length())
    tile = max(1, TILE // block)
    programs = -(-rows // tile)
    sums = torch.empty((2, programs), dtype=torch.float64, device=z.device)
    calls.start(
        _kernel(formula, calls.real_of(z)), programs, z,
        labels, calls.flat(z), weight, keep, None if out is None else out.view(-1),
        factor, calls.on_card(numbers, z.device), sums, rows, classes, programs,
        WEIGHTED=weight is not None, KEPT=keep is not None, SCALED=factor is not None,
        WRITTEN=out is not None, ROWS=tile, BLOCK=block,
        num_warps=8 if block == WIDEST else 4,
    )  # fmt: skip
    totals = sums.sum(1)
    return Totals(totals[0], totals[1] != 0)
