"""Softmax and loss in one pass: against 50 digits, at the edges, with removed rows."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import lossary as ls
from lossary.kernels import rows

DTYPES = ["float32", "float64"]
LIMITS = {"float32": 1e-6, "float64": 1e-14}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
CROSS_ENTROPY = ls.cross_entropy.formula


def cross_entropy(labels, z):
    """Return values and gradients at 50 digits."""
    with mpmath.workdps(50):
        values, slopes = [], []
        for label, row in zip(labels, z, strict=True):
            e = [mpmath.exp(mpmath.mpf(float(v))) for v in row]
            mass = mpmath.fsum(e)
            others = mpmath.fsum(v for k, v in enumerate(e) if k != label)
            values.append(mpmath.log1p(others / e[label]))
            slope = [v / mass for v in e]
            slope[label] = -others / mass
            slopes.append([float(s) for s in slope])
        return np.array([float(v) for v in values]), np.array(slopes)


def by_row(labels, z):
    return np.array(
        [
            rows.total(CROSS_ENTROPY, (), labels[i : i + 1], z[i : i + 1]).numerator
            for i in range(len(z))
        ]
    )


@every_dtype
@pytest.mark.parametrize("classes", [1, 2, 3, 17, 100, 5000])
def test_cross_entropy(classes, dtype):
    rng = np.random.default_rng(classes)
    n = 12 if classes < 1000 else 2
    z = (rng.normal(size=(n, classes)) * 6).astype(dtype)
    z[0] = 0
    labels = rng.integers(0, classes, n)
    values, slopes = cross_entropy(labels, z)
    limit = LIMITS[dtype]
    totals, gradient = rows.value_and_grad(CROSS_ENTROPY, (), labels, z)
    assert totals.numerator == pytest.approx(values.sum(), rel=limit)
    assert by_row(labels, z) == pytest.approx(values, rel=limit, abs=1e-300)
    true = np.arange(n), labels
    assert gradient[true] == pytest.approx(slopes[true], rel=limit, abs=1e-300)
    assert gradient == pytest.approx(slopes, rel=30 * limit, abs=limit)


@every_dtype
def test_confident_rows_keep_relative_accuracy(dtype):
    z = np.zeros((60, 3), dtype)
    z[:, 1] = np.linspace(1, 80, 60)
    labels = np.ones(60, int)
    values, slopes = cross_entropy(labels, z)
    assert by_row(labels, z) == pytest.approx(values, rel=LIMITS[dtype], abs=0)
    _, gradient = rows.value_and_grad(CROSS_ENTROPY, (), labels, z)
    assert gradient[:, 1] == pytest.approx(slopes[:, 1], rel=LIMITS[dtype], abs=0)


@every_dtype
@pytest.mark.parametrize(
    ("row", "value", "slope"),
    [
        ([np.inf, 0.0, 1.0], 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -np.inf, -np.inf], 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -np.inf, 0.0], np.log(2), [-0.5, 0.0, 0.5]),
        ([0.0, np.inf, 0.0], np.inf, [-1.0, 1.0, 0.0]),
        ([1e4, -1e4, 0.0], 0.0, [0.0, 0.0, 0.0]),
        ([-1e4, 1e4, 0.0], 2e4, [-1.0, 1.0, 0.0]),
    ],
)
def test_edges(row, value, slope, dtype):
    z, label = np.array([row], dtype), np.array([0])
    totals, gradient = rows.value_and_grad(CROSS_ENTROPY, (), label, z)
    assert totals.numerator == pytest.approx(value, rel=LIMITS[dtype])
    assert gradient[0] == pytest.approx(np.array(slope), rel=LIMITS[dtype])


@every_dtype
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal, ls.focal(gamma=1.5)])
def test_a_one_hot_distribution_is_a_label(loss, dtype):
    rng = np.random.default_rng(4)
    z = (rng.normal(size=(200, 7)) * 4).astype(dtype)
    labels = rng.integers(0, 7, 200)
    formula, params = loss.formula, loss.params
    a, first = rows.value_and_grad(formula, params, labels, z)
    b, second = rows.value_and_grad(formula, params, np.eye(7)[labels], z)
    limit = 10 * LIMITS[dtype]
    assert a.numerator == pytest.approx(b.numerator, rel=limit)
    assert first == pytest.approx(second, rel=limit, abs=limit)


@every_dtype
def test_the_divergence_of_distributions(dtype):
    rng = np.random.default_rng(5)
    y = rng.dirichlet(np.ones(9), 300).astype(dtype)
    y[0] = np.eye(9)[2]
    z = (rng.normal(size=(300, 9)) * 3).astype(dtype)
    totals, gradient = rows.value_and_grad(ls.kl_divergence.formula, (), y, z)
    exact = y.astype(float), z.astype(float)
    p = np.exp(exact[1] - np.logaddexp.reduce(exact[1], axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(exact[0] > 0, exact[0] * np.log(exact[0] / p), 0)
    mass = exact[0].sum(axis=1, keepdims=True)
    assert totals.numerator == pytest.approx(terms.sum(), rel=LIMITS[dtype])
    assert gradient == pytest.approx(p * mass - exact[0], abs=LIMITS[dtype])


@pytest.mark.parametrize("labelled", [True, False])
def test_removed_rows_hold_anything(labelled):
    rng = np.random.default_rng(6)
    z, labels = rng.normal(size=(500, 4)), rng.integers(0, 4, 500)
    w, keep = rng.integers(0, 3, 500).astype(float), rng.random(500) < 0.7
    gone = ~keep | (w == 0)
    dirty, named = z.copy(), labels.copy()
    dirty[gone], named[gone] = np.nan, -100
    target, other = (named, labels) if labelled else (dirty, z)
    if not labelled:
        target, other = (abs(x) / abs(z).sum(1)[:, None] for x in (target, other))
    totals, gradient = rows.value_and_grad(
        CROSS_ENTROPY, (), target, dirty, weight=w, keep=keep, scale=0.5
    )
    clean, slopes = rows.value_and_grad(CROSS_ENTROPY, (), other[~gone], z[~gone],
                                        weight=w[~gone], scale=0.5)  # fmt: skip
    assert totals.numerator == pytest.approx(clean.numerator, rel=1e-13)
    assert not totals.outside
    assert not gradient[gone].any()
    assert np.array_equal(gradient[~gone], slopes)


def test_a_label_of_no_class_is_reported_and_never_read():
    z = np.zeros((5, 3))
    for label in (-1, 3, 2**40):
        labels = np.array([0, 1, label, 2, 0])
        totals, gradient = rows.value_and_grad(CROSS_ENTROPY, (), labels, z)
        assert totals.outside
        assert np.isnan(totals.numerator)
        assert np.isnan(gradient).any(axis=1).tolist() == [False, False, True, 0, 0]


def test_nan_stays_in_its_row():
    z = np.zeros((6, 3))
    z[1, 0] = z[4, 2] = np.nan
    totals, gradient = rows.value_and_grad(CROSS_ENTROPY, (), np.zeros(6, int), z)
    assert np.isnan(totals.numerator)
    assert np.isnan(gradient).all(axis=1).tolist() == [0, 1, 0, 0, 1, 0]


def test_leading_axes_and_out():
    rng = np.random.default_rng(8)
    z, labels = rng.normal(size=(4, 5, 6)), rng.integers(0, 6, (4, 5))
    out = np.empty_like(z)
    totals, gradient = rows.value_and_grad(
        CROSS_ENTROPY, (), labels, z, scale=1 / 20, out=out
    )
    assert gradient is out
    flat = rows.total(CROSS_ENTROPY, (), labels.ravel(), z.reshape(20, 6))
    assert flat == totals
    assert gradient.sum() == pytest.approx(0, abs=1e-15)
