"""Compiled pieces that printed kernels share: sums, weights, limits, rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from lossary.kernels.vecmath import Function, inline

compiled = {"cache": True, "nogil": True, "error_model": "numpy"}
"""How printed kernels are compiled; fastmath stays off, so NaN keeps its meaning."""

real_types = {"float32": types.float32, "float64": types.float64}


def read(dtype: Any) -> Any:
    """Return the type of an array that a kernel reads; it may be read-only."""
    return types.Array(dtype, 1, "C", readonly=True)


def written(dtype: Any) -> Any:
    """Return the type of an array that a kernel fills."""
    return types.Array(dtype, 1, "C")


@inline
def accumulate(sums: Any, values: Any) -> None:
    """Add a block to as many running sums as it has items, in float64."""
    for i in range(values.shape[0]):
        sums[i] += values[i]


@inline
def fold(sums: Any) -> Any:
    """Add up the running sums, halving them; leave them at zero."""
    width = sums.shape[0] // 2
    while width:
        for i in range(width):
            sums[i] += sums[width + i]
        width //= 2
    result = sums[0]
    sums[:] = 0.0
    return result


@inline
def effective(weight: Any, keep: Any, start: int, stop: int, out: Any) -> None:
    """Fill a block with the weights, 0 for what is removed; either may be empty."""
    zero, one = out.dtype.type(0.0), out.dtype.type(1.0)
    if keep.size == 0:
        some = weight[start:stop]
        for i in range(stop - start):
            out[i] = some[i]
    elif weight.size == 0:
        kept = keep[start:stop]
        for i in range(stop - start):
            out[i] = one if kept[i] != 0 else zero
    else:
        kept, some = keep[start:stop], weight[start:stop]
        for i in range(stop - start):
            out[i] = some[i] if kept[i] != 0 else zero


@inline
def beyond(values: Any, shares: Any, limits: Any) -> bool:
    """Say whether a counted value lies outside of a closed interval.

    ``limits`` holds its two ends, and whether only the ends themselves are inside.
    """
    kind = values.dtype.type
    low, high, zero = kind(limits[0]), kind(limits[1]), kind(0.0)
    found = False
    if limits[2] != 0:
        for i in range(values.shape[0]):
            x = values[i]
            inside = (x == low) | (x == high) | (x != x)
            found = found | (not inside) & (shares[i] != zero)
    elif limits[0] > -np.inf or limits[1] < np.inf:
        for i in range(values.shape[0]):
            x = values[i]
            found = found | ((x < low) | (x > high)) & (shares[i] != zero)
    return found


@inline
def largest(words: Any, top: Any, mask: Any) -> Any:
    """Return the bits of the largest of ``top`` and some floats, given by their bits.

    Order is that of whole numbers once the bits of negative floats, all but the sign,
    are flipped; a maximum of floats would not be vectorised unless NaN lost its
    meaning. Where there is a NaN, the result may be that NaN.
    """
    whole = words.dtype.type
    none = whole(0)
    best = whole(top ^ (mask if top < 0 else none))
    for i in range(words.shape[0]):
        key = whole(words[i] ^ (mask if words[i] < 0 else none))
        best = key if key > best else best
    return whole(best ^ (mask if best < 0 else none))


reassociated: Callable[[Function], Function] = njit(
    forceinline=True, error_model="numpy", fastmath={"reassoc"}
)


@reassociated
def added(values: Any) -> float:
    """Return the sum in float64, with one accumulator per vector lane.

    Reassociation allows that; it assumes nothing about NaN, infinities and signed
    zeros, the order is fixed once compiled, and it does not leave this loop.
    """
    result = 0.0
    for i in range(values.shape[0]):
        result += np.float64(values[i])
    return result


@inline
def lower_by(values: Any, top: Any, out: Any) -> None:
    """Subtract the maximum; it may be infinite, and its own difference is 0."""
    zero = out.dtype.type(0.0)
    if abs(top) == np.inf:
        top = zero if top < zero else top
        for i in range(values.shape[0]):
            out[i] = zero if values[i] == top else values[i] - top
    else:
        for i in range(values.shape[0]):
            out[i] = values[i] - top


@inline
def against_others(below: Any, share: Any, miss: Any, log: Any) -> None:
    """Turn a row's scores below its maximum, and their exponentials, into shares.

    On return ``share`` is p, ``miss`` is 1 - p without cancellation (for the maximum
    the others are added up), and ``below`` is log p.
    """
    kind = below.dtype.type
    zero, ties = kind(0.0), 0
    for k in range(below.shape[0]):
        top = below[k] == zero
        miss[k] = zero if top else share[k]
        ties += top
    rest = added(miss)
    mass = rest + ties
    spread, inverse, beside = kind(log(mass)), kind(1.0 / mass), kind(rest + (ties - 1))
    lesser, at_top = kind(rest), kind(ties)
    for k in range(below.shape[0]):
        others = beside if below[k] == zero else at_top + (lesser - share[k])
        miss[k] = others * inverse
        share[k] *= inverse
        below[k] -= spread


@inline
def chain(
    bent: Any, share: Any, miss: Any, ratio: Any, scale: Any, slopes: Any
) -> None:
    """Chain slopes in the log-odds to slopes in the scores: a - p·(B - b).

    b is a / (1 - p) and B its sum over the classes; ``ratio`` is room for b.
    """
    zero = bent.dtype.type(0.0)
    for k in range(bent.shape[0]):
        ratio[k] = zero if miss[k] == zero else bent[k] / miss[k]
    whole = bent.dtype.type(added(ratio))
    for k in range(bent.shape[0]):
        slopes[k] = scale * (bent[k] - share[k] * (whole - ratio[k]))
