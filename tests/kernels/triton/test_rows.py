"""Softmax and loss on a card: sizes, edges, removed rows, labels, the same place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossary as ls
from lossary.kernels.triton import rows
from lossary.kernels.triton.calls import Inputs

LOSSES = [ls.cross_entropy, ls.focal, ls.focal(gamma=1.5)]
ENTROPY = ls.cross_entropy


def inputs(loss, y, z, **options):
    return Inputs(loss.formula, loss.params, y, z, **options)


def run(loss, y, z, scale=1.0, out=None, **options):
    out = torch.empty(z.shape, dtype=z.dtype) if out is None else out
    return rows.run(inputs(loss, y, z, **options), scale, out), out


def batch(n, classes, dtype=torch.float32, seed=0):
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(size=(n, classes)) * 4).to(dtype)
    return torch.from_numpy(rng.integers(0, classes, n)), z


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("classes", [2, 3, 17, 300, 4096, 9000])
def test_values_and_gradients_of_any_width(loss, classes):
    labels, z = batch(5, classes)
    wide = z.double().requires_grad_()
    value = loss(labels, wide, reduction="sum")
    value.backward()
    totals, gradient = run(loss, labels, z)
    assert float(totals.numerator) == pytest.approx(value.item(), rel=1e-6)
    assert torch.allclose(gradient.double(), wide.grad, rtol=1e-5, atol=1e-6)
    assert not totals.outside


def test_many_short_rows_are_shared_out_among_programs():
    labels, z = batch(1000, 10, torch.float64)
    totals, gradient = run(ENTROPY, labels, z)
    expected = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    assert float(totals.numerator) == pytest.approx(float(expected.sum()), rel=1e-13)
    hits = torch.nn.functional.one_hot(labels, 10)
    assert torch.allclose(gradient, z.softmax(1) - hits, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("row", "value", "slope"),
    [
        ([torch.inf, 0.0, 1.0], 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -torch.inf, -torch.inf], 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -torch.inf, 0.0], np.log(2), [-0.5, 0.0, 0.5]),
        ([0.0, torch.inf, 0.0], np.inf, [-1.0, 1.0, 0.0]),
        ([1e4, -1e4, 0.0], 0.0, [0.0, 0.0, 0.0]),
        ([-1e4, 1e4, 0.0], 2e4, [-1.0, 1.0, 0.0]),
    ],
)
def test_edges(row, value, slope):
    totals, gradient = run(ENTROPY, torch.tensor([0]), torch.tensor([row]))
    assert float(totals.numerator) == pytest.approx(value, rel=1e-6)
    assert gradient[0].tolist() == pytest.approx(slope, rel=1e-6)


def test_a_whole_block_at_minus_infinity_is_no_class_at_all(monkeypatch):
    monkeypatch.setattr(rows, "shape", lambda *_: (1, 4, 4))
    labels, z = batch(3, 11, torch.float64)
    alone = torch.cat((torch.full((3, 4), -torch.inf, dtype=z.dtype), z), 1)
    totals, gradient = run(ENTROPY, labels + 4, alone)
    expected, slopes = run(ENTROPY, labels, z)
    assert float(totals.numerator) == pytest.approx(float(expected.numerator))
    assert not gradient[:, :4].any()
    assert torch.allclose(gradient[:, 4:], slopes, rtol=1e-14)


def test_confident_rows_keep_relative_accuracy():
    z = torch.zeros(1, 3)
    for score in (20.0, 40.0, 80.0):
        z[0, 1] = score
        totals, gradient = run(ENTROPY, torch.tensor([1]), z)
        exact = np.log1p(2 * np.exp(-score))
        assert float(totals.numerator) == pytest.approx(exact, rel=1e-6)
        exact = 2 * np.exp(-score) / (1 + 2 * np.exp(-score))
        assert float(gradient[0, 1]) == pytest.approx(-exact, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_removed_rows_hold_anything(loss):
    labels, z = batch(500, 4, torch.float64, seed=6)
    rng = np.random.default_rng(6)
    w = torch.from_numpy(rng.integers(0, 3, 500).astype(float))
    keep = torch.from_numpy(rng.random(500) < 0.7)
    counted = keep & (w != 0)
    dirty, named = z.clone(), labels.clone()
    dirty[~counted], named[~counted] = torch.nan, -100
    totals, gradient = run(loss, named, dirty, weight=w, keep=keep, scale=0.5)
    clean, slopes = run(loss, labels[counted], z[counted], weight=w[counted])
    assert float(totals.numerator) == pytest.approx(float(clean.numerator), rel=1e-13)
    assert not totals.outside
    assert not gradient[~counted].any()
    assert torch.allclose(gradient[counted], slopes / 2, rtol=1e-15)


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_of_no_class_is_reported_and_never_read(label):
    labels = torch.tensor([0, 1, label, 2, 0])
    totals, gradient = run(ENTROPY, labels, torch.zeros(5, 3))
    assert totals.outside
    assert totals.numerator.isnan()
    assert gradient.isnan().any(1).tolist() == [False, False, True, False, False]


def test_nan_stays_in_its_row():
    z = torch.zeros(6, 3)
    z[1, 0] = z[4, 2] = torch.nan
    totals, gradient = run(ENTROPY, torch.zeros(6, dtype=torch.int32), z)
    assert totals.numerator.isnan()
    assert gradient.isnan().all(1).tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize("classes", [7, 9000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_gradient_may_go_over_the_scores(classes, dtype):
    labels, z = batch(3, classes, dtype)
    expected, slopes = run(ENTROPY, labels, z.clone())
    totals, gradient = run(ENTROPY, labels, z, out=z)
    assert gradient is z
    assert torch.equal(z, slopes)
    assert totals.numerator == expected.numerator


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(half):
    labels, z = batch(20, 30, half)
    totals, gradient = run(ENTROPY, labels, z)
    wide, slopes = run(ENTROPY, labels, z.float())
    assert totals.numerator == wide.numerator
    # The interpreter cuts off the digits that a card rounds to bfloat16.
    digits = 2.0**-7 if half == torch.bfloat16 else 0.0
    assert torch.allclose(gradient, slopes.to(half), rtol=digits, atol=0)


def test_leading_axes_and_the_value_alone():
    labels, z = batch(20, 6, torch.float64)
    totals, gradient = run(ENTROPY, labels.reshape(4, 5), z.reshape(4, 5, 6))
    alone = rows.run(inputs(ENTROPY, labels, z))
    assert alone.numerator == totals.numerator
    assert gradient.shape == (4, 5, 6)
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-14)
