"""Removal, NaN, half precision, sums, limits and scales of the pointwise kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossary as ls
from lossary.kernels.interval import Interval
from lossary.kernels.triton import pointwise
from lossary.kernels.triton.calls import Inputs

HUBER, ENTROPY = ls.huber(delta=1.5), ls.binary_cross_entropy


def inputs(loss, y, z, **options):
    return Inputs(loss.formula, loss.params, y, z, **options)


def run(loss, y, z, scale=1.0, out=None, **options):
    out = torch.empty(z.shape, dtype=z.dtype) if out is None else out
    return pointwise.run(inputs(loss, y, z, **options), scale, out), out


@pytest.mark.parametrize("loss", [HUBER, ENTROPY], ids=repr)
def test_removed_rows_hold_anything(loss):
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.integers(0, 2, 3000).astype(float))
    z, w = (
        torch.from_numpy(rng.normal(size=3000)),
        torch.from_numpy(rng.integers(0, 3, 3000).astype(float)),
    )
    keep = torch.from_numpy(rng.random(3000) < 0.8)
    counted = keep & (w != 0)
    junk = torch.tensor([np.nan, np.inf, -np.inf, 1e300], dtype=z.dtype)
    junk = junk[torch.arange(3000) % 4]
    dirty_y, dirty_z = y.where(counted, junk), z.where(counted, junk)
    dirty_w = w.where(keep, torch.nan)
    totals, gradient = run(loss, dirty_y, dirty_z, weight=dirty_w, keep=keep)
    clean, slopes = run(loss, y[counted], z[counted], weight=w[counted])
    assert float(totals.numerator) == pytest.approx(float(clean.numerator), rel=1e-14)
    assert torch.equal(gradient[counted], slopes)
    assert not gradient[~counted].any()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("loss", [HUBER, ls.absolute_error, ls.hinge], ids=repr)
def test_nan_in_a_counted_row_comes_out_and_nowhere_else(loss, side):
    arrays = [torch.zeros(2000), torch.full((2000,), 0.5)]
    arrays[side][1500] = torch.nan
    totals, gradient = run(loss, *arrays)
    assert totals.numerator.isnan()
    assert gradient.isnan().nonzero().flatten().tolist() == [1500]


def test_infinite_logits_that_agree_cost_nothing():
    y, z = torch.tensor([1.0, 0.0]), torch.tensor([torch.inf, -torch.inf])
    totals, gradient = run(ENTROPY, y, z)
    assert float(totals.numerator) == 0
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(half):
    rng = np.random.default_rng(1)
    y = torch.from_numpy(rng.integers(0, 2, 500)).to(half)
    z = torch.from_numpy(rng.normal(size=500)).to(half)
    totals, gradient = run(ENTROPY, y, z)
    wide, slopes = run(ENTROPY, y.float(), z.float())
    assert totals.numerator == wide.numerator
    assert gradient.dtype == half
    # The interpreter cuts off the digits that a card rounds to bfloat16.
    digits = 2.0**-7 if half == torch.bfloat16 else 0.0
    assert torch.allclose(gradient, slopes.to(half), rtol=digits, atol=0)


def test_float32_sums_are_kept_in_float64():
    z = torch.full((100_001,), 0.1)
    totals = pointwise.run(inputs(ls.absolute_error, torch.zeros_like(z), z))
    exact = z.numel() * float(z[0])
    assert float(totals.numerator) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("scale", [0.25, torch.tensor(0.25)], ids=["number", "tensor"])
def test_the_gradient_is_scaled_and_written_where_asked(scale):
    y, z, w = torch.zeros(5), torch.arange(5.0), torch.tensor([1.0, 2, 0, 4, 1])
    out = torch.full((5,), torch.nan)
    totals, gradient = run(ls.squared_error, y, z, weight=w, scale=scale, out=out)
    assert gradient is out
    assert torch.equal(out, 2 * z * w / 4)
    assert float(totals.numerator) == float((w * z**2).sum())


def test_strides_and_shapes_are_taken_as_they_are():
    z = torch.arange(24.0).reshape(4, 6)[:, ::2]
    totals, gradient = run(ls.squared_error, torch.zeros(4, 3), z)
    assert float(totals.numerator) == float((z**2).sum())
    assert torch.equal(gradient, 2 * z)


def test_a_lazily_negated_target_is_read_as_what_it_is():
    y = torch.complex(torch.zeros(5), torch.ones(5)).conj().imag
    assert y.is_neg()
    totals, _ = run(ls.squared_error, y, -torch.ones(5))
    assert float(totals.numerator) == 0


def test_of_no_items_the_sum_is_zero():
    totals, gradient = run(HUBER, torch.zeros(0), torch.zeros(0))
    assert float(totals.numerator) == 0
    assert gradient.shape == (0,)


def outside(y, z, y_range=None, z_range=None, **options):
    options["ranges"] = y_range, z_range
    found = pointwise.run(inputs(ENTROPY, y, z, **options)).outside
    return None if found is None else bool(found)


def test_limits_ride_along():
    y, z = torch.linspace(0, 1, 3000), torch.zeros(3000)
    ranges = {"y_range": Interval(0, 1), "z_range": Interval(-1, 1)}
    keep = torch.ones(3000, dtype=torch.bool)
    assert outside(y, z) is None
    y[2000] = torch.nan
    assert outside(y, z, **ranges) is False
    y[2000] = 1.5
    assert outside(y, z, keep=keep, **ranges) is True
    keep[2000] = False
    assert outside(y, z, keep=keep, **ranges) is False
    z[5] = -2
    assert outside(y, z, keep=keep, **ranges) is True


def test_only_the_ends_of_an_interval_may_be_allowed():
    y = (torch.arange(3000) % 2).float()
    ends = {"y_range": Interval(0, 1, ends_only=True)}
    y[7] = torch.nan
    assert outside(y, y, **ends) is False
    y[7] = 0.5
    assert outside(y, y, **ends) is True


def test_one_value_may_be_excluded():
    y = torch.full((3000,), -2.0)
    but_zero = {"y_range": Interval(excluded=0.0)}
    y[7] = torch.nan
    assert outside(y, y, **but_zero) is False
    y[7] = 0.0
    assert outside(y, y, **but_zero) is True


def test_a_fixed_order_gives_the_same_bits_twice():
    z = torch.from_numpy(np.random.default_rng(2).normal(size=5000))
    first, second = (run(ENTROPY, torch.ones_like(z), z)[0] for _ in range(2))
    assert first.numerator == second.numerator
