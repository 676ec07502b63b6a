"""Rows of few classes: a row in every lane, a vector for every class."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan

from lossary.expr.graph import Node
from lossary.kernels import vecmath
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import Type, Value, choose, vector
from lossary.kernels.llvm.tiles import tile
from lossary.kernels.llvm.walk import SIGNATURE
from lossary.kernels.rows.parts import (
    Call,
    Variant,
    added,
    below,
    beside,
    finite,
    larger,
    tree,
)
from lossary.kernels.spelling import computed

Known = Mapping[Node, Value]
Results = tuple[Value, list[list[Value]]]
"""The loss of each row, and what is written for each class of each output."""


def printed(variant: Variant) -> str:
    """Print the module of a kernel of a fixed number of classes."""
    function = Function(SIGNATURE)
    rows = _Rows(Call(function, variant))
    call, lanes = rows.call, rows.type.lanes
    total = function.variable(function.constant(0.0, Type("double", lanes)))
    with function.loop(function["first"], function["last"]) as chunk:
        begin = chunk * call["chunk"]
        end = function.smaller(begin + call["chunk"], call["rows"])
        total.set(0.0)
        with function.loop(begin, end, lanes) as row:
            count = function.smaller(end - row, lanes)
            total.set(total.get() + rows.step(row, count))
        function.store(function.reduced(total.get()), call["sums"], chunk)
    return function.text()


class _Rows:
    """As many rows as a vector has lanes."""

    def __init__(self, call: Call) -> None:
        self.call, self.function, self.variant = call, call.function, call.variant
        self.type = vector(call.variant.kind)
        lanes = self.type.lanes
        self.labelled = self.variant.target == "label"
        self.known = call.known(Type("double", lanes) if self.labelled else self.type)
        self.scale = call.real("scale", Type("double", lanes))
        self.rooms = {
            held: self.function.room(held, self.variant.width if held.floating else 1)
            for held in (self.type, self._of("i64"), self._of("i8"))
        }

    def step(self, row: Value, count: Value) -> Value:
        """Compute the next rows, and return what they add to the sum."""
        z = self._columns("scores", row, count, self.type)
        share, counted = self._share(row, count)
        factor = self.scale if share is None else self.scale * share
        if self.variant.target == "distribution":
            y = self._columns("targets", row, count, self.type)
        else:
            (label,) = self._columns("targets", row, count, self._of("i64"), 1)
            known = (label >= 0) & (label < self.variant.width)
            self.call.complain(self.function.any(counted & ~known))
            y = [] if self.labelled else _smoothed(self.call, label, known, z)
        if self.labelled:
            loss, outputs = _of_labels(self.call, self.known, label, z, factor)
        else:
            loss, outputs = _of_shares(self.call, self.known, y, z, factor)
        self._write(row, count, counted, outputs)
        loss = loss.to("double")
        return choose(counted, loss if share is None else share * loss, 0.0)

    def _of(self, kind: str) -> Type:
        return Type(kind, self.type.lanes)

    def _columns(
        self, name: str, row: Value, count: Value, held: Type, width: int = 0
    ) -> list[Value]:
        width = width or self.variant.width
        part = tile(self.call[name], row, count, width, held, self.rooms[held])
        part.fetch()
        return part.load()

    def _share(self, row: Value, count: Value) -> tuple[Value | None, Value]:
        """Return the weights of the rows, if any, and which of them count."""
        number = self.function.numbered(self._of("i32"))
        counted = number < self.function.spread(count.to("i32"), self.type.lanes)
        share = None
        if self.variant.keep:
            (kept,) = self._columns("keep", row, count, self._of("i8"), 1)
            counted = counted & (kept != 0)
        if self.variant.weight:
            (share,) = self._columns("weight", row, count, self.type, 1)
            counted = counted & (share != 0.0)
            share = share.to("double")
        return share, counted

    def _write(
        self, row: Value, count: Value, counted: Value, outputs: list[list[Value]]
    ) -> None:
        width, room = self.variant.width, self.rooms[self.type]
        for name, found in zip(("out", "second"), outputs, strict=False):
            if self.variant.weight or self.variant.keep:
                found = [choose(counted, x, 0.0) for x in found]
            tile(self.call[name], row, count, width, self.type, room).store(found)


def _of_labels(
    call: Call, known: Known, label: Value, z: list[Value], factor: Value
) -> Results:
    """Compute rows of class numbers; the formula is evaluated once, in float64."""
    hits = [label == k for k in range(len(z))]
    own, top = z[0].like(nan), z[0].like(-inf)
    for hit, x in zip(hits, z, strict=True):
        own = choose(hit, x, own)
        top = larger(choose(hit, -inf, x), top)
    shift = finite(top)
    e = [
        choose(hit, 0.0, vecmath.decay(below(x - shift)))
        for hit, x in zip(hits, z, strict=True)
    ]
    mass = tree(e, added).to("double")
    odds = (own.to("double") - top.to("double")) - vecmath.log(mass)
    first, *second = computed(call.roots, {**known, **call.inputs(None, odds)})
    if call.variant.what == "value":
        return first, []
    if call.variant.what == "grad_and_hess":
        return first, _bent(hits, e, mass, first, second[0])
    own = factor * second[0]
    # No other class, or none in reach: nothing to share the slope.
    others = choose(mass != 0.0, -own / mass, 0.0 * own).to(z[0].type.kind)
    own = own.to(z[0].type.kind)
    slopes = [choose(hit, own, others * x) for hit, x in zip(hits, e, strict=True)]
    return first, [slopes]


def _bent(
    hits: list[Value], e: list[Value], mass: Value, slope: Value, bend: Value
) -> list[list[Value]]:
    """Chain gradient and curvature of the true class to the others' shares."""
    kind = e[0].type.kind
    inverse = choose(mass != 0.0, 1.0 / mass, 0.0 * slope).to(kind)
    mass, slope, bend = (x.to(kind) for x in (mass, slope, bend))
    rest, _ = beside(e)
    gradient, curvature = [], []
    for hit, x in zip(hits, e, strict=True):
        r = x * inverse
        miss = choose(x == 1.0, rest, mass - x) * inverse
        gradient.append(choose(hit, slope, -slope * r))
        curvature.append(choose(hit, bend, bend * r * r - slope * r * miss))
    return [gradient, curvature]


