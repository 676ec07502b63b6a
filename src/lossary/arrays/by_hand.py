"""PyTorch: a computation whose gradient is written out, not recorded."""

from __future__ import annotations

from typing import Any

import torch


class ByHand(torch.autograd.Function):
    """The result of a call that knows its own gradient.

    The call gives ``forward(wanted, *inputs)``, a result and what it keeps of it;
    ``backward(kept, upstream, wanted, *inputs)``, the gradients; and
    ``plain(*inputs)``, the result by operations of PyTorch, from which higher
    derivatives come. Inputs are tensors or None.
    """

    @staticmethod
    def forward(ctx: Any, call: Any, *inputs: torch.Tensor | None) -> Any:
        """Compute the result, and keep what the gradient needs."""
        wanted = ctx.needs_input_grad[1:]
        result, ctx.kept = call.forward(wanted, *inputs)
        ctx.call = call
        ctx.save_for_backward(*inputs)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Compute the gradients; to be differentiated again, by recorded steps."""
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if not torch.is_grad_enabled():
            return None, *ctx.call.backward(ctx.kept, upstream, wanted, *inputs)
        varied = [x for x, w in zip(inputs, wanted, strict=True) if w]
        found = iter(
            torch.autograd.grad(
                ctx.call.plain(*inputs), varied, upstream, create_graph=True
            )
        )
        return None, *(next(found) if w else None for w in wanted)


def by_hand(call: Any, *inputs: Any) -> Any:
    """Return the result of a call, so that gradients flow through it.

    Parameters
    ----------
    call
        What `ByHand` takes.
    *inputs
        Tensors, numbers or None; the first is a tensor.
    """
    like = inputs[0]
    tensors = [like.new_tensor(x) if isinstance(x, (int, float)) else x for x in inputs]
    if torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in tensors
    ):
        return ByHand.apply(call, *tensors)  # type: ignore[no-untyped-call]
    return call.forward((False,) * len(tensors), *tensors)[0]
