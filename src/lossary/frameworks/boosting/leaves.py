"""The best constant of every leaf of a tree, for losses linear on both sides.

A tree that is grown on the gradient of such a loss says which rows belong together;
how far to move them is a weighted quantile of their residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lossary.frameworks.bundle import Array, Bundle
from lossary.structures.constants import weighted_quantile


@dataclass(frozen=True, eq=False)
class Slopes:
    """How steep a loss is on either side of its target, row by row, weighted.

    Attributes
    ----------
    mass : array, shape (n,)
        The change of slope at the target: what the row weighs in the quantile.
    low : array, shape (n,)
        The part of it below the target.

    Examples
    --------
    >>> slopes = slopes_of(Bundle("pinball(tau=0.75)"), np.array([0.0, 5.0]))
    >>> slopes.mass.tolist(), slopes.low.tolist()
    ([1.0, 1.0], [0.75, 0.75])
    """

    mass: Array
    low: Array

    @cached_property
    def uniform(self) -> bool:
        """Whether every row weighs the same, so that nothing needs to be sorted."""
        return bool((self.mass == self.mass[0]).all() and self.mass[0] > 0)


def slopes_of(bundle: Bundle, y: Array, sample_weight: Array | None = None) -> Slopes:
    """Measure the slopes of a loss for which `lossary.frameworks.curvature.kinked`."""
    away = np.maximum(1.0, abs(y))
    above, _ = bundle.grad_and_hess(y, y + away, mode="exact")
    below, _ = bundle.grad_and_hess(y, y - away, mode="exact")
    w = np.ones_like(y) if sample_weight is None else sample_weight
    return Slopes(w * (above - below), w * -below)


def best_shifts(
    residual: Array, leaf: NDArray[np.integer], leaves: int, slopes: Slopes
) -> Array:
    """Return what to add to the scores of each leaf to make the loss least.

    Parameters
    ----------
    residual : array, shape (n,)
        Target minus score.
    leaf : array of int, shape (n,)
        The leaf of each row, from 0.
    leaves : int
        How many there are.
    slopes : Slopes
        Of the rows.

    Returns
    -------
    array, shape (leaves,)
        0 for a leaf without rows, or with rows of weight 0 alone.

    Examples
    --------
    >>> residual, leaf = np.array([1.0, 2.0, 9.0, -4.0]), np.array([0, 0, 0, 1])
    >>> slopes = slopes_of(Bundle("absolute_error"), np.zeros(4))
    >>> best_shifts(residual, leaf, 2, slopes).tolist()
    [2.0, -4.0]
    """
    narrow = leaf.astype(np.uint16 if leaves < 1 << 16 else np.uint32)
    order = np.argsort(narrow, kind="stable")  # of 16 bits: a radix sort
    counts = np.bincount(narrow, minlength=leaves)
    ends = np.cumsum(counts)
    uniform, together = slopes.uniform, residual[order]
    shifts = np.zeros(leaves)
    for i in np.flatnonzero(counts):
        part = slice(ends[i] - counts[i], ends[i])
        if uniform:
            tau = float(slopes.low[0] / slopes.mass[0])
            shifts[i] = _quantile(together[part], tau)
        else:
            rows = order[part]
            shifts[i] = _kink(together[part], slopes.mass[rows], slopes.low[rows])
    return shifts


def _kink(residual: Array, mass: Array, low: Array) -> float:
    counted = mass > 0
    total = float(mass[counted].sum())
    if total == 0:
        return 0.0
    tau = float(low[counted].sum()) / total
    return weighted_quantile(residual[counted], mass[counted], tau)


def _quantile(x: Array, tau: float) -> float:
    """Return the middle of the minimisers, as `weighted_quantile` does."""
    place = tau * len(x)
    whole = round(place)
    if abs(place - whole) > 1e-12 * len(x):
        low = high = int(place)
    else:
        low, high = max(whole - 1, 0), min(whole, len(x) - 1)
    ends = np.partition(x, (low, high))
    return float((ends[low] + ends[high]) / 2)
