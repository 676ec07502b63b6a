"""Rows of few, many and very many classes: computed in different ways, to one end."""

from __future__ import annotations

import numpy as np
import pytest

import lossary as ls
from lossary.kernels import rows

LIMITS = {"float32": 2e-6, "float64": 2e-14}
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def wide(x):
    return np.asarray(x, np.longdouble)


def odds_of(z):
    """Return the log-odds of every class against all others, in long double."""
    z = wide(z)
    others = np.broadcast_to(z[:, None, :], (len(z), z.shape[1], z.shape[1])).copy()
    others[:, np.arange(z.shape[1]), np.arange(z.shape[1])] = -np.inf
    top = others.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return z - top[..., 0] - np.log(np.exp(others - top).sum(axis=-1))


def log_p(z):
    return -np.logaddexp(0, -odds_of(z))


def cross_entropy(y, z):
    """Return losses and gradients of distributions, in long double."""
    lp, y = log_p(z), wide(y)
    return -(y * lp).sum(axis=1), np.exp(lp) * y.sum(axis=1, keepdims=True) - y


def data(classes, dtype, n=37, seed=0):
    rng = np.random.default_rng(seed + classes)
    n = n if classes < 500 else 5
    z = (rng.normal(size=(n, classes)) * 4).astype(dtype)
    z[0] = np.linspace(-50, 50, classes)  # every block has a larger maximum
    return rng.integers(0, classes, n), rng.dirichlet(np.ones(classes), n), z


def close(found, expected, dtype):
    limit = LIMITS[dtype]
    expected = np.asarray(expected, float)
    np.testing.assert_allclose(found, expected, rtol=limit, atol=limit)


@every_dtype
@pytest.mark.parametrize("classes", [1, 2, 7, 13, 20, 24, 32, 33, 64, 100, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labelled", [True, False])
def test_cross_entropy(labelled, smoothing, classes, dtype):
    labels, shares, z = data(classes, dtype)
    y = np.eye(classes)[labels] if labelled else shares.astype(dtype)
    values, slopes = cross_entropy((1 - smoothing) * y + smoothing / classes, z)
    totals, gradient = rows.value_and_grad(
        ls.cross_entropy.formula, (), labels if labelled else y, z, smoothing=smoothing
    )
    assert totals.numerator == pytest.approx(float(values.sum()), rel=LIMITS[dtype])
    close(gradient, slopes, dtype)
    alone = rows.total(
        ls.cross_entropy.formula, (), labels if labelled else y, z, smoothing=smoothing
    )
    assert alone.numerator == pytest.approx(totals.numerator, rel=LIMITS[dtype])


@every_dtype
@pytest.mark.parametrize("classes", [2, 7, 11, 20, 21, 100, 1024, 1025, 2500])
@pytest.mark.parametrize("loss", [ls.focal, ls.focal(gamma=0.5), ls.kl_divergence])
def test_any_formula_is_that_of_the_array_code(loss, classes, dtype):
    labels, shares, z = data(classes, dtype)
    smoothing = 0.25
    y = shares if loss.name == "kl_divergence" else labels
    smooth = loss(label_smoothing=smoothing)
    value, slopes = smooth.value_and_grad(
        y if y.ndim == 1 else y.astype(float), z.astype(float), reduction="sum"
    )
    totals, gradient = rows.value_and_grad(
        loss.formula, loss.params, y, z, smoothing=smoothing
    )
    assert totals.numerator == pytest.approx(value, rel=LIMITS[dtype])
    close(gradient, slopes, dtype)


@every_dtype
@pytest.mark.parametrize("classes", [2, 20, 21, 100, 1024, 1025, 3000])
def test_labels_and_curvature_are_those_of_the_array_code(classes, dtype):
    labels, _, z = data(classes, dtype)
    exact = z.astype(float)
    for loss in (ls.cross_entropy, ls.focal(gamma=1.5)):
        value, slopes = loss.value_and_grad(labels, exact, reduction="sum")
        totals, gradient = rows.value_and_grad(loss.formula, loss.params, labels, z)
        assert totals.numerator == pytest.approx(value, rel=LIMITS[dtype])
        close(gradient, slopes, dtype)
        pair = loss.grad_and_hess(labels, exact)
        found = rows.grad_and_hess(loss.formula, loss.params, labels, z)
        for ours, expected in zip(found, pair, strict=True):
            close(ours, expected, dtype)


@pytest.mark.parametrize("classes", [3, 21, 1500])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal(gamma=1.0)], ids=repr)
def test_the_gradient_may_take_the_place_of_the_scores(loss, smoothing, classes):
    labels, _, z = data(classes, "float32")
    options = {"smoothing": smoothing, "scale": 0.5}
    formula, params = loss.formula, loss.params
    totals, expected = rows.value_and_grad(formula, params, labels, z, **options)
    again, gradient = rows.value_and_grad(formula, params, labels, z, **options, out=z)
    assert gradient is z
    assert again == totals
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("classes", [2, 10, 50, 3000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sums_do_not_depend_on_the_number_of_threads(smoothing, classes, monkeypatch):
    rng = np.random.default_rng(0)
    n = 400_000 // classes
    z, labels = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", threads)
        totals, gradient = rows.value_and_grad(
            ls.cross_entropy.formula, (), labels, z, smoothing=smoothing
        )
        found.append((totals.numerator, gradient.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("classes", [4, 30, 1100])
@pytest.mark.parametrize("target", ["label", "smoothed", "distribution"])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal], ids=repr)
def test_removed_rows_hold_anything(loss, target, classes):
    rng = np.random.default_rng(6)
    n = 60
    z, labels = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    shares = rng.dirichlet(np.ones(classes), n)
    w, keep = rng.integers(0, 3, n).astype(float), rng.random(n) < 0.7
    gone = ~keep | (w == 0)
    z[gone], labels[gone], shares[gone] = np.nan, -100, np.nan
    y = shares if target == "distribution" else labels
    smoothing = 0.1 if target == "smoothed" else 0.0
    formula, params = loss.formula, loss.params
    totals, gradient = rows.value_and_grad(
        formula, params, y, z, weight=w, keep=keep, scale=0.5, smoothing=smoothing
    )
    clean, slopes = rows.value_and_grad(
        formula, params, y[~gone], z[~gone], weight=w[~gone], scale=0.5,
        smoothing=smoothing,
    )  # fmt: skip
    assert totals.numerator == pytest.approx(clean.numerator, rel=1e-13)
    assert not totals.outside
    assert not gradient[gone].any()
    np.testing.assert_array_equal(gradient[~gone], slopes)


@pytest.mark.parametrize("classes", [4, 30, 1100])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal], ids=repr)
def test_what_is_missing_stays_in_its_row(loss, classes):
    z, labels = np.zeros((6, classes)), np.zeros(6, int)
    z[1, 2], labels[3], labels[5] = np.nan, classes, -1
    for smoothing in (0.0, 0.1):
        totals, gradient = rows.value_and_grad(
            loss.formula, loss.params, labels, z, smoothing=smoothing
        )
        assert totals.outside
        assert np.isnan(totals.numerator)
        bad = np.isnan(gradient).all(axis=1)
        assert bad[[0, 2, 4]].tolist() == [False] * 3
        assert np.isnan(gradient).any(axis=1).tolist() == [0, 1, 0, 1, 0, 1]


