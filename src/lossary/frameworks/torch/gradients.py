"""Gradients that several backward passes add up, apart from ``.grad``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lossary.errors import ParameterError
from lossary.reduction import Sums

Gradients = list[torch.Tensor | None]


@dataclass
class Term:
    """One term of a loss: its factor, what was summed, and the gradient of that.

    `gradients` holds one entry per parameter, of the numerators that are done with.
    """

    factor: float
    gradients: Gradients
    total: Any = None

    def add(self, part: Any) -> None:
        """Merge a part of the batch; the graph is let go where it is done with."""
        if is_final(part):
            part = Sums(part.numerator.detach(), part.denominator)
        self.total = part if self.total is None else self.total + part


def is_final(part: Any) -> bool:
    """Say whether a part's gradient is known but for a number, the denominator."""
    return isinstance(part, Sums) and not getattr(
        part.denominator, "requires_grad", False
    )


def differentiate(
    value: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    gradients: Gradients,
    retain_graph: bool = False,
) -> None:
    """Add the gradient of a value to `gradients`, one per parameter, in place.

    It is an ordinary backward pass, so that hooks run; what ``.grad`` held before is
    put back after it.
    """
    former = [parameter.grad for parameter in parameters]
    try:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        value.backward(retain_graph=retain_graph)
        gradients[:] = [parameter.grad for parameter in parameters]
    finally:
        for parameter, gradient in zip(parameters, former, strict=True):
            parameter.grad = gradient


@torch.no_grad()
def deposit(
    parameters: Sequence[torch.Tensor], gradients: Gradients, factor: Any
) -> None:
    """Add gradients, times a number, to the parameters' own."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if isinstance(factor, torch.Tensor):
            factor = factor.to(gradient.device)
        gradient.mul_(factor)
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            parameter.grad += gradient


def check_complete(
    name: str, value: torch.Tensor, parameters: Iterable[torch.Tensor]
) -> None:
    """Refuse a graph with leaves that are not among the parameters.

    Raises
    ------
    ParameterError
        With the shape of such a leaf: its gradient would stay undivided.
    """
    known = {id(parameter) for parameter in parameters}
    for leaf in _leaves(value):
        if id(leaf) not in known:
            raise ParameterError(
                f"{name}: gradients flow to a tensor of shape {tuple(leaf.shape)} that "
                "the accumulator was not given, and would be wrong there; pass every "
                "parameter to Accumulator, or detach that tensor"
            )


def _leaves(value: torch.Tensor) -> Iterator[torch.Tensor]:
    if value.grad_fn is None:
        yield value
        return
    todo, seen = [value.grad_fn], {value.grad_fn}
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            yield node.variable
        fresh = {following for following, _ in node.next_functions if following}
        todo.extend(fresh - seen)
        seen |= fresh
