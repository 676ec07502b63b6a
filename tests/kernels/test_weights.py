"""One look at the weights: their sum, how many count, and whether all are legal."""

from __future__ import annotations

import numpy as np
import pytest

import lossary as ls
from lossary.errors import DomainError
from lossary.kernels.weights import Weighed, weigh

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_dtype
@pytest.mark.parametrize("size", [1, 15, 1024, 200_001])
def test_sum_and_count(size, dtype):
    w = np.random.default_rng(0).integers(0, 3, size).astype(dtype)
    assert weigh(w) == Weighed(w.sum(dtype=float), np.count_nonzero(w), True)
    assert weigh(w[::-1]) == weigh(w)


@every_dtype
@pytest.mark.parametrize("bad", [-1.0, -np.inf, np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 70_000, 100_000])
def test_what_is_illegal_is_told(place, bad, dtype):
    w = np.ones(100_001, dtype)
    w[place] = bad
    assert not weigh(w).legal


@pytest.mark.parametrize("reduction", ["mean", "mean_over_items", "sum"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_large_call_weighs_as_a_small_one(reduction, zeros, masked):
    rng = np.random.default_rng(1)
    y, z = rng.normal(size=(2, 200_000))
    w = rng.integers(0 if zeros else 1, 4, 200_000).astype(float)
    mask = rng.random(200_000) < 0.7 if masked else None
    kept = np.ones_like(w) if mask is None else mask
    divisor = {
        "mean": (w * kept).sum(),
        "mean_over_items": np.count_nonzero(w * kept),
        "sum": 1,
    }[reduction]
    found = ls.squared_error(y, z, sample_weight=w, mask=mask, reduction=reduction)
    assert found == pytest.approx((w * kept * (y - z) ** 2).sum() / divisor, rel=1e-13)


def test_a_weight_per_row_counts_for_all_its_items():
    rng = np.random.default_rng(2)
    y, z = rng.normal(size=(2, 5000, 4))
    w = rng.random(5000)
    expected = (w[:, None] * (y - z) ** 2).sum() / (4 * w.sum())
    found = ls.squared_error(y, z, sample_weight=w)
    assert found == pytest.approx(expected, rel=1e-13)


def test_an_illegal_weight_of_a_large_call_is_named():
    w = np.ones(50_000)
    w[41_234] = -2
    with pytest.raises(DomainError, match=r"-2 in row 41234"):
        ls.squared_error(w, w, sample_weight=w)
