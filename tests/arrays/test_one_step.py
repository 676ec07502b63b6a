"""PyTorch: a gradient is given away once, and computed anew where it is asked for."""

from __future__ import annotations

import pytest
import torch

import lossary as ls

SIZES = [16, 5_000, 100_000]  # a small call; one chunk of a kernel; several


def call(size):
    rng = torch.Generator().manual_seed(0)
    y = torch.randn(size, generator=rng)
    z = torch.randn(size, generator=rng).requires_grad_()
    return ls.squared_error(y, z), z, 2 * (z - y).detach() / size


@pytest.mark.parametrize("size", SIZES)
def test_a_graph_may_be_kept(size):
    value, z, expected = call(size)
    first, second = (torch.autograd.grad(value, z, retain_graph=True)[0] for _ in "12")
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected)
    assert first.data_ptr() != second.data_ptr()


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_added_up(size):
    value, z, expected = call(size)
    value.backward(retain_graph=True)
    (3 * value).backward()
    torch.testing.assert_close(z.grad, 4 * expected)


@pytest.mark.parametrize("size", SIZES)
def test_upstream_gradients_may_come_in_a_batch(size):
    value, z, expected = call(size)
    upstream = torch.tensor([1.0, -2.0])
    (found,) = torch.autograd.grad(value, z, upstream, is_grads_batched=True)
    torch.testing.assert_close(found, upstream[:, None] * expected)


def test_the_gradient_is_not_copied():
    value, z, _ = call(100_000)
    made = value.grad_fn.next_functions[0][0].gradient.data_ptr()
    value.backward()
    assert z.grad.data_ptr() == made
