"""A loss over the rows of all ranks, each of which holds some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from lossary.batch import Batch
from lossary.combination import CombinedSums, terms_of
from lossary.errors import ParameterError, ShapeError
from lossary.frameworks.distributed.collectives import (
    UNCOMPILED,
    Ranks,
    attempted,
)
from lossary.frameworks.torch import Criterion
from lossary.frameworks.torch.wording import in_words_of_torch
from lossary.loss import Loss
from lossary.reduction import Sums
from lossary.structures.pairwise import Pairs
from lossary.structures.soft_counts import Counts

GRADIENTS = ("averaged", "summed")


class GlobalLoss(Criterion):
    """A loss over the rows of all ranks, each of which holds some of them.

    Every rank calls it, with as many rows as it has, none included. It returns the
    loss of all rows together, on every rank, and its gradient is that of one process
    which holds them all. The mean of the ranks' means is neither.

    Numerators and denominators are added in one collective, and the backward pass
    needs none. A loss of counts over the batch takes one more, to agree on the
    classes. A contrastive loss takes two more, to agree on the numbers of rows and to
    gather the embeddings, and one backward; each rank computes its own n rows of all
    N, never N² scores, and of many rows a block at a time. If a rank refuses its
    rows, all ranks raise its error.

    Parameters
    ----------
    loss : str, Loss or weighted sum
        As `lossary.get` takes it; each term of a sum has its own denominator.
    group : ProcessGroup, optional
        The ranks that share the rows; all of them by default. A process without a
        group is on its own, and the loss is the loss.
    gradients : {"averaged", "summed"}
        What is done to the ranks' gradients before the step: their mean, as
        ``DistributedDataParallel`` takes it, or their sum.
    reduction : {"mean", "mean_over_items", "mean_over_rows", "sum"}
        As in a call of the loss, over all rows.
    empty : {"nan", "zero", "raise"}
        The mean of nothing, if no row of any rank counts.
    check : {"raise", "warn", "off"}
        What to do about values that are surely wrong.
    learn : sequence of str
        Parameters of the loss that are learned. They belong to this module, which
        must be wrapped in ``DistributedDataParallel`` as the model is.

    Raises
    ------
    LossaryError
        On every rank, the error of the first rank that has one. A gradient that is
        to be differentiated again is refused.

    Examples
    --------
    >>> import torch
    >>> criterion = GlobalLoss("huber(delta=2)", reduction="sum")
    >>> criterion(torch.tensor([3.0, 1.0]), torch.tensor([0.0, 0.0]))
    tensor(4.5000)
    """

    def __init__(
        self,
        loss: Any,
        group: Any = None,
        *,
        gradients: str = "averaged",
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        learn: Sequence[str] = (),
    ) -> None:
        super().__init__(
            loss, reduction=reduction, empty=empty, check=check, learn=learn
        )
        if reduction == "none":
            raise ParameterError(
                f"{self.loss!r}: the losses of single rows need no other rank; call "
                "the loss itself, or choose another reduction"
            )
        if gradients not in GRADIENTS:
            raise ParameterError(
                f"gradients must be one of {GRADIENTS}, got {gradients!r}"
            )
        self.group, self.gradients = group, gradients

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        sample_weight: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of all ranks' rows; arguments are those of this rank."""
        ranks = Ranks.of(self.group)
        if ranks.size == 1:
            return super().forward(input, target, sample_weight, mask)
        rows = {"sample_weight": sample_weight, "mask": mask}
        value: torch.Tensor = in_words_of_torch(
            self._over_ranks, self.check, ranks, target, input, rows
        )
        return value

    def reduce(self, numbers: torch.Tensor) -> torch.Tensor:
        """Merge numerators and denominators that `Accumulator` has added up here.

        Raises
        ------
        ParameterError
            For a sum whose gradients are averaged, and for learned parameters: the
            accumulator does not exchange what they need.
        """
        ranks = Ranks.of(self.group)
        averaged = self.gradients == "averaged"
        if ranks.size == 1:
            return numbers
        if self.learning.names or (averaged and self.reduction == "sum"):
            raise ParameterError(
                f"{self.loss!r} cannot be accumulated over ranks with learned "
                "parameters, nor as a sum whose gradients are averaged; call it on "
                "whole batches, or pass gradients='summed' for a sum"
            )
        total = ranks.total(numbers.detach())
        return total / ranks.size if averaged else total

    @torch.compiler.disable(reason=UNCOMPILED)  # type: ignore[untyped-decorator]
    def _over_ranks(self, ranks: Ranks, y: Any, z: Any, rows: dict[str, Any]) -> Any:
        device = getattr(z, "device", None)
        options = {"reduction": self.reduction, "check": self.check, **rows}
        parts, error = attempted(
            lambda: _parts(self.learning.sums(y, z, self.raw, **options))
        )
        if any(_needs_layout(term) for _, term in terms_of(self.loss)):
            layouts = self._layouts(ranks, parts, error, device)
            parts, error = attempted(lambda: _exchanged(ranks, parts or [], layouts))
        # A rank that failed still sends as many numbers as the others.
        own = [torch.zeros(2 * len(terms_of(self.loss)))]
        if parts is not None:
            own = [_tensor(x) for part in parts for x in _numbers(part)]
        total = self._total(ranks, own, error, device)
        numbers = iter(total.split([x.numel() for x in own]))
        pairs = zip(terms_of(self.loss), parts or [], strict=True)
        value = sum(
            factor * _reduced(_rebuilt(part, numbers), self.reduction, self.empty)
            for (factor, _), part in pairs
        )
        return value.to(own[0].dtype)

    def _total(
        self,
        ranks: Ranks,
        own: list[torch.Tensor],
        error: Exception | None,
        device: Any,
    ) -> torch.Tensor:
        """Add numbers up over the ranks, unless one of them has failed."""
        raw = [float(x.detach()) for x in self.raw.values()]
        # Sum and sum of squares show whether the ranks have learned the same.
        head = [float(error is not None), *raw, *(x * x for x in raw)]
        packed = torch.cat(
            [
                torch.as_tensor(x, dtype=torch.float64, device=device).reshape(-1)
                for x in (head, *own)
            ]
        )
        factor = ranks.size if self.gradients == "averaged" else 1
        total = ranks.total(packed, factor)
        failed, *moments = (total[: len(head)] / ranks.size).tolist()
        if failed:
            ranks.fail(error)
        means, squares = moments[: len(raw)], moments[len(raw) :]
        for name, mean, square in zip(self.raw, means, squares, strict=True):
            if square - mean**2 > 1e-12 * (1 + mean**2):
                raise ParameterError(
                    f"{self.loss.name}: the learned {name} is not the same on all "
                    "ranks; wrap the criterion in DistributedDataParallel, as the "
                    "model is"
                )
        return total[len(head) :]

    def _layouts(
        self, ranks: Ranks, parts: Any, error: Exception | None, device: Any
    ) -> list[list[int]]:
        """Agree on what is exchanged: rows, width and bytes of a number, by term."""
        terms = terms_of(self.loss)
        own = [0] * (3 * len(terms))
        if parts is not None:
            own = [x for part in parts for x in _layout(part)]
        found = ranks.agree(error, own, device)
        for i, (_, term) in enumerate(terms):
            forms = {tuple(layout[3 * i + 1 : 3 * i + 3]) for layout in found}
            if len(forms) > 1:
                words = " and ".join(
                    f"{w} numbers of {b} bytes" for w, b in sorted(forms)
                )
                raise ShapeError(
                    f"{term.name}: the ranks hold {words}, but embeddings must have "
                    "one width and dtype on all ranks, and counts as many classes"
                )
        return found


