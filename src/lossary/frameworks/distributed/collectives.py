"""What ranks say to each other: sums through which gradients flow, and failures.

Every function here is called by all ranks of a group, or by none. A rank that fails
still takes part and says so, and then all of them raise: nobody is left waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from lossary.errors import DataError, LossaryError, ParameterError

T = TypeVar("T")
UNCOMPILED = (
    "a loss over several ranks looks at values, to tell failures to all of them; "
    "compile the model, and call the loss outside"
)
"""Why a compiler leaves such a loss alone."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a group; one alone where nothing is initialised.

    Attributes
    ----------
    group
        A process group of ``torch.distributed``; None for all processes.
    size, rank : int
        How many there are, and which of them this is.
    """

    group: Any
    size: int
    rank: int

    @staticmethod
    def of(group: Any = None) -> Ranks:
        """Look the group up, at the call: a module may be older than its group.

        Examples
        --------
        >>> Ranks.of()
        Ranks(group=None, size=1, rank=0)
        """
        if not (dist.is_available() and dist.is_initialized()):
            return Ranks(None, 1, 0)
        size = dist.get_world_size(group)
        if size < 1:
            raise ParameterError(
                "this process is not a member of the group that was given; call the "
                "loss on the ranks of its group only"
            )
        return Ranks(group, size, dist.get_rank(group))

    # -- collectives ----------------------------------------------------------------

    def total(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        """Sum over the ranks; in the backward pass, multiply by a factor.

        Every rank goes on to compute the same from the sum, so that the gradient is
        there already, and nothing is sent to fetch it.
        """
        result: torch.Tensor = _Total.apply(x, self, factor)  # type: ignore[no-untyped-call]
        return result

    def shared(self, x: torch.Tensor) -> torch.Tensor:
        """Return what all ranks hold alike; in the backward pass, sum over them.

        Each rank goes on to compute something of its own from it.
        """
        result: torch.Tensor = _Shared.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def gathered(self, x: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """Return the rows of all ranks in their order; gradients go back to each.

        Parameters
        ----------
        x : tensor of shape (n, …)
            The rows of this rank.
        sizes : sequence of int
            The number of rows of each rank.
        """
        result: torch.Tensor = _Gathered.apply(x, self, tuple(sizes))  # type: ignore[no-untyped-call]
        return result

    def each(self, x: torch.Tensor) -> torch.Tensor:
        """Return what every rank holds, stacked, without a gradient."""
        own = x.detach().contiguous()
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own, group=self.group)
        return torch.stack(found)

    # -- failures -------------------------------------------------------------------

    def agree(
        self, error: Exception | None, numbers: Sequence[int], device: Any
    ) -> list[list[int]]:
        """Exchange a few whole numbers, or raise what one of the ranks met."""
        own = torch.tensor([int(error is not None), *numbers], device=device)
        rows: list[list[int]] = self.each(own).tolist()
        if any(failed for failed, *_ in rows):
            self.fail(error)
        return [row[1:] for row in rows]

    def fail(self, error: Exception | None) -> None:
        """Raise on every rank the error of the first that has one, naming the rank."""
        words: list[Any] = [None] * self.size
        own = None if error is None else (_type(error), _sentence(error))
        dist.all_gather_object(words, own, group=self.group)
        if error is not None and not isinstance(error, LossaryError):
            raise error  # where it happened, with its own traceback
        for rank, found in enumerate(words):
            if found is not None:
                kind, sentence = found
                raise kind(f"rank {rank}: {sentence}") from error


def _type(error: Exception) -> type[LossaryError]:
    return type(error) if isinstance(error, LossaryError) else DataError


def _sentence(error: Exception) -> str:
    if isinstance(error, LossaryError):
        return str(error)
    return f"the loss failed with {type(error).__name__}: {error}; mend it there"


def attempted(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Return a result, or what went wrong: a rank says so before it raises."""
    try:
        return work(), None
    except Exception as error:
        return None, error


# -- collectives with a gradient -------------------------------------------------------
#
# None depends on `torch.distributed.nn`, whose gradients are those of the sum of all
# ranks' outputs: a value that every rank computes alike counts once per rank there.


def _once() -> None:
    """Refuse to be differentiated again: a second derivative would lack ranks."""
    if torch.is_grad_enabled():
        raise ParameterError(
            "a loss over several ranks has no second derivative, since its gradient "
            "is not exchanged again; call backward without create_graph=True"
        )


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, ranks: Ranks, factor: float) -> Any:
        ctx.factor = factor
        result = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, group=ranks.group)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        _once()
        return upstream * ctx.factor, None, None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, ranks: Ranks) -> Any:
        ctx.ranks = ranks
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        _once()
        result = upstream.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, group=ctx.ranks.group)
        return result, None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, ranks: Ranks, sizes: tuple[int, ...]) -> Any:
        ctx.ranks, ctx.sizes = ranks, sizes
        # Ranks send blocks of one size, and the rows that fill them up are dropped.
        block = x.new_zeros(max(sizes), *x.shape[1:])
        block[: len(x)] = x
        blocks = [torch.empty_like(block) for _ in sizes]
        dist.all_gather(blocks, block, group=ranks.group)
        return torch.cat([b[:n] for b, n in zip(blocks, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        _once()
        total = upstream.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.ranks.group)
        start = sum(ctx.sizes[: ctx.ranks.rank])
        return total[start : start + ctx.sizes[ctx.ranks.rank]], None, None
