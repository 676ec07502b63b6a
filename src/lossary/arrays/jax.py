"""JAX: derived formulas as custom derivatives, of any order and in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from lossary.arrays.standard import Library
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol


class _JAX(Library):
    name = "jax"
    autodiff = True

    def __init__(self) -> None:
        super().__init__()
        self._differentiable: dict[Any, Callable[..., Any]] = {}

    def namespace(self, *arrays: Any) -> Any:
        return jnp

    def asarray(self, x: Any, like: Any = None) -> Any:
        return jnp.asarray(x)

    def default_float(self, x: Any) -> Any:
        return jax.dtypes.canonicalize_dtype(jnp.float64)

    def itemsize(self, dtype: Any) -> int:
        return int(jnp.dtype(dtype).itemsize)

    def concrete(self, x: Any) -> np.ndarray | None:
        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)

    def arange(self, stop: int, like: Any) -> Any:
        return jnp.arange(stop)

    def constant(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)

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
        def items(y: Any, z: Any) -> Any:
            return run(y, z, *params)

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
                partial = None if still else slope(name)
                if partial is not None:
                    tangent = tangent + partial(*primals) * direction
            return value, tangent

        items.defjvp(jvp, symbolic_zeros=True)
        result: Callable[..., Any] = items
        return result


LIBRARY = _JAX()
