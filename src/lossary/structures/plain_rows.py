"""The commonest calls of losses over classes, made ready: small arrays, class numbers.

A compiled kernel is what makes them quick; where there is none, calls are left to the
loss itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_double, c_float
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.arrays import fused
from lossary.structures.plain import Plain, Shape, Way

if TYPE_CHECKING:
    from lossary.loss import Loss


MOST = 1 << 11
"""Classes of a small call: what it keeps of a row is on the stack."""


class _WayOfRows(Way):
    """How such calls are computed for one number of classes."""

    def __init__(self, loss: Loss, *kind: Any) -> None:
        super().__init__(loss, *kind)
        self.real: Any = c_float if self.dtype.itemsize == 4 else c_double
        self.few: Any = self.real * min(self.classes, 8)

    def load(self) -> Any:
        """Return the kernel, which checks the class numbers."""
        return fused.small_kernel("of_rows", *self.call, self.classes)

    def at(self, items: int, places: Sequence[int], count: float) -> float | None:
        """Compute a call of contiguous arrays, given where they begin."""
        if self.check:  # where no score is negative, they may be probabilities
            few = self.few.from_address(places[1])
            if not min(few[:]) < 0:
                every = (self.real * (items * self.classes)).from_address(places[1])
                if not np.frombuffer(every, self.dtype).min() < 0:
                    return None
        return super().at(items, places, count)


class PlainRows(Plain):
    """A loss of rows of logits, ready for small arrays and class numbers."""

    labels = True
    kind = _WayOfRows

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        structure = loss.structure
        self.indexed = any(map(structure.indexed, structure.signatures))

    def fits(self, target: Shape, prediction: Shape) -> bool:
        """Say whether shapes go together."""
        if len(prediction) < 2 or not 2 <= prediction[-1] <= MOST:
            return False
        return self.indexed and target == prediction[:-1]

    def target(self, y: Any, z: Any) -> Any:
        """Return the class numbers as the kernel reads them, if they are some."""
        return y.astype(np.int64, copy=False) if y.dtype.kind in "iu" else None
