"""JAX: derived formulas as custom derivatives, of any order and in both modes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from lossary.arrays.standard import Library
from lossary.errors import KindError
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol


class _JAX(Library):
    name = "jax"
    autodiff = True
    joins = ("numpy",)  # as in JAX's own functions

    def __init__(self) -> None:
        super().__init__()
        self._differentiable: dict[Any, Callable[..., Any]] = {}
        self._jitted = cache(self._jit)

    def namespace(self, *arrays: Any) -> Any:
        return jnp

    def asarray(self, x: Any, like: Any = None) -> Any:
        if not isinstance(x, jax.Array):
            x = _converted(x)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise KindError(
                f"is an array of {x.dtype}, but losses compare real numbers; pass its "
                "real part, or its jnp.abs()"
            )
        return x

    def default_float(self, x: Any) -> Any:
        return jax.dtypes.canonicalize_dtype(jnp.float64)

    def itemsize(self, dtype: Any) -> int:
        return int(jnp.dtype(dtype).itemsize)

    def cast(self, x: Any, dtype: Any) -> Any:
        # Without 64 bits enabled, int64 means int32; JAX warns if it is asked anyway.
        return super().cast(x, jax.dtypes.canonicalize_dtype(dtype))

    def concrete(self, x: Any) -> np.ndarray | None:
        if isinstance(x, jax.core.Tracer) or not x.is_fully_addressable:
            return None  # being traced, or in part on another machine
        return np.asarray(jax.device_get(x))

    def count(self, x: Any) -> Any:
        n = math.prod(x.shape)
        # The size may be a symbol, where a program is exported for any size.
        return float(n) if isinstance(n, int) else jnp.asarray(n, x.dtype)

    def arange(self, stop: int, like: Any) -> Any:
        return jnp.arange(stop)

    def numbered(self, x: Any) -> Any:
        # Of the rank that it meets: JAX can be told to refuse any other.
        return jnp.arange(x.shape[-1]).reshape((1,) * (x.ndim - 1) + (-1,))

    def constant(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)

    def adopt(self, record: type, arrays: tuple[str, ...]) -> None:
        fields = [f.name for f in dataclasses.fields(record)]
        rest = [name for name in fields if name not in arrays]
        jax.tree_util.register_dataclass(record, arrays, rest)

    # Formulas and array code run compiled, outside of the user's own `jax.jit` as well:
    # about twice as fast, and JAX's search for NaNs sees results, not each step.

    def at_once(self, function: Callable[..., Any], *arrays: Any) -> Any:
        return self._jitted(function)(*arrays)

    def _jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(partial(function, self), inline=True)

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        key = (node, formula, params)
        if key not in self._differentiable:
            self._differentiable[key] = self._attach(node, formula, params)
        return self._differentiable[key]

    def _attach(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        run = self.run(node, (*formula.inputs, *formula.params))

        @jax.custom_jvp
        @partial(jax.jit, inline=True)
        def items(*inputs: Any) -> Any:
            return run(*inputs, *params)

        def slope(name: str) -> Callable[..., Any] | None:
            derived = derivative(node, symbol(name))
            if is_const(derived, 0.0):
                return None
            return self.elementwise(guarded(derived, formula.value), formula, params)

        def jvp(primals: Any, tangents: Any) -> Any:
            value = items(*primals)
            tangent = jnp.zeros_like(value)
            for name, direction in zip(formula.inputs, tangents, strict=True):
                # A direction that is zero by structure must not meet an infinity.
                still = isinstance(direction, SymbolicZero)
                steepness = None if still else slope(name)
                if steepness is not None:
                    tangent = tangent + steepness(*primals) * direction
            return value, tangent

        items.defjvp(jvp, symbolic_zeros=True)
        result: Callable[..., Any] = items
        return result


def _converted(x: Any) -> jax.Array:
    """Make an array of numbers, of a list or of another library's array."""
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError, OverflowError):
        raise KindError(
            f"is a {type(x).__name__} of which no array of numbers can be made; pass "
            "an array"
        ) from None


LIBRARY = _JAX()
