"""PyTorch on a card: which calls the kernels take, and that nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import lossary as ls
from lossary.arrays import card
from lossary.errors import DomainError

Y, Z = torch.linspace(0, 1, 40), torch.linspace(-3, 3, 40)
LABELS, SCORES = torch.arange(12) % 3, torch.linspace(-2, 2, 36).reshape(12, 3)
CASES = [(ls.binary_cross_entropy, Y, Z), (ls.focal, LABELS, SCORES)]
every_case = pytest.mark.parametrize(("loss", "y", "z"), CASES, ids=["items", "rows"])


@pytest.fixture
def calls(everywhere, monkeypatch):
    """Count the calls that a card takes."""
    made = []
    init = card.CardCall.__init__

    def counted(self, call):
        made.append(call.kernel)
        init(self, call)

    monkeypatch.setattr(card.CardCall, "__init__", counted)
    return made


def gradient(loss, y, z, **options):
    z = z.clone().requires_grad_()
    loss(y, z, **options).backward()
    return z.grad


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_over_items"])
def test_value_and_gradient_are_those_of_the_processor(
    loss, y, z, reduction, monkeypatch, calls
):
    weights = torch.arange(len(y)).float() % 3
    options = {"sample_weight": weights, "reduction": reduction}
    value, slopes = loss(y, z, **options), gradient(loss, y, z, **options)
    assert len(calls) == 2
    monkeypatch.setattr(card, "EVERYWHERE", False)
    assert torch.allclose(value, loss(y, z, **options), rtol=1e-6)
    assert torch.allclose(slopes, gradient(loss, y, z, **options), rtol=1e-5)
    assert len(calls) == 2


@every_case
def test_value_and_grad_fills_the_array_of_the_caller(loss, y, z, calls):
    room = torch.full((*z.shape, 2), torch.nan)[..., 0]
    value, slopes = loss.value_and_grad(y, z, out=room)
    assert slopes is room
    assert torch.allclose(room, gradient(loss, y, z))
    assert value == loss(y, z)
    assert len(calls) == 3


def test_second_derivatives_are_those_of_the_formula(calls):
    z = Z[::8].double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: ls.log_cosh(Y[::8].double(), z), (z,))
    assert calls


@every_case
def test_function_transforms_take_the_library_s_own_operations(loss, y, z, calls):
    slopes = torch.func.grad(lambda z: loss(y, z))(z)
    assert not calls
    assert torch.allclose(slopes, gradient(loss, y, z), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "y", "z"),
    [
        (ls.binary_cross_entropy, Y.half(), Z.half()),
        (ls.cross_entropy, torch.eye(3)[LABELS], SCORES),
        (ls.cross_entropy(label_smoothing=0.1), LABELS, SCORES),
        (ls.dice, (Y > 0.5).float(), Z),
    ],
    ids=["half", "distributions", "smoothed", "overlap"],
)
def test_what_has_no_kernel_takes_the_library_s_own_operations(loss, y, z, calls):
    gradient(loss, y, z)
    assert not calls


def test_what_is_surely_wrong_is_refused_by_name(calls):
    labels = LABELS.clone()
    labels[4] = 7
    with pytest.raises(DomainError, match="from 0 to 2, but there is 7 in row 4"):
        ls.cross_entropy(labels, SCORES)
    with pytest.raises(DomainError, match="there is 2 in row 39;"):
        ls.binary_cross_entropy(Y + (Y == 1), Z)
    assert "pointwise" in calls


def test_without_a_check_nothing_waits_for_the_card(calls, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__bool__", None)
    ls.binary_cross_entropy(2 * Y, Z, check="off")
    ls.cross_entropy(LABELS, SCORES, check="off")
    assert calls == ["pointwise", "rows"]


def test_the_projection_uses_the_row_kernel_in_place(calls):
    hidden, weight = torch.linspace(-1, 1, 48).reshape(12, 4), torch.eye(3, 4)
    value, (slopes, _, _) = ls.linear_cross_entropy.value_and_grad(
        hidden, weight, LABELS
    )
    hidden.requires_grad_()
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T, LABELS)
    plain.backward()
    assert torch.allclose(value, plain)
    assert torch.allclose(slopes, hidden.grad, atol=1e-7)
    assert "rows" in calls


WITHOUT = """
import sys
sys.modules["llvmlite"] = None  # as if it were not installed
import numpy as np, torch, lossary as ls
from lossary.arrays import card
card.EVERYWHERE = True
z = torch.zeros(3000, requires_grad=True)
with np.errstate(all="ignore"):
    ls.squared_error(torch.ones(3000), z, reduction="sum").backward()
print(float(z.grad.sum()))
"""


def test_a_card_needs_no_compiler_for_the_processor():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("-6000.0", "")
