"""Pixels counted by a compiled kernel, in the memory of PyTorch's CPU tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lossary.arrays.soft_counts import SoftCounts


class TensorCounts:
    """Pixels counted by a compiled kernel, on the memory of CPU tensors.

    `plain` counts those of a prediction by operations of PyTorch.
    """

    def __init__(
        self,
        batch: Any,
        weight: Any,
        per_image: bool,
        logits: bool,
        plain: Callable[..., Any],
    ) -> None:
        self.z, self.plain = batch.z, plain
        counting = replace(batch.counting, keep=_memory(batch.counting.keep))
        seen = replace(batch, y=_memory(batch.y), z=_memory(batch.z), counting=counting)
        self.counter = SoftCounts(seen, _memory(weight), per_image, logits)

    def counts(self) -> Any:
        """Return the soft counts of every item, through which gradients flow."""
        return CountsOfPixels.apply(self.z, self)  # type: ignore[no-untyped-call]

    def gradient(
        self, by_overlap: torch.Tensor, by_prediction: torch.Tensor, out: Any = None
    ) -> torch.Tensor:
        """Chain derivatives in an item's counts to the scores."""
        if out is None:
            out = torch.empty(self.z.shape, dtype=self.z.dtype)
        slopes = _memory(by_overlap), _memory(by_prediction)
        self.counter.gradient(*slopes, out=out.numpy())
        result: torch.Tensor = out
        return result


class CountsOfPixels(torch.autograd.Function):
    """Soft counts in one pass over the pixels, and their gradient in one more."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, call: TensorCounts) -> Any:
        """Count the pixels, in float64."""
        found = tuple(torch.from_numpy(np.array(x)) for x in call.counter.counts())
        ctx.call = call
        ctx.save_for_backward(z)
        ctx.mark_non_differentiable(found[1])
        return found

    @staticmethod
    def backward(
        ctx: Any, by_overlap: torch.Tensor, by_target: Any, by_prediction: torch.Tensor
    ) -> Any:
        """Chain to the scores; where that is differentiated again, derive it anew."""
        (z,) = ctx.saved_tensors
        slopes = by_overlap, by_prediction
        if not torch.is_grad_enabled():
            return ctx.call.gradient(*slopes), None
        overlap, _, prediction = (x.double() for x in ctx.call.plain(z))
        counted = overlap, prediction
        (gradient,) = torch.autograd.grad(counted, z, slopes, create_graph=True)
        return gradient, None


def _memory(x: torch.Tensor | None) -> Any:
    """Return the values of a tensor, where there is one."""
    return None if x is None else x.numpy(force=True)
