"""One pass over arrays of equal length: chunks, blocks, whole vectors, and sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import INDEX, POINTER, Type, Value, vector
from lossary.kernels.llvm.staging import Block, array, block
from lossary.kernels.sizes import BLOCK, CHUNK

Body = Callable[[Value, Value, Sequence[Block], Sequence[Block]], Sequence[Value]]
Span = Callable[[Value, Value], tuple[Value, Value]]

SIGNATURE = {"slots": POINTER, "reals": POINTER, "first": INDEX, "last": INDEX}
"""What a kernel is called with: its arrays, its numbers, and the chunks to do."""

ITEMS, SUMS, FLAG, ARRAYS = range(4)
"""The slots of a call: the number of items, the address of the sums, a flag for
whatever the kernel has to say, then address and stride of each array."""


def chunk_span(chunk: Value, items: Value) -> tuple[Value, Value]:
    """Return where a chunk of items begins and ends."""
    begin = chunk * CHUNK
    return begin, chunk.function.smaller(begin + CHUNK, items)


def walk(
    function: Function,
    kind: str,
    reads: Sequence[str],
    writes: Sequence[str],
    adds: int,
    body: Body,
    span: Span = chunk_span,
) -> None:
    """Print a pass over the arrays that the slots of a call name.

    The items of a chunk are summed lane by lane and then across lanes, so that sums
    depend on neither threads nor strides.

    Parameters
    ----------
    function
        What is printed into; its arguments are those of `SIGNATURE`.
    kind
        The kind of numbers that the widest vectors hold.
    reads, writes
        What each array holds, first those that are read.
    adds
        How many sums are made.
    body
        Prints the work on one vector of items, and returns what is added to each
        sum; it is given the index of the vector, which lanes hold items, and blocks.
    span
        Prints what is done at the beginning of a chunk, given its number and the
        number of items, and returns where its items begin and end.
    """
    lanes = vector(kind).lanes
    slots = function["slots"]
    items = function.load(slots, INDEX, ITEMS)
    sums = function.load(slots, POINTER, SUMS)
    arrays = [
        array(function, slots, ARRAYS + 2 * i, Type(held, lanes))
        for i, held in enumerate((*reads, *writes))
    ]
    zero = function.constant(0.0, Type("double", lanes))
    number = function.numbered(Type("i32", lanes))
    with function.loop(function["first"], function["last"]) as chunk:
        begin, end = span(chunk, items)
        totals = [function.variable(zero) for _ in range(adds)]
        with function.loop(begin, end, BLOCK) as start:
            count = function.smaller(end - start, BLOCK)
            whole = (count & (lanes - 1)) == 0
            blocks = [block(a, start, count, whole) for a in arrays]
            sources, results = blocks[: len(reads)], blocks[len(reads) :]
            for source in sources:
                source.fill()
            some = [function.variable(zero) for _ in range(adds)]
            with function.loop(0, count, lanes) as i:
                live = number < function.spread((count - i).to("i32"), lanes)
                found = body(i, live, sources, results)
                for part, value in zip(some, found, strict=True):
                    part.set(part.get() + value.to("double"))
            for total, part in zip(totals, some, strict=True):
                total.set(total.get() + part.get())
            for result in results:
                result.flush()
        for place, total in enumerate(totals):
            function.store(function.reduced(total.get()), sums, chunk * adds + place)


def constants(function: Function, kind: str, count: int) -> list[Value]:
    """Return the first numbers of a call, rounded to a kind, in every lane."""
    reals, lanes = function["reals"], vector(kind).lanes
    return [
        function.spread(function.load(reals, Type("double"), i).to(kind), lanes)
        for i in range(count)
    ]
