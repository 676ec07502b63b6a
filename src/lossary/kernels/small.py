"""Calls of a kernel so small that the interpreter's time is all they cost.

Everything but addresses, size and scale is made once. A short function of its own
copies it to the stack, adds what the call gives, and goes on to the kernel; so a call
is one step to Python, and calls may overlap, on threads or otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import (
    CFUNCTYPE,
    PYFUNCTYPE,
    addressof,
    c_double,
    c_int64,
    c_void_p,
    cast,
    create_string_buffer,
)
from functools import lru_cache, partial
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from lossary.expr.formula import Formula
from lossary.kernels import pointwise, rows, weights
from lossary.kernels.call import OUTPUTS, Compiled, What, address
from lossary.kernels.interval import Ranges
from lossary.kernels.llvm.lanes import KINDS
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.walk import ARRAYS, FLAG, ITEMS, SUMS
from lossary.kernels.rows import scan
from lossary.kernels.rows.parts import SLOTS

_OF_ROWS = {name: i for i, name in enumerate(SLOTS)}


class Layout(NamedTuple):
    """Where a kernel looks for what.

    Attributes
    ----------
    slots, reals
        How many slots and numbers it has; the scale of a call is the first number.
    places
        The slots that the addresses of a call's arrays go to.
    rooms
        The slots that name memory of the call itself, and its bytes: first the sums.
    wanted
        Which of the sums is returned.
    """

    slots: int
    reals: int
    places: tuple[int, ...]
    rooms: tuple[tuple[int, int], ...]
    wanted: int = 0


class Small:
    """A kernel, and what all its small calls have in common.

    Parameters
    ----------
    kernel
        What is called.
    layout
        Where it looks for what.
    slots, reals
        Its slots and numbers; those that a call gives are 0.

    Attributes
    ----------
    at
        Computes one call, given the number of items, the factor of the gradient, and
        where contiguous arrays begin: target, prediction, weight, mask, outputs, as
        there are. It returns a sum, or NaN if a value is not allowed.
    unlocked
        The same without the interpreter's lock, to let go of which takes longer than
        the smallest calls do.
    """

    def __init__(
        self,
        kernel: Compiled,
        layout: Layout,
        slots: Sequence[int],
        reals: Sequence[float],
    ) -> None:
        bound = pack(f"{layout.slots}q{layout.reals}d", *slots, *reals)
        self._kept = create_string_buffer(bound, len(bound)), kernel
        begins = _address(kernel), addressof(self._kept[0])
        self.at, self.unlocked = (partial(f, *begins) for f in _entries(layout))

    def __call__(self, arrays: Sequence[np.ndarray[Any, Any]], scale: float) -> float:
        """Compute one call of contiguous arrays, as `at` does."""
        return self.at(arrays[0].size, scale, *map(address, arrays))


def _address(function: Any) -> int:
    return cast(function, c_void_p).value or 0


@lru_cache(maxsize=64)
def _entries(layout: Layout) -> tuple[Callable[..., float], Callable[..., float]]:
    """Return a function of a kernel, what is bound, items, scale and addresses.

    The first keeps the interpreter's lock, the second does not.
    """
    arguments = c_void_p, c_void_p, c_int64, c_double, *[c_void_p] * len(layout.places)
    place = _address(load(_printed(layout), "small"))
    locked, unlocked = PYFUNCTYPE(c_double, *arguments), CFUNCTYPE(c_double, *arguments)
    return locked(place), unlocked(place)


def _printed(layout: Layout) -> str:
    """Print the module of such a function."""
    arrays = "".join(f", i64 %array{i}" for i in range(len(layout.places)))
    size, rooms = 8 * (layout.slots + layout.reals), dict(layout.rooms)
    lines = [
        f"%slots = alloca i8, i64 {size}, align 64",
        *(f"%room{s} = alloca i8, i64 {n}, align 64" for s, n in rooms.items()),
        f"call void @llvm.memcpy.p0.p0.i64(ptr %slots, ptr %bound, i64 {size}, i1 0)",
    ]
    given = [
        (ITEMS, "i64 %items"),
        (layout.slots, "double %scale"),
        *((slot, f"i64 %array{i}") for i, slot in enumerate(layout.places)),
        *((slot, f"ptr %room{slot}") for slot in rooms),
    ]
    for slot, what in given:
        lines.append(f"%at{slot} = getelementptr i64, ptr %slots, i64 {slot}")
        lines.append(f"store {what}, ptr %at{slot}")
    flag = "%flag"
    if _OF_ROWS["flag"] in rooms:
        flag = f"%room{_OF_ROWS['flag']}"
        lines.append(f"store i8 0, ptr {flag}")
    else:
        lines.append(f"{flag} = getelementptr i64, ptr %slots, i64 {FLAG}")
    sums, _ = layout.rooms[0]
    lines += [
        f"store double 0.0, ptr %room{sums}",
        f"call void %kernel(ptr %slots, ptr %at{layout.slots}, i64 0, i64 1)",
        f"%raised = load i8, ptr {flag}",
        "%bad = icmp ne i8 %raised, 0",
        f"%place = getelementptr double, ptr %room{sums}, i64 {layout.wanted}",
        "%sum = load double, ptr %place",
        "%result = select i1 %bad, double 0x7FF8000000000000, double %sum",
        "ret double %result",
    ]
    body = "\n  ".join(lines)
    return (
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1 immarg)\n"
        "define double @kernel(ptr %kernel, ptr %bound, i64 %items, double %scale"
        f"{arrays}) {{\n  {body}\n}}\n"
    )


def _walking(
    kernel: Compiled,
    widths: Sequence[int],
    numbers: Sequence[float],
    adds: int = 1,
    wanted: int = 0,
) -> Small:
    """Return a pass over arrays of equal length, given the bytes of their items."""
    slots = [0] * ARRAYS
    for width in widths:
        slots += [0, width]
    places = tuple(range(ARRAYS, len(slots), 2))
    rooms = ((SUMS, 8 * adds),)
    layout = Layout(len(slots), 1 + len(numbers), places, rooms, wanted)
    return Small(kernel, layout, slots, (0.0, *numbers))


def of_items(
    formula: Formula,
    params: tuple[float, ...],
    what: What,
    dtype: Any,
    weight: bool,
    keep: bool,
    ranges: Ranges,
) -> Small:
    """Return a kernel of items, which adds up Σ w·l.

    Parameters
    ----------
    formula, params
        The loss, and the values of its parameters.
    what
        What is computed.
    dtype
        float32 or float64, of all arrays but the mask.
    weight, keep
        Whether there are a weight and a mask per item.
    ranges
        What targets and predictions are compared with, if they are.
    """
    kernel, numbers = pointwise.planned(
        formula, what, params, KINDS[dtype], weight, keep, ranges
    )
    width = dtype.itemsize
    widths = [width, width, *[width] * weight, *[1] * keep, *[width] * OUTPUTS[what]]
    return _walking(kernel, widths, numbers)


def of_weights(dtype: Any, keep: bool, counted: bool) -> Small:
    """Return a kernel of weights, and a mask, that adds up Σ w, or counts the rows."""
    kernel = weights.planned(KINDS[dtype], True, keep)
    return _walking(kernel, [dtype.itemsize, *[1] * keep], (), 2, int(counted))


def of_rows(
    formula: Formula,
    params: tuple[float, ...],
    what: What,
    dtype: Any,
    weight: bool,
    keep: bool,
    classes: int,
) -> Small:
    """Return a kernel of rows of logits and class numbers, which adds up Σ w·l.

    Parameters are those of `of_items`; weights and mask are per row, and the kernel is
    made for one number of classes.
    """
    kernel, numbers = rows.planned(
        formula, what, params, "label", KINDS[dtype], classes, weight, keep
    )
    names = ["targets", "scores", *["weight"] * weight, *["keep"] * keep]
    names += ["out", "second"][: OUTPUTS[what]]
    known = {
        "classes": classes,
        "chunk": rows.chunk_of(classes),
        "step": scan.step(classes),
    }
    work = dtype.itemsize * scan.room(classes)
    layout = Layout(
        len(SLOTS),
        3 + len(numbers),
        tuple(_OF_ROWS[name] for name in names),
        ((_OF_ROWS["sums"], 8), (_OF_ROWS["flag"], 1), (_OF_ROWS["work"], work)),
    )
    slots = [known.get(name, 0) for name in SLOTS]
    return Small(kernel, layout, slots, (0.0, 1.0, 0.0, *numbers))
