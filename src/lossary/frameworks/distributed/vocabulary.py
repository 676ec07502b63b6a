"""A loss over classes whose logits are split over ranks, each with a slice of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from lossary.arrays import library
from lossary.batch import check_kind, complain, prepare
from lossary.combination import terms_of
from lossary.errors import DataError, ParameterError, ShapeError
from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.frameworks.distributed.collectives import (
    UNCOMPILED,
    Ranks,
    attempted,
)
from lossary.frameworks.torch import Criterion
from lossary.frameworks.torch.wording import in_words_of_torch
from lossary.kinds import kind
from lossary.loss import Loss
from lossary.reduction import Counting
from lossary.shapes import paired
from lossary.structures.pointwise import pointwise
from lossary.structures.rowwise import bad_labels, bad_sums, smoothing

_LIB = library("torch")
_OF_TRUE_CLASS: Table[Formula] = Table(lambda formula: formula.at(y=1.0))


@pointwise
def _row(y, z):  # type: ignore[no-untyped-def]
    """Take the loss of a row, as y = 0 leaves it: to be weighed and averaged."""
    return z + y


class VocabularyParallel(Criterion):
    """A loss over classes of which every rank of a group holds the next slice.

    Every rank calls it with its own logits and with the same targets. It returns what
    one process returns on the whole logits, on every rank, and each rank's logits get
    their own gradient, to be neither averaged nor added: the ranks share the rows.

    Logits are never gathered. Three collectives of a few numbers per row go forward
    (widths, maxima, sums) and none backward. Targets that are distributions take one
    more either way.

    Parameters
    ----------
    loss : str, Loss or weighted sum
        Any loss of class logits, such as ``"cross_entropy"`` or ``"focal(gamma=1)"``.
    group : ProcessGroup, optional
        The ranks that share the classes, in the order of their slices, which may
        differ in width; all of them by default. A process without a group is on its
        own, and the loss is the loss.
    reduction, empty, check
        As in a call of the loss.

    Raises
    ------
    LossaryError
        On every rank, the error of the first rank that has one. A gradient that is
        to be differentiated again is refused.

    Examples
    --------
    >>> import torch
    >>> criterion = VocabularyParallel("cross_entropy")
    >>> criterion(torch.zeros(3, 4), torch.tensor([0, 3, 1]))
    tensor(1.3863)
    """

    def __init__(
        self,
        loss: Any,
        group: Any = None,
        *,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
    ) -> None:
        super().__init__(loss, reduction=reduction, empty=empty, check=check)
        self.group = group
        for _, term in terms_of(self.loss):
            if term.form != "class_logits":
                raise ParameterError(
                    f"{term!r} takes a {term.prediction.name} as its prediction, and "
                    "only a loss of class logits can be computed on slices of them; "
                    "pass one such as 'cross_entropy', and logits"
                )

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        sample_weight: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of the whole logits.

        Parameters
        ----------
        input : Tensor of shape (…, k)
            This rank's slice of the logits, at least one class wide.
        target : Tensor of shape (…) or (…, k)
            Class numbers of the whole, or this rank's slice of a distribution.
        sample_weight, mask : Tensor, optional
            One value per row; like the targets, the same on all ranks.
        """
        ranks = Ranks.of(self.group)
        if ranks.size == 1:
            return super().forward(input, target, sample_weight, mask)
        rows = {"sample_weight": sample_weight, "mask": mask}
        value: torch.Tensor = in_words_of_torch(
            self._over_ranks, self.check, ranks, target, input, rows
        )
        return value

    @torch.compiler.disable(reason=UNCOMPILED)  # type: ignore[untyped-decorator]
    def _over_ranks(self, ranks: Ranks, y: Any, z: Any, rows: dict[str, Any]) -> Any:
        row = replace(_row, definition=replace(_row.definition, name=self.loss.name))
        part, error = attempted(lambda: _slice(self.loss, row, y, z, rows, self.check))
        widths = _widths(ranks, self.loss, part, error, z)
        assert part is not None  # or a failure has been raised on all ranks
        part.start, part.classes = sum(widths[: ranks.rank]), sum(widths)
        given, smoothed = part, any(smoothing(t) for _, t in terms_of(self.loss))
        _, error = attempted(lambda: _check(self.loss, given, self.check))
        if part.labels and smoothed:
            part = _spread(part)
        odds = _label_odds if part.labels else _class_odds
        seen = odds(self.loss, ranks, part, error, self.check)
        items = sum(
            factor * _items(ranks, term, part, seen)
            for factor, term in terms_of(self.loss)
        )
        value = row(
            torch.zeros_like(items),
            items,
            reduction=self.reduction,
            empty=self.empty,
            check="off",
            **rows,
        )
        return value.to(part.dtype) if self.reduction == "none" else value