@every_dtype
@pytest.mark.parametrize("classes", [3, 40, 1100])
def test_a_confident_distribution_keeps_its_digits(classes, dtype):
    z = np.zeros((30, classes), dtype)
    z[:, 1] = np.linspace(10, 80, 30)
    y = np.zeros_like(z)
    y[:, 1] = 1
    rest = (classes - 1) * np.exp(-z[:, 1].astype(float))
    values = [
        rows.total(ls.cross_entropy.formula, (), y[i : i + 1], z[i : i + 1]).numerator
        for i in range(30)
    ]
    np.testing.assert_allclose(values, np.log1p(rest), rtol=2 * LIMITS[dtype])
    _, gradient = rows.value_and_grad(ls.cross_entropy.formula, (), y, z)
    wanted = -rest / (1 + rest)
    np.testing.assert_allclose(gradient[:, 1], wanted, rtol=2 * LIMITS[dtype])


@every_dtype
@pytest.mark.parametrize("classes", [4, 40, 1100])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal], ids=repr)
def test_infinite_scores(loss, classes, dtype):
    z = np.zeros((3, classes), dtype)
    z[0, 0] = np.inf  # certain, and right
    z[1, 1] = np.inf  # certain, and wrong
    z[2, 1:] = -np.inf  # nothing else is in reach
    y = np.zeros_like(z)
    y[:, 0] = 1
    for target in (np.zeros(3, int), y):
        values = [
            rows.total(loss.formula, loss.params, target[i : i + 1], z[i : i + 1])
            for i in range(3)
        ]
        assert [v.numerator for v in values] == [0.0, np.inf, 0.0]


def test_ten_million_terms_lose_nothing():
    z = np.zeros((1_000_000, 10), np.float32)
    z[:, 3] = 0.1
    labels = np.zeros(len(z), int)
    exact = np.log(9 + np.exp(np.float64(np.float32(0.1))))
    totals = rows.total(ls.cross_entropy.formula, (), labels, z)
    assert totals.numerator == pytest.approx(len(z) * exact, rel=1e-7)


@every_dtype
@pytest.mark.parametrize("classes", [4, 40, 1100])
@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal], ids=repr)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_is_no_distribution_is_told_where_it_counts(
    smoothing, loss, classes, dtype
):
    shares, z = (x.astype(dtype) for x in data(classes, dtype)[1:])
    kept = np.arange(len(z)) != 3
    for spoil in (
        lambda y: y * 1.01,
        lambda y: y + np.eye(classes)[0] - np.eye(classes)[1],
    ):
        y = shares.copy()
        told = {"smoothing": smoothing}
        assert not rows.total(loss.formula, loss.params, y, z, **told).outside
        y[3] = spoil(y[3])
        assert rows.total(loss.formula, loss.params, y, z, **told).outside
        told["keep"] = kept
        assert not rows.total(loss.formula, loss.params, y, z, **told).outside
