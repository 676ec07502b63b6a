"""What the printed modules have in common, and the call of a finished kernel."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from lossary.emit.numba import WHOLE, Code, straight_line
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, leaves, parameter, topological
from lossary.expr.reference import evaluate
from lossary.kernels import threads
from lossary.kernels.cache import load
from lossary.kernels.sizes import CHUNK

Interval = tuple[float, float, bool]
Scale = float | Callable[[float, int], float]
"""A factor of the gradient, or a function of Σw and the number of counted rows."""

EMPTY_KEEP = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Totals:
    """What one pass over the data adds up.

    Attributes
    ----------
    numerator
        Σ w·l over the counted rows.
    denominator
        Σ w over the counted rows.
    count
        The number of counted rows: kept, and of a weight that is not 0.
    outside
        Whether a counted target or prediction lies outside its interval.
    """

    numerator: float
    denominator: float
    count: int
    outside: bool


@lru_cache(maxsize=256)
def specialised(
    formula: Formula, params: tuple[float, ...]
) -> tuple[Formula, tuple[float, ...]]:
    """Fix the parameters that are better compiled in; return what is left to pass.

    Parameters are passed at run time, so that one kernel serves all values. The
    exception is a small whole factor in an exponent, as in focal losses: there an
    exponential becomes a product.
    """
    exponents = [n for n in topological([formula.value]) if n.op == "exp"]
    inside = {name for node in exponents for name in leaves(node, "param")}
    values = dict(zip(formula.params, params, strict=True))
    fixed = {p: v for p, v in values.items() if p in inside and v in WHOLE}
    if not fixed:
        return formula, params
    return formula.at(**fixed), tuple(v for p, v in values.items() if p not in fixed)


def printed_header(code: Code, dtype: str) -> str:
    """Print imports, constants and vector functions of a module."""
    lines = [
        "from math import inf, nan, sqrt",
        "",
        "import numpy as np",
        "from numba import njit, types",
        "",
        "from lossary.kernels import blocks, vecmath",
        "from lossary.kernels.blocks import read, written",
        "from lossary.kernels.sizes import BLOCK, CHUNK",
        "",
        f"number = np.{dtype}",
        "zero, one = number(0.0), number(1.0)",
    ]
    lines += [f"k{i} = number({x!r})" for i, x in enumerate(code.constants)]
    lines += [f'{f} = vecmath.functions("{dtype}")["{f}"]' for f in code.functions]
    return "\n".join(lines) + "\n"


def indented(lines: Iterable[str], depth: int) -> str:
    """Print lines at a depth of four spaces each."""
    return textwrap.indent("\n".join(lines), " " * 4 * depth)


def uniform_lines(code: Code) -> list[str]:
    """Print the unpacking of what depends on parameters alone."""
    return [f"u{i} = number(uniforms[{i}])" for i in range(len(code.uniforms))]


def uniform_values(
    formula: Formula, code: Code, params: Sequence[float]
) -> np.ndarray[Any, Any]:
    """Compute what depends on parameters alone, in float64."""
    if not code.uniforms:
        return np.empty(0)
    names = (parameter(name) for name in formula.params)
    values: dict[Node, Any] = dict(zip(names, params, strict=True))
    return np.array([float(evaluate(u, values)) for u in code.uniforms])


def tidy(x: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """Return an array that is contiguous and aligned, itself where it is so."""
    return np.require(x, dtype, ["C", "A"])


def flat(x: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Return a one-dimensional, contiguous, aligned view, or else a copy."""
    return tidy(x, dtype).reshape(-1)


def prepared(
    weight: Any, keep: Any, dtype: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return weight and keep as a kernel reads them; what is not given is empty."""
    return (
        np.empty(0, dtype) if weight is None else flat(weight, dtype),
        EMPTY_KEEP if keep is None else flat(keep, np.bool_).view(np.uint8),
    )


def bounds(first: Interval | None, second: Interval | None) -> np.ndarray[Any, Any]:
    """Return the limits to check as three numbers a side, or none at all."""
    if first is None and second is None:
        return np.empty(0)
    everything = (-np.inf, np.inf, False)
    limits = [*(first or everything), *(second or everything)]
    return np.array(limits, dtype=np.float64)


WEIGH = """
from numba import njit, types

import numpy as np

from lossary.kernels import blocks
from lossary.kernels.blocks import read, written
from lossary.kernels.sizes import BLOCK, CHUNK

real = np.{dtype}
real_type = blocks.real_types["{dtype}"]


@njit(
    types.void(
        read(real_type), read(types.uint8), types.int64, types.int64, types.int64,
        written(types.float64), written(types.int64),
    ),
    **blocks.compiled,
)
def kernel(weight, keep, n, first, last, sums, counts):
    block, running = np.empty(BLOCK, real), np.zeros(BLOCK)
    for chunk in range(first, last):
        end, kept = min(n, (chunk + 1) * CHUNK), 0
        for start in range(chunk * CHUNK, end, BLOCK):
            stop = min(start + BLOCK, end)
            blocks.effective(weight, keep, start, stop, block)
            blocks.accumulate(running, block[: stop - start])
            for i in range(stop - start):
                kept += block[i] != 0
        sums[chunk], counts[chunk] = blocks.fold(running), kept
"""


@lru_cache(maxsize=2)
def _weigher(dtype: str) -> Callable[..., Any]:
    return load(WEIGH.format(dtype=dtype), f"weights_{dtype}")


def weigh(
    weight: np.ndarray[Any, Any], keep: np.ndarray[Any, Any], n: int
) -> tuple[float, int]:
    """Return Σw and the number of counted rows, in one pass over the weights."""
    if not weight.size and not keep.size:
        return float(n), n
    kernel = _weigher(weight.dtype.name)
    chunks = chunk_count(n)
    sums, counts = np.zeros(chunks), np.zeros(chunks, np.int64)
    threads.run(lambda a, b: kernel(weight, keep, n, a, b, sums, counts), chunks)
    return float(sums.sum()), int(counts.sum())


def chunk_count(n: int) -> int:
    """Return the number of chunks of n items."""
    return -(-n // CHUNK)


What = Literal["value", "value_and_grad", "grad_and_hess"]


def roots(formula: Formula, what: What) -> tuple[Node, ...]:
    """Return the expressions that a kernel computes for each item."""
    return {
        "value": (formula.value,),
        "value_and_grad": (formula.value, formula.gradient),
        "grad_and_hess": (formula.gradient, formula.curvature),
    }[what]


def coded(formula: Formula, what: What) -> Code:
    """Return the straight-line code of those expressions."""
    return straight_line(*roots(formula, what))
