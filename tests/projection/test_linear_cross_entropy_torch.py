"""Linear cross-entropy of PyTorch: autograd in all its modes, half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from projection.cases import CLASSES, OPTIONS, ROWS, WIDTH, arrays, expected

import lossary as ls
from lossary.arrays.torch import LIBRARY as torch_library  # noqa: N811
from lossary.projection import values

FEW_ROWS = 2_000
"""Bytes in which only some rows fit: several chunks."""

lce = ls.linear_cross_entropy


def tensors(dtype: Any = torch.float64, learned: str = "hidden weight bias") -> Any:
    return {
        name: torch.tensor(x).to(dtype).requires_grad_(name in learned.split())
        if name != "labels"
        else torch.tensor(x)
        for name, x in arrays().items()
    }


def slopes(x: dict[str, Any]) -> list[Any]:
    return [x[name].grad for name in ("hidden", "weight", "bias")]


def agree(found: list[Any], truth: Any, rtol: float = 1e-12) -> None:
    for mine, theirs in zip(found, truth, strict=True):
        theirs = np.asarray(theirs)
        scale = rtol * abs(theirs).max()
        np.testing.assert_allclose(mine.double(), theirs, rtol=rtol, atol=scale)


@pytest.fixture
def no_logits(monkeypatch):
    """Fail where all logits would be stored."""

    def refuse(*arguments):
        raise AssertionError("the plain way was taken")

    monkeypatch.setattr(values, "_plain", refuse)


# -- the gradient that is computed forward --------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_backward_gives_the_gradients_of_the_formula(no_logits, options):
    x = tensors()
    value = lce(**x, **options, memory=FEW_ROWS)
    (3 * value).backward()
    truth, gradients = expected(arrays(), options)
    np.testing.assert_allclose(value.item(), truth, rtol=1e-13)
    agree(slopes(x), [3 * g for g in gradients])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_each_loss_has_its_own_upstream_gradient(no_logits, options):
    x = tensors()
    items = lce(**x, **options, reduction="none", memory=FEW_ROWS)
    upstream = torch.linspace(-1, 2, ROWS, dtype=torch.float64)
    items.backward(upstream)
    truth, gradients = expected(arrays(), options, upstream.numpy(), 1.0)
    np.testing.assert_allclose((items.detach() @ upstream).item(), truth, rtol=1e-12)
    agree(slopes(x), gradients)


def test_masked_rows_hold_whatever_they_like(no_logits):
    x = tensors()
    keep = torch.arange(ROWS) % 3 != 0
    truth = expected(arrays(), {}, keep.numpy())[1]
    with torch.no_grad():
        x["hidden"][~keep] = torch.nan
    x["labels"][~keep] = -100
    lce(**x, ignore_index=-100, memory=FEW_ROWS).backward()
    agree(slopes(x), truth)


def test_the_weighted_mean_is_that_of_pytorch(no_logits):
    x = tensors()
    w = torch.linspace(0, 1, CLASSES, dtype=torch.float64)
    lce(**x, class_weight=w).backward()
    mine = slopes(x)
    y = tensors()
    logits = y["hidden"] @ y["weight"].T + y["bias"]
    torch.nn.functional.cross_entropy(logits, y["labels"], weight=w).backward()
    agree(mine, slopes(y))


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_for_what_is_frozen_nothing_is_computed(no_logits, monkeypatch, frozen):
    x = tensors(learned="hidden weight bias".replace(frozen, ""))
    asked = []
    real = values.sweep

    def sweep(call, wanted, each=False):
        asked.append(wanted)
        return real(call, wanted, each)

    monkeypatch.setattr(values, "sweep", sweep)
    lce(**x).backward()
    names = ("hidden", "weight", "bias")
    assert asked == [tuple(name != frozen for name in names)]
    assert x[frozen].grad is None
    truth = dict(zip(names, expected(arrays(), {})[1], strict=True))
    left = [name for name in names if name != frozen]
    agree([x[name].grad for name in left], [truth[name] for name in left])


def test_without_autograd_no_gradient_is_computed(no_logits, monkeypatch):
    x = tensors()
    with torch.no_grad():
        value = lce(**x)
    assert not value.requires_grad
    np.testing.assert_allclose(value.item(), expected(arrays(), {})[0], rtol=1e-13)


def test_value_and_grad_makes_no_graph(no_logits):
    x = tensors()
    w = torch.linspace(0.5, 1, ROWS, dtype=torch.float64, requires_grad=True)
    value, gradients = lce.value_and_grad(**x, sample_weight=w, memory=FEW_ROWS)
    truth, slopes = expected(arrays(), {}, w.detach().numpy())
    assert not value.requires_grad
    np.testing.assert_allclose(value.item(), truth, rtol=1e-13)
    agree(list(gradients), slopes)


def test_a_graph_that_is_kept_gives_the_same_gradient_again(no_logits):
    x = tensors()
    value = lce(**x, memory=FEW_ROWS)
    value.backward(retain_graph=True)
    first = [g.clone() for g in slopes(x)]
    (2 * value).backward()
    agree(slopes(x), [3 * g for g in first])


def test_the_mean_of_nothing_has_no_slope():
    x = tensors()
    value = lce(**x, mask=torch.zeros(ROWS, dtype=torch.bool))
    value.backward()
    assert value.isnan()
    assert not any(g.any() for g in slopes(x))


def test_sequences_and_views_are_rows(no_logits):
    x = tensors()
    hidden = x["hidden"].detach()[:20].reshape(4, 5, WIDTH).transpose(0, 1)
    labels = x["labels"][:20].reshape(4, 5).T
    hidden.requires_grad_()
    lce(hidden, x["weight"].T.contiguous().T, labels, bias=x["bias"]).backward()
    plain = arrays()
    few = plain | {"hidden": plain["hidden"][:20], "labels": plain["labels"][:20]}
    truth = expected(few, {})[1]
    agree([hidden.grad.transpose(0, 1).reshape(20, WIDTH)], truth[:1])
    agree([x["weight"].grad], truth[1:2])


# -- precision ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_sums_of_halves_are_wide(no_logits, dtype, reduction):
    x = tensors(dtype)
    rounded = {
        name: x[name].detach().double().numpy() if name != "labels" else x[name].numpy()
        for name in x
    }
    value = lce(**x, reduction=reduction, memory=FEW_ROWS)
    value.sum().backward()
    truth, gradients = expected(rounded, {}, None, 1.0 if reduction == "none" else None)
    eps = torch.finfo(dtype).eps
    if reduction == "mean":
        assert value.dtype == torch.float32
        np.testing.assert_allclose(value.item(), truth, rtol=1e-6)
    else:
        assert value.dtype == dtype
        np.testing.assert_allclose(value.sum().item(), truth, rtol=10 * eps)
    assert all(g.dtype == dtype for g in slopes(x))
    for mine, theirs in zip(slopes(x), gradients, strict=True):
        np.testing.assert_allclose(mine.double(), theirs, rtol=eps, atol=1e-6)


@pytest.mark.parametrize("options", [{}, OPTIONS["all"]], ids=["plain", "all"])
def test_halves_are_multiplied_as_such_where_a_device_does_so(monkeypatch, options):
    def mm(a, b, *, out_dtype, out):
        assert a.dtype == b.dtype == torch.bfloat16
        assert out_dtype == out.dtype == torch.float32
        return out.copy_(a.float() @ b.float())

    monkeypatch.setattr(torch_library, "multiplied_in", lambda *_: torch.bfloat16)
    monkeypatch.setattr(torch_library.namespace(), "mm", mm)
    x = tensors(torch.float32)  # as under autocast, which rounds them here
    lce(**x, **options, memory=FEW_ROWS).backward()
    truth = expected(arrays(), options)[1]
    assert all(g.dtype == torch.float32 for g in slopes(x))
    for mine, theirs in zip(slopes(x), truth, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.02 * abs(theirs).max())


def test_autocast_leaves_the_sums_alone(no_logits):
    x = tensors(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        value = lce(**x)
    value.backward()
    truth, gradients = expected(arrays(), {})
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value.item(), truth, rtol=1e-6)
    agree(slopes(x), gradients, 1e-5)


def test_hidden_states_of_half_the_width_keep_their_dtype(no_logits):
    x = tensors(torch.float32)
    x["hidden"] = x["hidden"].detach().bfloat16().requires_grad_()
    value = lce(**x)
    value.backward()
    assert [g.dtype for g in slopes(x)] == [torch.bfloat16, *2 * [torch.float32]]


# -- what the chunks leave to PyTorch's own operations --------------------------------

FEW = {"hidden": (3, 2), "weight": (4, 2), "bias": (4,)}


def few() -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=made, dtype=torch.float64).requires_grad_()
        for shape in FEW.values()
    ]


def small_loss(options: dict[str, Any]) -> Any:
    labels, bound = torch.tensor([0, 3, 1]), lce(**options)
    return lambda h, w, b: bound(h, w, labels, bias=b)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_second_derivatives_are_right(options):
    assert torch.autograd.gradgradcheck(small_loss(options), few())


def test_second_derivatives_of_losses_one_by_one_are_right():
    assert torch.autograd.gradgradcheck(small_loss({"reduction": "none"}), few())


def test_transforms_are_right():
    loss, inputs = small_loss(OPTIONS["all"]), [x.detach() for x in few()]
    x = [y.clone().requires_grad_() for y in inputs]
    truth = torch.autograd.grad(loss(*x), x)
    for mine, theirs in zip(
        torch.func.grad(loss, argnums=(0, 1, 2))(*inputs), truth, strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    tangents = tuple(torch.ones_like(x) for x in inputs)
    _, along = torch.func.jvp(loss, tuple(inputs), tangents)
    torch.testing.assert_close(along, sum(g.sum() for g in truth))


def test_every_example_of_vmap_has_its_own_loss():
    hidden, weight, bias = (x.detach() for x in few())
    several = torch.stack([hidden, 2 * hidden])
    loss = small_loss({"softcap": 3.0})
    found = torch.func.vmap(lambda h: loss(h, weight, bias))(several)
    torch.testing.assert_close(
        found, torch.stack([loss(h, weight, bias) for h in several])
    )


def test_it_compiles_into_one_graph():
    loss = small_loss(OPTIONS["all"] | {"ignore_index": 3})
    x, y = few(), few()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    compiled(*x).backward()
    loss(*y).backward()
    for mine, theirs in zip(x, y, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_weights_of_rows_can_be_learned():
    x = tensors()
    w = torch.linspace(0.5, 1, ROWS, dtype=torch.float64, requires_grad=True)
    value = lce(**x, sample_weight=w)
    value.backward()
    items = lce(**tensors(), reduction="none").detach()
    truth = (items - value.detach()) / w.detach().sum()
    torch.testing.assert_close(w.grad, truth)
    agree(slopes(x), expected(arrays(), {}, w.detach().numpy())[1])


def test_tensors_of_another_library_are_named():
    x = tensors()
    with pytest.raises(TypeError, match="weight is an array of numpy and hidden is"):
        lce(x["hidden"], x["weight"].detach().numpy(), x["labels"])
    assert lce(x["hidden"], x["weight"], x["labels"].tolist()).isfinite()


def test_a_device_without_numbers_is_served():
    x = {name: a.detach().to("meta") for name, a in tensors().items()}
    assert lce(**x).shape == ()
