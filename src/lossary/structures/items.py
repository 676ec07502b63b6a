"""Losses that are one number per item, and how such numbers become a mean."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from lossary.arrays.fused import OnePass
from lossary.batch import Batch, without_removed
from lossary.errors import ParameterError
from lossary.kinds import Kind
from lossary.loss import Loss
from lossary.reduction import IN_ONE_PASS, Sums, nothing_left, quotient
from lossary.shapes import Signature

if TYPE_CHECKING:
    from lossary.structures.plain import Plain


@lru_cache(maxsize=1024)
def _made(module: str, name: str, loss: Loss) -> Plain:
    # Equal losses share what is ready.
    made: Plain = getattr(importlib.import_module(module), name)(loss)
    return made


class ItemStructure:
    """What pointwise and rowwise losses share: items, counted and averaged.

    A member of the family says how to compute its items, their gradient and their
    curvature; weights, removal, reduction and the empty policy are here.
    """

    name: str
    kernel: str | None = None
    """The kernel that computes members in one pass, where there is one."""
    quick: tuple[str, str] | None = None
    """The class that makes their commonest call ready, and its module."""
    signatures: tuple[Signature, ...]
    inputs: tuple[str, ...] = ("y", "z")
    log_partition: Callable[..., Any] | None = None
    """What is added to make a likelihood of a loss that is none; see `Learning`."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), self.signatures))

    # -- what a family provides -----------------------------------------------------

    def items(self, loss: Loss, batch: Batch) -> Any:
        """Return the loss of each item, through which gradients flow."""
        raise NotImplementedError

    def slopes(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return items and the gradient of each item."""
        raise NotImplementedError

    def curved(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and curvature of each item."""
        raise NotImplementedError

    def pull(
        self, loss: Loss, batch: Batch, shares: Callable[[Any], Any]
    ) -> tuple[Any, Any]:
        """Return items, and the gradient of their sum in which each has its share."""
        items, gradient = self.slopes(loss, batch)
        return items, self._weighted(batch, shares(items), gradient)

    def along_items(self, batch: Batch, scale: Any, gradient: Any) -> Any:
        """Multiply gradients by one number per item."""
        return scale * gradient

    # -- what follows ---------------------------------------------------------------

    def indexed(self, signature: Signature) -> bool:
        """Say whether the target holds class numbers."""
        return False

    def kinds(self, loss: Loss, signature: Signature) -> tuple[Kind, Kind]:
        """Return the kinds of target and prediction."""
        return loss.target, loss.prediction

    def readable(self, loss: Loss) -> tuple[str, ...]:
        """Name the parameters that may be arrays of a call."""
        return ()

    def suspicions(self, loss: Loss, batch: Batch) -> list[str]:
        """Say what else is surely wrong with the values."""
        return []

    def plain(self, loss: Loss) -> Plain | None:
        """Return the commonest call of a loss made ready, if the kernel computes it."""
        if self.quick is None or self.kernel_for(loss) != self.kernel:
            return None
        return _made(*self.quick, loss)

    def linked(self, loss: Loss) -> Loss:
        """Return the loss as a function of its link-space score."""
        return loss

    def value(self, loss: Loss, batch: Batch, reduction: str, empty: str) -> Any:
        """Return the reduced loss."""
        if reduction == "none":
            return batch.returned(batch.counting.counted(self.items(loss, batch)))
        sums = self._totals(loss, batch, reduction)
        value = sums.numerator if reduction == "sum" else sums.mean(empty)
        return number(batch, value)

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges: numerator and denominator."""
        return self._totals(loss, batch, reduction)

    def _totals(self, loss: Loss, batch: Batch, reduction: str) -> Sums:
        counting = batch.counting
        call = self._one_pass(loss, batch, reduction)
        numerator = None if call is None else batch.lib.fused_total(call)
        if numerator is None:
            items = counting.counted(self.items(loss, batch))
            scale = counting.row_scale(reduction, items)
            numerator = batch.lib.total(items if scale is None else scale * items)
        return Sums(numerator, self.denominator(batch, reduction))

    def _plain_total(self, loss: Loss, batch: Batch, z: Any) -> Any:
        """Return Σ w·l of a prediction by the library's own operations."""
        y = batch.y if self.indexed(batch.signature) else batch.wide(batch.y)
        batch = without_removed(loss, replace(batch, y=y, z=batch.wide(z)))
        return batch.lib.total(batch.counting.counted(self.items(loss, batch)))

    def denominator(self, batch: Batch, reduction: str) -> Any:
        """Return what a policy divides by."""
        like = batch.z if batch.lib.shape(batch.z) == batch.counting.shape else None
        if like is None:
            like = batch.z[..., 0]
        if like.dtype != batch.work:  # it lends shape and dtype alone
            like = batch.lib.namespace(like).empty_like(like, dtype=batch.work)
        return batch.counting.denominator(reduction, like)

    def value_and_grad(
        self, loss: Loss, batch: Batch, reduction: str, empty: str, out: Any
    ) -> tuple[Any, Any]:
        """Return the reduced loss and its gradient in the prediction."""
        counting, out = batch.counting, fitting(batch, out)
        if reduction == "none":
            items, gradient = self.pull(loss, batch, counting.weights)
            return (
                batch.returned(counting.counted(items)),
                into(batch.returned(gradient), out),
            )
        denominator = 1.0 if reduction == "sum" else self.denominator(batch, reduction)
        scale = reciprocal(batch, denominator, empty)
        call = self._one_pass(loss, batch, reduction)
        fused = None if call is None else batch.lib.fused_gradient(call, scale, out)
        if fused is None:

            def shares(items: Any) -> Any:
                weights = counting.weights(items)
                rows = counting.row_scale(reduction, items)
                return weights if rows is None else rows * weights

            items, gradient = self.pull(loss, batch, lambda x: scale * shares(x))
            numerator = batch.lib.total(shares(items) * items)
            fused = numerator, into(batch.returned(gradient), out)
        numerator, gradient = fused
        value = (
            numerator if reduction == "sum" else quotient(numerator, denominator, empty)
        )
        return number(batch, value), gradient

    def _one_pass(self, loss: Loss, batch: Batch, reduction: str) -> OnePass | None:
        """Return the sum of a call as one pass; none for row means.

        Nor for half precision, unless a device's kernel reads it.
        """
        known = batch.compiled or batch.dtype == batch.work
        once = reduction in IN_ONE_PASS and known
        return self.one_pass(loss, batch) if once else None

    def one_pass(self, loss: Loss, batch: Batch) -> OnePass | None:
        """Return the sum of all items as one pass, if a kernel computes the loss."""
        kernel = self.kernel_for(loss)
        if kernel is None:
            return None
        plain = partial(self._plain_total, loss, batch)
        return OnePass(kernel, loss.formula, loss.params, batch, plain)

    def kernel_for(self, loss: Loss) -> str | None:
        """Name the kernel that computes a loss in one pass, where there is one."""
        return None if loss.read else self.kernel

    def _weighted(self, batch: Batch, shares: Any, gradient: Any) -> Any:
        gradient = self.along_items(batch, shares, gradient)
        keep = batch.counting.keep
        if keep is None:
            return gradient
        xp = batch.lib.namespace(gradient)
        if len(batch.lib.shape(gradient)) > len(batch.counting.shape):
            keep = xp.expand_dims(keep, axis=-1)
        return xp.where(keep, gradient, xp.zeros_like(gradient))

    def grad_and_hess(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and curvature per item."""
        gradient, curvature = self.curved(loss, batch)
        return batch.returned(gradient), batch.returned(curvature)


def number(batch: Batch, value: Any) -> Any:
    """Give a reduced value the prediction's dtype, if that has at least 32 bits."""
    if isinstance(value, float):
        return batch.work.type(value)
    return batch.lib.cast(value, batch.work)


def reciprocal(batch: Batch, denominator: Any, empty: str) -> Any:
    """Return 1 / denominator, by policy where nothing is left."""
    if isinstance(denominator, float):
        return 1 / denominator if denominator else nothing_left(empty)
    one = batch.lib.namespace(denominator).ones_like(denominator)
    return quotient(one, denominator, empty)


def into(gradient: Any, out: Any) -> Any:
    """Copy a gradient into the caller's array, where there is one."""
    if out is None:
        return gradient
    out[...] = gradient
    return out


def fitting(batch: Batch, out: Any) -> Any:
    """Return the caller's array for the gradient, if it fits."""
    wanted = tuple(batch.lib.shape(batch.z))
    if out is None or (tuple(out.shape) == wanted and out.dtype == batch.dtype):
        return out
    raise ParameterError(
        f"out must have shape {wanted} and dtype {batch.dtype}, got "
        f"{tuple(out.shape)} and {out.dtype}"
    )
