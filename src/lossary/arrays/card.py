"""PyTorch: a number and its gradient, from the memory of a card."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import torch

from lossary.arrays.fused import OnePass
from lossary.kernels import triton

MODULES = {"pointwise": "pointwise", "rows": "rows", "smoothed_rows": "rows"}
"""Where the kernels are that a loss may ask for."""

REALS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

EVERYWHERE = False
"""Whether tensors of the processor are taken, too: by Triton's interpreter."""


def serves(kernel: str, y: torch.Tensor, z: torch.Tensor) -> bool:
    """Say whether a kernel on the card is to compute tensors like these."""
    if not (z.is_cuda or EVERYWHERE) or kernel not in MODULES or z.dtype not in REALS:
        return False
    by_class = y.ndim < z.ndim
    return not (by_class and y.is_floating_point()) and triton.available()


class CardCall:
    """Σ w·l by a Triton kernel; nothing waits for it but a check of the values."""

    def __init__(self, call: OnePass) -> None:
        self.batch, self.plain = call.batch, call.plain
        name = f"lossary.kernels.triton.{MODULES[call.kernel]}"
        self.module = importlib.import_module(name)
        calls = importlib.import_module("lossary.kernels.triton.calls")
        batch, counting = call.batch, call.batch.counting
        self.inputs = calls.Inputs(
            call.formula, call.params, batch.y, batch.z, counting.weight,
            counting.keep, batch.ranges, call.smoothing,
        )  # fmt: skip

    def total(self) -> torch.Tensor:
        """Return the sum, through which gradients flow."""
        z = self.batch.z
        if not (torch.is_grad_enabled() and z.requires_grad):
            return self.value()
        read = self.inputs.y, self.inputs.weight, self.inputs.keep
        apply: Any = _Total.apply
        result: torch.Tensor = apply(z, self, *read)
        return result

    def value(self) -> torch.Tensor:
        """Return the sum."""
        totals = self.module.run(self.inputs)
        self.inputs = replace(self.inputs, kept=totals.kept)
        return self._heeded(totals)

    def value_and_grad(
        self, scale: Any = 1.0, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum and its gradient, multiplied by a number."""
        room = out
        if room is None or not room.is_contiguous():
            room = self._room(self.batch.dtype)
        totals = self.module.run(self.inputs, scale, room)
        gradient = room if out is None or out is room else out.copy_(room)
        return self._heeded(totals), gradient

    def gradient(self, scale: torch.Tensor) -> torch.Tensor:
        """Return the gradient in the prediction, multiplied by a number."""
        room = self._room(self.batch.z.dtype)
        self.module.run(self.inputs, scale, room)
        return room

    def curvature(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return gradient and curvature of each item."""
        found: tuple[torch.Tensor, torch.Tensor] = self.module.curved(self.inputs)
        return found

    def _room(self, dtype: torch.dtype) -> torch.Tensor:
        z = self.batch.z
        return torch.empty(z.shape, dtype=dtype, device=z.device)

    def _heeded(self, totals: Any) -> torch.Tensor:
        """Return the numerator; name the offending rows if the kernel met any."""
        complain = self.batch.complain
        if complain is not None and totals.outside is not None and totals.outside:
            complain()
        numerator: torch.Tensor = totals.numerator.to(self.batch.work)
        return numerator


class _Total(torch.autograd.Function):
    """A sum whose gradient is computed when it is asked for, by the same kernel.

    Then it is known what multiplies it: a gradient of half precision is rounded once,
    and does not overflow before a mean divides it. It costs no more: the scores are
    read once more, and no gradient is.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, call: CardCall, *read: Any) -> torch.Tensor:
        """Compute the sum; what else is read is kept, so that nobody changes it."""
        ctx.call = call
        ctx.save_for_backward(z, *read)
        return call.value()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Write the gradient; where it is differentiated again, derive it anew."""
        z, call = ctx.saved_tensors[0], ctx.call
        if not torch.is_grad_enabled():
            return call.gradient(upstream), None, None, None, None
        (gradient,) = torch.autograd.grad(call.plain(z), z, upstream, create_graph=True)
        return gradient, None, None, None, None
