"""Pixels counted by a compiled kernel, in the memory of NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

Triple = tuple[Any, Any, Any]


class SoftCounts:
    """The pixels of a batch: one pass counts them, one more writes a gradient.

    Parameters
    ----------
    batch
        The arrays of the call, of NumPy.
    weight
        A weight per pixel, or None.
    per_image
        Whether the images, along the first axis, are counted one by one.
    logits
        Whether the prediction holds logits; else it holds probabilities.
    """

    def __init__(self, batch: Any, weight: Any, per_image: bool, logits: bool) -> None:
        from lossary.kernels import overlap  # which loads a compiler

        self.kernel = overlap
        self.batch, self.per_image, self.logits = batch, per_image, logits
        self.shares = {"weight": weight, "keep": batch.counting.keep}
        self.items = batch.z.shape[0] if per_image else 1

    def counts(self) -> Triple:
        """Return the soft counts of every item; name the rows that may not be."""
        batch = self.batch
        y_range, z_range = batch.ranges
        found, outside = self.kernel.counts(
            batch.y, batch.z, self.items, self.logits,
            **self.shares, y_range=y_range, z_range=z_range,
        )  # fmt: skip
        if outside and batch.complain is not None:
            batch.complain()
        first, second, third = found if self.per_image else found[:, 0]
        return first, second, third

    def gradient(self, by_overlap: Any, by_prediction: Any, out: Any = None) -> Any:
        """Chain derivatives in an item's counts Σ w·y·p and Σ w·p to the scores."""
        shape = (self.items, -1) if self.batch.z.ndim > self.batch.y.ndim else (-1,)
        first, second = (np.reshape(x, shape) for x in (by_overlap, by_prediction))
        return self.kernel.gradient(
            self.batch.y,
            self.batch.z,
            first,
            second,
            self.logits,
            **self.shares,
            out=out,
        )
