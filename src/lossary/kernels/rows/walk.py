"""What is read along rows of many classes, kept of each of them, and written."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import ClassVar

from lossary.kernels import vecmath
from lossary.kernels.llvm.function import Variable
from lossary.kernels.llvm.lanes import Type, Value, choose, vector
from lossary.kernels.rows.parts import (
    Call,
    below,
    finite,
    folded,
    larger,
    padded,
    summed,
    sweep,
)
from lossary.kernels.sizes import BLOCK

TOGETHER = 8
"""Rows that may be finished at once, in the lanes of a vector of float64."""

_BLOCK_BITS = BLOCK.bit_length() - 1

Reader = Callable[[Value, Value | None, Value, Value], None]
Riser = Callable[[Value, Value], None]


class Rows:
    """A few rows. What a kind of target makes of them is said by a subclass."""

    kept: ClassVar[tuple[str, ...]] = ()
    """The numbers that are kept of each row, beside ``share``, ``mass``, ``rest``."""

    def __init__(self, call: Call) -> None:
        self.call, self.function, self.variant = call, call.function, call.variant
        self.kind = call.variant.kind
        self.type = vector(self.kind)
        self.lanes = Type("double", TOGETHER)
        names = ("share", "mass", "rest", *self.kept)
        self.places = {n: self.function.room(Type("double"), TOGETHER) for n in names}
        self.tops = self.function.room(Type(self.kind), TOGETHER)
        self.blocks = (call["classes"] + (BLOCK - 1)) >> _BLOCK_BITS
        self.stride = padded(call["classes"])
        self.writes = call.variant.what != "value"
        self.beside = True  # whether ``rest`` is needed
        self.removing = call.variant.weight or call.variant.keep

    def step(self, row: Value, count: Value) -> Value:
        """Compute the next rows, and return what they add to the sum."""
        function = self.function
        for name in self.places:
            self.keep(name, function.constant(0.0, self.lanes))
        with function.loop(0, count) as r:
            self.keep("share", self._weight(row + r), r)
            self.scan(row + r, r)
        loss = self.finish()
        if self.writes:
            with function.loop(0, count) as r:
                self.write(row + r, r)
        share = self.of("share")
        return choose(share != 0.0, share * loss, 0.0)

    def scan(self, row: Value, r: Value) -> None:
        """Read a row, and keep what its loss needs."""
        raise NotImplementedError

    def finish(self) -> Value:
        """Return the loss of each of the rows, and keep what their gradients need."""
        raise NotImplementedError

    def write(self, row: Value, r: Value) -> None:
        """Write the gradient of a row."""
        raise NotImplementedError

    # -- what is kept of a row ------------------------------------------------------

    def keep(self, name: str, value: Value, r: Value | int = 0) -> None:
        """Keep a number of a row, or one of each of the rows."""
        self.function.store(value, self.places[name], r)

    def of(self, name: str, r: Value | None = None) -> Value:
        """Return what was kept of a row, or of each of the rows."""
        if r is None:
            return self.function.load(self.places[name], self.lanes)
        return self.function.load(self.places[name], Type("double"), r)

    def counts(self, r: Value) -> Value:
        """Say whether a row counts."""
        return self.of("share", r) != 0.0

    def spread(self, x: Value) -> Value:
        """Return a vector of a number, in the format of the scores."""
        return self.function.spread(x.to(self.kind), self.type.lanes)

    def _weight(self, row: Value) -> Value:
        function = self.function
        weight = function.constant(1.0, Type("double"))
        if self.variant.weight:
            found = function.load(self.call["weight"], Type(self.kind), row)
            weight = found.to("double")
        if self.variant.keep:
            kept = function.load(self.call["keep"], Type("i8"), row)
            weight = choose(kept != 0, weight, 0.0)
        return weight

    # -- what is read and written along a row ---------------------------------------

    def place(self, name: str, row: Value) -> Value:
        """Return where a row of a matrix begins."""
        return self.function.at(self.call[name], self.kind, row * self.call["classes"])

    def aside(self, r: Value) -> Value:
        """Return where the exponentials of a row wait, in whole vectors."""
        return self._work(r * self.stride)

    def _work(self, index: Value) -> Value:
        return self.function.at(self.call["work"], self.kind, index)

    def load(
        self, place: Value, i: Value, live: Value | None, fill: float = 0.0
    ) -> Value:
        """Read a vector of a row."""
        return self.function.load_some(place, self.type, i, live, fill)

    def counted(self, x: Value, r: Value) -> Value:
        """Return a part of a gradient, 0 in a row that is removed."""
        return choose(self.counts(r), x, 0.0) if self.removing else x

    def sweep(self, start: Value, body: Callable[[Value, Value | None], None]) -> None:
        """Print a body for the vectors of a block."""
        stop = self.function.smaller(start + BLOCK, self.call["classes"])
        sweep(self.function, start, stop, self.kind, body)

    def vector(self, start: float = 0.0) -> Variable:
        """Return a place for a vector."""
        return self.function.variable(self.function.constant(start, self.type))

    def number(self, start: float = 0.0) -> Variable:
        """Return a place for one number."""
        return self.function.variable(self.function.constant(start, Type("double")))

    def label(self, row: Value) -> tuple[Value, Value]:
        """Return the class number of a row, and whether there is such a class."""
        label = self.function.load(self.call["targets"], Type("i64"), row)
        return label, (label >= 0) & (label < self.call["classes"])

    def hit(self, label: Value, i: Value) -> Value:
        """Say which lanes of a vector of a row are a class."""
        number = self.function.numbered(Type("i32", self.type.lanes))
        away = (label - i).to("i32")
        return number == self.function.spread(away, self.type.lanes)

    # -- the exponentials of a row --------------------------------------------------

    def exponentials(
        self,
        r: Value,
        scores: Value,
        store: bool,
        without: Value | None = None,
        read: Reader | None = None,
        risen: Riser | None = None,
    ) -> None:
        """Sum the exponentials of a row, and store them relative to a block's maximum.

        Keeps ``mass``, their sum; and ``rest``, that without one of the largest.

        Parameters
        ----------
        r
            The number of the row.
        scores
            The row.
        store
            Whether they are needed again, `aside`.
        without
            A class that is left out.
        read
            Prints what else is done with a vector: it is given the index, the mask,
            the scores and the maximum so far.
        risen
            Prints what is done before a block: it is given the maximum before and now.
        """
        function = self.function
        high = function.variable(function.constant(-inf, Type(self.kind)))
        mass, rest, fallen = self.number(), self.number(), self.number()
        with function.loop(0, self.call["classes"], BLOCK) as start:
            before = high.get()
            after = larger(self._top_of(start, scores, without), before)
            shift = finite(after)
            if risen is not None:
                risen(before, after)
            own, ties = self.vector(), self.vector()
            shifts, tops = self.spread(shift), self.spread(after)

            def body(i: Value, live: Value | None) -> None:
                x = self.load(scores, i, live, -inf)
                e = vecmath.fall(below(x - shifts))
                if without is not None:
                    e = choose(self.hit(without, i), 0.0, e)
                if store:
                    function.store(e, self.aside(r), i)
                if self.beside:
                    tie = e == 1.0
                    ties.set(ties.get() + choose(tie, e, 0.0))
                    e = choose(tie, 0.0, e)
                own.set(own.get() + e)
                if read is not None:
                    read(i, live, x, tops)

            self.sweep(start, body)
            found = summed(own.get())
            fallen.set(1.0)
            with function.when(start > 0):
                fallen.set(vecmath.fall((finite(before) - shift).to("double")))
            if self.beside:
                tied, rose = summed(ties.get()), after > before
                one = choose(start > 0, tied.like(1.0), 0.0)
                earlier = choose(rose, (rest.get() + one) * fallen.get(), rest.get())
                rest.set((earlier + found) + choose(rose, tied - 1.0, tied))
                found = found + tied
            mass.set(mass.get() * fallen.get() + found)
            high.set(after)
            function.store(shift, self._block_top(r, start))
        function.store(high.get(), self.tops, r)
        self.keep("mass", mass.get(), r)
        self.keep("rest", rest.get(), r)

    def _top_of(self, start: Value, scores: Value, without: Value | None) -> Value:
        """Return the largest score of a block."""
        top = self.vector(-inf)

        def body(i: Value, live: Value | None) -> None:
            x = self.load(scores, i, live, -inf)
            if without is not None:
                x = choose(self.hit(without, i), -inf, x)
            top.set(larger(x, top.get()))

        self.sweep(start, body)
        return folded(top.get(), larger)

    def _block_top(self, r: Value, start: Value) -> Value:
        """Return where the maximum waits that a block was shifted by."""
        behind = (self.call["step"] + 1) * self.stride
        return self._work(behind + r * self.blocks + (start >> _BLOCK_BITS))

    def top(self, r: Value) -> Value:
        """Return the maximum of a row."""
        return self.function.load(self.tops, Type(self.kind), r)

    def fallen(self, r: Value, start: Value) -> Value:
        """Return what scales the exponentials of a block to the maximum of the row."""
        function, fallen = self.function, self.number(1.0)
        with function.when(self.blocks > 1):
            top = function.load(self._block_top(r, start), Type(self.kind))
            fallen.set(vecmath.fall((top - finite(self.top(r))).to("double")))
        return fallen.get()
