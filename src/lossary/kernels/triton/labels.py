"""Rows of scores with a class number each: the formula is evaluated once a row.

It sees the log-odds of the true class against all others, u = z - log Σ_others e^z. The
others have a maximum of their own, so that a confident row keeps all its digits and
nothing underflows. A program walks over its rows once for that maximum and the sum (the
online softmax of Milakov and Gimelshein 2018, Online normalizer calculation for
softmax, arXiv:1805.02867), and once more to write the gradient.
"""

from __future__ import annotations

from lossary.expr.formula import Formula
from lossary.expr.graph import Node, symbol
from lossary.kernels import vecmath
from lossary.kernels.call import lowered
from lossary.kernels.llvm.lanes import Type, Value
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.triton.calls import uniform_blocks
from lossary.kernels.triton.heads import (
    HEAD,
    SHARES,
    SUM,
    UNIFORM,
    constants,
    remembered,
)
from lossary.kernels.triton.values import KINDS, Block, Body, function, indented

EACH = 16
"""Scores that a thread looks at at once."""

# The true class's score is read with the others and dropped afterwards: a mask with a
# hole would make many loads of a wide one. The formula is evaluated in float64.
LOOK = """
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
"""

ROW = """
    own = tl.load(score_at + first + label, mask=known, other=float("nan"))
    {score} = own.to(tl.float64) - top.to(tl.float64) - log(mass)
{lines}
    loss = {value}
"""

WRITE = """
    if WRITTEN:
        slope = tl.where(counted, factor * {slope}, 0.0)
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


def roots(formula: Formula) -> tuple[Node, ...]:
    """Return what is computed of a row: value and slope of the true class."""
    return lowered(formula.at(**{formula.inputs[0]: 1.0}), "value_and_grad")


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
    wanted = roots(formula)
    known: dict[Node, Value] = {symbol(score): Block(body, Type("double"), score)}
    known |= uniform_blocks(body, uniform(wanted), "double", UNIFORM)
    value, slope = computed(wanted, known)
    text = (SHARES + HEAD + remembered(LOOK, "top mass") + ROW + SUM + WRITE).format(
        **constants(kind),
        lines=indented(body.lines),
        score=score,
        value=value.name,
        slope=slope.name,
    )
    decay = function("decay", vecmath.decay, kind)
    return "\n\n".join((decay, function("log", vecmath.log, "double"), text))
