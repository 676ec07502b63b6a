"""Losses whose rows are split over the ranks."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from frameworks.ranks.recorded import case
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import lossary as ls
from lossary.frameworks.distributed import GlobalLoss, VocabularyParallel
from lossary.frameworks.distributed.collectives import Ranks
from lossary.frameworks.torch import Accumulator

ROWS = 12
SPLITS = {
    "uneven": {1: [12], 2: [9, 3], 3: [7, 1, 4]},
    "a rank without rows": {1: [12], 2: [12, 0], 3: [5, 0, 7]},
    "even": {1: [12], 2: [6, 6], 3: [4, 4, 4]},
}


def part_of(split: str, rank: int, world: int) -> slice:
    sizes = SPLITS[split][world]
    return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def data(kind: str) -> dict[str, torch.Tensor]:
    """Twelve rows of eight features, with targets, weights and a mask."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, target = normal(ROWS, 8), normal(ROWS, 4)
    if kind == "labels":
        target = torch.arange(ROWS) % 4
    elif kind == "masks":
        target = (target > 0).double()
    elif kind == "embeddings":
        target = normal(ROWS, 8)
    weight = torch.arange(ROWS, dtype=torch.float64) % 4 / 2
    mask = torch.arange(ROWS) % 5 != 2
    return {"x": x, "target": target, "weight": weight, "mask": mask}


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return Towers() if kind == "embeddings" else nn.Linear(8, 4).double()


