"""Logits, loss and gradients of a few rows at a time, in a buffer that is used again.

Three matrix products per chunk: the logits, and, once the row losses have written their
gradient over them, what flows to the hidden states and to the weight. Nothing is
computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from lossary import kernels
from lossary.arrays import Library
from lossary.projection.rows import RowLoss

Wanted = tuple[bool, bool, bool]
Gradients = tuple[Any, Any, Any]

SHARE = 0.08
"""Of the memory of all logits: what a call takes unless told otherwise."""
LEAST, MOST = 32 << 20, 1 << 30
"""The same in bytes: below, matrix products slow down; above, they gain nothing."""

SPARE = 0.2
"""Of the memory: for a second array of logits, where kernels need one."""
PIECE, TEMPORARY = 1 << 18, 16
"""Logits that the row losses see at once where they make temporary arrays, and so many
of these: that there are fewer at a time is lost in how memory is used."""
BLOCK = 1 << 20
"""Entries of the weight's gradient that are added at once, from a cache."""
ON_DEVICE = 1 << 24
"""Of all these where every step is a launch."""


@dataclass(frozen=True)
class Projection:
    """A linear layer and the loss of its logits, checked and ready to be computed.

    Attributes
    ----------
    lib : Library
        The array library of the call.
    rows : RowLoss
        What a row of logits costs.
    hidden, weight, bias
        Arrays of shape (n, d), (k, d) and (k,); the last may be None.
    labels
        Class numbers, shape (n,).
    shares
        The weight of each row, or None where all count alike.
    kept
        The numbers of the rows that count, or None where all do.
    work, product
        The dtype of logits and sums, and that of what is multiplied.
    memory : int, optional
        Bytes for what a call needs beside inputs and gradients.
    """

    lib: Library
    rows: RowLoss
    hidden: Any
    weight: Any
    bias: Any
    labels: Any
    shares: Any
    kept: Any
    work: Any
    product: Any
    memory: int | None = None

    @property
    def count(self) -> int:
        """The number of rows that count."""
        return len(self.hidden if self.kept is None else self.kept)

    def made(self, how: str, *shape: int) -> Any:
        """Return an array of ``"zeros"``, or an ``"empty"`` one, for logits or sums."""
        make = getattr(self.lib.namespace(self.hidden), how)
        return make(shape, dtype=self.work, device=self.hidden.device)


def sweep(
    call: Projection, wanted: Wanted, each: bool = False
) -> tuple[Any, Gradients]:
    """Return Σ w·l and its gradients, as far as they are wanted.

    Parameters
    ----------
    call : Projection
    wanted
        Whether the gradients in hidden states, weight and bias are asked for; the
        others are None. They have the dtype of the sums.
    each
        Whether to return w·l of every row instead of their sum.
    """
    inputs = call.hidden, call.weight, call.bias
    gradients = tuple(
        call.made("zeros", *x.shape) if asked else None
        for asked, x in zip(wanted, inputs, strict=True)
    )
    size = sizes(call, each)
    classes, width = call.weight.shape
    logits = call.made("empty", size.rows, classes)
    room = call.made("empty", min(size.block, classes), width)
    losses = _Losses(call, size, each, any(wanted))
    for rows in _chunks(call, size.rows):
        z, hidden = _logits(call, rows, logits, len(room))
        losses.add(rows, z)
        if any(wanted):
            _pull(call, gradients, rows, hidden, z, room)
    return losses.value(), gradients  # type: ignore[return-value]


class _Losses:
    """The losses of the rows, added up, or one by one; slopes replace their logits."""

    def __init__(self, call: Projection, size: Sizes, each: bool, slopes: bool) -> None:
        self.call, self.piece, self.slopes = call, size.piece, slopes
        self.items = call.made("zeros", len(call.hidden)) if each else None
        # One number per piece, written into place: small arrays made in between would
        # keep the memory of large ones from being used again.
        self.sums, self.pieces = call.made("zeros", call.count), 0
        spare = None
        if slopes and not call.rows.alone:
            spare = call.made("empty", size.piece, len(call.weight))
        self.near, (self.into, self.spare) = call.lib.at_hand(self.sums, spare)

    def add(self, rows: Any, z: Any) -> None:
        """Compute the losses of some rows."""
        call, shares = self.call, self.call.shares
        found = None if self.items is None else call.made("zeros", len(z))
        weights = None if shares is None else shares[rows]
        _, arrays = call.lib.at_hand(call.labels[rows], z, weights, found)
        with self.near.quiet():
            for start in range(0, len(z), self.piece):
                here = slice(start, start + self.piece)
                self._piece(*(None if a is None else a[here] for a in arrays))
        if self.items is not None:
            self.items[rows] = found

    def _piece(self, y: Any, z: Any, weights: Any, found: Any) -> None:
        rows, near = self.call.rows, self.near
        if found is not None:
            items = rows.items(near, y, z)
            found[...] = items if weights is None else items * weights
        if self.slopes:
            spare = None if self.spare is None else self.spare[: len(z)]
            total = rows.slopes(near, y, z, weights, spare)
        elif found is None:
            total = rows.total(near, y, z, weights)
        else:
            return
        self.into[self.pieces] = total
        self.pieces += 1

    def value(self) -> Any:
        """Return Σ w·l, or w·l of every row."""
        return self.call.lib.total(self.sums) if self.items is None else self.items


