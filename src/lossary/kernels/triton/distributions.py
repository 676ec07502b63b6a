"""Rows of scores with a distribution each, given or made of a smoothed class number.

Kept of a row are its maximum m and `rest`, Σ e^(z - m) without one of the largest, so
that 1 - p of a confident class has all its digits.
"""

from __future__ import annotations

from textwrap import indent
from typing import NamedTuple

from lossary.emit.lowering import lower
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, symbol
from lossary.kernels import vecmath
from lossary.kernels.call import lowered
from lossary.kernels.llvm.lanes import Value, choose
from lossary.kernels.log_loss import beside_log_loss
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
from lossary.kernels.triton.values import KINDS, Body, function

EACH = 8
"""Scores that a thread looks at at once."""

TARGETS = """
@triton.jit
def given(target_at, offset, here, hit, LABELLED: tl.constexpr):
    if LABELLED:
        y = hit.to({real})
    else:
        y = tl.load(target_at + offset, mask=here, other=0.0).to({real})
    return y
"""

READ = """
for start in range(0, classes, BLOCK):
    here = counted[:, None] & (column + start < classes)
    offset = first[:, None] + (column + start)
    hit = column + start == label[:, None]
    x = tl.load(score_at + offset, mask=here, other=float("-inf")).to({real})
    share_of = given(target_at, offset, here, hit, LABELLED)
    y = tl.where(here, share_of * kept + spread, {zero})
"""

# A label that names no class makes all targets of its row NaN.
BEGIN = """
    kept = tl.load(numbers_at).to({real})
    spread = tl.where(known, tl.load(numbers_at + 1), float("nan"))
    spread = spread.to({real})[:, None]
    loss = tl.full((ROWS,), 0.0, tl.float64)
"""

SCAN = f"""
    top = tl.full((ROWS,), float("-inf"), {{real}})
    rest = tl.full((ROWS,), 0.0, tl.float64)
    whole = tl.full((ROWS,), 0.0, tl.float64)
    shares = tl.full((ROWS,), 0.0, tl.float64)
{indent(READ, " " * 4)}
        counted_share = tl.where(here, share_of, {{zero}}).to(tl.float64)
        shares = shares + tl.sum(counted_share, axis=1)
        illegal = here & ((share_of < 0.0) | (share_of > 1.0))
        outside = outside + tl.sum(illegal.to(tl.int32), axis=1)
        higher = tl.maximum(top, tl.max(x, axis=1))
        fallen = tl.where(top == higher, {{one}}, decay(top - higher)).to(tl.float64)
        e = against(x, higher)
        ties = tl.sum((e == 1.0).to(tl.int32), axis=1).to(tl.float64)
        rose = higher > top
        rest = tl.where(rose, (rest + 1.0) * fallen + (ties - 1.0), rest + ties)
        rest = rest + tl.sum(tl.where(e == 1.0, {{zero}}, e).to(tl.float64), axis=1)
"""

# A row that rules out every class costs NaN.
SCANNED = """
        top = higher
    rest = tl.where(top == {lowest}, float("nan"), rest)
    off = tl.abs(shares - 1.0) > tl.load(numbers_at + 2)
    outside = outside + (counted & off).to(tl.int32)
"""

MASS = """
    mass = rest + 1.0
    inverse = (1.0 / mass).to({real})[:, None]
    apart, every = rest.to({real})[:, None], mass.to({real})[:, None]
"""

WRITE = f"""
    if WRITTEN:
        whole = whole.to({{real}})[:, None]
        miss = (rest / mass).to({{real}})[:, None]
{indent(READ, " " * 8)}
            e = against(x, top)
"""

WRITTEN = """
            filled = tl.where(here, factor.to({real})[:, None] * filled, {zero})
            inside = (row < rows)[:, None] & (column + start < classes)
            tl.store(gradient_at + offset, filled, mask=inside)
"""


class Way(NamedTuple):
    """What is computed while a row is scanned, for its sum, and for its gradient."""

    scanned: str
    summed: str
    filled: str