@dataclass(slots=True)
class _Slice:
    """Targets and this rank's logits, with harmless values in removed rows."""

    y: torch.Tensor
    z: torch.Tensor
    dtype: torch.dtype
    labels: bool
    counting: Counting
    start: int = 0
    classes: int = 0


def _slice(
    loss: Any, row: Loss, y: Any, z: Any, rows: dict[str, Any], check: str
) -> _Slice:
    """Check the shapes, and remove the rows that do not count."""
    y, z = _LIB.asarray(y, z), _LIB.asarray(z)
    labels = y.shape == z.shape[:-1]
    if z.ndim and not z.shape[-1]:
        raise ShapeError(
            f"{loss.name}: y_pred has shape {tuple(z.shape)}, but each rank must hold "
            "a slice of at least one class"
        )
    # A slice may be one class wide, which alone would be no choice.
    width = (2,) if labels and z.shape[-1] == 1 else tuple(z.shape[-1:])
    for _, term in terms_of(loss):
        signatures = term.structure.signatures
        paired(term.name, signatures, tuple(y.shape), (*z.shape[:-1], *width))
    dtype = z.dtype if z.is_floating_point() else torch.get_default_dtype()
    z = z.to(torch.promote_types(dtype, torch.float32))
    y = y if labels else y.to(z.dtype)
    of_rows = z.detach()[..., 0]
    batch = prepare(row, torch.zeros_like(of_rows), of_rows, **rows, check=check)
    counting = batch.counting
    if counting.keep is not None:
        keep = counting.keep.unsqueeze(-1)
        z = torch.where(keep, z, torch.zeros_like(z))
        y = torch.where(counting.keep if labels else keep, y, torch.zeros_like(y))
    return _Slice(y, z, dtype, labels, counting)


def _widths(
    ranks: Ranks, loss: Any, part: _Slice | None, error: Exception | None, z: Any
) -> list[int]:
    """Agree on the slices: how many classes each rank holds, of the same rows."""
    own = [0, 0, 0]
    if part is not None:
        own = [part.z.shape[-1], part.z[..., 0].numel(), int(part.labels)]
    widths, rows, labels = zip(
        *ranks.agree(error, own, getattr(z, "device", None)), strict=True
    )
    if len(set(rows)) > 1 or len(set(labels)) > 1:
        raise ShapeError(
            f"{loss.name}: the ranks have {', '.join(map(str, rows))} rows, but ranks "
            "that share the classes must have the same rows, and targets of one kind"
        )
    return list(widths)


def _check(loss: Any, part: _Slice, check: str) -> None:
    """Check the targets; what they must be is known once the slices are."""
    if check == "off":
        return
    values = _LIB.concrete(part.y)
    if values is None:
        return
    if part.labels:
        found = bad_labels(values, part.classes, part.counting)
        if found:
            complain(f"{loss.name}: {found}", check)
        return
    check_kind(loss.name, "y_true", kind("distribution"), values, part.counting, check)


def _spread(part: _Slice) -> _Slice:
    """Return this rank's slice of the distributions that class numbers stand for."""
    labels = part.y.long().unsqueeze(-1)
    own = part.start + torch.arange(part.z.shape[-1], device=part.z.device)
    y = (labels == own).to(part.z.dtype)
    valid = (labels >= 0) & (labels < part.classes)
    y = torch.where(valid, y, torch.full_like(y, math.nan))
    return replace(part, y=y, labels=False)


# -- log-odds of a class against all others, of which this rank sees a few -------------


def _label_odds(
    loss: Any, ranks: Ranks, part: _Slice, error: Exception | None, check: str
) -> torch.Tensor:
    """Return the log-odds of the true class, as `rowwise.label_odds` defines them."""
    labels = part.y.long()
    place = labels - part.start

    def top_of(own: torch.Tensor) -> torch.Tensor:
        return _finite(_tops(loss, ranks, part, own, error).amax(0))

    true, total, top = _SumsOfOthers.apply(part.z, place, top_of)  # type: ignore[no-untyped-call]
    true, total = ranks.total(torch.stack([true, total])).unbind()
    valid = (labels >= 0) & (labels < part.classes)
    odds = true - top - _log(total)
    return torch.where(valid, odds, torch.full_like(odds, math.nan))


