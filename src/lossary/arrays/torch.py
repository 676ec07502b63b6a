"""PyTorch: derived formulas as autograd functions, usable under every transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lossary.arrays import fused
from lossary.arrays.standard import Function, Library
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol
from lossary.expr.untraced import Table


class Derived:
    """A formula and its parameters: the Python-side argument of `Elementwise`."""

    def __init__(self, node: Node, formula: Formula, params: tuple[float, ...]) -> None:
        self.node, self.formula, self.params = node, formula, params
        self.text = LIBRARY.run(node, (*formula.inputs, *formula.params))

    def run(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Compute the values, without a gradient."""
        result: torch.Tensor = self.text(*inputs, *self.params)
        return result


def _slope(derived: Derived, position: int) -> Derived | None:
    """Make the derivative in one input; None where it is zero throughout."""
    formula = derived.formula
    node = derivative(derived.node, symbol(formula.inputs[position]))
    if is_const(node, 0.0):
        return None
    return Derived(guarded(node, formula.value), formula, derived.params)


_DERIVED: Table[Derived] = Table(Derived)
_SLOPES: Table[Derived | None] = Table(_slope)
_TEXTS: Table[Function] = Table(lambda *key: LIBRARY.run_all(key[:1], key[1]))


def slope(derived: Derived, position: int) -> Derived | None:
    """Return the derivative in one input; None where it is zero throughout."""
    return _SLOPES.of(derived, position)


class Elementwise(torch.autograd.Function):
    """Values of a formula of n inputs whose derivatives are its derived formulas."""

    generate_vmap_rule = True

    @staticmethod
    def forward(derived: Derived, *inputs: torch.Tensor) -> torch.Tensor:
        """Compute the values."""
        return derived.run(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs for either mode of differentiation."""
        ctx.derived, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Pull a gradient back through the derived formulas."""
        inputs = ctx.saved_tensors
        results: list[torch.Tensor | None] = [None] * len(inputs)
        for i in range(len(inputs)):
            steep = slope(ctx.derived, i) if ctx.needs_input_grad[i + 1] else None
            if steep is not None:
                results[i] = upstream * values(steep, *inputs)
        return None, *results


class ElementwiseBothModes(Elementwise):
    """The same, with forward mode as well, which the compiler cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Push a tangent forward through the derived formulas."""
        inputs = ctx.saved_tensors
        total = torch.zeros_like(inputs[1])
        for i, tangent in enumerate(tangents[1:]):
            steep = slope(ctx.derived, i)
            if tangent is not None and steep is not None:
                total = total + tangent * values(steep, *inputs)
        return total


def values(derived: Derived, *inputs: torch.Tensor) -> torch.Tensor:
    """Compute a derived formula so that gradients flow through it."""
    function: type[Elementwise] = ElementwiseBothModes
    if torch.compiler.is_compiling():
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in inputs)):
            # The compiler counts the arguments of a function that it does not derive.
            return derived.run(*inputs)
        function = Elementwise
    result: torch.Tensor = function.apply(derived, *inputs)  # type: ignore[no-untyped-call]
    return result


class FusedTotal(torch.autograd.Function):
    """Σ w·l by a compiled kernel that computes the gradient in the same pass."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, pass_: OnePass) -> torch.Tensor:
        """Compute the sum, and the gradient if it will be asked for."""
        ctx.pass_ = pass_
        if not ctx.needs_input_grad[0]:
            return z.new_tensor(pass_.total())
        gradient = torch.empty(z.shape, dtype=z.dtype)
        total = pass_.gradient(gradient)
        ctx.save_for_backward(z, gradient)
        return z.new_tensor(total)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Scale the gradient; where it is differentiated again, derive it anew."""
        z, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            (gradient,) = torch.autograd.grad(ctx.pass_.plain(z), z, create_graph=True)
        return upstream * gradient, None


class OnePass:
    """The call of a kernel on the memory of CPU tensors."""

    def __init__(
        self,
        kernel: str,
        formula: Formula,
        params: tuple[float, ...],
        batch: Any,
        plain: Function,
    ) -> None:
        counting = batch.counting
        self.call = kernel, formula, params
        self.plain = plain
        self.batch = replace(
            batch,
            y=batch.y.numpy(),
            z=batch.z.detach().numpy(),
            counting=replace(
                counting, weight=_memory(counting.weight), keep=_memory(counting.keep)
            ),
        )

    def total(self) -> float:
        """Return the sum alone."""
        return fused.total(*self.call, self.batch)

    def gradient(self, out: torch.Tensor) -> float:
        """Fill the gradient and return the sum."""
        return fused.gradient(*self.call, self.batch, 1.0, out.numpy())


def _memory(x: torch.Tensor | None) -> np.ndarray | None:
    return None if x is None else x.numpy()


def _is_transformed() -> bool:
    """Say whether something traces or transforms the computation."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.maybe_current_level() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Torch(Library):
    name = "torch"
    autodiff = True

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
        if x.is_meta or _is_transformed():
            return None
        value = x.detach().cpu()
        if value.dtype == torch.bfloat16:  # NumPy has no such dtype
            value = value.float()
        return np.asarray(value)

    def arange(self, stop: int, like: Any) -> Any:
        return torch.arange(stop, device=like.device)

    def constant(self, x: Any) -> Any:
        return x.detach()

    def compiled(
        self, kernel: str, formula: Formula, y: Any, z: Any, counting: Any
    ) -> bool:
        others = (y, counting.weight)
        if _is_transformed() or z.is_meta or z.device.type != "cpu":
            return False
        if any(x is not None and x.requires_grad for x in others):
            return False
        return fused.serves(kernel, formula, y, z.detach().numpy(), counting)

    def fused_total(
        self,
        kernel: str,
        formula: Formula,
        params: tuple[float, ...],
        batch: Any,
        plain: Function,
    ) -> Any:
        if not batch.compiled:
            return None
        pass_ = OnePass(kernel, formula, params, batch, plain)
        return FusedTotal.apply(batch.z, pass_)  # type: ignore[no-untyped-call]

    def fused_gradient(
        self,
        kernel: str,
        formula: Formula,
        params: tuple[float, ...],
        batch: Any,
        scale: Any,
        out: Any,
    ) -> tuple[Any, Any] | None:
        if not batch.compiled:
            return None
        pass_ = OnePass(kernel, formula, params, batch, lambda z: z)
        gradient = (
            torch.empty(batch.z.shape, dtype=batch.z.dtype) if out is None else out
        )
        total = batch.z.new_tensor(pass_.gradient(gradient))
        return total, gradient.mul_(scale)

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        derived = _DERIVED.of(node, formula, params)
        return lambda *inputs: values(derived, *inputs)

    def run(self, node: Node, arguments: tuple[str, ...]) -> Function:
        return _TEXTS.of(node, arguments)


LIBRARY: _Torch = _Torch()
