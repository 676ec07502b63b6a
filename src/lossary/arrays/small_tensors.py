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
from lossary.arrays.one_step import is_transformed, memory, recorded

_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
"""What predictions may hold."""

_BESIDE = {
    *_DTYPES, torch.float16, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip
"""What targets, weights and masks may hold: NumPy has no bfloat16."""

_CPU = torch.device("cpu")
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
        """Return the reduced loss and its gradient.

        Where the kernel that NumPy's call would take suffices, it is given the tensors'
        memory as it is.
        """
        y, z, how = self.y, self.z, self.how
        plain = getattr(self.loss, "plain", None)
        if (
            plain is not None
            and how.sample_weight is None
            and how.mask is None
            and y.dtype is (torch.int64 if plain.labels else z.dtype)
            and plain.fits(y.shape, z.shape)
            and y.is_contiguous()
            and z.is_contiguous()
            and not (y.is_neg() or z.is_neg())
        ):
            way = plain.way("value_and_grad", _DTYPES[z.dtype], z.shape, how)
            if way is not None and way.kernel is not None:
                gradient = torch.empty_like(z)
                items = y.numel()
                places = y.data_ptr(), z.data_ptr(), gradient.data_ptr()
                value = way.at(items, places, items)
                if value is not None:
                    number = torch.scalar_tensor(value, dtype=z.dtype, device=_CPU)
                    return number, gradient
        value, gradient = self.loss.value_and_grad(*self._data(), **self._options())
        return _tensor(value), _tensor(gradient)

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


def small_call(
    loss: Any, what: str, y: Any, z: Any, how: Any, options: dict[str, Any]
) -> Any:
    """Compute a small call on CPU tensors; None where that is not what they are."""
    if (
        is_transformed()
        or not _is_small(z, _DTYPES)
        or not _is_small(y, _BESIDE)
        or what == "grad_and_hess"
        or how.reduction == "none"
        or how.out is not None
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
    if options and (loss := standard.settled(loss, options)) is None:
        return None
    call, graph = SmallCall(loss, y, z, how), graph and z.requires_grad
    if what == "value":
        return recorded(z, call) if graph else call.value()
    return None if graph else call.value_and_grad()


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
