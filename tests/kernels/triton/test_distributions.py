"""Distributions and smoothed labels on a card: sizes, edges, removed rows, labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossary as ls
from lossary.kernels.triton import rows
from lossary.kernels.triton.calls import Inputs

LOSSES = [ls.cross_entropy, ls.kl_divergence, ls.focal(gamma=1.5)]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def run(loss, y, z, scale=1.0, out=None, **options):
    out = torch.empty(z.shape, dtype=z.dtype) if out is None else out
    inputs = Inputs(loss.formula, loss.params, y, z, **options)
    return rows.run(inputs, scale, out), out


def batch(n, classes, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(size=(n, classes)) * 4)
    y = torch.from_numpy(rng.normal(size=(n, classes)) * 3).softmax(1)
    return y.to(dtype), z.to(dtype)


def expected(loss, y, z):
    z = z.double().detach().clone().requires_grad_()
    value = loss(y.double(), z, reduction="sum", check="off")
    value.backward()
    return value.item(), z.grad


def close(found, truth, digits):
    totals, gradient = found
    value, slopes = truth
    assert float(totals.numerator) == pytest.approx(value, rel=digits)
    assert torch.allclose(gradient.double(), slopes, rtol=digits, atol=digits)


@every_loss
@pytest.mark.parametrize("classes", [2, 17, 300, 5000])
def test_values_and_gradients_of_any_width(loss, classes):
    y, z = batch(4, classes, torch.float32)
    close(run(loss, y, z), expected(loss, y, z), 2e-6)
    y, z = batch(4, classes)
    close(run(loss, y, z), expected(loss, y, z), 1e-12)


@every_loss
@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "distributions"])
def test_a_target_is_smoothed(loss, labelled):
    y, z = batch(4, 7)
    labels = torch.tensor([0, 6, 3, 3])
    hits = torch.nn.functional.one_hot(labels, 7).double()
    truth = expected(loss, 0.8 * (hits if labelled else y) + 0.2 / 7, z)
    close(run(loss, labels if labelled else y, z, smoothing=0.2), truth, 1e-12)


@every_loss
def test_a_class_of_no_share_may_be_ruled_out(loss, monkeypatch):
    monkeypatch.setattr(rows, "shape", lambda *_: (2, 4, 4))
    y, z = batch(3, 11)
    alone = torch.cat((torch.full((3, 5), -torch.inf, dtype=z.dtype), z), 1)
    none = torch.cat((torch.zeros(3, 5, dtype=z.dtype), y), 1)
    value, slopes = expected(loss, y, z)
    rest = torch.zeros(3, 5, dtype=z.dtype)
    close(run(loss, none, alone), (value, torch.cat((rest, slopes), 1)), 1e-12)


@every_loss
def test_a_class_of_some_share_costs_infinity_where_it_is_ruled_out(loss):
    y, z = torch.full((1, 3), 1 / 3), torch.tensor([[0.0, -torch.inf, 1.0]])
    assert run(loss, y, z)[0].numerator == torch.inf


def test_a_row_that_rules_out_every_class_is_nan():
    y, z = batch(3, 4)
    z[1] = -torch.inf
    totals, gradient = run(ls.cross_entropy, y, z)
    assert totals.numerator.isnan()
    assert gradient.isnan().any(1).tolist() == [False, True, False]


def test_confident_rows_keep_relative_accuracy():
    z = torch.zeros(1, 3)
    for score in (20.0, 40.0, 80.0):
        z[0, 1] = score
        totals, gradient = run(ls.cross_entropy, torch.tensor([[0.0, 1.0, 0.0]]), z)
        assert float(totals.numerator) == pytest.approx(2 * np.exp(-score), rel=1e-6)
        assert float(gradient[0, 1]) == pytest.approx(-2 * np.exp(-score), rel=1e-6)


@every_loss
@pytest.mark.parametrize("target", ["labels", "smoothed labels", "distributions"])
def test_what_a_sum_keeps_of_long_rows_spares_the_gradient_a_look(
    loss, target, monkeypatch
):
    y, z = batch(5, 11, torch.float32)
    z[1, 2] = torch.nan
    options = {"smoothing": 0.1} if "smoothed" in target else {}
    y = y if target == "distributions" else torch.arange(5)
    inputs = Inputs(loss.formula, loss.params, y, z, **options)
    assert rows.run(inputs).kept is None
    monkeypatch.setattr(rows, "shape", lambda *_: (2, 4, 4))
    _, gradient = run(loss, y, z, **options)
    kept = rows.run(inputs).kept
    _, found = run(loss, y, z, kept=kept, **options)
    assert torch.allclose(found, gradient, rtol=0, atol=0, equal_nan=True)
    _, other = run(loss, y, z, kept=kept + 1, **options)
    assert not torch.allclose(other, gradient, equal_nan=True)


@every_loss
def test_removed_rows_hold_anything(loss):
    y, z = batch(60, 4, seed=6)
    rng = np.random.default_rng(6)
    w = torch.from_numpy(rng.integers(0, 3, 60).astype(float))
    keep = torch.from_numpy(rng.random(60) < 0.7)
    counted = keep & (w != 0)
    dirty, shares = z.clone(), y.clone()
    dirty[~counted], shares[~counted] = torch.nan, 7.0
    totals, gradient = run(loss, shares, dirty, weight=w, keep=keep, scale=0.5)
    clean, slopes = run(loss, y[counted], z[counted], weight=w[counted])
    assert float(totals.numerator) == pytest.approx(float(clean.numerator), rel=1e-13)
    assert not totals.outside
    assert not gradient[~counted].any()
    assert torch.allclose(gradient[counted], slopes / 2, rtol=1e-15)


@pytest.mark.parametrize("side", [0, 1])
@every_loss
def test_nan_stays_in_its_row(loss, side):
    arrays = batch(6, 5)
    arrays[side][2, 3] = torch.nan
    totals, gradient = run(loss, *arrays)
    assert totals.numerator.isnan()
    assert gradient.isnan().any(1).tolist() == [i == 2 for i in range(6)]


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_smoothed_label_of_no_class_is_reported(label):
    labels = torch.tensor([0, 1, label, 2])
    totals, gradient = run(ls.focal, labels, torch.zeros(4, 3), smoothing=0.1)
    assert totals.outside
    assert totals.numerator.isnan()
    assert gradient.isnan().all(1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("share", [-0.5, 1.5])
def test_what_is_no_probability_is_reported(share):
    y, z = batch(5, 3)
    assert not run(ls.cross_entropy, y, z)[0].outside
    y[4, 1] = share
    assert run(ls.cross_entropy, y, z)[0].outside


def test_what_does_not_sum_to_one_is_reported_where_it_counts():
    y, z = batch(5, 3)
    y[4] *= 1.01
    assert run(ls.cross_entropy, y, z)[0].outside
    keep = torch.arange(5) < 4
    assert not run(ls.cross_entropy, y, z, keep=keep)[0].outside


@every_loss
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_may_go_over_the_scores(
    loss, half, monkeypatch
):
    monkeypatch.setattr(rows, "shape", lambda *_: (2, 8, 4))
    y, z = batch(6, 21, half)
    wide, slopes = run(loss, y.float(), z.float())
    totals, gradient = run(loss, y, z, out=z)
    assert gradient is z
    assert totals.numerator == wide.numerator
    # The interpreter cuts off the digits that a card rounds to bfloat16.
    digits = 2.0**-7 if half == torch.bfloat16 else 0.0
    assert torch.allclose(gradient, slopes.to(half), rtol=digits, atol=2.0**-24)
