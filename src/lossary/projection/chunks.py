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

FUSED, PIECE = 1 << 20, 1 << 18
"""Logits that the row losses see at once, without and with temporary arrays."""
TEMPORARY = 16
"""So many of these: that there are fewer at a time is lost in how memory is used."""
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
    lib, h, weight = call.lib, call.hidden, call.weight
    xp = lib.namespace(h)

    def made(make: Any, *shape: int) -> Any:
        return make(shape, dtype=call.work, device=h.device)

    gradients = tuple(
        made(xp.zeros, *x.shape) if asked else None
        for asked, x in zip(wanted, (h, weight, call.bias), strict=True)
    )
    items = made(xp.zeros, len(h)) if each else None
    # One number per piece, written into place: small arrays made in between would
    # keep the memory of large ones from being used again.
    sums, pieces = made(xp.zeros, call.count), 0
    near, (sums_near,) = lib.at_hand(sums)
    size = sizes(call)
    logits = made(xp.empty, size.rows, len(weight))
    room = made(xp.empty, min(size.block, len(weight)), h.shape[1])
    loss = call.rows.slopes if any(wanted) else call.rows.total
    for rows in _chunks(call, size.rows):
        z, hidden = _logits(call, rows, logits, len(room))
        shares = None if call.shares is None else call.shares[rows]
        one_by_one = made(xp.zeros, len(z)) if each else None
        _, arrays = lib.at_hand(call.labels[rows], z, shares, one_by_one)
        with near.quiet():
            for start in range(0, len(z), size.piece):
                here = slice(start, start + size.piece)
                y, part, w, found = (None if a is None else a[here] for a in arrays)
                if found is not None:
                    losses = call.rows.items(near, y, part)
                    found[...] = losses if w is None else losses * w
                if not each or any(wanted):
                    sums_near[pieces] = loss(near, y, part, w)
                    pieces += 1
        if items is not None:
            items[rows] = one_by_one
        if any(wanted):
            _pull(call, gradients, rows, hidden, z, room)
    value = lib.total(sums) if items is None else items
    return value, gradients  # type: ignore[return-value]


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


def sizes(call: Projection) -> Sizes:
    """Return sizes such that all fits into the memory: chunks of equal size."""
    lib, count, (k, d) = call.lib, call.count, call.weight.shape
    wide, narrow = lib.itemsize(call.work), lib.itemsize(call.product)
    memory = call.memory
    if memory is None:
        memory = int(min(max(SHARE * count * k * wide, LEAST), MOST))
    device = call.hidden.device
    on_processor = getattr(device, "type", device) == "cpu"
    piece, block = (PIECE, BLOCK) if on_processor else (ON_DEVICE, ON_DEVICE)
    piece = min(piece, memory // (2 * TEMPORARY * wide))
    block = min(block, memory // (8 * wide))
    memory -= (block + count) * wide  # and one sum per piece, which are fewer
    if call.rows.fused and kernels.available() and on_processor:
        piece = FUSED
    else:
        memory -= TEMPORARY * piece * wide
    of_row = k * (wide + (narrow if narrow < wide else 0)) + 3 * d * wide
    rows: int = max(1, memory // of_row)
    chunks = max(1, -(-count // rows))
    piece = max(1, -(-piece // k))  # no fewer logits than a kernel is compiled for
    return Sizes(max(1, -(-count // chunks)), piece, max(1, block // d))


def _chunks(call: Projection, size: int) -> Iterator[Any]:
    """Walk over the rows that count: slices, or arrays of row numbers."""
    for start in range(0, call.count, size):
        rows = slice(start, min(call.count, start + size))
        yield rows if call.kept is None else call.kept[rows]
