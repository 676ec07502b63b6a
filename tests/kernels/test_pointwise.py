"""Compiled = interpreted, for every pointwise loss; removal, NaN, sums, limits."""

from __future__ import annotations

import numpy as np
import pytest

import lossary as ls
from lossary.errors import DomainError
from lossary.expr.graph import parameter, symbol
from lossary.expr.reference import Mpmath, evaluate
from lossary.kernels import pointwise
from lossary.kernels.call import Totals
from lossary.kernels.interval import Interval

DTYPES = ["float32", "float64"]
LIMITS = {"float32": 1e-6, "float64": 1e-14}
M = Mpmath(50)

LOSSES = [
    ls.squared_error,
    ls.absolute_error,
    ls.huber(delta=1.5),
    ls.log_cosh,
    ls.pinball(tau=0.3),
    ls.poisson,
    ls.tweedie(power=1.3),
    ls.absolute_percentage_error,
    ls.squared_log_error,
    ls.general_robust,
    ls.general_robust(alpha=1.3),
    ls.general_robust(alpha=-2.0, scale=0.7),
    ls.binary_cross_entropy,
    ls.binary_focal(gamma=2.0),
    ls.binary_focal(gamma=1.7),
    ls.hinge,
    ls.squared_hinge,
    ls.exponential,
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def targets(loss):
    if loss.target.name in ("label", "fraction"):
        return [0.0, 1.0]
    if loss.target.name in ("count", "positive", "nonnegative"):
        return [0.0, 1e-6, 1.0, 7.0, 1e4]
    if loss.target.name == "above_minus_one":
        return [0.0, 1e-30, -0.5, 2.5, 100.0]
    return [0.0, 1e-30, -1.0, 2.5, 100.0]


def grid(loss, dtype):
    """Return the edge grid and random points, in the dtype of the test."""
    rng = np.random.default_rng(0)
    tiny = float(np.finfo(dtype).tiny)
    steps = [0.0, tiny, 1e-8, 0.5, 1.0, 3.0, 15.0, 80.0, 100.0, 1e4]
    if loss.prediction.name == "log":  # exp scales an error of its argument by z
        steps = [s for s in steps if s < 20]
    if loss.prediction.name == "above_minus_one":
        steps = [s / 2e4 for s in steps]
    z = np.array([s * x for x in steps for s in (1, -1)] + list(rng.normal(0, 4, 40)))
    y, z = np.meshgrid(np.array(targets(loss)), z)
    return y.ravel().astype(dtype), z.ravel().astype(dtype)


def truth(loss, node, y, z):
    formula = loss.formula
    values = {parameter(p): v for p, v in zip(formula.params, loss.params, strict=True)}
    first, second = map(symbol, formula.inputs)
    return [
        evaluate(node, values | {first: float(a), second: float(b)}, M)
        for a, b in zip(y, z, strict=True)
    ]


def worst(got, true, limit):
    """Return where an error is beyond the limit: relative, absolute near a root."""
    top = float(np.finfo(got.dtype).max)
    bad = []
    for i, (g, t) in enumerate(zip(got.tolist(), true, strict=True)):
        if t != t or abs(t) > 0.99 * top:
            fine = g != g if t != t else abs(g) > 0.98 * top
        else:
            fine = abs(g - t) <= limit * min(1, max(abs(t), limit)) or (
                abs(g - t) <= limit * max(1, abs(t))
            )
        if not fine:
            bad.append((i, g, float(t)))
    return bad


@every_dtype
@every_loss
def test_compiled_is_interpreted(loss, dtype):
    y, z = grid(loss, dtype)
    formula, limit = loss.formula, LIMITS[dtype]
    _, gradient = pointwise.value_and_grad(formula, loss.params, y, z)
    assert not worst(gradient, truth(loss, formula.gradient, y, z), limit)
    values = [
        pointwise.value_and_grad(formula, loss.params, y[i : i + 1], z[i : i + 1])[0]
        for i in range(y.size)
    ]
    values = np.array([v.numerator for v in values]).astype(dtype)
    assert not worst(values, truth(loss, formula.value, y, z), limit)


@every_loss
def test_curvature_is_interpreted(loss):
    y, z = grid(loss, "float64")
    formula = loss.formula
    gradient, curvature = pointwise.grad_and_hess(formula, loss.params, y, z)
    assert not worst(gradient, truth(loss, formula.gradient, y, z), 1e-14)
    assert not worst(curvature, truth(loss, formula.curvature, y, z), 1e-12)


@every_dtype
@pytest.mark.parametrize("loss", [ls.binary_cross_entropy, ls.binary_focal], ids=repr)
def test_saturated_rows_keep_relative_accuracy(loss, dtype):
    z = np.linspace(5, 80, 50).astype(dtype) / 3
    y, formula = np.ones_like(z), loss.formula
    _, gradient = pointwise.value_and_grad(formula, loss.params, y, z)
    true = np.array(truth(loss, formula.gradient, y, z), dtype=np.float64)
    allowed = 1e-5 if dtype == "float32" else 1e-13  # exp scales an error by z
    assert np.all(abs(gradient / true - 1) < allowed)


@every_dtype
def test_infinite_logits_that_agree_cost_nothing(dtype):
    y, z = np.array([1, 0], dtype), np.array([np.inf, -np.inf], dtype)
    totals, gradient = pointwise.value_and_grad(
        ls.binary_cross_entropy.formula, (), y, z
    )
    assert totals.numerator == 0
    assert list(gradient) == [0, 0]


@every_loss
def test_removed_rows_hold_anything(loss):
    rng = np.random.default_rng(1)
    n = 3000
    y = rng.choice(targets(loss), n)
    y[y == 0] = 1.0
    z, w = rng.uniform(-0.9, 3, n), rng.integers(0, 3, n).astype(float)
    keep = rng.random(n) < 0.8
    counted = keep & (w != 0)
    dirty_y, dirty_z, dirty_w = y.copy(), z.copy(), w.copy()
    junk = rng.choice([np.nan, np.inf, -np.inf, 1e300], n)
    dirty_y[~counted], dirty_z[~counted] = junk[~counted], junk[~counted]
    dirty_w[~keep] = np.nan
    formula, params = loss.formula, loss.params
    totals, gradient = pointwise.value_and_grad(
        formula, params, dirty_y, dirty_z, weight=dirty_w, keep=keep
    )
    _, slopes = pointwise.value_and_grad(formula, params, y[counted], z[counted])
    again, _ = pointwise.value_and_grad(
        formula, params, y[counted], z[counted], weight=w[counted]
    )
    assert totals.numerator == pytest.approx(again.numerator, rel=1e-12)
    assert not totals.outside
    assert not gradient[~counted].any()
    assert np.allclose(gradient[counted], w[counted] * slopes, rtol=1e-14, atol=0)


@every_loss
@pytest.mark.parametrize("where", ["y", "z"])
def test_nan_in_a_counted_row_comes_out(loss, where):
    y, z = np.full(40, targets(loss)[-1]), np.full(40, 0.5)
    {"y": y, "z": z}[where][7] = np.nan
    totals, gradient = pointwise.value_and_grad(loss.formula, loss.params, y, z)
    assert np.isnan(totals.numerator)
    assert np.flatnonzero(np.isnan(gradient)).tolist() == [7]


def test_weights_scale_and_out():
    y, z, w = np.zeros(5), np.arange(5.0), np.array([1.0, 2, 0, 4, 1])
    out = np.full(5, np.nan)
    totals, gradient = pointwise.value_and_grad(
        ls.squared_error.formula, (), y, z, weight=w, scale=1 / 8, out=out
    )
    assert gradient is out
    assert out.tolist() == (2 * z * w / 8).tolist()
    assert totals.numerator == (w * z**2).sum()
    assert pointwise.total(ls.squared_error.formula, (), y, z, weight=w) == totals


def test_shapes_strides_and_read_only_arrays():
    z = np.arange(24.0).reshape(4, 6)[:, ::2]
    y = np.zeros((4, 3))
    y.flags.writeable = False
    totals, gradient = pointwise.value_and_grad(ls.squared_error.formula, (), y, z)
    assert totals.numerator == (z**2).sum()
    assert np.array_equal(gradient, 2 * z)


@every_dtype
def test_limits_ride_along(dtype):
    y, z = np.linspace(0, 1, 200_000).astype(dtype), np.zeros(200_000, dtype)
    keep = np.ones(y.size, bool)
    formula = ls.binary_cross_entropy.formula

    def outside(**more):
        return pointwise.total(
            formula, (), y, z, y_range=Interval(0, 1), z_range=Interval(-1, 1), **more
        ).outside

    assert not outside()
    y[123_456] = np.nan
    assert not outside()
    y[123_456] = 1.5
    assert outside()
    assert outside(keep=keep)
    keep[123_456] = False
    assert not outside(keep=keep)
    z[5] = -2
    assert outside(keep=keep)


@every_dtype
def test_only_the_ends_of_an_interval_may_be_allowed(dtype):
    y = (np.arange(5000) % 2).astype(dtype)

    def outside():
        legal = Interval(0, 1, ends_only=True)
        return pointwise.total(ls.hinge.formula, (), y, y, y_range=legal).outside

    assert not outside()
    y[4321] = np.nan
    assert not outside()
    y[4321] = 0.5
    assert outside()


@every_dtype
def test_one_value_may_be_excluded(dtype):
    y = np.linspace(-2, 1, 5000).astype(dtype)
    keep = np.ones(y.size, bool)

    def outside(**more):
        legal = Interval(-2, excluded=0.0)
        return pointwise.total(
            ls.absolute_percentage_error.formula, (), y, y, y_range=legal, **more
        ).outside

    assert not outside()
    y[4321] = np.nan
    assert not outside()
    y[4321] = -0.0
    assert outside()
    assert outside(keep=keep)
    keep[4321] = False
    assert not outside(keep=keep)
    y[0] = -2.5
    assert outside(keep=keep)


def test_an_excluded_target_is_named_where_it_counts():
    y, z = np.ones(5000), np.ones(5000)
    y[4321] = y[17] = 0.0
    weight = np.ones(5000)
    weight[17] = 0.0
    with pytest.raises(DomainError, match=r"there is 0 in row 4321;"):
        ls.absolute_percentage_error(y, z, sample_weight=weight)
    weight[4321] = 0.0
    assert ls.absolute_percentage_error(y, z, sample_weight=weight) == 0.0


def test_float32_sums_are_kept_in_float64():
    z = np.full(3_000_001, 0.1, np.float32)
    totals = pointwise.total(ls.absolute_error.formula, (), np.zeros_like(z), z)
    assert totals.numerator == pytest.approx(z.size * float(np.float32(0.1)), rel=1e-13)


def test_nothing_at_all():
    none = np.empty(0)
    totals, gradient = pointwise.value_and_grad(
        ls.huber.formula, (1.0,), none, none, weight=none
    )
    assert totals == Totals(0.0, False)
    assert gradient.shape == (0,)


def test_one_kernel_serves_all_values_of_a_parameter():
    y, z = np.zeros(3), np.array([0.5, 2.0, 8.0])
    before = pointwise._kernel.cache_info().currsize
    for delta in (1.0, 2.0, 3.5):
        totals, _ = pointwise.value_and_grad(ls.huber.formula, (delta,), y, z)
        expected = ls.huber(y, z, delta=delta, reduction="sum")
        assert totals.numerator == pytest.approx(expected, rel=1e-15)
    assert pointwise._kernel.cache_info().currsize <= before + 1
