"""Learned parameters that no optimiser holds: said once, after a few steps.

A criterion with parameters of its own is easily left out of the optimiser. Nothing
fails then: the parameters stay where they are, and the loss is not the one that was
asked for.
"""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from lossary.errors import LossaryWarning

STEPS = 3
"""Optimiser steps, with gradients, that parameters may stay where they are."""

_Seen = list[dict[str, tuple[float, float]]]
"""Of each step: the value and the gradient of every parameter that waits."""

_watched: weakref.WeakKeyDictionary[torch.nn.Module, _Seen]
_watched = weakref.WeakKeyDictionary()


def watch(criterion: Any) -> None:
    """Look at a criterion's raw parameters after each step of any optimiser."""
    if not criterion.learning.names:
        return
    if not _hooked:
        _hooked.append(register_optimizer_step_post_hook(_after_step))
    _watched[criterion] = []


_hooked: list[Any] = []


def _after_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    if torch.compiler.is_compiling():
        return
    for criterion in list(_watched):
        waiting = _waiting(criterion)
        if not waiting:
            continue
        seen = _watched[criterion]
        seen.append(
            {name: (raw.item(), raw.grad.item()) for name, raw in waiting.items()}
        )
        if len(seen) >= STEPS:
            del _watched[criterion]
            _say(criterion, waiting, seen)


def _waiting(criterion: Any) -> dict[str, Any]:
    """Return the raw parameters that have gradients for an optimiser to use."""
    if not criterion.training:
        return {}
    return {
        name: raw
        for name, raw in criterion.raw.items()
        if raw.requires_grad and raw.grad is not None
    }


def _say(criterion: Any, waiting: dict[str, Any], seen: _Seen) -> None:
    held = _held()
    lost = [
        name
        for name, raw in waiting.items()
        if id(raw) not in held and _is_stuck([at.get(name) for at in seen])
    ]
    if lost:
        warnings.warn(
            f"{criterion.loss.name}: {' and '.join(lost)} had gradients for {STEPS} "
            "steps and did not move, because no optimiser holds them; pass the "
            "criterion's parameters to the optimiser too, as in "
            "Adam([*model.parameters(), *criterion.parameters()]), or freeze them with "
            "criterion.requires_grad_(False)",
            LossaryWarning,
            stacklevel=4,  # past the optimiser's wrapper, to the line that steps
        )


def _is_stuck(seen: list[Any]) -> bool:
    """Say whether a parameter stayed while its gradient did not.

    Both stay where a criterion was called once, to try it, and another is trained.
    """
    if None in seen:
        return False
    values, gradients = zip(*seen, strict=True)
    return len(set(values)) == 1 and len(set(gradients)) > 1


def _held() -> set[int]:
    """Identify the parameters of every optimiser there is."""
    return {
        id(parameter)
        for found in gc.get_objects()
        if issubclass(type(found), torch.optim.Optimizer)
        for group in found.param_groups
        for parameter in group["params"]
    }
