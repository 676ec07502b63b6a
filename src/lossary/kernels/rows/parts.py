"""What kernels of rows have in common: their calls, weights, and loops along a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lossary.emit.lowering import lower
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, symbol
from lossary.kernels.call import What, lowered
from lossary.kernels.interval import sum_limit
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import (
    INDEX,
    POINTER,
    Type,
    Value,
    choose,
    muladd,
    vector,
)
from lossary.kernels.log_loss import beside_log_loss, is_log_loss
from lossary.kernels.spelling import computed, uniform

SLOTS = (
    "rows", "classes", "chunk", "step", "sums", "flag", "targets", "scores", "out",
    "second", "weight", "keep", "work",
)  # fmt: skip
"""What a call names: sizes, then addresses; `chunk` and `step` are numbers of rows."""

SIZES = SLOTS[:4]

Size = TypeVar("Size", int, Value)

REALS = ("scale", "kept", "spread")
"""The numbers of a call, before the uniform values: label smoothing leaves `kept` of
a target, and adds `spread` to every class."""

WIDEST = 16
"""The lanes of the widest vector."""


def padded(classes: Size) -> Size:
    """Return the length of a row that consists of whole vectors."""
    return (classes + (WIDEST - 1)) & -WIDEST


Known = Mapping[Node, Value]
"""Inputs of a formula, and its uniform parts."""


@dataclass(frozen=True)
class Variant:
    """What a kernel is printed for.

    Attributes
    ----------
    formula
        The loss of a class.
    what
        What is computed.
    kind
        What LLVM calls the format of the scores.
    target
        ``"label"``, ``"smoothed"`` label, or ``"distribution"``.
    weight, keep
        Whether weights are read, and whether a mask is.
    width
        The number of classes, if that is fixed; else 0.
    """

    formula: Formula
    what: What
    kind: str
    target: str
    weight: bool
    keep: bool
    width: int

    @property
    def once(self) -> bool:
        """Whether the formula is evaluated once a row, of the true class."""
        return self.target == "label" and not self.likely

    @property
    def narrow(self) -> bool:
        """Whether that is done in float32, not in float64.

        Of few classes it is much of the work; see `columns`.
        """
        few = bool(self.width) and self.kind == "float"
        return self.once and few and self.what != "grad_and_hess"

    @property
    def roots(self) -> tuple[Node, ...]:
        """The expressions that are evaluated, of the true class at y = 1."""
        formula = self.formula
        if self.target == "label":
            formula = formula.at(**{formula.inputs[0]: 1.0})
        if not self.narrow:
            return lowered(formula, self.what)
        # A derivative more, by which the next is corrected.
        return lowered(
            formula, "value_and_grad" if self.what == "value" else "everything"
        )

    @property
    def likely(self) -> bool:
        """Whether a row takes one logarithm, whatever its target."""
        return is_log_loss(self.formula)


class Call:
    """The arrays and numbers of a call, as the printed function sees them."""

    def __init__(self, function: Function, variant: Variant) -> None:
        self.function, self.variant = function, variant
        self.roots = variant.roots
        self.parts = uniform(self.roots)
        self.y = symbol(variant.formula.inputs[0])
        self.slots = {
            name: function.load(
                function["slots"], INDEX if name in SIZES else POINTER, i
            )
            for i, name in enumerate(SLOTS)
        }

    def __getitem__(self, name: str) -> Value:
        """Return one of the slots."""
        return self.slots[name]

    def real(self, name: str, type: Type) -> Value:
        """Return one of the numbers, in every lane of a type."""
        return self._number(REALS.index(name), type)

    def _number(self, index: int, type: Type) -> Value:
        number = self.function.load(self.function["reals"], Type("double"), index)
        number = number.to(type.kind)
        return self.function.spread(number, type.lanes) if type.lanes else number

    def known(self, type: Type) -> dict[Node, Value]:
        """Return the uniform parts of the formula, in every lane of a type."""
        first = len(REALS)
        return {p: self._number(first + i, type) for i, p in enumerate(self.parts)}

    def inputs(self, y: Value | None, z: Value) -> Mapping[Node, Value]:
        """Return what the formula sees."""
        seen = {symbol(self.variant.formula.inputs[1]): z}
        return seen if y is None else {**seen, self.y: y}

    def target_term(self, known: Known) -> Callable[[Value], list[Value]]:
        """Return what prints what a log loss adds of its target alone, if anything."""
        formula = self.variant.formula
        term = beside_log_loss(formula)
        if term is None or term.value == 0.0:
            return lambda y: []
        return lambda y: computed([lower(term)], {**known, self.y: y})

    def softened(self, type: Type) -> Callable[[Value], Value]:
        """Return what prints what label smoothing makes of a distribution.

        Its numbers are read here, once for all rows.
        """
        kept, spread = self.real("kept", type), self.real("spread", type)
        return lambda y: muladd(y, kept, spread)

    def complain(self, condition: Value) -> None:
        """Say that a counted target is not legal, where a condition holds."""
        with self.function.when(condition):
            self.function.store(self.function.constant(1, Type("i8")), self["flag"])


def tree(values: Sequence[Value], operation: Callable[[Value, Value], Value]) -> Value:
    """Combine values in pairs, then pairs of pairs."""
    values = list(values)
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [operation(a, b) for a, b in pairs] + values[len(values) & ~1 :]
    return values[0]


def folded(x: Value, operation: Callable[[Value, Value], Value]) -> Value:
    """Combine the lanes of a vector: halves, then halves of these."""
    function = x.function
    while x.type.lanes > 1:
        half = x.type.lanes // 2
        low, high = range(half), range(half, 2 * half)
        x = operation(function.shuffled(x, x, low), function.shuffled(x, x, high))
    return function.lane(x, 0)


def added(a: Value, b: Value) -> Value:
    """Return a sum."""
    return a + b


def larger(a: Value, b: Value) -> Value:
    """Return the larger of two; a NaN in the first is passed over."""
    return choose(a > b, a, b)


def below(x: Value) -> Value:
    """Return a difference from a maximum, which is not above 0; a NaN stays."""
    return choose(x > 0.0, 0.0, x)


def no_share(y: Value) -> Value:
    """Say that a number is no probability; NaN may be one."""
    return (y < 0.0) | (y > 1.0)


def no_whole(total: Value) -> Value:
    """Say that a sum of probabilities is not 1."""
    return abs(total - 1.0) > sum_limit(total.type.size)


def beside(e: Sequence[Value]) -> tuple[Value, Value]:
    """Return the sum of exponentials without one of the largest, 1, and with it."""
    rest = tree([choose(x == 1.0, 0.0, x) for x in e], added)
    ties = tree([choose(x == 1.0, x, 0.0) for x in e], added)
    return rest + (ties - 1.0), rest + ties


def finite(top: Value) -> Value:
    """Return a maximum that may be subtracted: the farthest numbers for infinities."""
    farthest = {"float": 3.4028234663852886e38, "double": 1.7976931348623157e308}
    limit = farthest[top.type.kind]
    return choose(top > limit, limit, choose(top < -limit, -limit, top))


def summed(x: Value) -> Value:
    """Add up the lanes of a vector in pairs, in float64."""
    return folded(x.to("double"), added)


Body = Callable[[Value, Value | None], None]


def sweep(function: Function, start: Value, stop: Value, kind: str, body: Body) -> None:
    """Print a body for the vectors of a part of a row.

    It is given the index, and None; of the last few numbers, a mask of the lanes that
    hold some.
    """
    lanes = vector(kind).lanes
    whole = start + ((stop - start) & -lanes)
    with function.loop(start, whole, lanes) as i:
        body(i, None)
    with function.when(whole < stop):
        left = function.spread((stop - whole).to("i32"), lanes)
        body(whole, function.numbered(Type("i32", lanes)) < left)
