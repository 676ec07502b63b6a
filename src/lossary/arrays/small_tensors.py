"""PyTorch: calls so small that the interpreter's time is all they cost, in NumPy.

NumPy's operations cost less than PyTorch's, and the gradient of a loss is known
without autograd. What is not small, plain and on a CPU is left to the loss itself.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import torch

from lossary.arrays import standard
from lossary.arrays.one_step import in_one_step, is_transformed, memory

_FLOATS = (torch.float32, torch.float64)
_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0)}
_BESIDE = {
    *_FLOATS, torch.float16, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip
"""What targets, weights and masks may hold: NumPy has no bfloat16."""

_KINDS = {torch.Tensor, torch.nn.Parameter}


class SmallCall:
    """A call of any loss on small CPU tensors, as one call on NumPy arrays.

    Parameters
    ----------
    loss : Loss or Combination
    y, z : Tensor
        Target and prediction; the gradient flows to the prediction alone.
    how : Options
        The options of the call.
    """

    __slots__ = ("how", "loss", "y", "z")

    def __init__(self, loss: Any, y: torch.Tensor, z: torch.Tensor, how: Any) -> None:
        self.loss, self.y, self.z, self.how = loss, y, z, how

    def plain(self, z: torch.Tensor) -> Any:
        """Compute the same of a prediction by operations of PyTorch."""
        terms = getattr(self.loss, "terms", ((1.0, self.loss),))
        return sum(
            factor * loss.in_full(self.y, z, self.how, ()) for factor, loss in terms
        )

    def value(self) -> torch.Tensor:
        """Return the reduced loss."""
        return _tensor(self.loss(*self._data(), **self._options()))

    def value_and_grad(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the reduced loss and its gradient."""
        found = self._by_kernel()
        if found is not None:
            return found
        value, gradient = self.loss.value_and_grad(*self._data(), **self._options())
        return _tensor(value), _tensor(gradient)

    def _by_kernel(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Compute a plain call by the kernel that NumPy's would take, if it is there.

        It is given the tensors' memory as it is, and looks at the values on its way.
        """
        y, z, how = self.y, self.z, self.how
        plain = getattr(self.loss, "plain", None)
        if (
            plain is None
            or how.sample_weight is not None
            or y.dtype is not (torch.int64 if plain.labels else z.dtype)
            or not plain.fits(y.shape, z.shape)
            or not (y.is_contiguous() and z.is_contiguous())
            or y.is_neg()
            or z.is_neg()
            or not plain.takes(how)
        ):
            return None
        like = memory(z) if plain.labels else _LIKE[z.dtype]
        way = plain.way("value_and_grad", like, False, how)
        kernel, items = way.kernel, y.numel()
        if kernel is None or not way.trusts(like):
            return None
        gradient = torch.empty_like(z)
        places = y.data_ptr(), z.data_ptr(), gradient.data_ptr()
        denominator = 1.0 if how.reduction == "sum" else items
        total = kernel.at(items, places, 1 / denominator)
        if total is None:
            return None
        return _tensor(way.number(total / denominator)), gradient

    def _data(self) -> tuple[Any, Any]:
        return memory(self.y), memory(self.z)

    def _options(self) -> dict[str, Any]:
        how = self.how
        options = {"reduction": how.reduction, "empty": how.empty, "check": how.check}
        for name in ("sample_weight", "mask"):
            array = getattr(how, name)
            if array is not None:
                options[name] = memory(array)
        return options


def small_call(loss: Any, what: str, y: Any, z: Any, how: Any) -> Any:
    """Compute a small call on CPU tensors; None where that is not what they are."""
    if (
        is_transformed()
        or not _is_small(z, _FLOATS)
        or not _is_small(y, _BESIDE)
        or how.reduction == "none"
        or how.check == "warn"  # so that the warning points to the caller
    ):
        return None
    graph = torch.is_grad_enabled()
    if graph and y.requires_grad:
        return None
    for x in (how.sample_weight, how.mask):
        if x is not None and not (
            _is_small(x, _BESIDE) and not (graph and x.requires_grad)
        ):
            return None
    call = SmallCall(loss, y, z, how)
    if what == "value":
        return in_one_step(z, call)
    return None if graph and z.requires_grad else call.value_and_grad()


def _is_small(x: Any, dtypes: Container[torch.dtype]) -> bool:
    """Say whether something is a small tensor, whose memory NumPy can read."""
    return (
        type(x) in _KINDS
        and x.is_cpu
        and x.dtype in dtypes
        and 0 < x.numel() <= standard.SMALL
        and x.layout is torch.strided
        and not x.is_nested
    )


def _tensor(x: Any) -> torch.Tensor:
    """Make a tensor of an array, or of a number, which is what NumPy makes of one."""
    return torch.from_numpy(np.asarray(x))
