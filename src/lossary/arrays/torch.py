"""PyTorch: derived formulas as autograd functions, usable under every transform."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lossary.arrays import card, fused, numpy
from lossary.arrays.by_hand import by_hand
from lossary.arrays.fused import OnePass
from lossary.arrays.one_step import (
    KernelCall,
    has_memory,
    in_one_step,
    is_transformed,
    memory,
)
from lossary.arrays.small_tensors import small_call
from lossary.arrays.standard import Function, Library
from lossary.arrays.tensor_counts import TensorCounts
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


def _given(y: torch.Tensor, z: torch.Tensor, weight: Any) -> bool:
    """Say whether z is plain memory, and nothing is to be derived in the others."""
    if is_transformed() or not has_memory(z) or z.is_neg():
        return False
    others = (y, weight) if torch.is_grad_enabled() else ()
    return not any(getattr(x, "requires_grad", False) for x in others)


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

    def in_reach(self, x: Any) -> Any:
        # Scores may be gigabytes, and a few rows tell probabilities from logits.
        return x if x.is_cpu else x.reshape(-1, x.shape[-1])[:64]

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

    small = staticmethod(small_call)

    def compiled(
        self, kernel: str, formula: Formula, y: Any, z: Any, counting: Any
    ) -> bool:
        if not (z.is_cpu and _given(y, z, counting.weight)):
            return False
        return fused.serves(kernel, memory(z))

    def on_device(self, kernel: str, y: Any, z: Any, weight: Any) -> bool:
        return card.serves(kernel, y, z) and _given(y, z, weight)

    def fused_total(self, call: OnePass) -> Any:
        batch = call.batch
        if not batch.compiled:
            return None
        if card.serves(call.kernel, batch.y, batch.z):
            return card.CardCall(call).total()
        return in_one_step(batch.z, KernelCall(call))

    def fused_gradient(
        self, call: OnePass, scale: Any, out: Any
    ) -> tuple[Any, Any] | None:
        if not call.batch.compiled:
            return None
        batch = call.batch
        on_card = card.serves(call.kernel, batch.y, batch.z)
        if not (torch.is_grad_enabled() and batch.z.requires_grad):
            make = card.CardCall if on_card else KernelCall
            return make(call).value_and_grad(scale, out)
        z = batch.returned(batch.z)
        total = self.fused_total(replace(call, batch=replace(batch, z=z)))
        (gradient,) = torch.autograd.grad(total * scale, z, create_graph=True)
        return total, gradient if out is None else out.copy_(gradient)

    def fused_curvature(self, call: OnePass) -> tuple[Any, Any] | None:
        y, z = call.batch.y, call.batch.z
        if call.kernel != "pointwise" or not self.on_device(call.kernel, y, z, None):
            return None
        graph = torch.is_grad_enabled() and z.requires_grad
        return None if graph else card.CardCall(call).curvature()

    def fused_overlap(
        self, batch: Any, weight: Any, per_image: bool, logits: bool, plain: Function
    ) -> Any:
        if not batch.compiled:
            return None
        return TensorCounts(batch, weight, per_image, logits, plain)

    def at_hand(self, *arrays: Any) -> tuple[Library, tuple[Any, ...]]:
        given = [x for x in arrays if x is not None]
        near = not card.EVERYWHERE and all(x.is_cpu and has_memory(x) for x in given)
        if not near:
            return self, arrays
        # NumPy starts no threads, which PyTorch would for each of the steps.
        return numpy.LIBRARY, tuple(None if x is None else memory(x) for x in arrays)

    def multiplied_in(self, dtype: Any, work: Any, like: Any) -> Any:
        # Elsewhere halves are no faster, or their products cannot be had wide.
        if like.device.type != "cuda" or "dtype" not in torch.ops.aten.mm.overloads():
            return work
        if torch.is_autocast_enabled("cuda") and dtype != torch.float64:
            return torch.get_autocast_dtype("cuda")
        return dtype

    def works_in_place(self, *arrays: Any) -> bool:
        if is_transformed():
            return False
        return all(has_memory(x) and not x.is_meta for x in arrays)

    def differentiable(self, call: Any, *inputs: Any) -> Any:
        return by_hand(call, *inputs)

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
