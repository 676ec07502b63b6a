"""Fused kernels of overlap losses: the soft counts of masks, and their transpose.

One pass adds up Σ w·y·p, Σ w·y and Σ w·p for every item, which is an image, or a class
of it; another writes the gradient of a function of these sums. A pixel that is not
kept, or whose weight is 0, is removed whatever it holds. Arithmetic is in the dtype of
the prediction, sums are in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary.kernels.call import Compiled, address, run
from lossary.kernels.interval import Interval
from lossary.kernels.llvm.lanes import KINDS, vector
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.staging import line
from lossary.kernels.llvm.walk import FLAG
from lossary.kernels.overlap import lanes, scan
from lossary.kernels.overlap.parts import COUNTS, FEW, Layout, Pass, Variant
from lossary.kernels.weights import prepared

Array = np.ndarray[Any, Any]

MANY = -1
"""In a variant: any number of classes."""

_kernels: dict[Variant, Compiled] = {}


def _kernel(variant: Variant) -> Compiled:
    if variant not in _kernels:
        module = scan if variant.classes == MANY else lanes
        name = f"overlap-{variant.what}-{variant.classes}-{variant.kind}"
        _kernels[variant] = load(module.printed(variant), name)
    return _kernels[variant]


def _width(classes: int) -> int:
    return classes if classes <= FEW else MANY


class _Arrays:
    """The arrays of a call, as kernels read them."""

    def __init__(self, y: Any, z: Any, weight: Any, keep: Any) -> None:
        z = np.asarray(z)
        self.classes = z.shape[-1] if np.ndim(y) < z.ndim else 0
        # Masks may have any stride; the classes of a pixel must lie side by side.
        self.scores = np.ascontiguousarray(z) if self.classes else z
        self.target = np.asarray(y, np.int64 if self.classes else z.dtype)
        self.weight, self.keep = weight, keep

    def variant(self, what: Pass, logits: bool, *ranges: Interval | None) -> Variant:
        """Return what the kernel of a pass is printed for."""
        first, second = (r is not None for r in ranges)
        return Variant(
            what, logits, _width(self.classes), KINDS[self.scores.dtype],
            self.weight is not None, self.keep is not None,
            (first and not self.classes, second),
        )  # fmt: skip

    def layout(self, items: int) -> Layout:
        """Return how the pixels are cut into some items."""
        width = self.classes
        if _width(width) == MANY:
            lanes = vector(KINDS[self.scores.dtype]).lanes
            width = -(-width // lanes) * lanes
        size = self.target.size // items
        return Layout(items, size, max(1, self.classes), max(1, width))

    def run(
        self,
        variant: Variant,
        layout: Layout,
        limits: tuple[float, ...] = (0.0,) * 4,
        sums: Array | None = None,
        out: Array | None = None,
        factors: Array | None = None,
    ) -> bool:
        """Run a kernel over all chunks; return whether a limit was crossed."""
        seen = (self.target,) if self.classes else (self.target, self.scores)
        walked = [*map(line, seen)]
        walked += prepared(self.weight, self.keep, self.scores.dtype)
        if out is not None and not self.classes:
            walked.append(line(out))
        work = np.empty((layout.chunks, layout.width), self.scores.dtype)
        slots = [
            self.target.size, _address(sums), 0,
            *(number for x, stride in walked for number in (address(x), stride)),
            layout.pixels, layout.parts, layout.chunk, layout.classes,
            address(self.scores), _address(out), _address(factors), address(work),
        ]  # fmt: skip
        return bool(run(_kernel(variant), slots, limits, layout.chunks)[FLAG])


def _address(x: Array | None) -> int:
    return 0 if x is None else address(x)


def counts(
    y: Any,
    z: Any,
    items: int,
    logits: bool,
    *,
    weight: Any = None,
    keep: Any = None,
    y_range: Interval | None = None,
    z_range: Interval | None = None,
) -> tuple[Array, bool]:
    """Add up Σ w·y·p, Σ w·y and Σ w·p of each item.

    Parameters
    ----------
    y
        Masks of the shape of `z`, or class numbers without its last axis.
    z
        Scores, float32 or float64.
    items
        The number of parts of equal size, along the first axis, that are counted by
        themselves.
    logits
        Whether the scores are logits; else they are probabilities.
    weight, keep
        A weight per pixel; True where a pixel counts.
    y_range, z_range
        Closed intervals to check on the way; NaN lies in every one.

    Returns
    -------
    numpy.ndarray
        Three rows of counts, of shape (items,), or (items, classes) of class numbers.
    bool
        Whether a counted target or score lies outside its interval.
    """
    arrays = _Arrays(y, z, weight, keep)
    layout = arrays.layout(items)
    variant = arrays.variant("counts", logits, y_range, z_range)
    limits = tuple(end for r in (y_range, z_range) for end in (r or (0.0, 0.0))[:2])
    sums = np.empty((items, layout.parts, COUNTS, layout.width))
    outside = arrays.run(variant, layout, limits, sums=sums)
    totals = np.moveaxis(sums.sum(axis=1), 1, 0)
    return (
        totals[..., : arrays.classes] if arrays.classes else totals[..., 0]
    ), outside


def gradient(
    y: Any,
    z: Any,
    by_overlap: Any,
    by_prediction: Any,
    logits: bool,
    *,
    weight: Any = None,
    keep: Any = None,
    out: Any = None,
) -> Array:
    """Write the gradient in the scores of a function of the counts.

    Parameters
    ----------
    y, z, logits, weight, keep
        As for `counts`.
    by_overlap, by_prediction
        The derivatives of the function in Σ w·y·p and in Σ w·p of every item, of the
        shape of those.
    out
        Where the gradient goes: an array of the scores' shape and dtype.
    """
    arrays = _Arrays(y, z, weight, keep)
    factors = np.stack([by_overlap, by_prediction], 1, dtype=np.float64)
    shape, dtype = arrays.scores.shape, arrays.scores.dtype
    out = np.empty(shape, dtype) if out is None else out
    filled: Array = out if out.flags.c_contiguous else np.empty(shape, dtype)
    arrays.run(
        arrays.variant("gradient", logits, None, None), arrays.layout(len(factors)),
        out=filled, factors=factors,
    )  # fmt: skip
    if filled is not out:
        out[...] = filled
    return out  # type: ignore[no-any-return]