def _smoothed(call: Call, label: Value, known: Value, z: list[Value]) -> list[Value]:
    """Return the targets that smoothed labels stand for; NaN for no class."""
    spread = choose(known, call.real("spread", z[0].type), nan)
    whole = spread + call.real("kept", z[0].type)
    return [choose(label == k, whole, spread) for k in range(len(z))]


def _of_shares(
    call: Call, known: Known, y: list[Value], z: list[Value], factor: Value
) -> Results:
    """Compute rows of distributions, or of smoothed labels."""
    top = z[0].like(-inf)
    for x in z:
        top = larger(x, top)
    lost = [choose(x == top, 0.0, x - top) for x in z]
    e = [vecmath.decay(x) for x in lost]
    rest, mass = beside(e)
    rest = choose(top == -inf, nan, rest)  # every class is ruled out
    solve = _log_loss if call.variant.likely else _any_formula
    return solve(call, known, y, lost, e, rest, mass, factor.to(z[0].type.kind))


def _log_loss(
    call: Call,
    _: Known,
    y: list[Value],
    lost: list[Value],
    e: list[Value],
    rest: Value,
    mass: Value,
    scale: Value,
) -> Results:
    """Compute -Σ y·log p, with one logarithm a row."""
    whole = tree(y, added)
    dots = [choose(t == 0.0, 0.0, t * x) for t, x in zip(y, lost, strict=True)]
    loss = whole * vecmath.log1p(rest) - tree(dots, added)
    if call.variant.what == "value":
        return loss, []
    inverse = 1.0 / mass
    miss = rest * inverse
    gradient = []
    for t, x in zip(y, e, strict=True):
        p = x * inverse
        # Of the largest class, by what 1 - p is without rounding.
        slope = choose(x == 1.0, (whole - t) * p - t * miss, whole * p - t)
        gradient.append(scale * slope)
    return loss, [gradient]


def _any_formula(
    call: Call,
    known: Known,
    y: list[Value],
    lost: list[Value],
    e: list[Value],
    rest: Value,
    mass: Value,
    scale: Value,
) -> Results:
    """Evaluate the formula of every class; see `shares.AnyFormula`."""
    inverse = 1.0 / mass
    losses, slopes, ratios = [], [], []
    for t, d, x in zip(y, lost, e, strict=True):
        others = choose(x == 1.0, rest, mass - x)
        seen = call.inputs(t, d - vecmath.log(others))
        loss, *slope = computed(call.roots, {**known, **seen})
        losses.append(loss)
        for a in slope:
            q = others * inverse
            slopes.append(a)
            ratios.append(choose(q == 0.0, 0.0, a / q))
    if not slopes:
        return tree(losses, added), []
    whole = tree(ratios, added)
    gradient = [
        scale * (a - x * inverse * (whole - b))
        for a, x, b in zip(slopes, e, ratios, strict=True)
    ]
    return tree(losses, added), [gradient]
