"""Gradient and curvature of class scores in one pass: as the array code has them."""

from __future__ import annotations

import numpy as np
import pytest

import lossary as ls
from lossary.kernels import rows

RNG = np.random.default_rng(0)


def by_arrays(loss, labels, z):
    """Few rows at a time, for which no kernel is loaded."""
    parts = [
        loss.grad_and_hess(labels[i : i + 50], z[i : i + 50], check="off")
        for i in range(0, len(z), 50)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [1.0, 30.0, 500.0])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal(gamma=0.5)], ids=repr)
def test_compiled_is_interpreted(loss, spread, dtype):
    z = (spread * RNG.normal(size=(300, 5))).astype(dtype)
    labels = RNG.integers(0, 5, 300)
    found = rows.grad_and_hess(loss.formula, loss.params, labels, z)
    eps = np.finfo(dtype).eps
    for ours, expected in zip(found, by_arrays(loss, labels, z), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected, rtol=100 * eps, atol=4 * eps)


def test_a_confident_row_keeps_the_digits_of_its_curvature():
    z = np.array([[40.0, 0.0, 0.0]])
    labels = np.array([0])
    _, curvature = rows.grad_and_hess(ls.cross_entropy.formula, (), labels, z)
    small = np.exp(-40.0)
    np.testing.assert_allclose(curvature, [[2 * small, small, small]], rtol=1e-12)


def test_a_label_out_of_range_and_a_missing_score_are_nan():
    z = np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, 1.0]])
    found = rows.grad_and_hess(ls.cross_entropy.formula, (), np.array([2, 1, 1]), z)
    for part in found:
        assert np.isnan(part[:2]).all()
        assert np.isfinite(part[2]).all()


def test_a_large_call_takes_the_kernel_and_no_other_memory_layout_matters():
    z = np.asfortranarray(RNG.normal(size=(60_000, 5)))
    labels = RNG.integers(0, 5, len(z))
    found = ls.cross_entropy.grad_and_hess(labels, z)
    some = slice(1000, 1040)
    expected = ls.cross_entropy.grad_and_hess(labels[some], z[some])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[some], theirs, rtol=1e-12)
