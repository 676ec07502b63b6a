"""The gradient of a batch that comes in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from lossary.combination import CombinedSums, terms_of
from lossary.errors import ParameterError
from lossary.frameworks.torch.gradients import (
    Gradients,
    Term,
    check_complete,
    deposit,
    differentiate,
    is_final,
)
from lossary.frameworks.torch.module import Criterion
from lossary.frameworks.torch.wording import in_words_of_torch
from lossary.reduction import Sums, quotient
from lossary.structures.soft_counts import Counts


class Accumulator:
    """The gradient of a batch that comes in parts, exact for any split.

    Each part's backward pass runs at once, so that no graph is kept; the denominators
    are merged, and divide the gradients at the end. Losses that are no means of items,
    ``dice(over="batch")`` or `info_nce`, keep their statistics with the graph.

    Parameters keep the gradient that they have, as in every backward pass: that of the
    batch is added to it, by `finish`.

    Parameters
    ----------
    loss : Criterion, Loss, Combination or str
        A module from ``loss.to_torch()`` decides on reduction, empty policy and checks.
    parameters : iterable of Tensor
        All tensors that gradients flow to, apart from the criterion's own.
    scaler : torch.amp.GradScaler, optional
        Scales what is differentiated; the optimiser's step is then its business.
    reduce : callable, optional
        Applied once, in `finish`, to the vector of numerators and denominators. Where
        ranks average their gradients, it returns the average over the ranks, as a
        ``lossary.frameworks.distributed.GlobalLoss`` does by itself.

    Examples
    --------
    >>> import lossary as ls
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> accumulator = Accumulator(ls.squared_error, [weight])
    >>> for part in (slice(0, 1), slice(1, 3)):
    ...     accumulator.backward(weight[part], torch.zeros(3)[part])
    >>> accumulator.finish()
    tensor(1.)
    >>> weight.grad
    tensor([0.6667, 0.6667, 0.6667])
    """

    def __init__(
        self,
        loss: Any,
        parameters: Iterable[torch.Tensor],
        *,
        scaler: Any = None,
        reduce: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.criterion = loss if isinstance(loss, Criterion) else Criterion(loss)
        self.name = repr(self.criterion.loss)
        if self.criterion.reduction == "none":
            raise ParameterError(
                f"{self.name}: reduction='none' leaves nothing to accumulate; use "
                "'mean', 'mean_over_items', 'mean_over_rows' or 'sum'"
            )
        every = [*parameters, *self.criterion.parameters()]
        self.parameters = list({id(p): p for p in every}.values())
        self.scaler = scaler
        self.reduce = reduce or getattr(self.criterion, "reduce", None)
        self._checked = False
        self.reset()

    def reset(self) -> None:
        """Forget the parts since the last `finish`."""
        self._terms: list[Term] = []
        self._unit = 1.0

    def backward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        sample_weight: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> None:
        """Add a part of the batch; arguments are those of the criterion.

        Raises
        ------
        ShapeError, DomainError, KindError
            As the criterion does.
        ParameterError
            If gradients flow to a tensor that the accumulator was not given.
        """
        check = self.criterion.check
        options = {
            "sample_weight": sample_weight,
            "mask": mask,
            "reduction": self.criterion.reduction,
            "check": check,
        }
        parts = in_words_of_torch(
            self._sums, check, target, input, options, stacklevel=3
        )
        if not self._terms:
            self._begin(target.numel())
        final = [is_final(part) and part.numerator.requires_grad for part in parts]
        for i, (term, part) in enumerate(zip(self._terms, parts, strict=True)):
            if final[i]:
                self._check_complete(part.numerator)
                needed_again = any(final[i + 1 :]) or not all(map(is_final, parts))
                value = part.numerator / self._unit
                self._differentiate(value, term.gradients, needed_again)
            term.add(part)

    def finish(self) -> torch.Tensor:
        """Complete the gradients, and return the loss of the whole batch.

        Raises
        ------
        DomainError
            If nothing is left to average, under ``empty="raise"``.
        ParameterError
            If there was no part.
        """
        terms, unit = self._terms, self._unit
        if not terms:
            raise ParameterError(
                f"{self.name}: there is no part of a batch to finish; call "
                "accumulator.backward(input, target) first"
            )
        self.reset()
        self._reduce(terms)
        means = [self._mean(term.total) for term in terms]
        for term, mean in zip(terms, means, strict=True):
            if isinstance(term.total, Sums):
                share = self._share(term.total, unit)
                deposit(self.parameters, term.gradients, term.factor * share)
            if mean.requires_grad:
                rest: Gradients = [None] * len(self.parameters)
                self._check_complete(mean)
                self._differentiate(term.factor * mean, rest, retain_graph=True)
                deposit(self.parameters, rest, 1.0)
        value: torch.Tensor = sum(
            term.factor * mean.detach() for term, mean in zip(terms, means, strict=True)
        )  # type: ignore[assignment]
        return value

    def _begin(self, size: int) -> None:
        factors = [factor for factor, _ in terms_of(self.criterion.loss)]
        self._terms = [Term(f, [None] * len(self.parameters)) for f in factors]
        if self.reduce is None:
            # What is differentiated has the size of a mean, so that half precision
            # holds it; a power of two costs no digit. It would differ among ranks.
            self._unit = 2.0 ** math.frexp(size)[1]

    def _sums(self, y: Any, z: Any, options: dict[str, Any]) -> list[Any]:
        """Return what merges, for each term of the loss."""
        criterion = self.criterion
        sums = criterion.learning.sums(y, z, criterion.raw, **options)
        parts = list(sums.parts) if isinstance(sums, CombinedSums) else [sums]
        if options["reduction"] == "sum" and any(isinstance(p, Counts) for p in parts):
            raise ParameterError(
                f"{self.name}: an overlap counted over the whole batch is one number, "
                "not a sum over its parts; use reduction='mean'"
            )
        return parts

    def _differentiate(
        self, value: torch.Tensor, gradients: Gradients, retain_graph: bool
    ) -> None:
        if self.scaler is not None:
            value = self.scaler.scale(value)
        differentiate(value, self.parameters, gradients, retain_graph)

    def _check_complete(self, value: torch.Tensor) -> None:
        if not self._checked:
            check_complete(self.name, value, self.parameters)
            self._checked = True

    def _mean(self, total: Any) -> torch.Tensor:
        if self.criterion.reduction == "sum" and isinstance(total, Sums):
            return torch.as_tensor(total.numerator)
        return torch.as_tensor(total.mean(self.criterion.empty))

    def _share(self, total: Sums, unit: float) -> torch.Tensor:
        """Return what the gradient of the numerators, over `unit`, is multiplied by.

        Where nothing is left, neither is there a row that has a gradient.
        """
        whole = torch.full_like(total.numerator, unit).detach()
        if self.criterion.reduction == "sum":
            return whole
        divisor = total.denominator
        if isinstance(divisor, torch.Tensor):
            divisor = divisor.detach()
        return torch.as_tensor(quotient(whole, divisor, "zero"))

    def _reduce(self, terms: Sequence[Term]) -> None:
        """Merge the sums of all ranks, in one call."""
        if self.reduce is None:
            return
        if not all(is_final(term.total) for term in terms):
            raise ParameterError(
                f"{self.name} is not a mean of items whose denominators can be reduced "
                "apart; leave out reduce=, or use lossary.frameworks.distributed"
            )
        like = terms[0].total.numerator
        pairs = [(term.total.numerator, term.total.denominator) for term in terms]
        vector = torch.stack([like.new_tensor(x) if isinstance(x, float) else x
                              for pair in pairs for x in pair])  # fmt: skip
        numbers = iter(self.reduce(vector))
        for term in terms:
            term.total = Sums(next(numbers), next(numbers))
