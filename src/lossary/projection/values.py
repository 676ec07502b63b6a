"""Value and gradients of a call, computed chunk by chunk and divided as asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lossary.projection.call import Call
from lossary.projection.chunks import Gradients, Projection, Wanted, sweep
from lossary.projection.rows import RowLoss


def value(call: Call, rows: RowLoss, memory: int | None) -> Any:
    """Return the reduced loss, through which gradients flow."""
    inputs = call.hidden, call.weight, call.bias
    with call.lib.quiet():
        if _in_chunks(call):
            swept = _Swept(call, rows, call.constant().projection(rows, memory))
            total = call.lib.differentiable(swept, *inputs)
        else:
            total = _plain(call, rows, *inputs)
        return call.value(total, call.denominator())


def value_and_grad(
    call: Call, rows: RowLoss, memory: int | None
) -> tuple[Any, Gradients]:
    """Return the reduced loss and its gradients in hidden states, weight and bias."""
    call = call.constant()
    inputs = call.hidden, call.weight, call.bias
    with call.lib.quiet():
        projection = call.projection(rows, memory)
        total, sums = sweep(projection, (True, True, call.bias is not None), call.each)
        denominator = call.denominator()
        value = call.value(total, denominator)
        scale = 1 / denominator if projection.count else 0.0
        d_hidden, d_weight, d_bias = _scaled(call, sums, scale, inputs)
        shape = (*call.counting.shape, call.hidden.shape[-1])
        d_hidden = call.lib.namespace(d_hidden).reshape(d_hidden, shape)
        return value, (d_hidden, d_weight, d_bias)


@dataclass(frozen=True)
class _Swept:
    """The sum or the losses of a call, for `Library.differentiable`."""

    call: Call
    rows: RowLoss
    projection: Projection

    def forward(self, wanted: Wanted, *inputs: Any) -> tuple[Any, list[Gradients]]:
        """Return the sum, keeping its gradients, or the losses one by one."""
        if self.call.each:
            return sweep(self.projection, (False,) * 3, each=True)[0], []
        total, gradients = sweep(self.projection, wanted)
        return total, [gradients]

    def backward(
        self, kept: list[Gradients], upstream: Any, wanted: Wanted, *inputs: Any
    ) -> Gradients:
        """Return gradients: scaled in place, so that they are given away only once."""
        projection, scale = self.projection, upstream
        with self.call.lib.quiet():
            if self.call.each:
                shares, scale = projection.shares, 1.0
                shares = upstream if shares is None else shares * upstream
                found = sweep(replace(projection, shares=shares), wanted)[1]
            else:
                found = kept.pop() if kept else sweep(projection, wanted)[1]
            if not projection.count:  # the mean of nothing has no slope
                scale = 0.0
            return _scaled(self.call, found, scale, inputs)

    def plain(self, *inputs: Any) -> Any:
        """Return the same by operations that the library differentiates."""
        return _plain(self.call, self.rows, *inputs)


def _scaled(call: Call, sums: Gradients, scale: Any, inputs: Gradients) -> Gradients:
    """Multiply gradients in their place, and give each the dtype of its input."""
    for gradient in sums:
        if gradient is not None:
            gradient *= scale
    return tuple(  # type: ignore[return-value]
        None if g is None else call.lib.cast(g, x.dtype)
        for g, x in zip(sums, inputs, strict=True)
    )


def _in_chunks(call: Call) -> bool:
    """Say whether the chunks serve; what they cannot do, the plain way can."""
    arrays = call.hidden, call.weight, call.bias, call.labels, call.counting.weight
    given = [x for x in arrays if x is not None]
    learned = getattr(call.counting.weight, "requires_grad", False)
    return call.lib.works_in_place(*given) and not learned


def _plain(call: Call, rows: RowLoss, hidden: Any, weight: Any, bias: Any) -> Any:
    """Return the sum or the losses by operations of the library, with all logits."""
    lib, keep, labels = call.lib, call.counting.keep, call.labels
    xp = lib.namespace(hidden)
    if keep is not None:
        keep = xp.reshape(keep, (-1,))
        hidden = xp.where(keep[:, None], hidden, xp.zeros_like(hidden))
        labels = xp.where(keep, labels, xp.zeros_like(labels))
    logits = lib.cast(hidden, call.work) @ lib.cast(weight, call.work).T
    if bias is not None:
        logits = logits + lib.cast(bias, call.work)
    items = rows.items(lib, labels, logits)
    shares = call.shares()
    if shares is not None:
        items = items * shares
    if keep is not None:
        items = xp.where(keep, items, xp.zeros_like(items))
    return items if call.each else lib.total(items)
