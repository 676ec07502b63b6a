"""Rows of many classes with a distribution each, given or made of a smoothed label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, nan
from typing import ClassVar

from lossary.kernels import vecmath
from lossary.kernels.llvm.lanes import Type, Value, choose
from lossary.kernels.rows.parts import Call, no_share, no_whole, summed
from lossary.kernels.rows.walk import Rows
from lossary.kernels.sizes import BLOCK
from lossary.kernels.spelling import computed

Target = Callable[[Value, Value | None], Value]


class _Shares(Rows):
    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.softened = call.softened(self.type)
        self.given = self.vector()
        self.bad = self.function.variable(
            self.function.constant(False, self.type.of("i1"))
        )

    @contextmanager
    def read_target(self, row: Value, r: Value) -> Iterator[Target]:
        """Read the target of a row, and say whether it is no distribution."""
        target = self.target(row, r)
        if self.variant.target != "distribution":
            yield target
            return
        place = self.place("targets", row)
        self.given.set(0.0)
        self.bad.set(False)

        def watched(i: Value, live: Value | None) -> Value:
            y = self.load(place, i, live)
            self.given.set(self.given.get() + y)
            self.bad.set(self.bad.get() | no_share(y))
            return self._softened(y, live)

        yield watched
        bad = self.function.any(self.bad.get()) | no_whole(summed(self.given.get()))
        self.call.complain(bad & self.counts(r))

    def _softened(self, y: Value, live: Value | None) -> Value:
        y = self.softened(y)
        return y if live is None else choose(live, y, 0.0)

    def target(self, row: Value, r: Value) -> Target:
        """Return what reads the target of a vector of a row."""
        if self.variant.target == "distribution":
            place = self.place("targets", row)
            return lambda i, live: self._softened(self.load(place, i, live), live)
        label, known = self.label(row)
        self.call.complain(~known & self.counts(r))
        spread = choose(known, self.call.real("spread", Type(self.kind)), nan)
        whole = self.spread(spread + self.call.real("kept", Type(self.kind)))
        spread = self.spread(spread)

        def smoothed(i: Value, live: Value | None) -> Value:
            y = choose(self.hit(label, i), whole, spread)
            return y if live is None else choose(live, y, 0.0)

        return smoothed

    def nothing_is_nan(self, r: Value) -> None:
        """Give NaN to a row that rules out every class."""
        rest = choose(self.top(r) == -inf, nan, self.of("rest", r))
        self.keep("rest", rest, r)

    def scale(self, r: Value) -> Value:
        """Return what multiplies the gradient of a row."""
        return self.spread(
            self.call.real("scale", Type("double")) * self.of("share", r)
        )


class LogLoss(_Shares):
    """The loss -Σ y·log p: with m the maximum, Σ y·log Σ e^(z - m) - Σ y·(z - m).

    Both are added up while the exponentials are, and there is one logarithm a row.
    What else a formula adds, of the target alone, is taken from the second.
    """

    kept: ClassVar[tuple[str, ...]] = ("whole", "dot")

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.target_term = call.target_term(call.known(self.type))

    def scan(self, row: Value, r: Value) -> None:
        """Read a row, and keep Σ y and Σ y·(z - m)."""
        with self.read_target(row, r) as target:
            self._scan(row, r, target)

    def _scan(self, row: Value, r: Value, target: Target) -> None:
        whole, dot = self.number(), self.number()
        wholes, dots = self.vector(), self.vector()

        def read(i: Value, live: Value | None, x: Value, top: Value) -> None:
            y = target(i, live)
            lost = choose(x == top, 0.0, x - top)
            wholes.set(wholes.get() + y)
            dot = choose(y == 0.0, 0.0, y * lost)
            for term in self.target_term(y):
                dot = dot - (term if live is None else choose(live, term, 0.0))
            dots.set(dots.get() + dot)

        def collect() -> None:
            for total, part in ((whole, wholes), (dot, dots)):
                total.set(total.get() + summed(part.get()))
                part.set(0.0)

        def risen(before: Value, after: Value) -> None:
            collect()
            moved = whole.get() * (before - after).to("double")
            still = (whole.get() == 0.0) | (before == after)
            dot.set(dot.get() + choose(still, 0.0, moved))

        wholes.set(0.0)
        dots.set(0.0)
        scores = self.place("scores", row)
        self.exponentials(r, scores, self.writes, read=read, risen=risen)
        collect()
        self.keep("whole", whole.get(), r)
        self.keep("dot", dot.get(), r)
        self.nothing_is_nan(r)

    def finish(self) -> Value:
        """Return the loss of each of the rows."""
        return self.of("whole") * vecmath.log1p(self.of("rest")) - self.of("dot")

    def write(self, row: Value, r: Value) -> None:
        """Write p·Σy - y: of the largest class, by what 1 - p is without rounding."""
        out, target, scale = self.place("out", row), self.target(row, r), self.scale(r)
        aside, rest = self.aside(r), self.of("rest", r)
        mass = rest + 1.0
        whole, miss = self.spread(self.of("whole", r)), self.spread(rest / mass)
        with self.function.loop(0, self.call["classes"], BLOCK) as start:
            fallen = self.fallen(r, start)
            leading = self.function.spread(fallen == 1.0, self.type.lanes)
            inverse = self.spread(fallen / mass)

            def body(i: Value, live: Value | None) -> None:
                e, y = self.function.load(aside, self.type, i), target(i, live)
                p = e * inverse
                at_top = (whole - y) * p - y * miss
                x = scale * choose((e == 1.0) & leading, at_top, whole * p - y)
                self.function.store_some(self.counted(x, r), out, i, live)

            self.sweep(start, body)


class AnyFormula(_Shares):
    """Any loss of a class: the formula is evaluated for each.

    With a its slope and q = 1 - p, the gradient is a - p·(B - b), where b is a / q and
    B the sum of b. Exponentials and slopes are kept beside the arrays of the call.
    """

    kept: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.known = call.known(self.type)
        self.slopes = self.aside(call["step"])  # of one row at a time

    def scan(self, row: Value, r: Value) -> None:
        """Compute a row."""
        with self.read_target(row, r) as target:
            self._scan(row, r, target)

    def _scan(self, row: Value, r: Value, target: Target) -> None:
        scores = self.place("scores", row)
        function, aside = self.function, self.aside(r)
        self.exponentials(r, scores, True)
        self.nothing_is_nan(r)
        most = self.spread(self.top(r))
        losses, ratios = self.vector(), self.vector()
        loss, whole = self.number(), self.number()
        with function.loop(0, self.call["classes"], BLOCK) as start:
            fallen = self.spread(self.fallen(r, start))
            losses.set(0.0)
            ratios.set(0.0)

            def body(i: Value, live: Value | None) -> None:
                x = self.load(scores, i, live, -inf)
                e = fallen * function.load(aside, self.type, i)
                function.store(e, aside, i)
                lost = choose(x == most, 0.0, x - most)
                odds = lost - vecmath.log(self._others(r, e))
                seen = self.call.inputs(target(i, live), odds)
                found = computed(self.call.roots, {**self.known, **seen})
                if live is not None:
                    found = [choose(live, part, 0.0) for part in found]
                losses.set(losses.get() + found[0])
                if self.writes:
                    function.store(found[1], self.slopes, i)
                    ratios.set(ratios.get() + self._ratio(r, found[1], e))

            self.sweep(start, body)
            loss.set(loss.get() + summed(losses.get()))
            whole.set(whole.get() + summed(ratios.get()))
        self.keep("loss", loss.get(), r)
        if self.writes:
            self._write(row, r, self.spread(whole.get()))

    def _others(self, r: Value, e: Value) -> Value:
        """Return the sum of exponentials without each one."""
        rest = self.of("rest", r)
        return choose(e == 1.0, self.spread(rest), self.spread(rest + 1.0) - e)

    def _inverse(self, r: Value) -> Value:
        return self.spread(1.0 / (self.of("rest", r) + 1.0))

    def _ratio(self, r: Value, a: Value, e: Value) -> Value:
        q = self._others(r, e) * self._inverse(r)
        return choose(q == 0.0, 0.0, a / q)

    def finish(self) -> Value:
        """Return the loss of each of the rows."""
        return self.of("loss")

    def write(self, row: Value, r: Value) -> None:
        """Do nothing: a row has been written before the next one was read."""

    def _write(self, row: Value, r: Value, whole: Value) -> None:
        out, scale, inverse = self.place("out", row), self.scale(r), self._inverse(r)
        load, aside = self.function.load, self.aside(r)
        with self.function.loop(0, self.call["classes"], BLOCK) as start:

            def body(i: Value, live: Value | None) -> None:
                a, e = load(self.slopes, self.type, i), load(aside, self.type, i)
                p, b = e * inverse, self._ratio(r, a, e)
                self.function.store_some(
                    self.counted(scale * (a - p * (whole - b)), r), out, i, live
                )

            self.sweep(start, body)
