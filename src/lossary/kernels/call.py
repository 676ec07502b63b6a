"""What kernels of all structures have in common: what they are called with and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import addressof, c_double, c_int64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from lossary.emit.branches import merged
from lossary.emit.lowering import FIXED, lower
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, leaves, parameter, topological
from lossary.expr.reference import evaluate
from lossary.kernels import threads
from lossary.kernels.llvm.walk import FLAG
from lossary.kernels.sizes import CHUNK
from lossary.kernels.spelling import uniform

What = Literal["value", "value_and_grad", "grad_and_hess"]

OUTPUTS: dict[str, int] = {"value": 0, "value_and_grad": 1, "grad_and_hess": 2}
"""How many arrays are written."""

Compiled = Callable[[Any, Any, int, int], None]


@dataclass(frozen=True)
class Totals:
    """What one pass over the data adds up.

    Attributes
    ----------
    numerator
        Σ w·l over the counted rows.
    outside
        Whether a counted target or prediction lies outside its interval.
    """

    numerator: float
    outside: bool


@lru_cache(maxsize=256)
def specialised(
    formula: Formula, params: tuple[float, ...]
) -> tuple[Formula, tuple[float, ...]]:
    """Fix the parameters that are better compiled in; return what is left to pass.

    Parameters are passed at run time, so that one kernel serves all values. The
    exception is a small whole number in an exponent, as in focal losses: there an
    exponential or a power becomes a product, or a square root.
    """
    exponents = [
        n.args[-1] for n in topological([formula.value]) if n.op in ("exp", "pow")
    ]
    inside = {name for node in exponents for name in leaves(node, "param")}
    values = dict(zip(formula.params, params, strict=True))
    fixed = {p: v for p, v in values.items() if p in inside and v in FIXED}
    if not fixed:
        return formula, params
    return formula.at(**fixed), tuple(v for p, v in values.items() if p not in fixed)


@lru_cache(maxsize=256)
def lowered(formula: Formula, what: What | Literal["everything"]) -> tuple[Node, ...]:
    """Return the expressions that a kernel computes for each item."""
    roots = {
        "value": (formula.value,),
        "value_and_grad": (formula.value, formula.gradient),
        "grad_and_hess": (formula.gradient, formula.curvature),
        "everything": (formula.value, formula.gradient, formula.curvature),
    }[what]
    return merged(tuple(map(lower, roots)))


@lru_cache(maxsize=256)
def uniform_values(
    formula: Formula, what: What, params: tuple[float, ...]
) -> tuple[float, ...]:
    """Compute what depends on parameters alone, in float64."""
    values = dict(zip(formula.params, params, strict=True))
    return evaluated(lowered(formula, what), values)


def evaluated(roots: Sequence[Node], params: Mapping[str, float]) -> tuple[float, ...]:
    """Compute the uniform parts of lowered expressions, in float64."""
    values: dict[Node, Any] = {parameter(name): x for name, x in params.items()}
    return tuple(float(evaluate(u, values)) for u in uniform(roots))


def _address(x: np.ndarray[Any, Any]) -> int:
    # The first field of an array, behind what every object begins with: NumPy's
    # binary interface. Asking the array itself costs several times as much.
    where: int = _pointer_at(id(x) + object.__basicsize__).value or 0
    return where


def _asked_address(x: np.ndarray[Any, Any]) -> int:
    where: int = x.__array_interface__["data"][0]
    return where


_pointer_at = c_void_p.from_address
_sample = np.empty(1)
address = _address if _address(_sample) == _asked_address(_sample) else _asked_address
"""Return where an array begins."""


Lines = Sequence[tuple[np.ndarray[Any, Any], int]]
"""Arrays of equal length, and the bytes from one item of each to the next."""


def chunk_count(items: int) -> int:
    """Return the number of chunks of some items."""
    return -(-items // CHUNK)


def run(
    kernel: Compiled, slots: Sequence[int], reals: Sequence[float], chunks: int
) -> Any:
    """Call a kernel for all chunks, on as many threads as there are to be used.

    Returns
    -------
    ctypes.Array
        The slots, in which a kernel may have raised flags.
    """
    arrays, numbers = (c_int64 * len(slots))(*slots), (c_double * len(reals))(*reals)
    if chunks == 1:
        kernel(arrays, numbers, 0, 1)
    else:
        threads.run(lambda first, last: kernel(arrays, numbers, first, last), chunks)
    return arrays


def sweep(
    kernel: Compiled, items: int, lines: Lines, reals: Sequence[float], adds: int
) -> tuple[tuple[float, ...], bool]:
    """Walk over arrays of equal length, and add up what each chunk adds.

    Parameters
    ----------
    kernel
        A compiled `lossary.kernels.llvm.walk.walk`.
    items
        The length of the arrays.
    lines
        The arrays, first those that are read.
    reals
        The numbers of the call.
    adds
        How many sums it makes.

    Returns
    -------
    tuple of float
        The sums.
    bool
        Whether the flag was raised.
    """
    chunks = max(1, chunk_count(items))
    sums = (c_double * (chunks * adds))()
    where = [x for line in lines for x in (address(line[0]), line[1])]
    slots = run(kernel, (items, addressof(sums), 0, *where), reals, chunks)
    raised = bool(slots[FLAG])
    if chunks == 1 or not adds:
        return tuple(sums), raised
    totals = np.asarray(sums).reshape(chunks, adds).sum(axis=0)
    return tuple(map(float, totals)), raised
