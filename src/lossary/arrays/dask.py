"""Dask: lazy arrays; nothing is computed until the user asks.

A formula runs block by block as its NumPy text, which fuses the whole formula into one
task per block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from lossary.arrays import library
from lossary.arrays.standard import Function, Library
from lossary.expr.graph import Node


class _Dask(Library):
    name = "dask"

    def concrete(self, x: Any) -> np.ndarray | None:
        return None

    def asarray(self, x: Any, like: Any = None) -> Any:
        return x if isinstance(x, da.Array) else da.asarray(x)

    def _compile(self, nodes: tuple[Node, ...], arguments: tuple[str, ...]) -> Function:
        block = Block(nodes, arguments)

        def lazily(*inputs: Any) -> Any:
            like = inputs[1]
            axes = tuple(range(like.ndim))
            pairs = [(x, axes if isinstance(x, da.Array) else None) for x in inputs]
            return da.blockwise(
                block, axes, *(a for p in pairs for a in p), dtype=like.dtype
            )

        return lazily


@dataclass(frozen=True)
class Block:
    """The NumPy function of a formula, in a form that travels to other processes."""

    nodes: tuple[Node, ...]
    arguments: tuple[str, ...]

    def __call__(self, *inputs: Any) -> Any:
        """Compute one block."""
        numpy = library("numpy")
        with numpy.quiet():
            return numpy.run_all(self.nodes, self.arguments)(*inputs)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return (repr(self.nodes), *self.arguments)


LIBRARY = _Dask()
