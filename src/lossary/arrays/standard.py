"""The array library interface, written against the array API standard."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.emit.arrays import compiled
from lossary.expr.formula import Formula
from lossary.expr.graph import Node

if TYPE_CHECKING:
    from lossary.arrays.fused import OnePass

Function = Callable[..., Any]

SMALL = 1 << 15
"""Numbers up to which a plain call is one step: one sum, on one thread."""


def settled(loss: Any, options: dict[str, Any]) -> Any:
    """Bind the numbers and words of a call; None if it gives others, or arrays."""
    for value in options.values():
        if not isinstance(value, (int, float, str)):
            return None
    return loss.bound(*options.items())


class Library:
    """What the structures ask of an array library.

    The methods below are the whole contract. They follow the array API; a library
    that spells something differently overrides that one method.
    """

    name = "standard"
    autodiff = False
    """Whether gradients flow through the library's own operations."""
    joins: tuple[str, ...] = ()
    """The libraries whose arrays it takes beside its own."""

    def __init__(self) -> None:
        self._functions: dict[Any, Function] = {}

    # -- namespace ------------------------------------------------------------------

    def namespace(self, *arrays: Any) -> Any:
        """Return the functions of the library, spelt as in the standard."""
        import array_api_compat

        return array_api_compat.array_namespace(*arrays)

    # -- arrays ---------------------------------------------------------------------

    def asarray(self, x: Any, like: Any = None) -> Any:
        """Turn lists, numbers and columns into an array of this library."""
        return x if like is None else self.namespace(like).asarray(x)

    def is_floating(self, x: Any) -> bool:
        """Say whether an array holds floating-point numbers."""
        return bool(self.namespace(x).isdtype(x.dtype, "real floating"))

    def is_boolean(self, x: Any) -> bool:
        """Say whether an array holds truth values."""
        return bool(self.namespace(x).isdtype(x.dtype, "bool"))

    def default_float(self, x: Any) -> Any:
        """Return the dtype that whole-number predictions are computed in."""
        return self.namespace(x).float64

    def itemsize(self, dtype: Any) -> int:
        """Return the bytes of one number of a floating dtype."""
        return int(np.dtype(str(dtype).rpartition(".")[2]).itemsize)

    def float32(self, x: Any) -> Any:
        """Return the library's float32."""
        return self.namespace(x).float32

    def cast(self, x: Any, dtype: Any) -> Any:
        """Convert to a dtype, without a copy where it already is."""
        if x.dtype == dtype:
            return x
        return self.namespace(x).astype(x, dtype)

    def wider(self, a: Any, b: Any) -> Any:
        """Return the dtype that holds both floating dtypes of two arrays."""
        return self.namespace(a).result_type(a, b)

    def shape(self, x: Any) -> tuple[int, ...]:
        """Return the shape."""
        return tuple(x.shape)

    def sizes(self, x: Any) -> tuple[Any, ...]:
        """Return the shape with nothing unknown, for array code to use."""
        return self.shape(x)

    def count(self, x: Any) -> Any:
        """Return the number of entries, as a number to divide by."""
        return float(math.prod(self.shape(x)))

    def sized(self, x: Any, sizes: tuple[Any, ...], sentence: str) -> Any:
        """Return x, sure to have these sizes when the call runs, or say otherwise.

        A library that always knows its shapes has compared them before.
        """
        return x

    def concrete(self, x: Any) -> np.ndarray | None:
        """Return the values as NumPy, or None while tracing or off the CPU."""
        try:
            return np.asarray(x)
        except Exception:
            return None

    def in_reach(self, x: Any) -> Any:
        """Return the rows to judge scores by: all, or some of another device's."""
        return x

    def arange(self, stop: int, like: Any) -> Any:
        """Return 0, 1, …, stop - 1 beside an array."""
        xp = self.namespace(like)
        return xp.arange(stop, dtype=xp.int64)

    def numbered(self, x: Any) -> Any:
        """Return 0, 1, …, k - 1, to be compared with entries along the last axis."""
        return self.arange(self.shape(x)[-1], x)

    def total(self, x: Any, axis: Any = None) -> Any:
        """Sum, in at least float32."""
        return self.namespace(x).sum(x, axis=axis)

    def constant(self, x: Any) -> Any:
        """Return x without its gradient."""
        return x

    def quiet(self) -> AbstractContextManager[Any]:
        """Return a context in which an infinity is a result, not an accident."""
        return nullcontext()

    def adopt(self, record: type, arrays: tuple[str, ...]) -> None:
        """Learn of a record that losses return, and which fields hold arrays."""

    def at_hand(self, *arrays: Any) -> tuple[Library, tuple[Any, ...]]:
        """Return the library that takes small steps best, and its arrays of the memory.

        None stands for no array.
        """
        return self, arrays

    def multiplied_in(self, dtype: Any, work: Any, like: Any) -> Any:
        """Return the dtype in which matrices of a dtype, summed in `work`, multiply."""
        return work

    def works_in_place(self, *arrays: Any) -> bool:
        """Say whether array code may write into arrays that it has made of these."""
        return False

    def differentiable(self, call: Any, *inputs: Any) -> Any:
        """Return what ``call.forward`` computes, with ``call.backward`` as gradient.

        ``forward(wanted, *inputs)`` gives a result and what is kept of it, and
        ``backward(kept, upstream, wanted, *inputs)`` the gradients; `wanted` says of
        each input whether its gradient is asked for, None stands for the others'.
        ``plain(*inputs)`` is the result by operations that the library differentiates.
        """
        return call.forward((False,) * len(inputs), *inputs)[0]

    def at_once(self, function: Function, *arrays: Any) -> Any:
        """Call array code, a function of this library and arrays, as one step."""
        return function(self, *arrays)

    def small(
        self, loss: Any, what: str, y: Any, z: Any, how: Any, options: dict[str, Any]
    ) -> Any:
        """Compute a small call in a quicker way; None where there is none.

        `what` is "value", "value_and_grad" or "grad_and_hess"; `how` says how the call
        weighs, reduces and checks, `options` are the parameters that it gives.
        """
        return None

    # -- formulas summed in one pass ------------------------------------------------
    #
    # A library without such a pass leaves these as they are.

    def on_device(self, kernel: str, y: Any, z: Any, weight: Any) -> bool:
        """Say whether a device has the named kernel, which reads arrays as they are.

        Their formats may differ, and be of half precision.
        """
        return False

    def compiled(
        self, kernel: str, formula: Formula, y: Any, z: Any, counting: Any
    ) -> bool:
        """Say whether the named kernel serves these arrays, and checks them too."""
        return False

    def fused_total(self, call: OnePass) -> Any:
        """Return Σ w·l in one pass over memory, or None."""
        return None

    def fused_gradient(
        self, call: OnePass, scale: Any, out: Any
    ) -> tuple[Any, Any] | None:
        """Return Σ w·l and scale·w·gradient in one pass, or None."""
        return None

    def fused_curvature(self, call: OnePass) -> tuple[Any, Any] | None:
        """Return gradient and curvature per item in one pass, or None."""
        return None

    def fused_overlap(
        self, batch: Any, weight: Any, per_image: bool, logits: bool, plain: Function
    ) -> Any:
        """Return what counts the pixels of a batch in one pass, or None.

        `weight` belongs to the pixels; `plain` counts those of a prediction with the
        library's operations.
        """
        return None

    # -- formulas -------------------------------------------------------------------

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Function:
        """Return a function of the inputs that computes one formula.

        In an autodiff library its derivatives, of any order, are the derived
        formulas: exact at kinks and finite wherever the truth is.
        """
        run = self.run(node, (*formula.inputs, *formula.params))
        return lambda *inputs: run(*inputs, *params)

    def run(self, node: Node, arguments: tuple[str, ...]) -> Function:
        """Return the compiled text of one formula in this library."""
        return self.run_all((node,), arguments)

    def run_all(self, nodes: tuple[Node, ...], arguments: tuple[str, ...]) -> Function:
        """Return the compiled text of formulas that share their subexpressions."""
        key = (nodes, arguments)
        if key not in self._functions:
            self._functions[key] = self._compile(nodes, arguments)
        return self._functions[key]

    def _compile(self, nodes: tuple[Node, ...], arguments: tuple[str, ...]) -> Function:
        return compiled("formula", arguments, nodes, self.name)


class _Standard(Library):
    def quiet(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")  # for the libraries built on NumPy

    def _compile(self, nodes: tuple[Node, ...], arguments: tuple[str, ...]) -> Function:
        text = compiled("formula", (*arguments, "xp"), nodes, "standard")
        return lambda *values: text(*values, self.namespace(*values[:2]))


LIBRARY = _Standard()