class Towers(nn.Module):
    """Two encoders, of predictions and of targets."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Linear(8, 3).double() for _ in range(2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.a(x), self.b(y)


def step(
    criterion: nn.Module,
    kind: str,
    split: str,
    rank: int,
    world: int,
    weighted: bool = True,
) -> dict[str, Any]:
    """Take value and gradients of one step, as a rank of many or alone."""
    model = model_of(kind)
    learned = list(criterion.parameters())
    averaged = getattr(criterion, "gradients", "averaged") == "averaged"
    parameters = [*model.parameters(), *learned]
    if world > 1 and averaged:
        model = DistributedDataParallel(model)
        criterion = DistributedDataParallel(criterion) if learned else criterion
    mine = {k: v[part_of(split, rank, world)] for k, v in data(kind).items()}
    x, target = mine["x"], mine["target"]
    if kind == "embeddings":
        x, target = model(x, target)
    else:
        x = model(x)
    extra = (mine["weight"], mine["mask"]) if weighted else ()
    value = criterion(x, target, *extra)
    value.backward()
    gradients = [p.grad for p in parameters]
    if world > 1 and not averaged:
        for gradient in gradients:
            dist.all_reduce(gradient)
    return {"value": value.detach(), "gradients": gradients}


KINDS = {
    "huber": "numbers",
    "cross_entropy": "labels",
    "dice": "masks",
    "dice(over='batch')": "masks",
    "0.5*dice(over='batch') + binary_cross_entropy": "masks",
    "info_nce": "embeddings",
    "info_nce(direction='both', similarity='dot')": "embeddings",
}
REDUCTIONS = ("mean", "mean_over_items", "mean_over_rows", "sum")

for _loss, _kind in KINDS.items():
    for _split in ("uneven", "a rank without rows"):
        for _reduction in REDUCTIONS if _split == "uneven" else ("mean",):

            @case(_loss, _split, _reduction)
            def step_of(loss, split, reduction, rank, world):
                criterion = GlobalLoss(loss, reduction=reduction)
                return step(criterion, KINDS[loss], split, rank, world)


@case("huber", "uneven")
@case("info_nce", "uneven")
@case("info_nce", "even")
def summed(loss, split, rank, world):
    criterion = GlobalLoss(loss, gradients="summed")
    return step(criterion, KINDS[loss], split, rank, world)


@case("huber")
@case("info_nce")
def unweighted(loss, rank, world):
    return step(GlobalLoss(loss), KINDS[loss], "uneven", rank, world, weighted=False)


@case("general_robust", ("alpha", "scale"), "numbers")
@case("info_nce", ("temperature",), "embeddings")
def learned(loss, names, kind, rank, world):
    criterion = GlobalLoss(loss, learn=names).double()
    return step(criterion, kind, "uneven", rank, world)


@case()
def sharded(rank, world):
    """A model whose parameters are split over the ranks as well."""
    model = model_of("numbers")
    if world > 1:
        fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    rows = data("numbers")
    mine = part_of("uneven", rank, world)
    value = GlobalLoss("huber")(model(rows["x"][mine]), rows["target"][mine])
    value.backward()
    found = [p.grad for p in model.parameters()]
    if world > 1:
        found = [gradient.full_tensor() for gradient in found]
    return {"value": value.detach(), "gradients": found}


@case()
def compiled(rank, world):
    """A model that is compiled together with the loss."""
    model = model_of("numbers")
    criterion = GlobalLoss("huber", gradients="summed")
    step_of_all = torch.compile(lambda x, y: criterion(model(x), y), backend="eager")
    rows = data("numbers")
    mine = part_of("uneven", rank, world)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own, where it leaves a graph
        value = step_of_all(rows["x"][mine], rows["target"][mine])
    value.backward()
    found = [p.grad for p in model.parameters()]
    if world > 1:
        for gradient in found:
            dist.all_reduce(gradient)
    return {"value": value.detach(), "gradients": found}


@case()
def counts_by_class(rank, world):
    model = model_of("labels")
    mine = part_of("uneven", rank, world)
    z = model(data("labels")["x"][mine]).reshape(-1, 2, 2)
    target = (torch.arange(2 * ROWS).reshape(ROWS, 2) % 3 % 2)[mine]
    value = GlobalLoss("dice(over='batch')", gradients="summed")(z, target)
    value.backward()
    gradients = [p.grad for p in model.parameters()]
    if world > 1:
        for gradient in gradients:
            dist.all_reduce(gradient)
    return {"value": value.detach(), "gradients": gradients}


@case("mean", "averaged")
@case("mean_over_items", "averaged")
@case("sum", "summed")
def accumulated(reduction, gradients, rank, world):
    """Parts of the rows, of which only the last one is sent to the other ranks."""
    model = inner = model_of("numbers")
    averaged = gradients == "averaged"
    if world > 1 and averaged:
        model = DistributedDataParallel(inner)
    criterion = GlobalLoss("huber", reduction=reduction, gradients=gradients)
    accumulator = Accumulator(criterion, inner.parameters())
    rows, mine = data("numbers"), part_of("a rank without rows", rank, world)
    third = mine.start + (mine.stop - mine.start) // 3
    for last, part in enumerate((slice(mine.start, third), slice(third, mine.stop))):
        silent = model is not inner and not last
        with model.no_sync() if silent else nullcontext():
            z = model(rows["x"][part])
            accumulator.backward(
                z, rows["target"][part], rows["weight"][part], rows["mask"][part]
            )
    value = accumulator.finish()
    found = [p.grad for p in inner.parameters()]
    if world > 1 and not averaged:
        for gradient in found:
            dist.all_reduce(gradient)
    return {"value": value, "gradients": found}


@case(torch.float32)
@case(torch.bfloat16)
def precision(dtype, rank, world):
    z = torch.full((part_of("uneven", rank, world).stop,), 0.1, dtype=dtype)
    value = GlobalLoss("absolute_error")(z, torch.zeros_like(z))
    return {"value": value, "gradients": []}


@case("nan")
@case("zero")
def nothing_left(empty, rank, world):
    z = torch.ones(2, dtype=torch.float64, requires_grad=True)
    mask = torch.zeros(2, dtype=torch.bool)
    value = GlobalLoss("huber", empty=empty)(z, 0 * z.detach(), mask=mask)
    value.backward()
    return {"value": value.detach(), "gradients": [z.grad] if empty == "zero" else []}


COLLECTIVES = {
    "huber": (1, 0),
    "dice(over='batch')": (2, 0),
    "info_nce": (3, 1),
    "cross_entropy": (3, 0),
    "kl_divergence": (4, 1),
}


@contextmanager
def counted():
    """Count the collectives that are called."""
    names = ("all_reduce", "all_gather")
    former = {name: getattr(dist, name) for name in names}
    calls = Counter()
    for name, function in former.items():

        def counting(*args: Any, _call: Any = function, **options: Any) -> Any:
            calls["all"] += 1
            return _call(*args, **options)

        setattr(dist, name, counting)
    try:
        yield calls
    finally:
        for name, function in former.items():
            setattr(dist, name, function)


for _loss in COLLECTIVES:

    @case(_loss)
    def collectives(loss, rank, world):
        z = torch.eye(4).requires_grad_()
        make = VocabularyParallel if ls.get(loss).form == "class_logits" else GlobalLoss
        target = torch.eye(4)
        if loss == "cross_entropy":
            target = torch.arange(4)
        elif make is VocabularyParallel:
            target = torch.full((4, 4), 1 / 4 / world)
        with counted() as calls:
            value = make(loss)(z, target)
        forward = calls["all"]
        with counted() as calls:
            value.backward()
        return forward, calls["all"]


# -- what is often written instead ----------------------------------------------------


@case()
def twin_mean_of_means(rank, world):
    return step(ls.huber.to_torch(), "numbers", "uneven", rank, world)


def without_gradient(x: torch.Tensor) -> torch.Tensor:
    found = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(found, x.detach())
    found[dist.get_rank()] = x
    return torch.cat(found)


@case()
def twin_gather_without_gradient(rank, world):
    class Local(nn.Module):
        """Own rows among all columns, which lose their gradient on the way."""

        def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            if world == 1:
                return ls.info_nce(keys, queries)
            others = without_gradient(keys)
            a, b = (nn.functional.normalize(x) for x in (queries, others))
            own = torch.arange(len(queries)) + rank * len(queries)
            temperature = ls.info_nce.parameters["temperature"]
            return nn.functional.cross_entropy(a @ b.T / temperature, own)

    return step(Local(), "embeddings", "even", rank, world, weighted=False)


@case()
def twin_plain_gather(rank, world):
    class Everywhere(nn.Module):
        """The loss of all rows, on every rank, through a gather with gradient."""

        gradients = "summed"

        def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            if world > 1:
                sizes = SPLITS["even"][world]
                queries, keys = (Ranks.of().gathered(x, sizes) for x in (queries, keys))
            return ls.info_nce(keys, queries)

    return step(Everywhere(), "embeddings", "even", rank, world, weighted=False)
