"""Calls that fail; the last rank is at fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from frameworks.ranks.recorded import CASES, case

from lossary.errors import LossaryError
from lossary.frameworks.distributed import GlobalLoss, VocabularyParallel
from lossary.frameworks.torch import Accumulator


def refused(work: Callable[[], Any]) -> Any:
    """Return the error of a call."""
    try:
        return {"value": work()}
    except (LossaryError, RuntimeError) as error:
        return {"error": (type(error), str(error))}


def fault(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a case that fails, and a loss afterwards: the ranks still talk."""

    def run(rank: int, world: int) -> Any:
        found = refused(partial(function, rank, world))
        after = GlobalLoss("huber")(torch.tensor([3.0]), torch.tensor([1.0]))
        return {**found, "after": float(after)}

    CASES[function.__name__] = run
    return function


@fault
def error_of_a_value(rank, world):
    target = torch.tensor([0.0, 1.0, 1.0 if rank < world - 1 else 1.5])
    return GlobalLoss("binary_cross_entropy")(0 * target, target)


@fault
def error_of_a_shape(rank, world):
    target = torch.zeros(3 if rank < world - 1 else 4)
    return GlobalLoss("dice(over='batch')")(torch.zeros(3), target)


@fault
def error_of_another_kind(rank, world):
    z = torch.zeros(3)
    # PyTorch has no common dtype of this and float32.
    other = z.to(torch.float8_e5m2) if rank == world - 1 else z
    return GlobalLoss("huber")(other, z)


@fault
def error_of_widths(rank, world):
    z = torch.ones(2, 3 if rank < world - 1 else 4)
    return GlobalLoss("info_nce")(z, z)


@fault
def error_of_learned_values(rank, world):
    criterion = GlobalLoss("general_robust", learn=["scale"])
    with torch.no_grad():
        criterion.raw_scale.add_(rank)
    return criterion(torch.zeros(2), torch.zeros(2))


@fault
def error_of_an_accumulated_sum(rank, world):
    weight = torch.ones(2, requires_grad=True)
    accumulator = Accumulator(GlobalLoss("huber", reduction="sum"), [weight])
    accumulator.backward(weight, torch.zeros(2))
    return accumulator.finish()


@fault
def error_of_nothing_left(rank, world):
    mask = torch.zeros(2, dtype=torch.bool)
    criterion = GlobalLoss("huber", empty="raise")
    return criterion(torch.ones(2), torch.ones(2), mask=mask)


@fault
def error_of_second_derivatives(rank, world):
    z = torch.ones(2, requires_grad=True)
    value = GlobalLoss("huber")(z, torch.zeros(2))
    return torch.autograd.grad(value, z, create_graph=True)


@fault
def error_of_a_label(rank, world):
    return VocabularyParallel("focal")(torch.zeros(2, 3), torch.tensor([0, 3 * world]))


@fault
def error_of_different_labels(rank, world):
    return VocabularyParallel("focal")(torch.zeros(2, 3), torch.tensor([0, rank]))


@fault
def error_of_different_rows(rank, world):
    n = 2 if rank < world - 1 else 3
    target = torch.zeros(n, dtype=torch.int64)
    return VocabularyParallel("focal")(torch.zeros(n, 2), target)


@fault
def error_of_a_distribution(rank, world):
    return VocabularyParallel("focal")(torch.zeros(2, 2), torch.full((2, 2), 0.3))


@fault
def error_of_a_probability(rank, world):
    target = torch.full((2, 2), 1 / 2 / world)
    target[1, 0] -= 2.0 * (rank == world - 1)
    return VocabularyParallel("focal")(torch.zeros(2, 2), target)


@case()
def group_of_the_first_rank(rank, world):
    z = torch.tensor([1.0 + rank])
    if world == 1:
        return {"value": GlobalLoss("huber")(z, 0 * z)}
    group = dist.new_group([0])
    return refused(lambda: GlobalLoss("huber", group)(z, 0 * z))
