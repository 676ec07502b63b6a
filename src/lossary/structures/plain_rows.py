"""The commonest call of losses over classes, made ready: class numbers that all count.

A compiled kernel is what makes it quick; where there is none, calls are left to the
loss itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.arrays import fused
from lossary.batch import Options
from lossary.structures.plain import Plain, Way

if TYPE_CHECKING:
    from lossary.loss import Loss


class PlainRows(Plain):
    """A loss of rows of logits, ready for small arrays and class numbers."""

    labels = True

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        structure = loss.structure
        self.indexed = any(map(structure.indexed, structure.signatures))

    def fits(self, target: tuple[int, ...], prediction: tuple[int, ...]) -> bool:
        """Say whether shapes go together."""
        if len(prediction) < 2 or prediction[-1] < 2:
            return False
        return self.indexed and target == prediction[:-1]

    def target(self, y: Any, z: Any) -> Any:
        """Return the class numbers as the kernel reads them, if they are some."""
        return y.astype(np.int64, copy=False) if y.dtype.kind in "iu" else None

    def way(self, what: str, z: Any, weighted: bool, how: Options) -> _WayOfRows:
        """Return how calls of one kind are computed, given a prediction of theirs."""
        key = what, z.dtype, z.shape[-1], weighted, how.check != "off"
        way: _WayOfRows | None = self.ways.get(key)
        if way is None:
            way = self.ways[key] = _WayOfRows(self.loss, *key)
        return way


class _WayOfRows(Way):
    """How such calls are computed for one number of classes."""

    def __init__(
        self,
        loss: Loss,
        what: str,
        dtype: Any,
        classes: int,
        weighted: bool,
        check: bool,
    ) -> None:
        super().__init__(what, dtype)
        self.call = loss.formula, loss.params, what, dtype, classes, weighted
        self.check = check

    def load(self) -> Any:
        """Return the kernel, which checks the class numbers."""
        return fused.small_kernel("SmallRows", *self.call)

    def trusts(self, z: Any) -> bool:
        """Say whether these are no rows of probabilities: where one is negative."""
        return not self.check or bool(np.minimum.reduce(z, axis=None) < 0)

    def compute(self, y: Any, z: Any, weight: Any, denominator: Any) -> Any:
        """Compute a call; None without a kernel, or where a value may be illegal."""
        kernel = self.kernel
        if kernel is None or not self.trusts(z):
            return None
        arrays = [y, z] if weight is None else [y, z, weight]
        return self.compiled(kernel, arrays, denominator)
