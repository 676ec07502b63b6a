"""Calls so small that the interpreter's time is all they cost: CPU tensors, in NumPy.

NumPy's operations cost less than PyTorch's, and the gradient of a loss is known
without autograd. What is not small, plain and on a CPU is left to the loss itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lossary.arrays import library
from lossary.arrays.torch import in_one_step, is_transformed, memory
from lossary.kinds import Kind
from lossary.loss import Loss

SMALL = 1 << 12
"""Numbers up to which a call's time is the interpreter's, not the memory's."""

_SINGLE_AND_DOUBLE = (torch.float32, torch.float64)
_ARRAYS = ("sample_weight", "mask")


class Whole:
    """A call of any loss on small CPU tensors, as one call on NumPy arrays.

    Parameters
    ----------
    loss : Loss or Combination
    y, z : Tensor
        Target and prediction; the gradient flows to the prediction alone.
    options : dict
        All options of the call.
    """

    def __init__(
        self, loss: Any, y: torch.Tensor, z: torch.Tensor, options: dict[str, Any]
    ) -> None:
        self.loss, self.target, self.options = loss, y, options
        self.data = memory(y), memory(z)
        arrays = {k: options[k] for k in _ARRAYS if options[k] is not None}
        self.in_numpy = options | {k: memory(x) for k, x in arrays.items()}

    def plain(self, z: torch.Tensor) -> Any:
        """Compute the same of a prediction by operations of PyTorch."""
        return self.loss(self.target, z, **self.options)

    def value(self) -> torch.Tensor:
        """Return the reduced loss."""
        return _tensor(self.loss(*self.data, **self.in_numpy))

    def value_and_grad(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the reduced loss and its gradient."""
        value, gradient = self.loss.value_and_grad(*self.data, **self.in_numpy)
        return _tensor(value), _tensor(gradient)


def small_call(loss: Any, y: Any, z: Any, options: dict[str, Any]) -> Any:
    """Compute a small call on CPU tensors; None where that is not what they are."""
    if (
        is_transformed()
        or options["reduction"] == "none"
        or not _is_small(z)
        or z.dtype not in _SINGLE_AND_DOUBLE
    ):
        return None
    graph = torch.is_grad_enabled()
    given = [options[k] for k in _ARRAYS if options[k] is not None]
    for x in (y, *given):
        if not _is_small(x) or (graph and x.requires_grad):
            return None
    return in_one_step(z, Whole(loss, y, z, options))


def _is_small(x: Any) -> bool:
    """Say whether something is a small tensor, whose memory NumPy can read."""
    return (
        type(x) is torch.Tensor
        and x.is_cpu
        and x.layout is torch.strided
        and x.dtype is not torch.bfloat16
        and 0 < x.numel() <= SMALL
    )


class Plain:
    """The commonest call, without what the others need: items that count alike.

    Called with ``(y, z)`` it computes the mean or the sum of a pointwise loss; None
    where there is more to it, or something to complain of.

    Parameters
    ----------
    loss : Loss
        Pointwise.
    reduction, check : str
        As of a call.
    """

    def __init__(self, loss: Loss, reduction: str, check: str) -> None:
        self.loss, self.reduction, self.check = loss, reduction, check
        formula = loss.formula
        arguments = (*formula.inputs, *formula.params)
        nodes = (formula.value, formula.gradient)
        self.run = library("numpy").run_all(nodes, arguments)
        self.params = loss.params
        bounded = loss.target.bounded or loss.prediction.bounded
        self.checks = bounded and check != "off"
        self.mean = reduction != "sum"

    def __reduce__(self) -> Any:
        return Plain, (self.loss, self.reduction, self.check)

    def __call__(self, y: Any, z: Any) -> torch.Tensor | None:
        """Compute the call, or return None."""
        if (
            is_transformed()
            or not (_is_small(z) and _is_small(y))
            or z.shape != y.shape
            or z.dtype is not y.dtype
            or z.dtype not in _SINGLE_AND_DOUBLE
            or y.requires_grad
        ):
            return None
        call = _Call(self, y, z)
        if self.checks and not call.is_legal():
            return None
        return in_one_step(z, call)


class _Call:
    """One call of a `Plain`."""

    __slots__ = ("plan", "target", "y", "z")

    def __init__(self, plan: Plain, y: torch.Tensor, z: torch.Tensor) -> None:
        self.plan, self.target = plan, y
        self.y, self.z = memory(y), memory(z)

    def is_legal(self) -> bool:
        loss = self.plan.loss
        return _legal(loss.target, self.y) and _legal(loss.prediction, self.z)

    def plain(self, z: torch.Tensor) -> Any:
        plan = self.plan
        return plan.loss(self.target, z, reduction=plan.reduction, check="off")

    def value(self) -> torch.Tensor:
        return self.value_and_grad()[0]

    def value_and_grad(self) -> tuple[torch.Tensor, torch.Tensor]:
        plan = self.plan
        with np.errstate(all="ignore"):
            items, slopes = plan.run(self.y, self.z, *plan.params)
            total = np.add.reduce(items, axis=None)
            if plan.mean:
                total = total / items.size
                slopes = slopes * items.dtype.type(1 / items.size)
        return _tensor(total), _tensor(slopes)


def _legal(kind: Kind, values: np.ndarray) -> bool:
    """Say whether all values are surely legal; NaN is left to those who look closer."""
    if not kind.bounded:
        return True
    if kind.whole or kind.excluded is not None:
        return not kind.outside(values).any()
    return bool(values.min() >= kind.low and values.max() <= kind.high)


def plain(loss: Any, reduction: str, check: str) -> Plain | None:
    """Return the quick way of a loss's commonest call, if it has one."""
    pointwise = isinstance(loss, Loss) and loss.structure.name == "pointwise"
    if pointwise and reduction in ("mean", "mean_over_items", "sum"):
        return Plain(loss, reduction, check)
    return None


def _tensor(x: Any) -> torch.Tensor:
    """Make a tensor of an array, or of a number, which is what NumPy makes of one."""
    return torch.from_numpy(np.asarray(x))
