"""The quick way of small calls gives what the long way gives, and says the same."""

from __future__ import annotations

import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from laws.cases import POINTWISE, VARIANTS, random

import lossary as ls
from lossary import kernels
from lossary.arrays import fused, standard
from lossary.arrays.standard import settled
from lossary.errors import DomainError, ParameterError, ShapeError
from lossary.structures import items

QUICK = [v for v in VARIANTS if v.plain is not None]
quick_losses = pytest.mark.parametrize("loss", QUICK, ids=repr)
ways = pytest.mark.parametrize("way", ["interpreted", "compiled"])
REDUCTIONS = ["mean", "mean_over_items", "sum"]


@pytest.fixture
def steer(monkeypatch):
    """Have small calls computed in NumPy alone, or by kernels alone."""

    def choose(way):
        if way == "interpreted":
            monkeypatch.setattr(kernels, "available", lambda: False)

    return choose


@pytest.fixture
def at_length(monkeypatch):
    """Compute a call without the quick way."""

    def compute(call):
        with monkeypatch.context() as patch:
            patch.setattr(standard, "SMALL", 0)
            patch.setattr(fused, "COMPILED_FROM", 1 << 60)
            return call()

    return compute


def fresh(loss):
    """Return an equal loss, as if it had not been called."""
    items._made.cache_clear()
    return pickle.loads(pickle.dumps(loss))


@quick_losses
@ways
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quick_is_long(loss, way, dtype, steer, at_length):
    steer(way)
    loss = fresh(loss)
    inputs = random(loss, n=24, dtype=dtype)
    rng = np.random.default_rng(0)
    weight, mask = rng.uniform(0.5, 2.0, len(inputs.y)), np.arange(len(inputs.y)) % 4
    given = [
        {},
        {"sample_weight": weight},
        {"mask": mask > 0},
        {"sample_weight": weight * (mask < 3), "mask": mask > 0},
    ]
    tight = {"rtol": 1e-12 if dtype == "float64" else 2e-5, "atol": 1e-6}
    for reduction in REDUCTIONS:
        for some in given:
            options = some | {"reduction": reduction}

            def call(options=options):
                both = loss.value_and_grad(inputs.y, inputs.z, **options)
                return loss(inputs.y, inputs.z, **options), *both

            for got, expected in zip(call(), at_length(call), strict=True):
                assert got.dtype == expected.dtype
                np.testing.assert_allclose(got, expected, **tight)


def test_both_ways_are_taken(steer, monkeypatch):
    made = []
    real = fused.small_kernel
    monkeypatch.setattr(fused, "small_kernel", lambda *a: made.append(a) or real(*a))
    y, z = np.zeros(4), np.ones(4)
    fresh(ls.huber)(y, z)
    assert len(made) == 1
    steer("interpreted")
    fresh(ls.huber)(y, z)
    assert len(made) == 1


def test_a_kernel_is_loaded_once(monkeypatch):
    made = []
    real = fused.small_kernel
    monkeypatch.setattr(fused, "small_kernel", lambda *a: made.append(a) or real(*a))
    loss, y, z = fresh(ls.log_cosh), np.zeros(3), np.ones(3)
    values = {float(loss(y, z)) for _ in range(4)}
    assert len(made) == len(values) == 1


def test_equal_parameters_of_calls_share_what_is_ready():
    first = settled(ls.huber, {"delta": 2})
    assert first == ls.huber(delta=2.0)
    assert settled(ls.huber, {"delta": 2.0}) is first
    assert settled(ls.huber, {"delta": 3.0}) is not first
    assert settled(ls.huber, {"delta": np.ones(2)}) is None


def test_parameters_of_many_calls_are_not_kept_for_ever():
    loss = fresh(ls.huber)
    made = [weakref.ref(settled(loss, {"delta": 1.0 + i})) for i in range(200)]
    gc.collect()
    assert sum(ref() is not None for ref in made) < 100


@ways
def test_parameters_of_a_call_are_those_of_a_bound_loss(way, steer):
    steer(way)
    loss, y, z = fresh(ls.huber), np.zeros(2), np.array([1.0, 5.0])
    for delta in (1.0, 2.0, 1.0):
        assert loss(y, z, delta=delta) == loss(delta=delta)(y, z)
    with pytest.raises(ParameterError, match="delta must be"):
        loss(y, z, delta=-1.0)
    with pytest.raises(ParameterError, match="no parameter 'beta'"):
        loss(y, z, beta=1.0)


def test_a_copy_shares_its_kernel():
    loss = fresh(ls.huber)
    assert pickle.loads(pickle.dumps(loss)).plain is loss.plain
    assert loss(delta=2.0).plain is not loss.plain


@pytest.mark.parametrize("loss", [v for v in POINTWISE if v.target.bounded], ids=repr)
@ways
def test_illegal_targets_are_named(loss, way, steer, at_length):
    steer(way)
    loss = fresh(loss)
    inputs = random(loss, n=6)
    y = inputs.y.copy()
    y[2] = 0.0 if loss.target.name == "nonzero" else -3.0
    with pytest.raises(DomainError, match="in row 2") as quick:
        loss(y, inputs.z)
    with pytest.raises(DomainError) as long:
        at_length(lambda: loss(y, inputs.z))
    assert str(quick.value) == str(long.value)
    value = loss(y, inputs.z, check="off")
    expected = at_length(lambda: loss(y, inputs.z, check="off"))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@ways
