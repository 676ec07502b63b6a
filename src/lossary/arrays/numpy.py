"""NumPy: the library of lists, numbers and data-frame columns too.

Sums over large arrays are taken block by block, so that intermediate results stay in
the cache; where llvmlite is installed, the fused kernels take over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from lossary.arrays import fused
from lossary.arrays.fused import OnePass
from lossary.arrays.soft_counts import SoftCounts
from lossary.arrays.standard import Function, Library, settled
from lossary.errors import KindError
from lossary.expr.formula import Formula

BLOCK = 1 << 14
"""Items per block: a few float64 temporaries of this size fit in the second cache."""


class _NumPy(Library):
    name = "numpy"

    def namespace(self, *arrays: Any) -> Any:
        return np

    def asarray(self, x: Any, like: Any = None) -> Any:
        result = np.asarray(x)
        if result.dtype.kind not in "biuf":
            raise KindError(
                f"is an array of {result.dtype}, which is no number; convert it to "
                "a numeric array first, with missing values dropped or masked"
            )
        return result

    def is_floating(self, x: Any) -> bool:
        return bool(x.dtype.kind == "f")

    def is_boolean(self, x: Any) -> bool:
        return bool(x.dtype.kind == "b")

    def itemsize(self, dtype: Any) -> int:
        return int(dtype.itemsize)

    def concrete(self, x: Any) -> np.ndarray | None:
        return np.asarray(x)

    def total(self, x: Any, axis: Any = None) -> Any:
        return np.add.reduce(x, axis=axis, dtype=np.float64)

    def works_in_place(self, *arrays: Any) -> bool:
        return True

    def small(
        self, loss: Any, what: str, y: Any, z: Any, how: Any, options: dict[str, Any]
    ) -> Any:
        if options and (loss := settled(loss, options)) is None:
            return None
        plain = loss.plain
        return None if plain is None else plain.compute(what, y, z, how)

    def quiet(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def compiled(
        self, kernel: str, formula: Formula, y: Any, z: Any, counting: Any
    ) -> bool:
        return fused.serves(kernel, z)

    def fused_total(self, call: OnePass) -> Any:
        batch, params = call.batch, call.params
        if batch.compiled:
            return np.float64(fused.total(call))
        if call.kernel != "pointwise":
            return None
        run = self.run(call.formula.value, call.arguments)
        y, z, counting = batch.y, batch.z, batch.counting
        if z.size <= BLOCK:
            return self.total(counting.counted(run(y, z, *params)))
        y, z, total = y.ravel(), z.ravel(), 0.0
        for part, w, keep in _blocks(counting):
            total += self.total(_weighted(run(y[part], z[part], *params), w, keep))
        return np.float64(total)

    def fused_gradient(
        self, call: OnePass, scale: Any, out: Any
    ) -> tuple[Any, Any] | None:
        batch, params = call.batch, call.params
        y, z = batch.y, batch.z
        gradient = np.empty(z.shape, z.dtype) if out is None else out
        if not gradient.flags.c_contiguous:
            return None
        if batch.compiled:
            return np.float64(fused.gradient(call, scale, gradient)), gradient
        if call.kernel != "pointwise":
            return None
        nodes = call.formula.value, call.formula.gradient
        run = self.run_all(nodes, call.arguments)
        if z.size <= BLOCK:
            items, slopes = run(y, z, *params)
            gradient[...] = batch.counting.counted(slopes * float(scale))
            return self.total(batch.counting.counted(items)), gradient
        flat, y, z, total = gradient.reshape(-1), y.ravel(), z.ravel(), 0.0
        for part, w, keep in _blocks(batch.counting):
            items, slopes = run(y[part], z[part], *params)
            total += self.total(_weighted(items, w, keep))
            flat[part] = _weighted(slopes * float(scale), w, keep)
        return np.float64(total), gradient

    def fused_curvature(self, call: OnePass) -> tuple[Any, Any] | None:
        y, z, formula, params = call.batch.y, call.batch.z, call.formula, call.params
        if fused.serves(call.kernel, z):
            return fused.curvature(call)
        if call.kernel != "pointwise":
            return None
        gradient, curvature = np.empty(z.shape, z.dtype), np.empty(z.shape, z.dtype)
        run = self.run_all((formula.gradient, formula.curvature), call.arguments)
        first, second = gradient.reshape(-1), curvature.reshape(-1)
        y, z = y.ravel(), z.ravel()
        for start in range(0, z.size, BLOCK):
            part = slice(start, start + BLOCK)
            first[part], second[part] = run(y[part], z[part], *params)
        return gradient, curvature

    def fused_overlap(
        self, batch: Any, weight: Any, per_image: bool, logits: bool, plain: Function
    ) -> Any:
        if not batch.compiled:
            return None
        return SoftCounts(batch, weight, per_image, logits)


def _blocks(counting: Any) -> Iterator[tuple[slice, Any, Any]]:
    """Walk over the items, with the weights and kept rows of each block."""
    weight = None if counting.weight is None else counting.weight.ravel()
    keep = None if counting.keep is None else counting.keep.ravel()
    for start in range(0, int(np.prod(counting.shape)), BLOCK):
        part = slice(start, start + BLOCK)
        yield (
            part,
            None if weight is None else weight[part],
            None if keep is None else keep[part],
        )


def _weighted(x: Any, weight: Any, keep: Any) -> Any:
    """Return w·x, and 0 where a row is removed, whatever it held."""
    if weight is not None:
        x = x * weight
    return x if keep is None else np.where(keep, x, x.dtype.type(0))


LIBRARY = _NumPy()