# -- what the ranks hold, term by term -------------------------------------------------


def _parts(sums: Any) -> list[Any]:
    """Return the sums of each term."""
    return list(sums.parts) if isinstance(sums, CombinedSums) else [sums]


def _numbers(part: Any) -> tuple[Any, ...]:
    """Return what is added over the ranks."""
    if isinstance(part, Counts):
        return part.overlap, part.target, part.prediction
    return part.numerator, part.denominator


def _tensor(x: Any) -> torch.Tensor:
    """Return a number as a tensor; a count of items may be beyond float32."""
    return x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=torch.float64)


def _rebuilt(part: Any, numbers: Iterator[torch.Tensor]) -> Any:
    """Put the totals in the place of the numbers that were added."""
    if isinstance(part, Counts):
        return Counts(part.loss, next(numbers), next(numbers), next(numbers))
    return Sums(next(numbers)[0], next(numbers)[0])


def _reduced(part: Any, reduction: str, empty: str) -> Any:
    """Reduce merged sums as the loss itself would."""
    if reduction != "sum":
        return part.mean(empty)
    if isinstance(part, Counts):
        some = (part.target + part.prediction) != 0
        return some.sum() * part.mean("zero")
    return part.numerator


def _needs_layout(term: Loss) -> bool:
    """Say whether more than one numerator and denominator is exchanged."""
    return term.structure.name == "pairwise" or term.parameters.get("over") == "batch"


def _layout(part: Any) -> tuple[int, int, int]:
    """Return rows, numbers per row, and bytes per number; zeros for plain sums."""
    if isinstance(part, Counts):
        return 0, part.overlap.numel(), part.overlap.element_size()
    if isinstance(part, Pairs):
        (batch,) = part.parts
        return *batch.z.shape, batch.z.element_size()
    return 0, 0, 0


# -- rows that are told from the rows of all ranks -------------------------------------


def _exchanged(ranks: Ranks, parts: list[Any], layouts: list[list[int]]) -> list[Any]:
    """Replace rows that are compared by the sums of their losses."""
    return [
        _told_apart(ranks, part, [layout[3 * i] for layout in layouts])
        if isinstance(part, Pairs)
        else part
        for i, part in enumerate(parts)
    ]


def _told_apart(ranks: Ranks, pairs: Pairs, rows: list[int]) -> Sums:
    """Sum the losses of this rank's rows, each told from the rows of all ranks."""
    structure: Any = pairs.loss.structure
    (batch,) = pairs.parts
    counting, z = batch.counting, batch.z
    own = torch.ones_like(z[:, 0]) if counting.keep is None else counting.keep.to(z)
    packed = torch.cat([batch.y.to(z), z, own.unsqueeze(-1)], dim=1)
    columns = ranks.gathered(packed, rows)
    width = z.shape[1]
    all_y, all_z, others = columns.split([width, width, 1], dim=1)
    others = others[:, 0] != 0
    keep, others = (None, None) if bool(others.all()) else (own != 0, others)
    items = structure.items_among(
        pairs.loss,
        replace(batch, counting=replace(counting, keep=keep)),
        _everyone(batch, all_y, all_z, others),
        sum(rows[: ranks.rank]),
    )
    items = counting.counted(items)
    scale = counting.row_scale(pairs.reduction, items)
    numerator = (items if scale is None else scale * items).sum()
    return Sums(numerator, structure.denominator(batch, pairs.reduction))


def _everyone(batch: Batch, y: Any, z: Any, keep: Any) -> Batch:
    """Return the rows of all ranks, as a batch."""
    counting = replace(batch.counting, shape=(len(z),), weight=None, keep=keep)
    return replace(batch, y=y, z=z, counting=counting)
