"""PyTorch: a number that comes with its gradient, from the memory of a card."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from lossary.arrays.fused import OnePass
from lossary.kernels import triton

KERNELS = ("pointwise", "rows")
REALS = (torch.float32, torch.float64)

EVERYWHERE = False
"""Whether tensors of the processor are taken, too: by Triton's interpreter."""


def serves(kernel: str, y: torch.Tensor, z: torch.Tensor) -> bool:
    """Say whether a kernel on the card is to compute tensors like these."""
    if not (z.is_cuda or EVERYWHERE) or kernel not in KERNELS or z.dtype not in REALS:
        return False
    labels = y.ndim < z.ndim and not y.is_floating_point()
    return (kernel == "pointwise" or labels) and triton.available()


class CardCall:
    """Σ w·l by a Triton kernel; nothing waits for it but a check of the values."""

    def __init__(self, call: OnePass) -> None:
        self.call, self.plain = call, call.plain
        self.module = importlib.import_module(f"lossary.kernels.triton.{call.kernel}")

    def value(self) -> torch.Tensor:
        """Return the sum."""
        return self._heeded(self.module.total(*self._arguments(), **self._options()))

    def value_and_grad(
        self, scale: Any = 1.0, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum and its gradient, multiplied by a number."""
        room = out if out is not None and out.is_contiguous() else None
        totals, gradient = self.module.value_and_grad(
            *self._arguments(), **self._options(), scale=scale, out=room
        )
        if out is not None and room is None:
            gradient = out.copy_(gradient)
        return self._heeded(totals), gradient

    def _arguments(self) -> tuple[Any, ...]:
        call = self.call
        return call.formula, call.params, call.batch.y, call.batch.z

    def _options(self) -> dict[str, Any]:
        counting, ranges = self.call.batch.counting, self.call.batch.ranges
        options = {"weight": counting.weight, "keep": counting.keep}
        if self.call.kernel == "pointwise":
            options["y_range"], options["z_range"] = ranges
        return options

    def _heeded(self, totals: Any) -> torch.Tensor:
        """Return the numerator; name the offending rows if the kernel met any."""
        batch = self.call.batch
        if batch.complain is not None and totals.outside is not None and totals.outside:
            batch.complain()
        numerator: torch.Tensor = totals.numerator.to(batch.z.dtype)
        return numerator
