"""PyTorch: a number that comes with its gradient, from the memory of CPU tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from lossary.arrays import fused
from lossary.arrays.fused import OnePass


class OneStep(torch.autograd.Function):
    """A number whose gradient is computed together with it, outside of autograd.

    The call gives ``value()`` and ``value_and_grad()``, and ``plain(z)``: the same by
    operations of PyTorch, from which second derivatives come.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, call: Any) -> Any:
        """Compute value and gradient."""
        value, ctx.gradient = call.value_and_grad()
        ctx.call = call
        ctx.save_for_backward(z)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Scale the gradient; where it is differentiated again, derive it anew."""
        (z,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            (gradient,) = torch.autograd.grad(ctx.call.plain(z), z, create_graph=True)
            return upstream * gradient, None
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:  # it has been given away, and is asked for once more
            _, gradient = ctx.call.value_and_grad()
        if is_transformed() or _is_batched(upstream):
            return upstream * gradient, None
        return gradient.mul_(upstream), None  # fresh memory would cost more than that


# Past the look for functional transforms, which callers have taken.
recorded: Any = super(torch.autograd.Function, OneStep).apply
"""Return the value of a call, and record its gradient, given prediction and call."""


def in_one_step(z: torch.Tensor, call: Any) -> torch.Tensor:
    """Return the value of a call, with its gradient if one will be asked for."""
    graph = torch.is_grad_enabled() and z.requires_grad
    result: torch.Tensor = recorded(z, call) if graph else call.value()
    return result


class KernelCall:
    """Σ w·l by a compiled kernel, on the memory of CPU tensors."""

    def __init__(self, call: OnePass) -> None:
        batch, counting = call.batch, call.batch.counting
        self.plain = call.plain
        self.like = batch.z.detach()
        given = {
            name: memory(x)
            for name in ("weight", "keep")
            if (x := getattr(counting, name)) is not None
        }
        in_memory = replace(
            batch,
            y=memory(batch.y),
            z=memory(self.like),
            counting=replace(counting, **given),
        )
        self.call = replace(call, batch=in_memory)

    def value(self) -> Any:
        """Return the sum."""
        return self.like.new_tensor(fused.total(self.call))

    def value_and_grad(
        self, scale: Any = 1.0, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum and its gradient, multiplied by a number."""
        if out is None:
            out = torch.empty(self.like.shape, dtype=self.like.dtype)
        total = fused.gradient(self.call, scale, out.numpy())
        return self.like.new_tensor(total), out


def memory(x: torch.Tensor) -> np.ndarray:
    """Return the values of a CPU tensor: its memory, unless it is a lazy negative."""
    return x.numpy(force=True)


_is_batched = torch._C._functorch.is_legacy_batchedtensor
_functional_level = torch._C._functorch.maybe_current_level
_watchers = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state


def is_transformed() -> bool:
    """Say whether something traces, transforms or watches the computation."""
    return (
        torch.compiler.is_compiling()
        or _functional_level() is not None
        or forward_ad._current_level >= 0
        or _watchers() > 0
        or _tracing_state() is not None
    )


def has_memory(x: torch.Tensor) -> bool:
    """Say whether a tensor is its memory: not a fake, nor a stand-in for another."""
    return type(x).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
