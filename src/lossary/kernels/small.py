"""Calls of a kernel so small that the interpreter's time is all they cost.

Everything but addresses, size and scale is made once, and waits in a room; a call
takes a room of its own, so that calls may overlap, on threads or otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, addressof, c_double, c_int8, c_int64, sizeof
from typing import Any

import numpy as np

from lossary.expr.formula import Formula
from lossary.kernels import pointwise, rows
from lossary.kernels.call import Interval, What, address
from lossary.kernels.llvm.lanes import KINDS
from lossary.kernels.llvm.walk import ARRAYS, FLAG, ITEMS, SUMS
from lossary.kernels.rows import scan
from lossary.kernels.rows.parts import SLOTS

Room = tuple["Array[c_int64]", "Array[c_double]", c_double, Any, Any]
"""Slots, numbers, the sum, the flag, and what else has to stay in memory."""


class _Small:
    """A kernel that finds the arrays of a call in the slots that `places` names."""

    kernel: Any
    places: list[int]

    def __init__(self) -> None:
        self.rooms: list[Room] = []

    def __call__(
        self, arrays: Sequence[np.ndarray[Any, Any]], scale: float
    ) -> float | None:
        """Compute one call; return Σ w·l, or None if a value is not allowed.

        Parameters
        ----------
        arrays
            Target, prediction, weight if there is one, and contiguous outputs.
        scale
            The factor of the gradient.
        """
        arrays = [np.ascontiguousarray(x) for x in arrays]
        return self.at(arrays[0].size, [address(x) for x in arrays], scale)

    def at(self, items: int, places: Sequence[int], scale: float) -> float | None:
        """Compute one call of contiguous arrays, given where they begin."""
        try:
            room = self.rooms.pop()
        except IndexError:
            room = self._room()
        slots, reals, total, flag, _ = room
        slots[ITEMS] = items
        for slot, place in zip(self.places, places, strict=True):
            slots[slot] = place
        reals[0] = scale
        self.kernel(slots, reals, 0, 1)
        result: float | None = total.value
        if flag.value:
            flag.value, result = 0, None
        self.rooms.append(room)
        return result

    def _room(self) -> Room:
        raise NotImplementedError


class SmallKernel(_Small):
    """A kernel and its numbers, for as many items as one sum takes.

    Parameters
    ----------
    formula, params
        The loss, and the values of its parameters.
    what
        What is computed.
    dtype
        float32 or float64, of all arrays.
    weighted
        Whether there is a weight per item.
    ranges
        Closed intervals of target and prediction, or None.
    """

    def __init__(
        self,
        formula: Formula,
        params: tuple[float, ...],
        what: What,
        dtype: Any,
        weighted: bool,
        ranges: tuple[Interval | None, Interval | None],
    ) -> None:
        self.kernel, self.numbers = pointwise.planned(
            formula, what, params, KINDS[dtype], weighted, False, ranges
        )
        super().__init__()
        count = 2 + weighted + pointwise.OUTPUTS[what]
        self.places = [ARRAYS + 2 * i for i in range(count)]
        self.stride = dtype.itemsize

    def _room(self) -> Room:
        total = c_double()
        slots = (c_int64 * (ARRAYS + 2 * len(self.places)))()
        slots[SUMS] = addressof(total)
        for place in self.places:
            slots[place + 1] = self.stride
        reals = (c_double * (1 + len(self.numbers)))(0.0, *self.numbers)
        flag = c_int64.from_buffer(slots, FLAG * sizeof(c_int64))
        return slots, reals, total, flag, None


_OF_ROWS = {name: i for i, name in enumerate(SLOTS)}


class SmallRows(_Small):
    """A kernel of rows of logits and class numbers, for one number of classes.

    Parameters
    ----------
    formula, params
        The loss, and the values of its parameters.
    what
        What is computed.
    dtype
        float32 or float64, of all arrays but the class numbers.
    classes
        How many there are.
    weighted
        Whether there is a weight per row.
    """

    def __init__(
        self,
        formula: Formula,
        params: tuple[float, ...],
        what: What,
        dtype: Any,
        classes: int,
        weighted: bool,
    ) -> None:
        self.kernel, self.numbers = rows.planned(
            formula, what, params, "label", KINDS[dtype], classes, weighted, False
        )
        self.classes, self.dtype = classes, dtype
        names = ["targets", "scores", *["weight"] * weighted]
        names += ["out"] * (what == "value_and_grad")
        self.places = [_OF_ROWS[name] for name in names]
        super().__init__()

    def _room(self) -> Room:
        total, flag = c_double(), c_int8()
        work = np.empty(scan.room(self.classes), self.dtype)
        known = {
            "classes": self.classes,
            "chunk": rows.chunk_of(self.classes),
            "step": scan.step(self.classes),
            "sums": addressof(total),
            "flag": addressof(flag),
            "work": address(work),
        }
        slots = (c_int64 * len(SLOTS))(*(known.get(name, 0) for name in SLOTS))
        reals = (c_double * (3 + len(self.numbers)))(0.0, 1.0, 0.0, *self.numbers)
        return slots, reals, total, flag, work
