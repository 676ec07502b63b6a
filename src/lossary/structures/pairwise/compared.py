"""Rows that are compared with rows: their vectors, and the score of every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lossary.arrays import Library
from lossary.batch import Batch
from lossary.errors import ShapeError
from lossary.loss import Loss

MEMORY = 1 << 22
"""Bytes of scores that a block holds; a matrix of fewer is computed in one piece."""


def serve(lib: Library, a: Any, b: Any) -> bool:
    """Say whether so many rows are compared that blocks are worth it."""
    if not lib.works_in_place(a, b):
        return False
    n, m = lib.shape(a)[0], lib.shape(b)[0]
    return bool(n * m * lib.itemsize(a.dtype) > MEMORY)


@dataclass(frozen=True)
class Compared:
    """Vectors `a` of n rows, each told from the vectors `b` of m rows.

    Attributes
    ----------
    lib : Library
        The library of the arrays.
    a, b
        The vectors that are multiplied, (n, d) and (m, d).
    own
        For each row of `a` the row of `b` that it belongs to, (n,).
    each : str
        What the losses are of: a ``"row"`` or a ``"pair"``.
    temperature, bias
        Numbers: the score of a pair is a·b / temperature + bias; no bias is None.
    keep, others
        Which rows of `a` and of `b` count, or None together where all do.
    both : bool
        Whether each row of `b` is told from the rows of `a` too.
    """

    lib: Library
    a: Any
    b: Any
    own: Any
    each: str
    temperature: Any
    bias: Any = None
    keep: Any = None
    others: Any = None
    both: bool = False

    def scores(self) -> Any:
        """Return the score of every pair, (n, m)."""
        xp = self.lib.namespace(self.a)
        products = xp.matmul(self.a, xp.matrix_transpose(self.b))
        scores = products / self.temperature
        return scores if self.bias is None else scores + self.bias

    def pairs(self) -> Any:
        """Mark the pairs that belong together, (n, m)."""
        xp = self.lib.namespace(self.a)
        columns = self.lib.arange(self.lib.sizes(self.b)[0], self.a)
        return xp.expand_dims(self.own, axis=-1) == xp.expand_dims(columns, axis=0)

    def without_removed(self) -> Compared:
        """Leave removed rows out: nothing is told from them."""
        if self.keep is None:
            return self
        xp = self.lib.namespace(self.a)
        place = xp.cumsum(self.lib.cast(self.others, self.own.dtype), axis=0) - 1
        return replace(
            self,
            a=self.a[self.keep],
            b=self.b[self.others],
            own=place[self.own][self.keep],
            keep=None,
            others=None,
        )

    def counted(self) -> Any:
        """Mark the pairs that count, (n, m): a row's own, and all of rows that do."""
        xp = self.lib.namespace(self.a)
        keep, others = xp.expand_dims(self.keep, axis=-1), self.others
        return self.pairs() | (keep & xp.expand_dims(others, axis=0))


def within(loss: Loss, batch: Batch) -> tuple[Compared, Any]:
    """Compare the rows of a batch; return the lengths of the predictions too."""
    lib = batch.lib
    units, length = _vectors(loss, lib, batch.z)
    others, _ = _vectors(loss, lib, batch.y)
    keep = batch.counting.keep
    both = loss.parameters.get("direction") == "both"
    own = lib.arange(lib.sizes(units)[0], units)
    found = Compared(
        lib,
        units,
        others,
        own,
        **_numbers(loss, batch),
        keep=keep,
        others=keep,
        both=both,
    )
    return found, length


def among(loss: Loss, batch: Batch, everyone: Batch, start: int) -> Iterator[Compared]:
    """Compare the rows of a batch with those of a larger one, by direction.

    `everyone` holds the rows of `batch` too, from row `start` on.
    """
    whole, _ = within(loss, everyone)
    part, _ = within(loss, batch)
    keep, others = batch.counting.keep, everyone.counting.keep
    own = part.own + start
    forward = replace(part, b=whole.b, own=own, keep=keep, others=others, both=False)
    yield forward
    if part.both:
        yield replace(forward, a=part.b, b=whole.a)


def _numbers(loss: Loss, batch: Batch) -> dict[str, Any]:
    """Return temperature and bias, as the loss or the call gives them, and of what."""
    structure: Any = loss.structure
    given = {**loss.parameters, **dict(zip(loss.read, batch.beside, strict=True))}
    for name in loss.read:
        if batch.lib.shape(given[name]):
            raise ShapeError(
                f"{loss.name}: {name} is one number for all pairs of rows, shape (), "
                f"got shape {batch.lib.shape(given[name])}; pass a single number"
            )
    numbers = {name: given[name] for name in structure.readable(loss)}
    return {"each": structure.each, **numbers}


def _vectors(loss: Loss, lib: Library, x: Any) -> tuple[Any, Any]:
    """Return the vectors that are multiplied, and their lengths where divided by."""
    if loss.parameters["similarity"] == "dot":
        return x, None
    xp = lib.namespace(x)
    # In units of the largest entry no square under- or overflows.
    top = lib.constant(xp.max(xp.abs(x), axis=-1, keepdims=True))
    top = xp.where(top > 0, top, xp.ones_like(top))
    scaled = x / top
    square = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    some = square != 0  # a vector of zeros has similarity 0 to all
    length = xp.sqrt(xp.where(some, square, xp.ones_like(square)))
    units = xp.where(some, scaled / length, xp.zeros_like(scaled))
    return units, xp.where(some, length * top, xp.zeros_like(length))


def through_length(lib: Library, units: Any, length: Any, gradient: Any) -> Any:
    """Chain a gradient in unit vectors to the vectors: what turns them is left."""
    if length is None:
        return gradient
    xp = lib.namespace(units)
    some = length != 0
    safe = xp.where(some, length, xp.ones_like(length))
    turning = gradient - units * xp.sum(units * gradient, axis=-1, keepdims=True)
    return xp.where(some, turning / safe, xp.zeros_like(turning))
