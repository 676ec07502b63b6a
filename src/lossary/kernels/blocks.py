"""Compiled pieces that every printed kernel shares: blocks, sums, weights.

A kernel walks over chunks, and over blocks within a chunk. A block fits in the first
cache; a chunk is the unit of summation, so that sums do not depend on how many
threads share the chunks.
"""

from __future__ import annotations

from typing import Any

from numba import types

from lossary.kernels.vecmath import inline

BLOCK = 1024
CHUNK = 64 * BLOCK

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
def beyond(values: Any, shares: Any, low: float, high: float) -> bool:
    """Say whether a counted value lies outside of a closed interval."""
    kind = values.dtype.type
    lowest, highest, zero = kind(low), kind(high), kind(0.0)
    found = False
    for i in range(values.shape[0]):
        x = values[i]
        found = found | ((x < lowest) | (x > highest)) & (shares[i] != zero)
    return found
