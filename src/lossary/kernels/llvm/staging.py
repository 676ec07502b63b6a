"""Blocks of arrays as whole vectors: whatever their strides, and at their ends.

A kernel walks over its arrays in blocks. Where an array is contiguous its memory is
the block; elsewhere, and for the last few items, the block is a buffer in the first
cache, into which items are copied, or out of which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import INDEX, POINTER, Type, Value, choose
from lossary.kernels.sizes import BLOCK


@dataclass(frozen=True)
class Array:
    """An array that a printed function walks over.

    Attributes
    ----------
    address, stride
        Where it begins, and the bytes from one item to the next.
    type
        What a vector of it is.
    buffer
        Room for a block of it.
    """

    address: Value
    stride: Value
    type: Type
    buffer: Value

    @property
    def item(self) -> Type:
        """The type of one item."""
        return Type(self.type.kind)

    def place(self, index: Value) -> Value:
        """Return the address of an item."""
        function = index.function
        return function.at(self.address, "i8", index * self.stride)


def array(function: Function, slots: Value, first: int, type: Type) -> Array:
    """Return the array whose address and stride stand in two slots of a call."""
    return Array(
        function.load(slots, POINTER, first),
        function.load(slots, INDEX, first + 1),
        type,
        function.room(Type(type.kind), BLOCK),
    )


@dataclass(frozen=True)
class Block:
    """The items of an array from `start` on, at an address of their own."""

    array: Array
    address: Value
    direct: Value
    start: Value
    count: Value

    def fill(self) -> None:
        """Copy the items of the array to the buffer, if they are read from there."""
        function, array = self.start.function, self.array
        with function.when(~self.direct), function.loop(0, self.count) as i:
            item = function.load(array.place(self.start + i), array.item)
            function.store(item, array.buffer, i)

    def load(self, index: Value) -> Value:
        """Read a vector."""
        return index.function.load(self.address, self.array.type, index)

    def store(self, value: Value, index: Value) -> None:
        """Write a vector."""
        index.function.store(value, self.address, index)

    def flush(self) -> None:
        """Copy what was written to the array, if it was written to the buffer."""
        function, array = self.start.function, self.array
        with function.when(~self.direct), function.loop(0, self.count) as i:
            item = function.load(array.buffer, array.item, i)
            function.store(item, array.place(self.start + i))


def block(array: Array, start: Value, count: Value, direct: Value) -> Block:
    """Return a block of at most `BLOCK` items.

    It is the array's own memory only where `direct` allows it, and items lie side by
    side.
    """
    direct = direct & (array.stride == array.item.size)
    address = choose(direct, array.place(start), array.buffer)
    return Block(array, address, direct, start, count)


# -- the arrays of a call -------------------------------------------------------------


def line(x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """Return an array whose items, in C order, lie at one stride, and that stride.

    It is the array itself wherever there is such a stride, and else a copy.
    """
    if x.flags.c_contiguous:
        return x, x.itemsize
    if x.ndim == 1:
        return x, x.strides[0]
    try:
        flat = np.reshape(x, -1, copy=False)
    except ValueError:
        x = np.ascontiguousarray(x)
        return x, x.itemsize
    return flat, flat.strides[0]
