"""PyTorch on a card: which calls the kernels take, and that nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import lossary as ls
from lossary.arrays import card
from lossary.arrays.torch import LIBRARY as torch_library  # noqa: N811
from lossary.errors import DomainError

Y, Z = torch.linspace(0, 1, 40), torch.linspace(-3, 3, 40)
LABELS, SCORES = torch.arange(12) % 3, torch.linspace(-2, 2, 36).reshape(12, 3)
SHARES = torch.arange(36.0).remainder(5).reshape(12, 3).softmax(1)
SMOOTHED = ls.cross_entropy(label_smoothing=0.1)
CASES = {
    "items": (ls.binary_cross_entropy, Y, Z),
    "rows": (ls.focal, LABELS, SCORES),
    "distributions": (ls.kl_divergence, SHARES, SCORES),
    "smoothed": (SMOOTHED, LABELS, SCORES),
}
every_case = pytest.mark.parametrize(
    ("loss", "y", "z"), CASES.values(), ids=CASES.keys()
)


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


def test_what_has_no_kernel_takes_the_library_s_own_operations(calls):
    gradient(ls.dice, (Y > 0.5).float(), Z)
    weights = torch.ones(40, requires_grad=True)
    gradient(ls.huber, Y, Z, sample_weight=weights)
    assert not calls


# -- half precision -------------------------------------------------------------------


@pytest.fixture(params=[torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def half(request):
    return request.param


def as_elsewhere(found, expected):
    """Say that a gradient is what array code gives, but for the interpreter's cuts.

    It cuts off the digits that a card rounds to bfloat16.
    """
    digits = 2.0**-7 if found.dtype == torch.bfloat16 else 2.0**-10
    return found.dtype == expected.dtype and torch.allclose(
        found.double(), expected.double(), rtol=digits, atol=2.0**-24
    )


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_over_items"])
def test_half_precision_means_what_it_means_elsewhere(
    loss, y, z, reduction, half, monkeypatch, calls
):
    weights = torch.arange(len(y)).float() % 3 + 1e-3
    y, z = y.to(half) if y.dtype == z.dtype else y, z.to(half)
    options = {"sample_weight": weights, "reduction": reduction, "check": "off"}
    value, slopes = loss(y, z, **options), gradient(loss, y, z, **options)
    both = loss.value_and_grad(y, z, **options)
    assert len(calls) == 3
    monkeypatch.setattr(card, "EVERYWHERE", False)
    expected = loss(y, z, **options)
    assert value.dtype == both[0].dtype == expected.dtype == torch.float32
    assert torch.allclose(value, expected, rtol=1e-6)
    assert torch.allclose(both[0], expected, rtol=1e-6)
    for found in (slopes, both[1]):
        assert as_elsewhere(found, gradient(loss, y, z, **options))


def test_scores_of_half_the_target_s_width_are_read_as_they_are(
    half, monkeypatch, calls
):
    z = Z.to(half)
    _, slopes = ls.huber.value_and_grad(Y, z)
    derived = gradient(ls.huber, Y, z)
    assert len(calls) == 2
    monkeypatch.setattr(card, "EVERYWHERE", False)
    assert as_elsewhere(slopes, ls.huber.value_and_grad(Y, z)[1])
    assert as_elsewhere(derived, gradient(ls.huber, Y, z))


def test_a_mean_s_gradient_of_halves_does_not_overflow_before_the_mean(calls):
    z = torch.full((40,), 4e4, dtype=torch.float16)
    assert gradient(ls.squared_error, torch.zeros_like(z), z).tolist() == [2000.0] * 40
    assert calls


def test_sums_of_halves_are_wide(half, calls):
    z = torch.ones(3000, dtype=half)
    sums = ls.absolute_error.sums(torch.zeros_like(z), z, mask=torch.ones(3000) > 0)
    assert float(sums.numerator) == float(sums.denominator) == 3000
    assert calls


def test_second_derivatives_of_halves_are_wide(half, monkeypatch, calls):
    def bends(z):
        z = z.clone().requires_grad_()
        _, slopes = ls.log_cosh.value_and_grad(Y, z, reduction="sum")
        return torch.autograd.grad(slopes.sum(), z)[0]

    found = bends(Z.to(half))
    assert calls
    monkeypatch.setattr(card, "EVERYWHERE", False)
    assert as_elsewhere(found, bends(Z.to(half)))


# -- curvature ------------------------------------------------------------------------


def test_gradient_and_curvature_come_from_one_kernel(monkeypatch, calls):
    found = ls.tweedie.grad_and_hess(Y, Z)
    assert calls == ["pointwise"]
    monkeypatch.setattr(card, "EVERYWHERE", False)
    for mine, theirs in zip(found, ls.tweedie.grad_and_hess(Y, Z), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6)


def test_what_flows_through_a_curvature_takes_the_library_s_own_operations(calls):
    z = Z.clone().requires_grad_()
    ls.log_cosh.grad_and_hess(Y, z)[1].sum().backward()
    assert z.grad.any()
    assert not calls


# -- gradients that are asked for later -----------------------------------------------


def test_a_target_changed_before_the_gradient_is_refused(calls):
    y, z = Y.clone(), Z.clone().requires_grad_()
    value = ls.squared_error(y, z)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()
    assert calls


# -- checks ---------------------------------------------------------------------------


def test_what_is_surely_wrong_is_refused_by_name(calls):
    labels = LABELS.clone()
    labels[4] = 7
    with pytest.raises(DomainError, match="from 0 to 2, but there is 7 in row 4"):
        ls.cross_entropy(labels, SCORES)
    with pytest.raises(DomainError, match="there is 2 in row 39;"):
        ls.binary_cross_entropy(Y + (Y == 1), Z)
    shares = SHARES.clone()
    shares[5] = torch.tensor([-0.5, 1.5, 0.0])
    with pytest.raises(DomainError, match=r"there is -0\.5 in row 5;"):
        ls.cross_entropy(shares, SCORES)
    assert {"pointwise", "rows"} <= set(calls)


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


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
def test_a_projection_of_halves_goes_through_the_row_kernel(
    options, half, monkeypatch, calls
):
    def mm(a, b, *, out_dtype, out):  # as a card has it
        return out.copy_(a.to(out_dtype) @ b.to(out_dtype))

    def slopes():
        value = ls.linear_cross_entropy(hidden, weight, LABELS, **options)
        return value, *torch.autograd.grad(value, (hidden, weight))

    monkeypatch.setattr(torch_library, "multiplied_in", lambda dtype, *_: dtype)
    monkeypatch.setattr(torch_library.namespace(), "mm", mm)
    hidden = torch.linspace(-1, 1, 48).reshape(12, 4).to(half).requires_grad_()
    weight = torch.eye(3, 4).to(half).requires_grad_()
    found = slopes()
    assert calls == ["smoothed_rows" if options else "rows"]
    monkeypatch.setattr(card, "EVERYWHERE", False)
    expected = slopes()
    assert [x.dtype for x in found] == [torch.float32, half, half]
    assert torch.allclose(found[0], expected[0], rtol=1e-6)
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert torch.allclose(mine, theirs, rtol=2.0**-6, atol=1e-3)


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
