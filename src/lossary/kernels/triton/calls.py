"""What the calls of both kernels have in common: numbers on the card, and the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.graph import Node
from lossary.kernels.llvm.lanes import Type, Value
from lossary.kernels.triton.values import NAMES, Body

Scale = float | torch.Tensor
"""A factor of the gradient, or a tensor of one number on the card."""


@dataclass(frozen=True)
class Totals:
    """What one pass over the data adds up: numbers that stay on the card.

    Attributes
    ----------
    numerator
        Σ w·l over the counted rows, in float64.
    outside
        Whether a counted value is not what the loss allows; None if nobody asked.
    """

    numerator: torch.Tensor
    outside: torch.Tensor | None


def real_of(z: torch.Tensor) -> str:
    """Name what a kernel computes in: float64 of float64, and float32 of less."""
    return "float64" if z.dtype == torch.float64 else "float32"


def uniform_blocks(body: Body, parts: Sequence[Node], kind: str) -> dict[Node, Value]:
    """Print the reading of what depends on parameters alone, as whole blocks."""
    known = {}
    for i, part in enumerate(parts):
        number = f"tl.load(numbers_at + {i}).to({NAMES[kind]})"
        known[part] = body.emit(Type(kind), f"tl.broadcast_to({number}, {body.shape})")
    return known


@lru_cache(maxsize=256)
def on_card(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return numbers in the memory of a card; the copy would stall every call."""
    return torch.tensor(values or (0.0,), dtype=torch.float64, device=device)


def scale_on_card(scale: Scale, device: torch.device) -> torch.Tensor | None:
    """Return a factor in the memory of a card; None for the factor 1."""
    if isinstance(scale, torch.Tensor):
        return scale.detach()
    if scale == 1:
        return None
    return torch.full((), scale, dtype=torch.float64, device=device)


def flat(x: torch.Tensor | None) -> torch.Tensor | None:
    """Return the items side by side in memory, those of a mask as bytes."""
    if x is None:
        return None
    x = x.detach().resolve_neg().contiguous().reshape(-1)
    return x.view(torch.uint8) if x.dtype == torch.bool else x


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Make a card the one that kernels are started on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def start(
    kernel: Callable[..., Any], programs: int, z: torch.Tensor, *args: Any, **how: Any
) -> None:
    """Run the programs of a kernel, none of whose products is fused with a sum."""
    if programs:
        with current(z.device):
            kernel[(programs,)](*args, enable_fp_fusion=False, **how)  # type: ignore[index]
