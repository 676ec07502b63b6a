"""What the kernels of rows print alike: what they are called with, and how they begin.

The numbers of a call are what label smoothing keeps of a target and what it adds to
every class, how far from 1 the sum of a distribution may be, and what depends on
parameters alone.
"""

from __future__ import annotations

from textwrap import indent

from lossary.kernels.triton.values import NAMES

UNIFORM = 3
"""Where the numbers begin that depend on parameters alone."""

# A score at the maximum counts 1 even where both are infinite.
SHARES = """
@triton.jit
def against(x, top):
    shift = tl.where(top == {lowest}, {zero}, top)[:, None]
    return tl.where(x == shift, {one}, decay(x - shift))
"""

HEAD = """

@triton.jit
def kernel(
    target_at, score_at, weight_at, keep_at, gradient_at, scale_at, numbers_at,
    sums_at, kept_at, rows, classes, programs,
    LABELLED: tl.constexpr, WEIGHTED: tl.constexpr, KEPT: tl.constexpr,
    SCALED: tl.constexpr, WRITTEN: tl.constexpr, SAVED: tl.constexpr,
    RESUMED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    row = program.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    first = row * classes
    counted = row < rows
    share = tl.full((ROWS,), 1.0, tl.float64)
    if WEIGHTED:
        share = tl.load(weight_at + row, mask=counted, other=0.0).to({real})
        counted = counted & (share != 0.0)
        share = share.to(tl.float64)
    if KEPT:
        counted = counted & (tl.load(keep_at + row, mask=counted, other=0) != 0)
    factor = share
    if SCALED:
        factor = share * tl.load(scale_at).to(tl.float64)
    known = counted
    label = tl.full((ROWS,), 0, tl.int64)
    if LABELLED:
        label = tl.load(target_at + row, mask=counted, other=0).to(tl.int64)
        known = counted & (label >= 0) & (label < classes)
    outside = (counted & (known == 0)).to(tl.int32)
"""

SUM = """
    loss = tl.where(counted, share * loss, 0.0)
    tl.store(sums_at + program, tl.sum(loss, axis=0))
    outside = tl.sum(outside, axis=0).to(tl.float64)
    tl.store(sums_at + programs + program, outside)
"""


def remembered(look: str, names: str) -> str:
    """Print a look at the rows that may have been taken before.

    Parameters
    ----------
    look
        What finds out some numbers of each row.
    names
        The numbers that are kept, the first in the format of the scores.
    """
    places = {
        name: f"kept_at + {i} * rows + row" for i, name in enumerate(names.split())
    }
    loads = [
        f"    {name} = tl.load({place}, mask=row < rows, other=0.0)"
        for name, place in places.items()
    ]
    stores = [
        f"    tl.store({place}, {name}.to(tl.float64), mask=row < rows)"
        for name, place in places.items()
    ]
    first = names.split()[0]
    return "\n".join(
        (
            "    if RESUMED:",
            indent("\n".join(loads), " " * 4),
            f"        {first} = {first}.to({{real}})",
            "    else:",
            indent(look.strip("\n"), " " * 4),
            "    if SAVED:",
            indent("\n".join(stores), " " * 4),
            "",
        )
    )


def constants(kind: str) -> dict[str, str]:
    """Return how the numbers that the text names are spelled in a format."""
    real = NAMES[kind]
    return {
        "real": real,
        "lowest": f'tl.full((), float("-inf"), {real})',
        "zero": f"tl.full((), 0.0, {real})",
        "one": f"tl.full((), 1.0, {real})",
    }
