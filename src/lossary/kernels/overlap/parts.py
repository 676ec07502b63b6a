"""What kernels of overlaps share: what they are printed for, and called with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import INDEX, POINTER, Type, Value, choose, vector
from lossary.kernels.llvm.walk import ARRAYS, FLAG, SIGNATURE, SUMS, constants
from lossary.kernels.sizes import BLOCK, CHUNK
from lossary.kernels.weights import reads

Pass = Literal["counts", "gradient"]

COUNTS = 3
"""Σ w·y·p, Σ w·y and Σ w·p, in this order for all classes."""

FEW = 24
"""Classes up to which a vector of pixels is sorted into one vector for each class."""

SLOTS = ("pixels", "parts", "chunk", "classes", "scores", "slopes", "factors", "work")
"""What a call names after the arrays that are walked over: sizes, then addresses."""

SIZES = SLOTS[:4]


@dataclass(frozen=True)
class Variant:
    """What a kernel is printed for.

    Attributes
    ----------
    what
        Whether pixels are counted, or the gradient is written.
    logits
        Whether the scores are logits; else they are probabilities.
    classes
        The number of classes of class numbers: 0 for masks, -1 for any number.
    kind
        What LLVM calls the format of the scores.
    weight, keep
        Whether weights are read, and whether a mask is.
    limits
        Whether target and score are compared with an interval.
    """

    what: Pass
    logits: bool
    classes: int
    kind: str
    weight: bool
    keep: bool
    limits: tuple[bool, bool] = (False, False)

    @property
    def walked(self) -> tuple[list[str], list[str]]:
        """What the arrays hold that are walked over: those read, those written."""
        shares = reads(self.kind, self.weight, self.keep)
        if self.classes:
            return ["i64", *shares], []
        writes = [self.kind] * (self.what == "gradient")
        return [self.kind, self.kind, *shares], writes


@dataclass(frozen=True)
class Layout:
    """How the pixels of a call are cut into items, and items into chunks.

    Attributes
    ----------
    items, pixels
        How many items there are, and the pixels of each.
    classes, width
        The number of classes, 1 for masks; and what sums have room for.
    """

    items: int
    pixels: int
    classes: int
    width: int

    @property
    def chunk(self) -> int:
        """The pixels of a chunk."""
        return max(BLOCK, CHUNK // self.classes & -BLOCK)

    @property
    def parts(self) -> int:
        """The chunks of an item, which depend on its size alone."""
        return -(-self.pixels // self.chunk)

    @property
    def chunks(self) -> int:
        """The chunks of all items."""
        return self.items * self.parts


class Call:
    """The arrays and numbers of a call, as the printed function sees them."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.function = function = Function(SIGNATURE)
        self.type = vector(variant.kind)
        self.reads, self.writes = variant.walked
        first = ARRAYS + 2 * (len(self.reads) + len(self.writes))
        self._slots = {
            name: function.load(
                function["slots"], INDEX if name in SIZES else POINTER, first + i
            )
            for i, name in enumerate(SLOTS)
        }
        self.sums = function.load(function["slots"], POINTER, SUMS)
        self.limits = constants(function, variant.kind, 4)
        self._outside = function.variable(function.constant(False, self.type.of("i1")))

    def __getitem__(self, name: str) -> Value:
        """Return one of the slots."""
        return self._slots[name]

    def span(self, chunk: Value) -> tuple[Value, Value, Value]:
        """Return the item that a chunk belongs to, and where its pixels are."""
        item = chunk / self["parts"]
        begin = item * self["pixels"] + (chunk - item * self["parts"]) * self["chunk"]
        last = (item + 1) * self["pixels"]
        return item, begin, self.function.smaller(begin + self["chunk"], last)

    def factor(self, index: Value) -> Value:
        """Return one of the factors of the items, in every lane."""
        number = self.function.load(self["factors"], Type("double"), index)
        return self.function.spread(number.to(self.type.kind), self.type.lanes)

    def watch(self, which: int, x: Value, counted: Value) -> None:
        """Remember whether a counted target (0) or score (1) may not be."""
        if self.variant.limits[which]:
            low, high = self.limits[2 * which : 2 * which + 2]
            bad = counted & ((x < low) | (x > high))
            self._outside.set(self._outside.get() | bad)

    def kept(self, counted: Value, x: Value) -> Value:
        """Return a gradient where a pixel counts, and 0 where it is removed."""
        removing = self.variant.weight or self.variant.keep
        return choose(counted, x, 0.0) if removing else x

    def finished(self) -> str:
        """Print the end of the function, and return the module."""
        if any(self.variant.limits):
            with self.function.when(self.function.any(self._outside.get())):
                one = self.function.constant(1)
                self.function.store(one, self.function["slots"], FLAG)
        return self.function.text()
