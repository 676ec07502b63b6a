"""Losses whose classes are split over the ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from frameworks.ranks.recorded import case
from torch import nn

from lossary.frameworks.distributed import VocabularyParallel
from lossary.reduction import POLICIES

CLASSES = 7
SLICES = {1: [7], 2: [5, 2], 3: [2, 4, 1]}


def slice_of(rank: int, world: int) -> slice:
    widths = SLICES[world]
    return slice(sum(widths[:rank]), sum(widths[: rank + 1]))


def logits() -> torch.Tensor:
    """Rows that are easy, confident beyond float64, tied, masked by -inf, and NaN."""
    z = torch.linspace(-3, 3, 10 * CLASSES, dtype=torch.float64)
    z = (7 * z).sin().reshape(10, CLASSES).clone()
    z[1, 2] = 800.0
    z[2, 6] = 40.0
    z[3] = 0.5
    z[4, 1] = -torch.inf
    z[5, 3:] = -torch.inf
    z[9] = torch.nan  # removed wherever there is a mask
    return z


LABELS = torch.tensor([0, 2, 6, 3, 4, 1, 5, 6, 0, -100])
MASK = torch.arange(10) != 9
WEIGHT = torch.tensor([1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 0.0, 3.0, 1.0, 1.0]).double()
SMOOTH = 0.9 * nn.functional.one_hot(LABELS.clamp(min=0), CLASSES) + 0.1 / CLASSES


def over_classes(loss, target, rank, world, shape=(10,), **options):
    mine = slice_of(rank, world)
    z = logits()[:, mine].reshape(*shape, -1).clone().requires_grad_()
    if target.ndim == 2:
        target = target[:, mine].reshape(z.shape)
    if target.ndim == 2 or "label_smoothing" in loss:
        z.data.clamp_(-1e3, 1e3)  # a class without probability has a target here
    criterion = VocabularyParallel(loss, **options)
    rows = (target.reshape(shape) if target.ndim == 1 else target,)
    rows = (*rows, WEIGHT.reshape(shape), MASK.reshape(shape))
    value = criterion(z, *rows)
    value.sum().backward()
    return {"value": value.detach(), "slice": z.grad.reshape(10, -1)}


for _loss in ("cross_entropy", "focal(gamma=1)", "cross_entropy + 0.5*focal"):

    @case(_loss)
    def vocabulary(loss, rank, world):
        return over_classes(loss, LABELS, rank, world)


for _loss in (
    "cross_entropy(label_smoothing=0.1)",
    "cross_entropy + 0.5*focal(label_smoothing=0.2)",
):

    @case(_loss)
    def vocabulary_smoothed(loss, rank, world):
        return over_classes(loss, LABELS, rank, world)


for _loss in ("cross_entropy", "focal", "kl_divergence", "focal + kl_divergence"):

    @case(_loss)
    def vocabulary_distribution(loss, rank, world):
        return over_classes(loss, SMOOTH, rank, world)


for _reduction in POLICIES:

    @case(_reduction)
    def vocabulary_reduction(reduction, rank, world):
        return over_classes(
            "cross_entropy", LABELS, rank, world, shape=(5, 2), reduction=reduction
        )


@case()
def vocabulary_half(rank, world):
    z = logits()[:5, slice_of(rank, world)].half().requires_grad_()
    value = VocabularyParallel("focal", reduction="none")(z, LABELS[:5])
    value.sum().backward()
    return {"value": value.detach(), "slice": z.grad}


@case()
def twin_vocabulary_of_local_softmax(rank, world):
    mine = slice_of(rank, world)
    z = logits()[:, mine].clone().requires_grad_()
    own = LABELS - mine.start
    here = MASK & (own >= 0) & (own < z.shape[1])
    value = nn.functional.cross_entropy(z[here], own[here], reduction="sum")
    value.backward()
    total = value.detach().clone()
    if world > 1:
        dist.all_reduce(total)
    return {"value": total, "slice": z.grad}
