"""Kernels beside the one of rows: scores on their way to a loss, and slopes back.

A row's scores may be transformed before its loss sees them, as a soft cap does, and a
function of their log-sum-exp may be added to the loss. What that takes of a row is
read and written while it is in the cache, in two passes: `forward` before the loss of
the rows, and `backward` after it has found its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np

from lossary.emit.lowering import lower
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, symbol
from lossary.kernels import vecmath
from lossary.kernels.call import Compiled, address, evaluated, run
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import INDEX, KINDS, POINTER, Type, Value, vector
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.walk import SIGNATURE, constants
from lossary.kernels.rows.parts import below, finite, folded, larger, summed, sweep
from lossary.kernels.sizes import BLOCK, CHUNK
from lossary.kernels.spelling import computed, uniform

SLOTS = ("rows", "classes", "chunk", "scores", "other", "tops", "sums")
"""What a call names: numbers of rows, of classes, and of rows in a chunk; then
addresses. `other` is written by `forward` and read by `backward`, and so are the
numbers of each row."""

SIZES = SLOTS[:3]


Array = np.ndarray[Any, Any]

Transform = tuple[Formula, Formula, tuple[float, ...]]
"""What scores go through: a formula of z, that of its slope, and their parameters."""

PerRow = tuple[Array, Array]
"""A number of each row in the format of the scores, and one in float64."""


def forward(
    z: Array, transform: Transform | None, out: Array | None, sums: bool
) -> PerRow | None:
    """Transform scores, and add up the exponentials of each row.

    Parameters
    ----------
    z
        Scores, contiguous, float32 or float64, the class axis last.
    transform
        What they go through, or None.
    out
        Where they go: an array like `z`, or `z` itself; None without a transform.
    sums
        Whether the exponentials are asked for.

    Returns
    -------
    tuple of numpy.ndarray or None
        The largest score of each row, and Σ exp(z - largest).
    """
    found = (np.empty(len(z), z.dtype), np.empty(len(z))) if sums else None
    _run("forward", z, transform, out, found)
    return found


def backward(
    z: Array, transform: Transform | None, gradient: Array, added: PerRow | None
) -> None:
    """Write the gradient in raw scores over them.

    Parameters
    ----------
    z, transform
        As for `forward`.
    gradient
        That in the transformed scores: a contiguous array like `z`.
    added
        What is added to it: of each row the largest score, and what exponentials
        relative to it are multiplied by.
    """
    if added is not None:
        added = added[0], np.ascontiguousarray(added[1], np.float64)
    _run("backward", z, transform, gradient, added)


def _run(
    what: str,
    z: Array,
    transform: Transform | None,
    other: Array | None,
    of_rows: PerRow | None,
) -> None:
    formulas = None if transform is None else transform[:2]
    variant = Variant(what, KINDS[z.dtype], formulas, of_rows is not None)
    rows, classes = z.shape
    chunk = max(1, CHUNK // classes)
    arrays = z, other, *(of_rows or (None, None))
    slots = rows, classes, chunk, *(0 if x is None else address(x) for x in arrays)
    reals: tuple[float, ...] = ()
    if transform is not None:
        params = dict(zip(transform[0].params, transform[2], strict=True))
        reals = evaluated(variant.roots, params)
    run(_kernel(variant), slots, reals, -(-rows // chunk))


# -- printing -------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """What a kernel is printed for.

    Attributes
    ----------
    what
        ``"forward"`` or ``"backward"``.
    kind
        What LLVM calls the format of the scores.
    formulas
        A transform and its slope, if there is one.
    sums
        Whether the exponentials of a row are added up, or added.
    """

    what: str
    kind: str
    formulas: tuple[Formula, Formula] | None
    sums: bool

    @property
    def roots(self) -> tuple[Node, ...]:
        """The expressions that are computed of a score."""
        return tuple(lower(f.value) for f in self.formulas or ())


@lru_cache(maxsize=64)
def _kernel(variant: Variant) -> Compiled:
    return load(printed(variant), f"capped-{variant.what}-{variant.kind}")


def printed(variant: Variant) -> str:
    """Print the module of one kernel."""
    function = Function(SIGNATURE)
    rows = _Rows(function, variant)
    body = rows.forward if variant.what == "forward" else rows.backward
    with function.loop(function["first"], function["last"]) as chunk:
        begin = chunk * rows.call["chunk"]
        end = function.smaller(begin + rows.call["chunk"], rows.call["rows"])
        with function.loop(begin, end) as row:
            body(row)
    return function.text()


class _Rows:
    """What is printed for a row."""

    def __init__(self, function: Function, variant: Variant) -> None:
        self.function, self.variant = function, variant
        self.kind, self.type = variant.kind, vector(variant.kind)
        slots = function["slots"]
        self.call = {
            name: function.load(slots, INDEX if name in SIZES else POINTER, i)
            for i, name in enumerate(SLOTS)
        }
        parts = uniform(variant.roots)
        numbers = constants(function, self.kind, len(parts))
        self.known = dict(zip(parts, numbers, strict=True))

    def forward(self, row: Value) -> None:
        """Transform the scores of a row, and add up their exponentials."""
        function, sums = self.function, self.variant.sums
        scores, seen = self._place("scores", row), self._place("scores", row)
        highest = function.variable(function.constant(-inf, self.type))
        if self.variant.formulas:
            seen = self._place("other", row)

        def body(i: Value, live: Value | None) -> None:
            x = self._load(scores, i, live, -inf)
            if self.variant.formulas:
                x, _ = self._transformed(x)
                self.function.store_some(x, seen, i, live)
            if sums:
                x = x if live is None else x.chosen(live, x, x.like(-inf))
                highest.set(larger(x, highest.get()))

        sweep(function, function.constant(0), self.call["classes"], self.kind, body)
        if sums:
            top = folded(highest.get(), larger)
            function.store(top, self.call["tops"], row)
            function.store(self._total(seen, top), self.call["sums"], row)

    def _total(self, seen: Value, top: Value) -> Value:
        """Return the sum of a row's exponentials."""
        function, shift = self.function, self._spread(finite(top))
        total = function.variable(function.constant(0.0, Type("double")))
        part = function.variable(function.constant(0.0, self.type))

        def body(i: Value, live: Value | None) -> None:
            x = self._load(seen, i, live, -inf)
            part.set(part.get() + vecmath.fall(below(x - shift)))

        with function.loop(0, self.call["classes"], BLOCK) as start:
            part.set(0.0)
            stop = function.smaller(start + BLOCK, self.call["classes"])
            sweep(function, start, stop, self.kind, body)
            total.set(total.get() + summed(part.get()))
        return total.get()

    def backward(self, row: Value) -> None:
        """Write the gradient of a row over its scores."""
        function, variant = self.function, self.variant
        scores, gradient = self._place("scores", row), self._place("other", row)
        if variant.sums:
            top = function.load(self.call["tops"], Type(self.kind), row)
            rate = function.load(self.call["sums"], Type("double"), row)
            shift, rate = self._spread(finite(top)), self._spread(rate.to(self.kind))

        def body(i: Value, live: Value | None) -> None:
            x, slope = (self._load(place, i, live) for place in (scores, gradient))
            seen, steep = self._transformed(x) if variant.formulas else (x, None)
            if variant.sums:
                slope = slope + rate * vecmath.fall(below(seen - shift))
            if steep is not None:
                slope = slope * steep
            self.function.store_some(slope, scores, i, live)

        sweep(function, function.constant(0), self.call["classes"], self.kind, body)

    # -- pieces ---------------------------------------------------------------------

    def _transformed(self, x: Value) -> list[Value]:
        """Return transformed scores, and the slopes of the transform."""
        return computed(self.variant.roots, {**self.known, symbol("z"): x})

    def _spread(self, x: Value) -> Value:
        return self.function.spread(x, self.type.lanes)

    def _place(self, name: str, row: Value) -> Value:
        return self.function.at(self.call[name], self.kind, row * self.call["classes"])

    def _load(
        self, place: Value, i: Value, live: Value | None, fill: float = 0.0
    ) -> Value:
        return self.function.load_some(place, self.type, i, live, fill)
