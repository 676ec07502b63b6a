"""PyTorch's own checks of first and second derivatives, for every loss and path."""

from __future__ import annotations

import pytest
import torch
from laws.cases import VARIANTS, random
from torch.autograd import gradcheck, gradgradcheck

from lossary.arrays import fused, standard

every_loss = pytest.mark.parametrize("loss", VARIANTS, ids=repr)


def batch(loss, n=3):
    """Draw inputs; continuous ones lie on a kink with probability 0."""
    inputs = random(loss, n=n, seed=2)
    return torch.tensor(inputs.y), torch.tensor(inputs.z, requires_grad=True)


def check(function, *inputs):
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.fixture
def node(monkeypatch):
    """Steer all calls to one path, and say which autograd function it ends in."""

    def steer(path):
        monkeypatch.setattr(standard, "SMALL", 1 << 11 if path == "small" else 0)
        from_items = 1 if path == "fused" else 1 << 60
        monkeypatch.setattr(fused, "COMPILED_FROM", from_items)

    return steer


@every_loss
def test_function(loss, node):
    node("arrays")
    y, z = batch(loss)
    check(lambda scores: loss(y, scores, check="off"), z)


@every_loss
def test_module_in_one_step(loss, node):
    node("small")
    criterion = loss.to_torch(check="off")
    y, z = batch(loss)
    assert criterion(z, y).grad_fn.name() == "OneStepBackward"
    check(lambda scores: criterion(scores, y), z)


@every_loss
def test_module_by_operations_of_pytorch(loss, node):
    node("arrays")
    criterion = loss.to_torch(check="off", reduction="sum")
    y, z = batch(loss)
    assert criterion(z, y).grad_fn.name() != "OneStepBackward"
    check(lambda scores: criterion(scores, y), z)


FUSED = [
    v
    for v in VARIANTS
    if v.structure.kernel_for(v) is not None and v.structure.name != "overlap"
]


@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_compiled_kernel(loss, node):
    node("fused")
    y, z = batch(loss)
    weight = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    total = loss(y, z, reduction="sum", sample_weight=weight)
    assert total.grad_fn.name() == "OneStepBackward"
    check(lambda scores: loss(y, scores, check="off", sample_weight=weight), z)


CONTINUOUS = [
    v for v in VARIANTS if v.structure.name == "pointwise" and v.target.name != "label"
]


@pytest.mark.parametrize("loss", CONTINUOUS, ids=repr)
def test_target_and_weight_have_gradients_too(loss, node):
    node("small")
    criterion = loss.to_torch(check="off")
    y, z = batch(loss)
    y = (y + 0.1).requires_grad_()  # off the edges of its range
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    check(criterion, z, y, weight)


@pytest.mark.parametrize(
    ("loss", "learn"),
    [("general_robust", ("alpha", "scale")), ("info_nce", ("temperature",))],
)
def test_learned_parameters(loss, learn):
    from lossary.registry import get

    loss = get(loss)
    criterion = loss.to_torch(learn=learn).double()
    y, z = batch(loss)

    def at(scores, *raw):
        values = dict(zip((f"raw_{name}" for name in learn), raw, strict=True))
        return torch.func.functional_call(criterion, values, (scores, y))

    raw = [p.detach() + 0.3 for p in criterion.parameters()]
    check(at, z, *(r.requires_grad_() for r in raw))
