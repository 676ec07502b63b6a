"""Pixels of many classes: along the scores of a pixel, while they are in the cache.

What a kernel writes for itself has room for whole vectors, since stores of some lanes
are slow: its probabilities, and the rows of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from lossary.kernels.llvm.lanes import INDEX, POINTER, Type, Value, choose
from lossary.kernels.llvm.walk import ARRAYS
from lossary.kernels.overlap.parts import COUNTS, Call, Variant
from lossary.kernels.rows.parts import (
    Body,
    folded,
    larger,
    summed,
    sweep,
)
from lossary.kernels.vecmath import decay

PRECISE = Type("double")


@dataclass(frozen=True)
class _Pixel:
    """One pixel.

    Attributes
    ----------
    own, label
        Its weight and its class.
    shares, scale
        Where its probabilities are, and a factor of them.
    out
        Where its gradient goes.
    """

    own: Value
    label: Value
    shares: Value
    scale: Value | None
    out: Value


def printed(variant: Variant) -> str:
    """Print the module of a kernel of any number of classes."""
    call = Call(variant)
    function = call.function
    with function.loop(function["first"], function["last"]) as chunk:
        item, begin, end = call.span(chunk)
        scan = _Scan(call, chunk, item)
        if variant.what == "counts":
            scan.clear()
        with function.loop(begin, end) as pixel, scan.pixel(pixel) as seen:
            if variant.what == "counts":
                scan.count(seen)
            else:
                scan.slope(seen)
    return call.finished()


class _Scan:
    """The classes of a pixel, a few vectors at a time."""

    def __init__(self, call: Call, chunk: Value, item: Value) -> None:
        self.call, self.variant, self.function = call, call.variant, call.function
        self.type, self.kind = call.type, call.type.kind
        self.wide = Type("double", call.type.lanes)
        self.zero, self.classes = call.function.constant(0), call["classes"]
        self.width = (self.classes + (self.type.lanes - 1)) & -self.type.lanes
        self.sums = self._at(call.sums, "double", chunk * COUNTS * self.width)
        self.work = self._at(call["work"], self.kind, chunk * self.width)
        self.factors = self._at(call["factors"], "double", item * 2 * self.classes)

    def _at(self, pointer: Value, kind: str, index: Value) -> Value:
        return self.function.at(pointer, kind, index)

    def _row(self, name: str, row: Value) -> Value:
        return self._at(self.call[name], self.kind, row * self.classes)

    def _walked(self, which: int, pixel: Value, type: Type) -> Value:
        """Read the number of a pixel from an array of any stride."""
        function, slot = self.function, ARRAYS + 2 * which
        base = function.load(function["slots"], POINTER, slot)
        stride = function.load(function["slots"], INDEX, slot + 1)
        return function.load(function.at(base, "i8", pixel * stride), type)

    def _sweep(self, body: Body) -> None:
        sweep(self.function, self.zero, self.classes, self.kind, body)

    def _load(
        self, place: Value, i: Value, live: Value | None, type: Type | None = None
    ) -> Value:
        return self.function.load_some(place, type or self.type, i, live, 0.0)

    def _spread(self, x: Value) -> Value:
        return self.function.spread(x.to(self.kind), self.type.lanes)

    def clear(self) -> None:
        """Begin the sums of a chunk."""
        zero = self.function.constant(0.0, PRECISE)
        with self.function.loop(0, self.width * COUNTS) as i:
            self.function.store(zero, self.sums, i)

    @contextmanager
    def pixel(self, pixel: Value) -> Iterator[_Pixel]:
        """Compute the probabilities of a pixel, and do what follows if it counts."""
        function, variant = self.function, self.variant
        label = self._walked(0, pixel, INDEX)
        own = function.constant(1.0, Type(self.kind))
        counted = function.constant(1, Type("i1"))
        if variant.weight:
            own = self._walked(1, pixel, Type(self.kind))
            counted = own != 0.0
        if variant.keep:
            kept = self._walked(1 + variant.weight, pixel, Type("i8"))
            counted = counted & (kept != 0)
        scores = self._row("scores", pixel)
        out = self._row("slopes", pixel)
        if variant.what == "gradient":
            with function.when(~counted), function.loop(0, self.classes) as k:
                function.store(function.constant(0.0, Type(self.kind)), out, k)
        with function.when(counted):
            if not variant.logits:
                if variant.what == "counts":
                    self._watch(scores)
                yield _Pixel(own, label, scores, None, out)
            else:
                scale = self._softmax(scores)
                yield _Pixel(own, label, self.work, scale, out)

    def _watch(self, scores: Value) -> None:
        def body(i: Value, live: Value | None) -> None:
            z = self._load(scores, i, live)
            self.call.watch(1, z, z == z if live is None else live)

        self._sweep(body)

    def _softmax(self, scores: Value) -> Value:
        """Write exponentials, and return what makes probabilities of them."""
        function = self.function
        lowest = function.constant(-inf, self.type)
        tops = function.variable(lowest)

        def highest(i: Value, live: Value | None) -> None:
            z = self._load(scores, i, live)
            z = z if live is None else choose(live, z, -inf)
            tops.set(larger(z, tops.get()))

        self._sweep(highest)
        top = self._spread(folded(tops.get(), larger))
        zero = function.constant(0.0, self.type)
        mass = function.variable(zero)

        def exponentials(i: Value, live: Value | None) -> None:
            e = decay(self._load(scores, i, live) - top)
            function.store(e, self.work, i)
            mass.set(mass.get() + (e if live is None else choose(live, e, 0.0)))

        self._sweep(exponentials)
        return (1.0 / summed(mass.get())).to(self.kind)

    def _shares(self, seen: _Pixel, i: Value, live: Value | None) -> Value:
        """Return the probabilities of some classes."""
        found = self._load(seen.shares, i, live)
        return found if seen.scale is None else found * self._spread(seen.scale)

    def _own_share(self, seen: _Pixel) -> Value:
        """Return the probability of the pixel's class."""
        found = self.function.load(seen.shares, Type(self.kind), seen.label)
        return found if seen.scale is None else found * seen.scale

    @contextmanager
    def _known(self, label: Value) -> Iterator[None]:
        """Do what follows if a class number names a class."""
        with self.function.when((label >= 0) & (label < self.classes)):
            yield

    def count(self, seen: _Pixel) -> None:
        """Add the pixel to the sums of its chunk."""
        own = self._spread(seen.own)
        predictions = self._at(self.sums, "double", self.width * 2)

        def body(i: Value, live: Value | None) -> None:
            prediction = own * self._shares(seen, i, live)
            before = self.function.load(predictions, self.wide, i)
            self.function.store(before + prediction.to("double"), predictions, i)

        self._sweep(body)
        with self._known(seen.label):
            self._add(seen.own * self._own_share(seen), seen.label)
            self._add(seen.own, seen.label + self.width)

    def _add(self, x: Value, index: Value) -> None:
        before = self.function.load(self.sums, PRECISE, index)
        self.function.store(before + x.to("double"), self.sums, index)

    def slope(self, seen: _Pixel) -> None:
        """Write the gradient of the pixel."""
        function, own, kind = self.function, self._spread(seen.own), self.kind
        slopes = self._at(self.factors, "double", self.classes)
        out = seen.out
        bonus = function.variable(function.constant(0.0, Type(kind)))
        with self._known(seen.label):
            by_overlap = function.load(self.factors, PRECISE, seen.label).to(kind)
            if self.variant.logits:
                by_overlap = self._own_share(seen) * by_overlap
            bonus.set(by_overlap)

        def slope(i: Value, live: Value | None) -> Value:
            return self._load(slopes, i, live, self.wide).to(kind)

        if self.variant.logits:
            zero = function.constant(0.0, self.type)
            dots = function.variable(zero)

            def dot(i: Value, live: Value | None) -> None:
                p = self._shares(seen, i, live)
                dots.set(dots.get() + p * slope(i, live))

            self._sweep(dot)
            mean = summed(dots.get()) + bonus.get().to("double")
            shift = self._spread(mean)

        def body(i: Value, live: Value | None) -> None:
            found = slope(i, live)
            if self.variant.logits:
                found = self._shares(seen, i, live) * (found - shift)
            self.function.store_some(own * found, out, i, live)

        self._sweep(body)
        with self._known(seen.label):
            before = function.load(out, Type(kind), seen.label)
            function.store(before + seen.own * bonus.get(), out, seen.label)
