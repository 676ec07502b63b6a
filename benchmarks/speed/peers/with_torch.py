"""PyTorch, eager; and lossary on PyTorch's tensors, as a module would call it."""

from __future__ import annotations

from typing import Any

import torch
import torch._dynamo  # brings Triton, which crashes if TensorFlow is loaded before it
from torch.nn import functional

from speed.cases import VALUE, Case
from speed.ours import OPTION
from speed.peers.written import Mean, Words, mean_of
from speed.tasks import Task


def _kl_divergence(y: Any, z: Any) -> Any:
    return functional.kl_div(functional.log_softmax(z, -1), y, reduction="batchmean")


def _weighted_logistic(y: Any, z: Any) -> Any:
    total = functional.binary_cross_entropy_with_logits(z, *y, reduction="sum")
    return total / y[1].sum()


OWN: dict[tuple[str, str], Mean] = {
    ("squared_error", "like"): lambda y, z: functional.mse_loss(z, y),
    ("squared_error", "weights"): lambda y, z: functional.mse_loss(
        z, y[0], weight=y[1]
    ),
    ("absolute_error", "like"): lambda y, z: functional.l1_loss(z, y),
    ("huber", "like"): lambda y, z: functional.huber_loss(z, y),
    ("poisson", "like"): lambda y, z: functional.poisson_nll_loss(z, y),
    ("binary_cross_entropy", "like"): (
        lambda y, z: functional.binary_cross_entropy_with_logits(z, y)
    ),
    ("binary_cross_entropy", "weights"): _weighted_logistic,
    ("cross_entropy", "labels"): lambda y, z: functional.cross_entropy(z, y),
    ("cross_entropy smoothed", "labels"): lambda y, z: functional.cross_entropy(
        z, y, label_smoothing=0.1
    ),
    ("cross_entropy", "distribution"): lambda y, z: functional.cross_entropy(z, y),
    ("kl_divergence", "distribution"): _kl_divergence,
}

WORDS = Words(
    exp=torch.exp,
    log=torch.log,
    log1p=torch.log1p,
    sqrt=torch.sqrt,
    relu=torch.relu,
    where=torch.where,
    sigmoid=torch.sigmoid,
    softplus=functional.softplus,
    logistic=lambda y, z: functional.binary_cross_entropy_with_logits(
        z, y, reduction="none"
    ),
    log_softmax=lambda z: functional.log_softmax(z, -1),
    mean=torch.mean,
    sum=torch.sum,
    count=lambda mask, like: mask.sum(),
    pick=lambda rows, y: rows.gather(-1, y[:, None])[:, 0],
    transpose=lambda x: x.T,
    diagonal=torch.diagonal,
)


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return forward + backward, or two backward passes for curvatures."""
    torch.set_num_threads(threads)
    target, leaf = tensors(y, z)
    found = mean_of(case, OWN, WORDS)
    if case.what == VALUE:
        ours = {"lossary, tensors": backward(_ours(case), target, leaf, False)}
        return ours if found is None else {
            "PyTorch": backward(found[0], target, leaf, found[1]), **ours
        }  # fmt: skip
    if found is None or case.target != "like":
        return {}
    return {"PyTorch": _curved(found[0], target, leaf, found[1])}


def tensors(y: Any, z: Any) -> tuple[Any, Any]:
    """Return target and prediction as tensors that share the arrays' memory."""
    pair = isinstance(y, tuple)
    target = tuple(map(torch.from_numpy, y)) if pair else torch.from_numpy(y)
    return target, torch.from_numpy(z).requires_grad_()


def _ours(case: Case) -> Mean:
    loss = case.loss
    if not case.beside:
        return lambda y, z: loss(y, z)
    option = OPTION[case.beside]
    return lambda y, z: loss(y[0], z, **{option: y[1]})


def backward(mean: Mean, y: Any, leaf: Any, written: bool) -> Task:
    """Return the task of a forward and a backward pass."""

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
