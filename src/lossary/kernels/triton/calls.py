"""What the calls of all kernels have in common: inputs, sums, and the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.formula import Formula
from lossary.expr.graph import Node
from lossary.kernels.interval import Ranges
from lossary.kernels.llvm.lanes import Type, Value
from lossary.kernels.triton.values import NAMES, Body

Scale = float | torch.Tensor
"""A factor of the gradient, or a tensor of one number on the card."""


@dataclass(frozen=True)
class Inputs:
    """What a kernel reads; tensors may be of any format, and are read as they are.

    Attributes
    ----------
    formula
        The loss of an item, or of a class, given its target and its log-odds.
    params
        Its parameters, in the formula's order.
    y, z
        Target and prediction. Of rows of classes, whose axis is the last, the target
        is a class number per row, or a distribution over the classes per row.
    weight, keep
        A weight per item or row; True where it counts. What is not kept, or whose
        weight is 0, is removed whatever it holds.
    ranges
        The legal targets and predictions of items, to be checked on the way.
    smoothing
        The share ε of a target that is spread evenly over all k classes: the formula
        sees (1 - ε)·y + ε/k.
    kept
        What a pass over the same rows has kept of each, to spare a look at them.
    """

    formula: Formula
    params: tuple[float, ...]
    y: torch.Tensor
    z: torch.Tensor
    weight: torch.Tensor | None = None
    keep: torch.Tensor | None = None
    ranges: Ranges = (None, None)
    smoothing: float = 0.0
    kept: torch.Tensor | None = None

    @property
    def real(self) -> str:
        """What is computed in: float64 of float64, and float32 of less."""
        wide = torch.float64 in (self.y.dtype, self.z.dtype)
        return "float64" if wide else "float32"

    @property
    def labelled(self) -> bool:
        """Whether the target is a class number per row."""
        return self.y.ndim < self.z.ndim

    def flat(self) -> tuple[torch.Tensor | None, ...]:
        """Return target, prediction, weight and mask, each side by side in memory."""
        return tuple(map(_flat, (self.y, self.z, self.weight, self.keep)))


@dataclass(frozen=True)
class Totals:
    """What one pass over the data adds up: numbers that stay on the card.

    Attributes
    ----------
    numerator
        Σ w·l over the counted rows, in float64.
    outside
        Whether a counted value is not what the loss allows; None if nobody asked.
    kept
        What the gradient of each row needs, where a look at the row costs more.
    """

    numerator: torch.Tensor
    outside: torch.Tensor | None
    kept: torch.Tensor | None = None


def uniform_blocks(
    body: Body, parts: Sequence[Node], kind: str, first: int = 0
) -> dict[Node, Value]:
    """Print the reading of what depends on parameters alone, as whole blocks."""
    known = {}
    for i, part in enumerate(parts, first):
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


def _flat(x: torch.Tensor | None) -> torch.Tensor | None:
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
