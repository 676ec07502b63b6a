"""PyTorch: derived formulas as autograd functions, usable under every transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lossary.arrays.standard import Library
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol


class Derived:
    """A formula and its parameters: the Python-side argument of `Elementwise`."""

    def __init__(self, node: Node, formula: Formula, params: tuple[float, ...]) -> None:
        self.node, self.formula, self.params = node, formula, params
        self.text = LIBRARY.run(node, (*formula.inputs, *formula.params))
        self._slopes: dict[int, Derived | None] = {}

    def run(self, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Compute the values, without a gradient."""
        result: torch.Tensor = self.text(y, z, *self.params)
        return result

    def slope(self, position: int) -> Derived | None:
        """Return the derivative in one input; None where it is zero throughout."""
        if position not in self._slopes:
            wrt = symbol(self.formula.inputs[position])
            node = derivative(self.node, wrt)
            self._slopes[position] = (
                None
                if is_const(node, 0.0)
                else Derived(
                    guarded(node, self.formula.value), self.formula, self.params
                )
            )
        return self._slopes[position]


class Elementwise(torch.autograd.Function):
    """Values of a formula whose derivatives are its derived formulas."""

    generate_vmap_rule = True

    @staticmethod
    def forward(derived: Derived, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Compute the values."""
        return derived.run(y, z)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs for either mode of differentiation."""
        ctx.derived, y, z = inputs
        ctx.save_for_backward(y, z)
        ctx.save_for_forward(y, z)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Pull a gradient back through the derived formulas."""
        y, z = ctx.saved_tensors
        results: list[torch.Tensor | None] = [None, None]
        for i in range(2):
            slope = ctx.derived.slope(i) if ctx.needs_input_grad[i + 1] else None
            if slope is not None:
                results[i] = upstream * values(slope, y, z)
        return None, *results


class ElementwiseBothModes(Elementwise):
    """The same, with forward mode as well, which the compiler cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Push a tangent forward through the derived formulas."""
        y, z = ctx.saved_tensors
        total = torch.zeros_like(z)
        for i, tangent in enumerate(tangents[1:]):
            slope = ctx.derived.slope(i)
            if tangent is not None and slope is not None:
                total = total + tangent * values(slope, y, z)
        return total


def values(derived: Derived, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Compute a derived formula so that gradients flow through it."""
    compiling = torch.compiler.is_compiling()
    function = Elementwise if compiling else ElementwiseBothModes
    result: torch.Tensor = function.apply(derived, y, z)  # type: ignore[no-untyped-call]
    return result


class _Torch(Library):
    name = "torch"
    autodiff = True

    def __init__(self) -> None:
        super().__init__()
        self._derived: dict[Any, Derived] = {}

    def namespace(self, *arrays: Any) -> Any:
        import array_api_compat.torch

        return array_api_compat.torch

    def asarray(self, x: Any, like: Any = None) -> Any:
        if isinstance(x, torch.Tensor):
            return x
        return torch.as_tensor(x, device=None if like is None else like.device)

    def is_floating(self, x: Any) -> bool:
        return bool(x.is_floating_point())

    def is_boolean(self, x: Any) -> bool:
        return bool(x.dtype == torch.bool)

    def default_float(self, x: Any) -> Any:
        return torch.get_default_dtype()

    def itemsize(self, dtype: Any) -> int:
        return int(dtype.itemsize)

    def float32(self, x: Any) -> Any:
        return torch.float32

    def cast(self, x: Any, dtype: Any) -> Any:
        return x.to(dtype)

    def wider(self, a: Any, b: Any) -> Any:
        return torch.promote_types(a.dtype, b.dtype)

    def concrete(self, x: Any) -> np.ndarray | None:
        if torch.compiler.is_compiling() or x.is_meta:
            return None
        if torch._C._functorch.maybe_current_level() is not None:
            return None
        value = x.detach().cpu()
        if value.dtype == torch.bfloat16:  # NumPy has no such dtype
            value = value.float()
        return np.asarray(value)

    def arange(self, stop: int, like: Any) -> Any:
        return torch.arange(stop, device=like.device)

    def constant(self, x: Any) -> Any:
        return x.detach()

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        derived = self.derived(node, formula, params)
        return lambda y, z: values(derived, y, z)

    def derived(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Derived:
        """Return the one derived formula of these contents."""
        key = (node, formula, params)
        if key not in self._derived:
            self._derived[key] = Derived(node, formula, params)
        return self._derived[key]


LIBRARY = _Torch()
