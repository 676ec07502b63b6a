"""A loss as a PyTorch module: order, numbers, state, words, and learned parameters."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from laws.cases import VARIANTS, edges, random

import lossary as ls
from lossary.arrays import fused, standard
from lossary.errors import (
    DomainError,
)
from lossary.frameworks.torch import Criterion

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
every_loss = pytest.mark.parametrize("loss", VARIANTS, ids=repr)
on_every_device = pytest.mark.parametrize("device", DEVICES)
LEARNED = [("general_robust", ("alpha", "scale")), ("info_nce", ("temperature",))]
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


def batch(loss, n=8, seed=1):
    inputs = random(loss, n=n, seed=seed)
    return torch.tensor(inputs.y), torch.tensor(inputs.z)


def value_and_grad(criterion, y, z, **options):
    z = z.detach().requires_grad_()
    value = criterion(z, y, **options)
    return value, *torch.autograd.grad(value, z)


# -- numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MSELoss", {}),
        ("L1Loss", {"reduction": "sum"}),
        ("SmoothL1Loss", {}),
        ("HuberLoss", {"reduction": "none"}),
        ("PoissonNLLLoss", {}),
        ("BCEWithLogitsLoss", {}),
    ],
)
def test_is_the_built_in(name, options):
    theirs = getattr(torch.nn, name)(**options)
    ours = ls.get(f"torch.nn.{name}").to_torch(**options)
    input = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 1.0])
    values = [criterion(input, target) for criterion in (theirs, ours)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(
        *(torch.autograd.grad(value.sum(), input) for value in values)
    )


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "mean_over_items", "sum"])
def test_small_calls_are_the_operations_of_pytorch(loss, reduction, monkeypatch):
    y, z = batch(loss)
    rows = torch.arange(8.0, dtype=torch.float64) % 3
    criterion = loss.to_torch(reduction=reduction)
    for options in ({}, {"sample_weight": rows}, {"mask": rows > 0}):
        got = value_and_grad(criterion, y, z, **options)
        assert got[0].grad_fn.name() == "OneStepBackward"
        with monkeypatch.context() as patch:
            patch.setattr(standard, "SMALL", 0)
            patch.setattr(fused, "COMPILED_FROM", 1 << 60)
            expected = value_and_grad(criterion, y, z, **options)
        assert expected[0].grad_fn.name() != "OneStepBackward"
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


@every_loss
def test_small_calls_have_the_limits_of_the_loss(loss):
    inputs = edges(loss, "float64")
    y, z = torch.tensor(inputs.y), torch.tensor(inputs.z)
    got = value_and_grad(loss.to_torch(check="off", reduction="sum"), y, z)
    expected = loss.value_and_grad(inputs.y, inputs.z, check="off", reduction="sum")
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, **TIGHT)


def test_rows_and_no_reduction():
    criterion = ls.absolute_error.to_torch(reduction="none")
    input = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(criterion(input, torch.zeros(2, 2)), input)
    criterion = ls.absolute_error.to_torch(reduction="mean_over_rows")
    mask = torch.tensor([[True, False], [True, True]])
    assert criterion(input, torch.zeros(2, 2), mask=mask).item() == 2.25


def test_weights_are_the_third_argument_and_masks_the_fourth():
    criterion = ls.absolute_error.to_torch()
    input, target = torch.tensor([1.0, 2.0, 9.0]), torch.zeros(3)
    weight, mask = torch.tensor([1.0, 3.0, 1.0]), torch.tensor([True, True, False])
    assert criterion(input, target, weight, mask).item() == 1.75


@pytest.mark.parametrize(("empty", "value"), [("nan", float("nan")), ("zero", 0.0)])
@pytest.mark.parametrize("rows", [0, 2], ids=["no rows", "all masked"])
def test_nothing_left_is_a_policy(empty, value, rows):
    criterion = ls.huber.to_torch(empty=empty)
    input = torch.ones(rows, requires_grad=True)
    mask = torch.zeros(rows, dtype=torch.bool)
    got = criterion(input, torch.zeros(rows), mask=mask)
    assert got.item() == pytest.approx(value, nan_ok=True)
    (gradient,) = torch.autograd.grad(got, input)
    assert gradient.shape == input.shape


def test_nothing_left_is_an_error_where_it_is_asked_for():
    with pytest.raises(DomainError, match="nothing is left to average"):
        ls.huber.to_torch(empty="raise")(torch.zeros(0), torch.zeros(0))


def test_a_weighted_sum_is_a_module():
    both = 0.5 * ls.dice + ls.binary_cross_entropy
    y, z = torch.rand(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(both.to_torch()(z, y), both(y, z))


@on_every_device
@pytest.mark.parametrize("name", ["huber", "cross_entropy", "dice", "info_nce"])
def test_result_has_the_device_of_the_input(name, device):
    y, z = (x.to(device) for x in batch(ls.get(name)))
    value, gradient = value_and_grad(ls.get(name).to_torch(), y, z)
    assert value.device.type == gradient.device.type == device
    expected = ls.get(name)(y.cpu(), z.cpu())
    torch.testing.assert_close(value.cpu(), expected)


@on_every_device
@pytest.mark.parametrize(("name", "learn"), LEARNED)
def test_learned_parameters_live_on_a_device(name, learn, device):
    loss = ls.get(name)
    y, z = (x.to(device) for x in batch(loss))
    criterion = loss.to_torch(learn=learn).to(device, torch.float64)
    criterion(z, y).backward()
    for raw in criterion.parameters():
        assert raw.grad.device.type == device
        assert raw.grad.dtype == torch.float64


def test_gradients_flow_to_targets_and_weights():
    criterion = ls.squared_error.to_torch()
    input, target, weight = (torch.tensor([1.0, 3.0]) for _ in range(3))
    target = (0 * target).requires_grad_()
    weight = (0 * weight + 1).requires_grad_()
    value = criterion(input, target, weight)
    slope, pull = torch.autograd.grad(value, (target, weight))
    assert slope.tolist() == [-1.0, -3.0]
    assert pull.tolist() == [-2.0, 2.0]


def test_a_string_names_the_loss():
    both = 0.5 * ls.dice + ls.cross_entropy
    assert Criterion("0.5*dice + cross_entropy").loss == both


# -- dtypes and layouts ---------------------------------------------------------------

WHOLE = [
    getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
]


@pytest.mark.parametrize("dtype", [*WHOLE, torch.bool])
@pytest.mark.parametrize("n", [6, 5000], ids=["small", "large"])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_labels_of_every_dtype(name, n, dtype):
    criterion = ls.get(name).to_torch()
    labels = torch.arange(n) % 2
    z = torch.linspace(-2, 2, n)
    z = torch.stack([z, -z], dim=1) if name == "cross_entropy" else z
    got, expected = (
        value_and_grad(criterion, y, z) for y in (labels.to(dtype), labels)
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_module_in_half_precision_learns_in_single(dtype):
    criterion = ls.general_robust.to_torch(learn=["alpha", "scale"])
    z, y = torch.tensor([0.5, -1.0, 2.0]), torch.zeros(3)
    expected = criterion(z, y)
    criterion.to(dtype)
    value = criterion(z.to(dtype), y.to(dtype))
    value.backward()
    torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)
    assert criterion.raw_alpha.grad.dtype == dtype
    assert criterion.raw_alpha.grad.isfinite()


def test_one_number_is_a_batch():
    got = value_and_grad(ls.huber.to_torch(), torch.tensor(1.0), torch.tensor(3.0))
    assert [x.item() for x in got] == [1.5, 1.0]


@pytest.mark.parametrize("n", [3, 5000, 300_000])
def test_negatives_that_are_not_in_memory(n):
    z, y = torch.randn(n), torch.zeros(n)
    lazy = torch.complex(y, -z).conj().imag
    assert lazy.is_neg()
    weight = torch.ones(n)
    for options in ({}, {"sample_weight": weight}):
        got, expected = (
            value_and_grad(ls.huber.to_torch(), y, x, **options) for x in (lazy, z)
        )
        torch.testing.assert_close(got, expected)
    assert ls.huber.to_torch()(y, lazy) == ls.huber.to_torch()(y, z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_loss
def test_half_precision_is_summed_in_single(loss, dtype):
    y, z = batch(loss)
    z = z.to(dtype)
    value, gradient = value_and_grad(loss.to_torch(check="off"), y.float(), z)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, loss(y.float(), z.float(), check="off"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["squared_error", "info_nce", "cross_entropy"])
def test_autocast_leaves_the_loss_in_single_precision(name, dtype):
    loss = ls.get(name)
    y, z = (x if x.dtype == torch.int64 else x.float() for x in batch(loss))
    expected = value_and_grad(loss.to_torch(), y, z)
    with torch.autocast("cpu", dtype=dtype):
        got = value_and_grad(loss.to_torch(), y, z)
        plain = loss(y, z)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(plain, expected[0], rtol=1e-6, atol=1e-7)
    assert got[0].dtype == plain.dtype == torch.float32


def test_the_wider_dtype_of_input_and_target_is_computed_in():
    target = torch.tensor([0.1], dtype=torch.float64)
    value, gradient = value_and_grad(
        ls.absolute_error.to_torch(), target, torch.tensor([0.0])
    )
    assert value.item() == 0.1
    assert gradient.dtype == torch.float32


def test_whole_numbers_are_predictions_of_the_default_dtype():
    criterion = ls.absolute_error.to_torch()
    whole = torch.tensor([1, 3])
    assert criterion(whole, whole * 0).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert criterion(whole, whole * 0).dtype == torch.float64
        learned = ls.general_robust.to_torch(learn="scale")
        assert learned.raw_scale.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@every_loss
def test_layouts_do_not_matter(loss):
    y, z = batch(loss)
    expected = value_and_grad(loss.to_torch(), y, z)
    apart = [torch.stack([x, x], dim=-1)[..., 0] for x in (y, z)]
    assert not apart[1].is_contiguous()
    torch.testing.assert_close(value_and_grad(loss.to_torch(), *apart), expected)
    row = [x[:1].expand(4, *x.shape[1:]) for x in (y, z)]
    copies = [x.contiguous() for x in row]
    torch.testing.assert_close(
        value_and_grad(loss.to_torch(), *row), value_and_grad(loss.to_torch(), *copies)
    )


# -- state ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "torch"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ls.huber(delta=2.0).to_torch(),
        lambda: (0.5 * ls.dice + ls.binary_cross_entropy).to_torch(reduction="sum"),
        lambda: ls.general_robust.to_torch(learn=["alpha", "scale"], empty="zero"),
    ],
)
def test_is_saved_and_loaded(make, way):
    criterion = make()
    for raw in criterion.parameters():
        raw.data += 1
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(criterion))
    elif way == "deepcopy":
        loaded = copy.deepcopy(criterion)
    else:
        file = io.BytesIO()
        torch.save(criterion, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
    assert repr(loaded) == repr(criterion)
    y, z = torch.rand(2, 3), torch.rand(2, 3)
    assert loaded(z, y) == criterion(z, y)


def test_the_state_is_what_is_learned():
    first = ls.general_robust.to_torch(learn=("alpha", "scale"))
    assert list(first.state_dict()) == ["raw_alpha", "raw_scale"]
    first.raw_scale.data.fill_(2.0)
    second = ls.general_robust(scale=9.0).to_torch(learn=("alpha", "scale"))
    second.load_state_dict(first.state_dict())
    assert second.scale.item() == pytest.approx(np.exp(2.0))
    assert list(ls.huber.to_torch().state_dict()) == []


def test_is_printed_as_it_was_made():
    assert repr(ls.huber(delta=2.0).to_torch()) == "Criterion(huber(delta=2.0))"
    learned = ls.info_nce.to_torch(reduction="sum", learn="temperature")
    assert (
        repr(learned) == "Criterion(info_nce, reduction='sum', learn=('temperature',))"
    )


# -- learned parameters ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "learn"), LEARNED)
def test_learning_starts_at_the_bound_values(name, learn):
    loss = ls.get(name)
    bound = loss(**dict.fromkeys(learn, 0.5))
    criterion = bound.to_torch(learn=learn)
    for parameter in learn:
        assert getattr(criterion, parameter).item() == pytest.approx(0.5)


def test_a_learned_scale_finds_the_spread_of_the_residuals():
    torch.manual_seed(0)
    residuals = 3.0 * torch.randn(4000)
    criterion = ls.general_robust(alpha=1.999).to_torch(learn="scale")
    optimiser = torch.optim.LBFGS(criterion.parameters(), max_iter=50)

    def closure():
        optimiser.zero_grad()
        value = criterion(residuals, torch.zeros(4000))
        value.backward()
        return value

    optimiser.step(closure)
    assert criterion.scale.item() == pytest.approx(residuals.std().item(), rel=0.02)


def test_unknown_attributes_stay_unknown():
    with pytest.raises(AttributeError, match="no attribute 'delta'"):
        _ = ls.huber.to_torch().delta
