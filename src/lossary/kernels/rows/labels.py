"""Rows of many classes with a class number each."""

from __future__ import annotations

from math import nan
from typing import ClassVar

from lossary.kernels import vecmath
from lossary.kernels.llvm.lanes import Type, Value, choose
from lossary.kernels.rows.parts import Call
from lossary.kernels.rows.walk import Rows
from lossary.kernels.sizes import BLOCK
from lossary.kernels.spelling import computed


class Labels(Rows):
    """Rows of class numbers: the formula is evaluated once, in float64.

    The gradient of the true class is shared by the others as their exponentials are.
    Of a curvature c and a gradient a, a class of share r gets c·r² - a·r·(1 - r).
    """

    kept: ClassVar[tuple[str, ...]] = ("ahead", "own", "bend", "factor")

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.known = call.known(self.lanes)
        self.bends = self.beside = call.variant.what == "grad_and_hess"

    def scan(self, row: Value, r: Value) -> None:
        """Read a row, and keep how far its class is ahead of the others."""
        scores = self.place("scores", row)
        label, known = self.label(row)
        self.call.complain(~known & self.counts(r))
        own = self.function.load(scores, Type(self.kind), choose(known, label, 0))
        own = choose(known, own, nan)
        self.exponentials(r, scores, self.writes, choose(known, label, -1))
        self.keep("ahead", own.to("double") - self.top(r).to("double"), r)

    def finish(self) -> Value:
        """Return the loss of each of the rows, and keep what their gradients need."""
        mass = self.of("mass")
        some = mass != 0.0
        odds = self.of("ahead") - vecmath.log(mass)
        seen = self.call.inputs(None, odds)
        first, *second = computed(self.call.roots, {**self.known, **seen})
        if self.bends:
            self.keep("own", first)
            self.keep("bend", second[0])
            self.keep("factor", choose(some, 1.0 / mass, 0.0 * first))
        elif self.writes:
            own = self.call.real("scale", self.lanes) * self.of("share") * second[0]
            self.keep("own", own)
            # No other class, or none in reach: nothing to share the slope.
            self.keep("factor", choose(some, -own / mass, 0.0 * own))
        return first

    def write(self, row: Value, r: Value) -> None:
        """Write the gradient of a row, and its curvature where that is wanted."""
        function, factor = self.function, self.of("factor", r)
        out, second = self.place("out", row), self.place("second", row)
        aside = self.aside(r)
        with function.loop(0, self.call["classes"], BLOCK) as start:
            scale = self.spread(factor * self.fallen(r, start))

            def body(i: Value, live: Value | None) -> None:
                x = scale * function.load(aside, self.type, i)
                if self.bends:
                    x, curvature = self._bent(r, x)
                    self.function.store_some(curvature, second, i, live)
                self.function.store_some(self.counted(x, r), out, i, live)

            self.sweep(start, body)
        label, known = self.label(row)
        with function.when(known):
            own = self.counted(self.of("own", r), r)
            function.store(own.to(self.kind), out, label)
            if self.bends:
                function.store(self.of("bend", r).to(self.kind), second, label)

    def _bent(self, r: Value, part: Value) -> tuple[Value, Value]:
        """Chain gradient and curvature of the true class to the others' shares."""
        slope, bend = self.spread(self.of("own", r)), self.spread(self.of("bend", r))
        inverse = self.of("factor", r)
        beside_largest = self.spread(self.of("rest", r) * inverse)
        miss = choose(part == self.spread(inverse), beside_largest, 1.0 - part)
        return -slope * part, bend * part * part - slope * part * miss