class _SumsOfOthers(torch.autograd.Function):
    """The true logit and Σ exp(logit - top) of all others, as far as they are here.

    A slice is a large array: this holds one copy of it, where plain operations would
    hold five.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,
        place: torch.Tensor,
        top_of: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        here = (place >= 0) & (place < z.shape[-1])
        column = torch.where(here, place, torch.zeros_like(place)).unsqueeze(-1)
        true = z.gather(-1, column).squeeze(-1)
        masked = torch.where(here, torch.full_like(true, -math.inf), true)
        e = z.scatter(-1, column, masked.unsqueeze(-1))
        top = top_of(e.amax(-1))
        e.sub_(top.unsqueeze(-1)).exp_()
        ctx.save_for_backward(e, here, column)
        ctx.mark_non_differentiable(top)
        return torch.where(here, true, torch.zeros_like(true)), e.sum(-1), top

    @staticmethod
    def backward(
        ctx: Any, to_true: torch.Tensor, to_total: torch.Tensor, _: Any
    ) -> Any:
        e, here, column = ctx.saved_tensors
        gradient = e * to_total.unsqueeze(-1)
        own = gradient.gather(-1, column).squeeze(-1)
        own = torch.where(here, to_true, own)
        return gradient.scatter_(-1, column, own.unsqueeze(-1)), None, None


def _class_odds(
    loss: Any, ranks: Ranks, part: _Slice, error: Exception | None, check: str
) -> torch.Tensor:
    """Return the log-odds of this rank's classes, as `rowwise.class_odds` does.

    One class of all is the first maximum. Its own term is never subtracted from the
    sum over all, where that would cancel.
    """
    z = part.z
    highest, place = z.max(-1)
    tops = _tops(loss, ranks, part, highest, error)
    leads = (tops.argmax(0) == ranks.rank).unsqueeze(-1)
    own = torch.arange(z.shape[-1], device=z.device)
    first = leads & (own == place.unsqueeze(-1))
    top = _finite(tops.amax(0)).unsqueeze(-1)
    e = torch.exp(z - top)
    zero = torch.zeros_like(e)
    rest, lead = (
        torch.where(first, zero, e).sum(-1),
        torch.where(first, e, zero).sum(-1),
    )
    mass = part.y.detach().sum(-1)
    sums = ranks.shared(ranks.total(torch.stack([rest, lead, mass])))
    rest, lead, mass = sums.unsqueeze(-1).unbind()
    if check != "off":
        # Every rank sees the same sums, so that all of them complain, or none.
        found = bad_sums("y_true", mass.detach().cpu().numpy(), part.counting)
        if found:
            complain(f"{loss.name}: {found}", check)
    return z - top - _log(torch.where(first, rest, rest + lead - e))


def _items(ranks: Ranks, loss: Loss, part: _Slice, odds: torch.Tensor) -> Any:
    """Return the loss of each row."""
    if part.labels:
        formula = _OF_TRUE_CLASS.of(loss.formula)
        values = _LIB.elementwise(formula.value, formula, loss.params)
        return values(odds.detach(), odds)
    values = _LIB.elementwise(loss.formula.value, loss.formula, loss.params)
    rate = smoothing(loss)
    y = (1 - rate) * part.y + rate / part.classes if rate else part.y
    return ranks.total(values(y, odds).sum(-1))


def _tops(
    loss: Any, ranks: Ranks, part: _Slice, own: torch.Tensor, error: Exception | None
) -> torch.Tensor:
    """Return each rank's maximum of each row; the same call tells of failures."""
    mark = _mark(part.y) if part.labels else 0
    said = own.new_tensor([float(error is not None), mark])
    found = ranks.each(torch.cat([own.reshape(-1), said]))
    failed, marks = found[:, -2:].T.tolist()
    if any(failed):
        ranks.fail(error)
    if len(set(marks)) > 1:
        raise DataError(
            f"{loss.name}: the ranks have different targets, masks or weights of 0, "
            "but ranks that share the classes must be given the same rows"
        )
    return found[:, :-2].reshape(ranks.size, *own.shape)


def _mark(labels: torch.Tensor) -> int:
    """Return a number that tells targets apart, and that float32 holds."""
    numbers = labels.reshape(-1).long()
    places = torch.arange(1, len(numbers) + 1, device=labels.device)
    return int((numbers * places).sum()) % 2**20


def _finite(top: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.isfinite(top), top, torch.zeros_like(top))


def _log(total: torch.Tensor) -> torch.Tensor:
    """Return log of a sum, -inf where every term is masked, without a NaN gradient."""
    some = total != 0
    log = torch.log(torch.where(some, total, torch.ones_like(total)))
    return torch.where(some, log, torch.full_like(log, -math.inf))
