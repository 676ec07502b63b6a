"""What no implementation goes below: reading and writing the same bytes once."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary.kernels import threads
from lossary.kernels.sizes import CHUNK
from speed.cases import Case
from speed.tasks import Task

STREAMS: dict[str, tuple[float, bool]] = {
    "add": (3, True),
    "add, weights": (4, True),
    "add, mask": (3.25, True),
    "add, 2 results": (4, True),
    "add 1": (2, False),
    "add 1, 2 results": (3, True),
    "add, two passes": (5, True),
}
"""Passes over memory of the prediction's size, and whether two arrays are read.

``np.add(x, y, out=z)`` has three of them. Images are read twice: their counts must be
known before the gradient is. A mask has one byte an item, beside float32.
"""


def tasks(case: Case) -> dict[str, Task]:
    """Return the floor, and the same on all threads: the true limit."""
    if case.floor not in STREAMS:  # BLAS has threads of its own
        return {"floor": _products(case)}
    streams, two = STREAMS[case.floor]
    dtype: Any = np.dtype(case.dtype)
    x = np.ones(int(case.items * streams / (3 if two else 2)), dtype)
    y, out = x.copy() if two else dtype.type(1), np.empty_like(x)
    return {
        "floor": Task(lambda: np.add(x, y, out=out)),
        "floor, split": Task(lambda: _split(x, y, out)),
    }


def _split(x: Any, y: Any, out: Any) -> None:
    """Add on the threads of the kernels, in pieces of their size."""

    def part(first: int, last: int) -> None:
        here = slice(first * CHUNK, last * CHUNK)
        np.add(x[here], y if np.ndim(y) == 0 else y[here], out=out[here])

    threads.run(part, -(-out.size // CHUNK))


def _products(case: Case) -> Task:
    """Multiply as the similarities and the gradient do, each once."""
    rows = case.items // case.shape[0]
    keys = np.ones((rows, case.shape[0]), case.dtype)
    near, out = np.empty((rows, rows), case.dtype), np.empty_like(keys)

    def run() -> None:
        np.matmul(keys, keys.T, out=near)
        np.matmul(near, keys, out=out)

    return Task(run)