def _logits(call: Projection, rows: Any, logits: Any, block: int) -> tuple[Any, Any]:
    """Return the logits of a chunk, and the hidden states that they come from."""
    hidden = call.lib.cast(call.hidden[rows], call.product)
    z = logits[: len(hidden)]
    for classes, weight in _weights(call, block):
        _multiply(call, hidden, weight.T, z[:, classes])
    if call.bias is not None:
        z += call.lib.cast(call.bias, call.work)
    return z, hidden


def _pull(
    call: Projection, gradients: Any, rows: Any, hidden: Any, z: Any, room: Any
) -> None:
    """Add what a chunk's gradient in the logits gives to the others."""
    to_hidden, to_weight, to_bias = gradients
    slopes = call.lib.cast(z, call.product)
    if to_hidden is not None:
        to_hidden[rows] = _to_hidden(call, slopes, to_hidden, len(room))
    if to_weight is not None:
        _add_product(call, slopes.T, hidden, to_weight, room)
    if to_bias is not None:
        to_bias += call.lib.total(z, axis=0)


def _to_hidden(call: Projection, slopes: Any, like: Any, block: int) -> Any:
    xp = call.lib.namespace(slopes)
    shape = len(slopes), like.shape[1]
    total, room = (
        xp.empty(shape, dtype=call.work, device=like.device) for _ in range(2)
    )
    for i, (classes, weight) in enumerate(_weights(call, block)):
        _multiply(call, slopes[:, classes], weight, room if i else total)
        if i:
            total += room
    return total


def _weights(call: Projection, block: int) -> Iterator[tuple[slice, Any]]:
    """Walk over the weight in the dtype of the products, converted by blocks."""
    weight = call.weight
    if weight.dtype == call.product:
        yield slice(None), weight
        return
    for start in range(0, len(weight), block):
        classes = slice(start, start + block)
        yield classes, call.lib.cast(weight[classes], call.product)


def _multiply(call: Projection, a: Any, b: Any, out: Any) -> None:
    """Multiply matrices; halves are multiplied as such, and summed in float32."""
    xp = call.lib.namespace(a)
    if a.dtype == out.dtype:
        xp.matmul(a, b, out=out)
    else:
        xp.mm(a, b, out_dtype=out.dtype, out=out)


def _add_product(call: Projection, a: Any, b: Any, total: Any, room: Any) -> None:
    """Add a product of matrices, block by block where a library cannot do it."""
    if call.lib.name == "torch" and a.dtype == total.dtype:
        total.addmm_(a, b)
        return
    for start in range(0, len(total), len(room)):
        target = total[start : start + len(room)]
        _multiply(call, a[start : start + len(room)], b, room[: len(target)])
        target += room[: len(target)]


# -- sizes ----------------------------------------------------------------------------


class Sizes(NamedTuple):
    """How many rows a chunk has and a loss sees, and how many classes are added."""

    rows: int
    piece: int
    block: int


def sizes(call: Projection, each: bool = False) -> Sizes:
    """Return sizes such that all fits into the memory: chunks of equal size."""
    lib, count, (k, d) = call.lib, call.count, call.weight.shape
    wide, narrow = lib.itemsize(call.work), lib.itemsize(call.product)
    memory = call.memory
    if memory is None:
        memory = int(min(max(SHARE * count * k * wide, LEAST), MOST))
    device = call.hidden.device
    on_processor = getattr(device, "type", device) == "cpu"
    piece, block = (PIECE, BLOCK) if on_processor else (ON_DEVICE, ON_DEVICE)
    piece, arrays = min(piece, memory // (2 * TEMPORARY * wide)), TEMPORARY
    there = kernels.available()
    if not on_processor:
        there = lib.on_device("rows", call.labels, call.hidden, None)
    if call.rows.compiled and there and not each:
        # What a kernel is called with takes a while to hand out: few pieces are quick.
        spare = int(SPARE * memory) // wide
        piece, arrays = (count * k, 0) if call.rows.alone else (spare, 1)
    block = min(block, memory // (8 * wide))
    memory -= (block + count + arrays * piece) * wide  # a sum per piece, or fewer
    of_row = k * (wide + (narrow if narrow < wide else 0)) + 3 * d * wide
    rows: int = max(1, memory // of_row)
    chunks = max(1, -(-count // rows))
    rows = max(1, -(-count // chunks))
    piece = max(1, -(-piece // k))  # no fewer logits than a kernel is compiled for
    return Sizes(rows, min(piece, rows), max(1, block // d))


def _chunks(call: Projection, size: int) -> Iterator[Any]:
    """Walk over the rows that count: slices, or arrays of row numbers."""
    for start in range(0, call.count, size):
        rows = slice(start, min(call.count, start + size))
        yield rows if call.kept is None else call.kept[rows]
