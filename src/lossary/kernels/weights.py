"""Weights: how kernels read them, their sum, and how many count."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lossary.kernels.call import Compiled, sweep
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import KINDS, Value, choose, vector
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.staging import line
from lossary.kernels.llvm.walk import FLAG, SIGNATURE, walk

Weights = np.ndarray[Any, Any] | None


def share(
    blocks: list[Any], i: Value, live: Value, weight: bool, keep: bool
) -> tuple[Value | None, Value]:
    """Return the weights of a vector of items, if any, and which of them count.

    Weight and mask are the last of the blocks, in this order; a row of weight 0 does
    not count.
    """
    counted, own = live, None
    if keep:
        counted = counted & (blocks[-1].load(i) != 0)
    if weight:
        own = blocks[-2 if keep else -1].load(i)
        counted = counted & (own != 0.0)
    return own, counted


def reads(kind: str, weight: bool, keep: bool) -> list[str]:
    """Return what the arrays of weights and masks hold."""
    return [kind] * weight + ["i8"] * keep


def prepared(weight: Weights, keep: Weights, dtype: Any) -> list[tuple[Any, int]]:
    """Return the arrays of weights and masks that there are, with their strides."""
    found = []
    if weight is not None:
        found.append(line(np.asarray(weight, dtype)))
    if keep is not None:
        found.append(line(np.asarray(keep, np.bool_)))
    return found


@lru_cache(maxsize=8)
def planned(kind: str, weight: bool, keep: bool) -> Compiled:
    """Return a kernel that adds up Σ w and what counts, and flags illegal weights."""
    function = Function(SIGNATURE)
    illegal = function.variable(function.constant(False, vector(kind).of("i1")))

    def body(i: Value, live: Value, ins: Any, outs: Any) -> list[Value]:
        own, counted = share(ins, i, live, weight, keep)
        if own is not None:
            legal = (own >= 0.0) & (own < math.inf)
            illegal.set(illegal.get() | (live & ~legal))
        one = function.constant(1.0, vector(kind))
        return [
            choose(counted, one if own is None else own, 0.0),
            choose(counted, one, 0.0),
        ]

    walk(function, kind, reads(kind, weight, keep), (), 2, body)
    with function.when(function.any(illegal.get())):
        function.store(function.constant(1), function["slots"], FLAG)
    return load(function.text(), f"weights-{kind}")


class Weighed(NamedTuple):
    """What one pass over weights finds out.

    Attributes
    ----------
    total
        Their sum.
    counted
        How many are not 0.
    legal
        Whether all are finite, and at least 0.
    """

    total: float
    counted: int
    legal: bool


def weigh(weight: np.ndarray[Any, Any]) -> Weighed:
    """Look at weights, float32 or float64, in one pass.

    Examples
    --------
    >>> weigh(np.array([0.5, 0.0, 2.0]))
    Weighed(total=2.5, counted=2, legal=True)
    """
    kernel = planned(KINDS[weight.dtype], True, False)
    lines = prepared(weight, None, weight.dtype)
    (total, count), illegal = sweep(kernel, weight.size, lines, (), 2)
    return Weighed(total, int(count), not illegal)
