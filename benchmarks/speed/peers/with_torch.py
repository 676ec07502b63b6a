"""PyTorch, eager and compiled."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

from speed.cases import VALUE, Case
from speed.peers.written import Mean, Words, mean_of
from speed.tasks import Task


def _kl_divergence(y: Any, z: Any) -> Any:
    return functional.kl_div(functional.log_softmax(z, -1), y, reduction="batchmean")


OWN: dict[tuple[str, str], Mean] = {
    ("squared_error", "like"): lambda y, z: functional.mse_loss(z, y),
    ("absolute_error", "like"): lambda y, z: functional.l1_loss(z, y),
    ("huber", "like"): lambda y, z: functional.huber_loss(z, y),
    ("poisson", "like"): lambda y, z: functional.poisson_nll_loss(z, y),
    ("binary_cross_entropy", "like"): (
        lambda y, z: functional.binary_cross_entropy_with_logits(z, y)
    ),
    ("cross_entropy", "labels"): lambda y, z: functional.cross_entropy(z, y),
    ("cross_entropy", "distribution"): lambda y, z: functional.cross_entropy(z, y),
    ("kl_divergence", "distribution"): _kl_divergence,
}

WORDS = Words(
    exp=torch.exp,
    log1p=torch.log1p,
    sqrt=torch.sqrt,
    maximum=torch.maximum,
    where=torch.where,
    sigmoid=torch.sigmoid,
    softplus=functional.softplus,
    log_softmax=lambda z: functional.log_softmax(z, -1),
    mean=torch.mean,
    pick=lambda rows, y: rows.gather(-1, y[:, None])[:, 0],
)


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return forward + backward, or two backward passes for curvatures."""
    found = mean_of(case, OWN, WORDS)
    if found is None or (case.what != VALUE and case.target != "like"):
        return {}
    torch.set_num_threads(threads)
    mean, written = found
    target, leaf = torch.from_numpy(y), torch.from_numpy(z).requires_grad_()
    if case.what != VALUE:
        # The compiler does not differentiate twice.
        return {"PyTorch": _curved(mean, target, leaf, written)}
    made = {"PyTorch": _plain(mean, target, leaf, written)}
    if case.dtype == "float32":  # at two seconds and more each
        compiled = _compiled(replace(case, items=0))
        made["torch.compile"] = _plain(compiled, target, leaf, written)
    return made


@lru_cache(maxsize=1)
def _compiled(case: Case) -> Mean:
    """Compile a loss once for all sizes."""
    torch._dynamo.reset()  # or else it gives up compiling after eight losses
    mean, _ = mean_of(case, OWN, WORDS)
    return torch.compile(mean, dynamic=True)


def _plain(mean: Mean, y: Any, leaf: Any, written: bool) -> Task:
    def run() -> Any:
        leaf.grad = None
        value = mean(y, leaf)
        value.backward()
        return value

    return Task(run, lambda value: (float(value.detach()), leaf.grad.numpy()), written)


def _curved(mean: Mean, y: Any, leaf: Any, written: bool) -> Task:
    def run() -> Any:
        total = mean(y, leaf) * leaf.numel()
        (first,) = torch.autograd.grad(total, leaf, create_graph=True)
        if not first.requires_grad:  # it is constant
            return first, torch.zeros_like(first)
        (second,) = torch.autograd.grad(first.sum(), leaf, materialize_grads=True)
        return first.detach(), second

    return Task(run, lambda pair: tuple(x.numpy(force=True) for x in pair), written)