def test_class_numbers_and_logits_are_checked(way, steer):
    steer(way)
    loss, z = fresh(ls.cross_entropy), np.array([[2.0, -1.0], [0.5, 1.0]])
    with pytest.raises(DomainError, match="2 in row 1"):
        loss(np.array([0, 2]), z)
    with pytest.raises(DomainError, match="rows of probabilities"):
        loss(np.array([0, 1]), np.array([[0.25, 0.75], [0.5, 0.5]]))


@ways
def test_nan_in_a_counted_row_comes_out(way, steer):
    steer(way)
    loss, y = fresh(ls.hinge), np.array([0.0, 1.0, np.nan])
    value, gradient = loss.value_and_grad(y, np.zeros(3))
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(gradient), [False, False, True])


REMOVING = {"sample_weight": np.array([2.0, 0.0]), "mask": np.array([True, False])}
removing = pytest.mark.parametrize("by", REMOVING)


@ways
@removing
def test_a_removed_row_may_hold_anything(way, by, steer):
    steer(way)
    loss = fresh(ls.binary_cross_entropy)
    for y in (np.nan, -3.0):
        value, gradient = loss.value_and_grad(
            np.array([0.0, y]), np.zeros(2), **{by: REMOVING[by]}
        )
        assert value == pytest.approx(np.log(2.0))
        np.testing.assert_array_equal(gradient, [0.5, 0.0])


@ways
@removing
def test_nothing_left_follows_the_policy(way, by, steer):
    steer(way)
    loss, none = fresh(ls.squared_error), {by: np.zeros(2, REMOVING[by].dtype)}
    y, z = np.zeros(2), np.ones(2)
    assert np.isnan(loss(y, z, **none))
    assert loss(y, z, empty="zero", **none) == 0
    with pytest.raises(DomainError, match="nothing is left"):
        loss(y, z, empty="raise", **none)


@quick_losses
@ways
def test_quick_curvature_is_long(loss, way, steer, at_length):
    steer(way)
    loss, inputs = fresh(loss), random(loss, n=24)

    def call():
        return loss.grad_and_hess(inputs.y, inputs.z)

    for got, expected in zip(call(), at_length(call), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@removing
def test_weights_and_masks_need_no_closer_look(by, steer, monkeypatch):
    steer("compiled")
    looked = []
    monkeypatch.setattr(ls.Loss, "in_full", lambda *a: looked.append(a))
    for loss, z in ((ls.huber, np.zeros(2)), (ls.cross_entropy, -np.eye(2))):
        loss(np.zeros(2, int), z, **{by: REMOVING[by]})
    assert not looked


@ways
def test_bad_weights_are_refused(way, steer):
    steer(way)
    loss = fresh(ls.squared_error)
    for bad in (-1.0, np.inf, np.nan):
        with pytest.raises(DomainError, match="sample_weight"):
            loss(np.zeros(2), np.ones(2), sample_weight=np.array([1.0, bad]))
        with pytest.raises(DomainError, match="sample_weight"):
            loss(
                np.zeros(2), np.ones(2),
                sample_weight=np.array([1.0, bad]), mask=np.array([True, False]),
            )  # fmt: skip
    with pytest.raises(ShapeError, match="sample_weight"):
        loss(np.zeros(2), np.ones(2), sample_weight=np.ones(3))


@ways
def test_whole_targets_and_any_strides_are_taken(way, steer):
    steer(way)
    loss = fresh(ls.squared_error)
    z = np.arange(12.0).reshape(3, 4)[::-1, ::2]
    y = np.arange(6).reshape(2, 3).T
    value, gradient = loss.value_and_grad(y, z)
    assert value == np.mean((y - z) ** 2)
    np.testing.assert_allclose(gradient, 2 * (z - y) / 6)


@ways
def test_what_a_number_cannot_hold_is_infinite(way, steer):
    steer(way)
    y, z = np.zeros(2, np.float32), np.full(2, 3e38, np.float32)
    value = fresh(ls.absolute_error)(y, z, reduction="sum")
    assert np.isposinf(value)
    assert value.dtype == np.float32


def test_the_gradient_of_a_constant_slope_is_an_array_of_its_own(steer):
    steer("interpreted")
    y, z = np.zeros(3), np.array([1.0, -2.0, 3.0])
    _, gradient = fresh(ls.absolute_error).value_and_grad(y, z, reduction="sum")
    gradient[:] = 7
    np.testing.assert_array_equal(z, [1, -2, 3])


def test_calls_may_overlap_on_threads(steer):
    steer("compiled")
    loss = fresh(ls.huber)
    inputs = [np.random.default_rng(i).normal(size=(2, 40)) for i in range(64)]
    expected = [loss.value_and_grad(*pair) for pair in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            got = list(pool.map(lambda pair: loss.value_and_grad(*pair), inputs))
            for ours, theirs in zip(got, expected, strict=True):
                assert ours[0] == theirs[0]
                np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_loss_that_has_been_called_travels():
    loss = ls.huber(delta=2.0)
    value = loss(np.zeros(2), np.ones(2))
    assert fresh(loss)(np.zeros(2), np.ones(2)) == value
    assert fresh(loss) == loss


@ways
def test_class_numbers_are_refused_where_only_distributions_are_taken(way, steer):
    steer(way)
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        fresh(ls.kl_divergence)(np.array([0, 1]), np.array([[1.0, -1], [0, -2]]))