# -Σ y·log p is Σ y·log Σ e^(z - m) - Σ y·(z - m). Both sums are added up with the
# exponentials, and there is one logarithm a row.
LOG_LOSS = Way(
    """
        rise = whole * (higher - top).to(tl.float64)
        loss = loss + tl.where((whole == 0.0) | (top == higher), 0.0, rise)
        lost = tl.where(x == higher[:, None], {zero}, x - higher[:, None])
        cost = tl.where(here, costs(y, lost, numbers_at), {zero})
        loss = loss + tl.sum(cost.to(tl.float64), axis=1)
        whole = whole + tl.sum(y.to(tl.float64), axis=1)
""",
    """
    loss = loss + whole * log1p(rest)
""",
    """
            filled = slopes(e, y, whole, inverse, miss)
""",
)

_EVALUATED = """
    lost = tl.where(x == top[:, None], {zero}, x - top[:, None])
    value, slope, part = costs(y, lost, e, apart, every, inverse, numbers_at)
"""

# With a the slope of a class's formula and q = 1 - p, the gradient is a - p·(B - b),
# where b is a / q and B the sum of b.
FORMULA = Way(
    "",
    f"""
{indent(READ, " " * 4)}
        e = against(x, top)
{indent(_EVALUATED, " " * 4)}
        loss = loss + tl.sum(tl.where(here, value, {{zero}}).to(tl.float64), axis=1)
        whole = whole + tl.sum(tl.where(here, part, {{zero}}).to(tl.float64), axis=1)
""",
    f"""
{indent(_EVALUATED, " " * 8)}
            filled = slopes(slope, e, part, inverse, whole)
""",
)


def roots(formula: Formula) -> tuple[Node, ...]:
    """Return what is computed of a class: value and slope.

    Of a log loss it is what the target adds alone.
    """
    term = beside_log_loss(formula)
    return lowered(formula, "value_and_grad") if term is None else (lower(term),)


def printed(formula: Formula, dtype: str) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    dtype
        What is computed in, ``"float32"`` or ``"float64"``.
    """
    kind, likely = KINDS[dtype], beside_log_loss(formula) is not None
    way = LOG_LOSS if likely else FORMULA
    look = SCAN + way.scanned + SCANNED + MASS + way.summed
    text = SHARES + TARGETS + HEAD + BEGIN + remembered(look, "top rest whole")
    text += MASS + SUM + WRITE + way.filled + WRITTEN
    functions = _of_log_loss if likely else _of_formula
    return "\n\n".join(
        (
            function("decay", vecmath.decay, kind),
            *functions(formula, kind),
            text.format(**constants(kind)),
        )
    )


def _known(formula: Formula, y: Value) -> dict[Node, Value]:
    assert isinstance(y.function, Body)
    parts = uniform(roots(formula))
    blocks = uniform_blocks(y.function, parts, y.type.kind, UNIFORM)
    return {symbol(formula.inputs[0]): y, **blocks}


def _of_log_loss(formula: Formula, kind: str) -> tuple[str, ...]:
    """Print what a class adds to the sum, its slope, and the logarithm."""

    def costs(y: Value, lost: Value, _: Value) -> Value:
        (term,) = computed(roots(formula), _known(formula, y))
        return term - choose(y == 0.0, 0.0, y * lost)

    def slopes(e: Value, y: Value, whole: Value, inverse: Value, miss: Value) -> Value:
        p = e * inverse
        # Of the largest class, by what 1 - p is without rounding.
        return choose(e == 1.0, (whole - y) * p - y * miss, whole * p - y)

    return (
        function("log1p", vecmath.log1p, "double"),
        function("costs", costs, kind, "y lost numbers_at"),
        function("slopes", slopes, kind, "e y whole inverse miss"),
    )


def _of_formula(formula: Formula, kind: str) -> tuple[str, ...]:
    """Print value, slope and a / q of a class, and its part of the gradient."""

    def costs(*read: Value) -> tuple[Value, Value, Value]:
        y, lost, e, rest, mass, inverse, _ = read
        others = choose(e == 1.0, rest, mass - e)
        odds = lost - vecmath.log(others)
        seen = {symbol(formula.inputs[1]): odds, **_known(formula, y)}
        value, slope = computed(roots(formula), seen)
        q = others * inverse
        return value, slope, choose(q == 0.0, 0.0, slope / q)

    def slopes(
        slope: Value, e: Value, part: Value, inverse: Value, whole: Value
    ) -> Value:
        return slope - e * inverse * (whole - part)

    return (
        function("costs", costs, kind, "y lost e rest mass inverse numbers_at"),
        function("slopes", slopes, kind, "slope e part inverse whole"),
    )
