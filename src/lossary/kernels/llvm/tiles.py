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
        return [_gathered(vectors, places) for places in _columns(self.width, lanes)]

    def store(self, columns: Sequence[Value]) -> None:
        """Write the columns."""
        function, lanes = self.rows.function, self.type.lanes
        for start, places in enumerate(_vectors(self.width, lanes)):
            function.store(_gathered(columns, places), self.address, start * lanes)
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


Place = tuple[int, int]
"""One number among some vectors: which vector, and which lane of it."""


def _columns(width: int, lanes: int) -> list[list[Place]]:
    return [
        [divmod(row * width + column, lanes) for row in range(lanes)]
        for column in range(width)
    ]


def _vectors(width: int, lanes: int) -> list[list[Place]]:
    rows = [divmod(n, width) for n in range(width * lanes)]
    places = [(column, row) for row, column in rows]
    return [places[i * lanes : (i + 1) * lanes] for i in range(width)]


def _gathered(vectors: Sequence[Value], places: Sequence[Place]) -> Value:
    """Pick one number for each lane, vector by vector."""
    used = sorted({vector for vector, _ in places})
    found = vectors[used[0]]
    own = [lane if vector == used[0] else -1 for vector, lane in places]
    if own == list(range(len(own))):
        return found
    lanes = len(places)
    for vector in used[1:] or used:
        other = vectors[vector]
        picked = [
            lanes + lane if v == vector else here
            for here, (v, lane) in zip(own, places, strict=True)
        ]
        found = found.function.shuffled(found, other, picked)
        own = [i if p >= 0 else -1 for i, p in enumerate(picked)]
    return found
