"""Small calls of CPU tensors are computed in NumPy, and nobody can tell."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import lossary as ls
from lossary import kernels
from lossary.structures import items

Y, Z = torch.zeros(4), torch.tensor([0.5, -2.0, 3.0, -0.25])


@pytest.fixture(params=["interpreted", "compiled"])
def huber(request, monkeypatch):
    """A loss that has not been called, computed in one of two ways."""
    if request.param == "interpreted":
        monkeypatch.setattr(kernels, "available", lambda: False)
    items._made.cache_clear()
    return pickle.loads(pickle.dumps(ls.huber))


def gradient(value, z):
    (found,) = torch.autograd.grad(value, z)
    return found


def test_value_and_gradient(huber):
    z = Z.clone().requires_grad_()
    value = huber(Y, z)
    assert value.grad_fn.name() == "OneStepBackward"
    torch.testing.assert_close(value, torch.nn.functional.huber_loss(z, Y))
    expected = gradient(torch.nn.functional.huber_loss(z, Y), z)
    torch.testing.assert_close(gradient(value, z), expected)


def test_second_derivatives(huber):
    z = Z.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: huber(Y.double(), z), z)


def test_a_second_backward_pass_is_refused(huber):
    z = Z.clone().requires_grad_()
    value = huber(Y, z)
    value.backward()
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


def test_gradients_flow_to_targets_and_weights(huber):
    y = Y.double().requires_grad_()
    w = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    z = Z.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda y, z, w: huber(y, z, sample_weight=w), (y, z, w)
    )


@pytest.mark.parametrize(
    "view",
    [
        lambda x: torch.stack([x, x], dim=-1)[:, 0],
        lambda x: x.flip(0).flip(0),
        lambda x: torch._neg_view(-x),
        torch.nn.Parameter,
    ],
    ids=["strided", "copied", "lazily negative", "parameter"],
)
def test_however_it_lies_in_memory(huber, view):
    z = view(Z.clone()).detach().requires_grad_()
    value = huber(Y, z)
    torch.testing.assert_close(value, huber(Y, Z))
    np.testing.assert_allclose(gradient(value, z), huber.value_and_grad(Y, Z)[1])


def test_whole_and_wider_targets(huber):
    assert huber(Y.long(), Z) == huber(Y, Z)
    assert huber(Y.double(), Z).dtype == torch.float64
    z = Z.clone().requires_grad_()
    assert gradient(huber(Y.double(), z), z).dtype == torch.float32


def test_a_default_device_is_for_others(huber):
    z = Z.clone().requires_grad_()
    with torch.device("meta"):
        value = huber(Y, z)
    assert value.device.type == "cpu"
    value.backward()
    assert z.grad.device.type == "cpu"


def test_without_gradients_there_is_no_graph(huber):
    z = Z.clone().requires_grad_()
    with torch.no_grad():
        assert not huber(Y, z).requires_grad
    assert not huber(Y, Z).requires_grad


def test_value_and_grad_of_what_requires_a_gradient_keeps_its_graph(huber):
    value, slope = huber.value_and_grad(Y, Z.clone().requires_grad_())
    assert value.requires_grad
    assert slope.requires_grad
    plain = huber.value_and_grad(Y, Z)
    torch.testing.assert_close((value.detach(), slope.detach()), plain)


def test_class_numbers(huber):
    loss = pickle.loads(pickle.dumps(ls.cross_entropy))
    z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]], requires_grad=True)
    y = torch.tensor([2, 0])
    value = loss(y, z)
    theirs = torch.nn.functional.cross_entropy(z, y)
    torch.testing.assert_close(value, theirs)
    torch.testing.assert_close(gradient(value, z), gradient(theirs, z))


def test_a_sum_of_losses_is_one_step(huber):
    criterion = (0.5 * ls.dice + ls.binary_cross_entropy).to_torch()
    z, y = Z.clone().requires_grad_(), (Z > 0).float()
    value = criterion(z, y)
    assert value.grad_fn.name() == "OneStepBackward"
    assert torch.autograd.gradgradcheck(
        lambda z: criterion(z, y.double()), Z.double().requires_grad_()
    )
