"""PyTorch: derived formulas as autograd functions, usable under every transform."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lossary.arrays import fused
from lossary.arrays.standard import Function, Library
from lossary.errors import KindError
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol
from lossary.expr.untraced import Table, constant


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

    @staticmethod
    def forward(ctx: Any, derived: Derived, *inputs: torch.Tensor) -> torch.Tensor:
        """Compute the values, and keep the inputs."""
        ctx.derived = derived
        ctx.save_for_backward(*inputs)
        return derived.run(*inputs)

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


class ElementwiseTransformed(torch.autograd.Function):
    """The same, for functional transforms and forward mode, which ask for more."""

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

    backward = staticmethod(Elementwise.backward)

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
    function: type[torch.autograd.Function] = ElementwiseTransformed
    if torch.compiler.is_compiling() or not is_transformed():
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in inputs)):
            # The compiler counts the arguments of a function that it does not derive,
            # and without it such a function would only cost time.
            return derived.run(*inputs)
        function = Elementwise
    result: torch.Tensor = function.apply(derived, *inputs)
    return result


class OneStep(torch.autograd.Function):
    """A number whose gradient is computed together with it, outside of autograd.

    The call gives ``value()`` and ``value_and_grad()``, and ``plain(z)``: the same by
    operations of PyTorch, from which second derivatives come.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, call: Any) -> Any:
        """Compute value and gradient."""
        value, gradient = call.value_and_grad()
        ctx.call = call
        ctx.save_for_backward(z, gradient)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Scale the gradient; where it is differentiated again, derive it anew."""
        z, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            (gradient,) = torch.autograd.grad(ctx.call.plain(z), z, create_graph=True)
        return upstream * gradient, None


def in_one_step(z: torch.Tensor, call: Any) -> torch.Tensor:
    """Return the value of a call, with its gradient if one will be asked for."""
    graph = torch.is_grad_enabled() and z.requires_grad
    result: torch.Tensor = OneStep.apply(z, call) if graph else call.value()  # type: ignore[no-untyped-call]
    return result


class KernelCall:
    """Σ w·l by a compiled kernel, on the memory of CPU tensors.

    `plain` computes the same of a prediction by operations of PyTorch.
    """

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
        self.like = batch.z.detach()
        given = {
            name: memory(x)
            for name in ("weight", "keep")
            if (x := getattr(counting, name)) is not None
        }
        self.batch = replace(
            batch,
            y=memory(batch.y),
            z=memory(self.like),
            counting=replace(counting, **given),
        )

    def value(self) -> Any:
        """Return the sum."""
        return self.like.new_tensor(fused.total(*self.call, self.batch))

    def value_and_grad(
        self, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum and its gradient."""
        if out is None:
            out = torch.empty(self.like.shape, dtype=self.like.dtype)
        total = fused.gradient(*self.call, self.batch, 1.0, out.numpy())
        return self.like.new_tensor(total), out


def _converted(x: Any, device: torch.device | None) -> torch.Tensor:
    """Make a tensor of numbers, of a list or of another library's array."""
    try:
        tensor = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise KindError(
            f"is a {type(x).__name__} of which no tensor of numbers can be made; pass "
            "a tensor"
        ) from None
    return tensor if device is None else tensor.to(device)


def memory(x: torch.Tensor) -> np.ndarray:
    """Return the values of a CPU tensor: its memory, unless it is a lazy negative."""
    return x.numpy(force=True)


def is_transformed() -> bool:
    """Say whether something traces, transforms or watches the computation."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.maybe_current_level() is not None
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
    )


def has_memory(x: torch.Tensor) -> bool:
    """Say whether a tensor is its memory: not a fake, nor a stand-in for another."""
    return type(x).__torch_dispatch__ is torch.Tensor.__torch_dispatch__


class _Torch(Library):
    name = "torch"
    autodiff = True

    def namespace(self, *arrays: Any) -> Any:
        import array_api_compat.torch

        return array_api_compat.torch

    def asarray(self, x: Any, like: Any = None) -> Any:
        near = like if isinstance(like, torch.Tensor) else None
        if not isinstance(x, torch.Tensor):
            return _converted(x, None if near is None else near.device)
        if near is not None and x.device != near.device:
            raise KindError(
                f"is on {x.device}, and what it goes with is on {near.device}; move "
                "one to the other's device"
            )
        if x.is_complex():
            raise KindError(
                f"is a tensor of {x.dtype}, but losses compare real numbers; pass its "
                "real part, or its abs()"
            )
        if x.layout is not torch.strided or x.is_nested or x.is_quantized:
            raise KindError(
                "is sparse, nested or quantized, but losses take dense tensors; use "
                "to_dense(), to_padded_tensor(0.0) with a mask, or dequantize()"
            )
        return x

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
        if x.is_meta or is_transformed() or not has_memory(x):
            return None
        # NumPy has no bfloat16.
        return memory(x.float() if x.dtype == torch.bfloat16 else x)

    def count(self, x: Any) -> Any:
        n: Any = x.numel()
        if isinstance(n, int):
            return float(n)
        # A symbol, which a float would fix to the size of the example.
        return torch.full((), n, dtype=x.dtype, device=x.device)

    def arange(self, stop: int, like: Any) -> Any:
        return torch.arange(stop, device=like.device)

    def constant(self, x: Any) -> Any:
        return x.detach()

    def compiled(
        self, kernel: str, formula: Formula, y: Any, z: Any, counting: Any
    ) -> bool:
        others = (y, counting.weight) if torch.is_grad_enabled() else ()
        if is_transformed() or not (z.is_cpu and has_memory(z)) or z.is_neg():
            return False
        if any(x is not None and x.requires_grad for x in others):
            return False
        return fused.serves(kernel, formula, y, memory(z), counting)

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
        return in_one_step(batch.z, KernelCall(kernel, formula, params, batch, plain))

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
        call = KernelCall(kernel, formula, params, batch, lambda z: z)
        total, gradient = call.value_and_grad(out=out)
        return total, gradient.mul_(scale)

    def quiet(self) -> AbstractContextManager[Any]:
        """Keep float32 where autocast would multiply matrices in half precision."""
        for device in ("cuda", "cpu", "mps", "xpu"):
            if torch.is_autocast_enabled(device):
                return torch.autocast(device, enabled=False)
        return nullcontext()

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        if torch.compiler.is_compiling():
            params = tuple(constant(p) for p in params)
        derived = _DERIVED.of(node, formula, params)
        return lambda *inputs: values(derived, *inputs)

    def run(self, node: Node, arguments: tuple[str, ...]) -> Function:
        return _TEXTS.of(node, arguments)


LIBRARY: _Torch = _Torch()
