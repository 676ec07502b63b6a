"""A vector function, compiled alone: arrays in, array out."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from lossary.kernels.call import sweep
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import KINDS
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.staging import line
from lossary.kernels.llvm.walk import SIGNATURE, walk
from lossary.kernels.vecmath import FUNCTIONS


def text(name: str, dtype: str, arity: int) -> str:
    """Return the module of a function alone."""
    function, kind = Function(SIGNATURE), KINDS[np.dtype(dtype)]

    def body(i: Any, live: Any, reads: Any, writes: Any) -> list[Any]:
        writes[0].store(FUNCTIONS[name](*(block.load(i) for block in reads)), i)
        return []

    walk(function, kind, [kind] * arity, [kind], 0, body)
    return function.text()


@lru_cache
def alone(name: str, dtype: str, arity: int = 1) -> Callable[..., np.ndarray]:
    """Return a function of arrays of a dtype."""
    kernel = load(text(name, dtype, arity), f"alone-{name}-{dtype}")

    def call(*arrays: np.ndarray) -> np.ndarray:
        out = np.empty_like(arrays[0])
        sweep(kernel, out.size, [line(x) for x in (*arrays, out)], (), 0)
        return out

    return call
