"""Rows of many classes: along a row, a few vectors at a time, while it is in the cache.

A row is read in blocks. The exponentials of a block are taken relative to the largest
score met so far, and what was summed before is scaled when a larger one appears; the
last pass over the row scales each block to the maximum of all. Exponentials wait for it
in memory of the kernel's own, in whole vectors: what is stored under a mask, as the end
of a row must be, cannot be read back without waiting for it to reach the cache.
"""

from __future__ import annotations

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import Type
from lossary.kernels.llvm.walk import SIGNATURE
from lossary.kernels.rows.labels import Labels
from lossary.kernels.rows.parts import Call, Variant, padded
from lossary.kernels.rows.shares import AnyFormula, LogLoss
from lossary.kernels.rows.walk import TOGETHER, Rows
from lossary.kernels.sizes import BLOCK


def step(classes: int) -> int:
    """Return how many rows are finished together: few enough for the cache."""
    return TOGETHER if classes <= BLOCK else 1


def room(classes: int) -> int:
    """Return how many numbers a kernel keeps beside its arrays."""
    return (step(classes) + 1) * padded(classes) + step(classes) * -(-classes // BLOCK)


def printed(variant: Variant) -> str:
    """Print the module of a kernel of any number of classes."""
    function = Function(SIGNATURE)
    call = Call(function, variant)
    rows = _rows(call)
    total = function.variable(function.constant(0.0, Type("double", TOGETHER)))
    with function.loop(function["first"], function["last"]) as chunk:
        begin = chunk * call["chunk"]
        end = function.smaller(begin + call["chunk"], call["rows"])
        total.set(0.0)
        with function.loop(begin, end, call["step"]) as row:
            count = function.smaller(end - row, call["step"])
            total.set(total.get() + rows.step(row, count))
        function.store(function.reduced(total.get()), call["sums"], chunk)
    return function.text()


def _rows(call: Call) -> Rows:
    if call.variant.target == "label":
        return Labels(call)
    return LogLoss(call) if call.variant.likely else AnyFormula(call)
