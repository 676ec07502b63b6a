"""Rows of a few numbers, a vector of rows at a time: one vector for each column.

Rows lie one after another in memory, so that a few whole vectors hold as many rows as
a vector has lanes. Shuffles sort them into columns, and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import Type, Value, choose


@dataclass(frozen=True)
class Tile:
    """Some rows of a matrix, at an address of their own.

    Attributes
    ----------
    address
        Its place in the matrix, or the buffer if the last rows are no vector.
    rows
        How many rows the tile has.
    width, type
        The numbers of a row, and what a vector of them is.
    place, buffer, whole
        Where the tile begins in the matrix, the buffer, and whether the matrix holds
        whole vectors of the tile.
    """

    address: Value
    rows: Value
    width: int
    type: Type
    place: Value
    buffer: Value
    whole: Value

    def load(self) -> list[Value]:
        """Read the columns."""
        function, lanes = self.rows.function, self.type.lanes
        vectors = [
            function.load(self.address, self.type, i * lanes) for i in range(self.width)
        ]
        return _columns(vectors)

    def store(self, columns: Sequence[Value]) -> None:
        """Write the columns."""
        function, lanes = self.rows.function, self.type.lanes
        for v, found in enumerate(_rows(columns)):
            function.store(found, self.address, v * lanes)
        with function.when(~self.whole), function.loop(0, self._numbers()) as i:
            number = function.load(self.buffer, Type(self.type.kind), i)
            function.store(number, self.place, i)

    def fetch(self) -> None:
        """Copy rows that are no vector to the buffer, before they are read."""
        function = self.rows.function
        with function.when(~self.whole), function.loop(0, self._numbers()) as i:
            number = function.load(self.place, Type(self.type.kind), i)
            function.store(number, self.buffer, i)

    def _numbers(self) -> Value:
        return self.rows * self.width


def tile(
    matrix: Value, first: Value, rows: Value, width: int, type: Type, buffer: Value
) -> Tile:
    """Return the tile of a matrix that begins with a row.

    Parameters
    ----------
    matrix
        The address of its numbers, row after row.
    first, rows
        The first row, and how many there are, at most as many as lanes.
    width, type
        The numbers of a row, and what a vector of them is.
    buffer
        Room for a whole tile.
    """
    function: Function = matrix.function
    place = function.at(matrix, type.kind, first * width)
    whole = rows >= type.lanes
    address = choose(whole, place, buffer)
    return Tile(address, rows, width, type, place, buffer, whole)


def _columns(vectors: Sequence[Value]) -> list[Value]:
    """Sort rows that lie one after another into columns.

    Of an even number of columns, every other number makes two matrices of half as
    many. Of an odd number w, the numbers of a column lie in different lanes: lane l of
    column c, counted from 0, comes of the vector v with l + v·lanes = c, modulo w.
    With vectors numbered by v·lanes that is a rotation of the vectors by l, done bit
    by bit; what is left is to sort each column.
    """
    width, lanes = len(vectors), vectors[0].type.lanes
    if width % 2 == 0:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        halves = [
            _columns([_picked(a, b, range(start, 2 * lanes, 2)) for a, b in pairs])
            for start in (0, 1)
        ]
        return [x for pair in zip(*halves, strict=True) for x in pair]
    turned = _turned(_numbered(vectors, lanes), 1)
    orders = [_lanes_of_rows(c, width, lanes) for c in range(width)]
    return [_picked(x, x, order) for x, order in zip(turned, orders, strict=True)]


def _rows(columns: Sequence[Value]) -> list[Value]:
    """Sort columns into rows that lie one after another: undo `_columns`."""
    width, lanes = len(columns), columns[0].type.lanes
    if width % 2 == 0:
        low, high = _rows(columns[::2]), _rows(columns[1::2])
        mixed = [n + lanes * odd for n in range(lanes) for odd in (0, 1)]
        halves = mixed[:lanes], mixed[lanes:]
        pairs = zip(low, high, strict=True)
        return [_picked(a, b, half) for a, b in pairs for half in halves]
    orders = [_lanes_of_rows(c, width, lanes) for c in range(width)]
    sorted_ = [
        _picked(x, x, [order.index(n) for n in range(lanes)])
        for x, order in zip(columns, orders, strict=True)
    ]
    turned = _turned(sorted_, -1)
    return [turned[v * lanes % width] for v in range(width)]


def _numbered(vectors: Sequence[Value], lanes: int) -> list[Value]:
    """Sort vectors by v·lanes, modulo their number."""
    width = len(vectors)
    order = {v * lanes % width: v for v in range(width)}
    return [vectors[order[n]] for n in range(width)]


def _turned(vectors: Sequence[Value], way: int) -> list[Value]:
    """Take lane l of each vector from the one that is l before it, or after it."""
    found, lanes = list(vectors), vectors[0].type.lanes
    for bit in range((lanes - 1).bit_length()):
        step = 1 << bit
        mixed = [n + lanes * bool(n & step) for n in range(lanes)]
        found = [
            _picked(x, found[(i - way * step) % len(found)], mixed)
            for i, x in enumerate(found)
        ]
    return found


def _lanes_of_rows(column: int, width: int, lanes: int) -> list[int]:
    return [(row * width + column) % lanes for row in range(lanes)]


def _picked(a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Return lanes of two vectors, the second counted on."""
    same = a is b and list(lanes) == list(range(len(lanes)))
    return a if same else a.function.shuffled(a, b, lanes)
