"""Inputs on which losses go wrong in the field, each named by what goes wrong.

Most of them run without an error elsewhere; the numbers are what they must give here.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import Any

import jax
import numpy as np
import pytest
from laws.frameworks import FRAMEWORKS

import lossary as ls
from lossary.errors import DomainError, ShapeError
from lossary.ops import sqrt, where

jax.config.update("jax_enable_x64", True)

AUTODIFF = ("torch", "jax", "tensorflow")
everywhere = pytest.mark.parametrize("name", ["numpy", *AUTODIFF])
with_autodiff = pytest.mark.parametrize("name", AUTODIFF)
INF = math.inf


def items(name: str, loss: Any, y: Any, z: Any) -> Any:
    return FRAMEWORKS[name].items(loss, np.asarray(y), np.asarray(z, float))


def slopes(name: str, loss: Any, y: Any, z: Any) -> Any:
    """Return the gradient of the sum: autodiff's where there is one."""
    return FRAMEWORKS[name].gradient(loss, np.asarray(y, float), np.asarray(z, float))


def by_class(name: str, loss: Any, y: Any, z: Any) -> Any:
    return FRAMEWORKS[name].gradient(loss, np.asarray(y), np.asarray(z, float))


def made(name: str, *arrays: Any) -> Any:
    return [FRAMEWORKS[name].make(np.asarray(a)) for a in arrays]


def number(x: Any) -> float:
    return float(np.asarray(x))


# -- the edge -------------------------------------------------------------------------


@everywhere
def test_logits_that_overflow_or_underflow_a_sigmoid(name):
    y, z = [0.0, 1.0, 1.0, 0.0], [1000.0, -1000.0, 100.0, -100.0]
    tiny = math.exp(-100)
    got = items(name, ls.binary_cross_entropy, y, z)
    np.testing.assert_allclose(got, [1000, 1000, tiny, tiny], rtol=1e-14)
    got = slopes(name, ls.binary_cross_entropy, y, z)
    np.testing.assert_allclose(got, [1, -1, -tiny, tiny], rtol=1e-14)


@everywhere
def test_infinite_logits_that_agree_with_the_target_cost_nothing(name):
    y, z = [0.0, 1.0], [-INF, INF]
    np.testing.assert_array_equal(items(name, ls.binary_cross_entropy, y, z), [0, 0])
    np.testing.assert_array_equal(slopes(name, ls.binary_cross_entropy, y, z), [0, 0])


@everywhere
def test_an_infinite_logit_against_a_soft_target_costs_infinity_not_nan(name):
    assert items(name, ls.binary_cross_entropy, [0.9], [-INF]) == [INF]


@everywhere
def test_a_class_masked_by_minus_infinity(name):
    z, y = [[-INF, 0.0]], [[0.0, 1.0]]
    np.testing.assert_array_equal(items(name, ls.cross_entropy, y, z), [0])
    np.testing.assert_array_equal(slopes(name, ls.cross_entropy, y, z), [[0, 0]])
    np.testing.assert_array_equal(by_class(name, ls.cross_entropy, [1], z), [[0, 0]])


def test_a_class_masked_by_minus_infinity_in_forward_mode():
    import torch

    def cost(z):
        return ls.cross_entropy(torch.tensor([[0.0, 1.0]]), z, check="off")

    z, way = torch.tensor([[-INF, 0.0]]), torch.tensor([[0.0, 1.0]])
    value, tangent = torch.func.jvp(cost, (z,), (way,))
    assert value == 0
    assert tangent == 0

    def in_jax(z):
        return ls.cross_entropy(jax.numpy.array([1]), z)

    z, way = jax.numpy.array([[-INF, 0.0]]), jax.numpy.array([[0.0, 1.0]])
    assert jax.jvp(in_jax, (z,), (way,)) == (0, 0)


@everywhere
def test_a_branch_not_taken_does_not_poison_the_gradient(name):
    @ls.pointwise
    def root_where_positive(y, z):
        r = z - y
        return where(r > 0, sqrt(r), r)

    got = slopes(name, root_where_positive, [0.0, 0.0, 0.0], [-1.0, -4.0, 4.0])
    np.testing.assert_array_equal(got, [1, 1, 0.25])


@everywhere
@pytest.mark.parametrize(
    ("loss", "y", "z", "slope"),
    [
        (ls.absolute_error, 0.0, 0.0, 0.0),
        (ls.huber, 0.0, 1.0, 1.0),
        (ls.huber, 0.0, -1.0, -1.0),
        (ls.hinge, 1.0, 2.0, 0.0),
        (ls.squared_hinge, 1.0, 1.0, 0.0),
        (ls.absolute_percentage_error, 2.0, 2.0, 0.0),
    ],
)
def test_the_slope_at_a_knot(name, loss, y, z, slope):
    assert slopes(name, loss, [y], [z]) == [slope]


@everywhere
def test_focal_exponents_at_saturated_logits(name):
    y, z = [0.0, 1.0, 0.0, 1.0], [-100.0, -100.0, 100.0, 100.0]
    got = slopes(name, ls.binary_focal(gamma=0.5), y, z) / 4
    np.testing.assert_allclose(got, [0, -0.25, 0.25, 0], atol=1e-40)
    np.testing.assert_array_equal(
        slopes(name, ls.binary_focal(gamma=0.0), [1.0], [1000.0]), [0]
    )


# -- half precision -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "tensorflow"])
def test_a_sum_beyond_the_range_of_half_precision(name):
    error = np.full(20_500, 9.6, np.float16)
    y, z = made(name, np.zeros_like(error), error)
    assert number(ls.absolute_error(y, z)) == pytest.approx(9.6, rel=1e-3)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "tensorflow"])
def test_a_probability_of_one_in_half_precision(name):
    loss = ls.binary_cross_entropy(from_logits=False)
    y, z = made(name, np.float16([1, 0, 1]), np.float16([1, 0, 0.5]))
    value, gradient = loss.value_and_grad(y, z)
    assert number(value) == pytest.approx(math.log(2) / 3, rel=1e-6)
    assert np.isfinite(np.asarray(gradient)).all()


# -- denominators ---------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("option", ["mask", "sample_weight"])
def test_a_batch_in_which_everything_is_ignored(name, option):
    y, z, nothing = made(name, [0, 1], [[1.0, 2.0], [3.0, 4.0]], [0.0, 0.0])
    out = {option: nothing > 0 if option == "mask" else nothing}
    assert math.isnan(number(ls.cross_entropy(y, z, **out)))
    value, gradient = ls.cross_entropy.value_and_grad(y, z, empty="zero", **out)
    assert number(value) == 0
    np.testing.assert_array_equal(np.asarray(gradient), np.zeros((2, 2)))
    with pytest.raises(DomainError, match="nothing is left to average"):
        ls.cross_entropy(y, z, empty="raise", **out)
    assert number(ls.cross_entropy.sums(y, z, **out).denominator) == 0


@with_autodiff
def test_the_gradient_of_a_batch_in_which_everything_is_ignored(name):
    def ignoring(y, z, reduction):
        nobody = FRAMEWORKS[name].make(np.zeros(2))
        return ls.cross_entropy(y, z, sample_weight=nobody, empty="zero")

    got = FRAMEWORKS[name].gradient(ignoring, np.array([0, 1]), np.eye(2) + 1)
    np.testing.assert_array_equal(got, np.zeros((2, 2)))


@everywhere
def test_a_column_against_a_row_is_not_broadcast(name):
    column, row = made(name, np.arange(4.0)[:, None], np.arange(4.0))
    for pair in ((column, row), (row, column)):
        with pytest.raises(ShapeError) as refused:
            ls.squared_error(*pair)
        assert "(4, 1)" in str(refused.value)
        assert "(4,)" in str(refused.value)


def test_class_weights_and_the_two_means():
    z, y = [[0.2, 0.3, -0.5], [0.5, 0.2, -0.3]], [2, 1]
    per_class = np.array([2.0, 4.0, 6.0])
    w = per_class[y]
    first, second = ls.cross_entropy(y, z, reduction="none")
    plain = ls.cross_entropy(y, z, sample_weight=w, reduction="mean_over_items")
    assert plain == pytest.approx((6 * first + 4 * second) / 2)
    weighted = ls.cross_entropy(y, z, sample_weight=w)
    assert weighted == pytest.approx((6 * first + 4 * second) / 10)


def test_class_weights_on_the_published_numbers():
    z, y = [[0.2, 0.3, 0.5], [0.5, 0.2, 0.3]], [2, 1]
    options = {"sample_weight": [6.0, 4.0], "check": "off"}  # logits that sum to 1
    got = ls.cross_entropy(y, z, reduction="none", **options)
    np.testing.assert_allclose(got, [5.6390, 4.9593], atol=5e-5)
    assert ls.cross_entropy(y, z, **options) == pytest.approx(1.0598, abs=5e-5)
    plain = ls.cross_entropy(y, z, reduction="mean_over_items", **options)
    assert plain == pytest.approx(5.2992, abs=5e-5)


def test_a_weight_of_ten_on_a_batch_of_one():
    one = ls.squared_error([0.0], [3.0])
    assert ls.squared_error([0.0], [3.0], sample_weight=[10.0]) == one
    plain = {"sample_weight": [10.0], "reduction": "mean_over_items"}
    assert ls.squared_error([0.0], [3.0], **plain) == 10 * one


@everywhere
def test_a_row_of_weight_zero_does_not_count_in_the_mean(name):
    y, z, w = made(name, [0.0, 0.0], [1.0, 1.0], [0.0, 1.0])
    assert number(ls.squared_error(y, z, sample_weight=w)) == 1


@everywhere
def test_a_row_of_weight_zero_may_hold_nan(name):
    y, z, w = made(name, [math.nan, 0.0], [1.0, 1.0], [0.0, 1.0])
    value, gradient = ls.squared_error.value_and_grad(y, z, sample_weight=w)
    assert number(value) == 1
    np.testing.assert_array_equal(np.asarray(gradient), [0, 2])


@with_autodiff
def test_nan_in_a_removed_row_does_not_reach_autodiff(name):
    make = FRAMEWORKS[name].make

    def removing(y, z, reduction):
        mask = make(np.array([False, True]))
        return ls.squared_error(y, z, mask=mask, reduction=reduction)

    y, z = np.array([math.nan, 0.0]), np.array([math.inf, 1.0])
    got = FRAMEWORKS[name].gradient(removing, y, z)
    np.testing.assert_array_equal(got, [0, 2])


def test_micro_batches_of_unequal_size():
    y, z = np.zeros(4), np.array([4.0, 1.0, 1.0, 1.0])
    parts = [ls.absolute_error.sums(y[s], z[s]) for s in (slice(1), slice(1, None))]
    assert (parts[0] + parts[1]).mean() == 1.75
    naive = np.mean([s.mean() for s in parts])
    assert naive == 2.5


@pytest.mark.parametrize("cuts", [(1,), (2,), (1, 2, 3)])
def test_gradients_of_any_split_add_to_the_whole(cuts):
    y, z = np.zeros(4), np.array([4.0, 1.0, -1.0, 2.0])
    _, whole = ls.huber.value_and_grad(y, z)
    total = ls.huber.sums(y, z).denominator
    pairs = zip(np.split(y, cuts), np.split(z, cuts), strict=True)
    parts = [ls.huber.value_and_grad(*p, reduction="sum")[1] / total for p in pairs]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-15)


def test_two_workers_with_unequal_numbers_of_tokens():
    import torch

    weight = torch.tensor(1.0, requires_grad=True)
    shards = [torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([6.0])]
    sums = [ls.squared_error.sums(x, weight * x * 2) for x in shards]
    count = reduce(add, (s.denominator for s in sums))
    world = len(shards)
    local = [torch.autograd.grad(s.numerator * world / count, weight)[0] for s in sums]
    tokens = torch.cat(shards)
    (whole,) = torch.autograd.grad(
        ls.squared_error(tokens, weight * tokens * 2), weight
    )
    assert sum(local) / world == pytest.approx(float(whole))


# -- the wrong thing passed -----------------------------------------------------------


@everywhere
def test_softmax_applied_twice(name):
    y, p = made(name, [0], [[0.9, 0.1]])
    with pytest.raises(DomainError, match="from_logits=False"):
        ls.cross_entropy(y, p)
    twice = ls.cross_entropy(y, p, check="off")
    assert number(twice) == pytest.approx(0.371, abs=5e-4)
    once = ls.cross_entropy(y, p, from_logits=False)
    assert number(once) == pytest.approx(0.105, abs=5e-4)


@pytest.mark.parametrize(("classes", "floor"), [(2, 0.313), (10, 1.461)])
def test_softmax_applied_twice_can_never_fit(classes, floor):
    perfect = np.eye(classes)[:1]
    got = ls.cross_entropy([0], perfect, check="off")
    assert got == pytest.approx(floor, abs=5e-4)


@everywhere
def test_the_divergence_of_a_row_is_not_divided_by_its_classes(name):
    target = [[0.1, 0.2, 0.3, 0.4]]
    y, p = made(name, target, [[0.25] * 4])
    got = ls.kl_divergence(y, p, from_logits=False)
    assert number(got) == pytest.approx(0.1064, abs=5e-5)


@everywhere
@pytest.mark.parametrize(
    ("y", "p", "which"),
    [
        ([[0.1, 0.2, 0.3, 0.3]], [[0.25] * 4], "y_true"),
        ([[0.1, 0.2, 0.3, 0.4]], [[0.5] * 4], "y_pred"),
    ],
)
def test_a_divergence_of_rows_that_do_not_sum_to_one(name, y, p, which):
    with pytest.raises(DomainError, match=f"a row of {which} must sum to 1"):
        ls.kl_divergence(*made(name, y, p), from_logits=False)


def test_a_divergence_with_its_arguments_swapped_can_be_told_by_name():
    q, p = [[0.1, 0.2, 0.3, 0.4]], [[0.4, 0.4, 0.1, 0.1]]
    loss = ls.kl_divergence(from_logits=False)
    assert loss(y_true=q, y_pred=p) == loss(q, p)
    assert loss(y_pred=p, y_true=q) == loss(q, p)
    assert loss(y_true=p, y_pred=q) != loss(q, p)


@everywhere
@pytest.mark.parametrize("label", [5, -4])
def test_a_class_that_does_not_exist(name, label):
    y, z = made(name, [0, label, 2], np.zeros((3, 3)))
    with pytest.raises(
        DomainError, match=rf"from 0 to 2, but there is {label} in row 1"
    ):
        ls.cross_entropy(y, z)
    unseen = np.asarray(ls.cross_entropy(y, z, reduction="none", check="off"))
    np.testing.assert_allclose(unseen, [math.log(3), math.nan, math.log(3)])


@everywhere
def test_a_class_that_does_not_exist_may_be_masked(name):
    y, z, mask = made(name, [0, -100, 2], np.zeros((3, 3)), [True, False, True])
    value, gradient = ls.cross_entropy.value_and_grad(y, z, mask=mask)
    assert number(value) == pytest.approx(math.log(3))
    np.testing.assert_array_equal(np.asarray(gradient)[1], 0)


# -- masks ----------------------------------------------------------------------------


@everywhere
def test_dice_of_empty_images(name):
    loss = ls.dice(from_logits=False)
    nothing, one = made(name, np.zeros((2, 4)), np.eye(2, 4))
    assert math.isnan(number(loss(nothing, nothing)))
    assert number(loss(nothing, nothing, empty="zero")) == 0
    half, _ = made(name, np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]), np.zeros(1))
    assert number(loss(half, half)) == 0  # the empty image is left out of the mean
    assert number(loss(one, nothing)) == 1


@everywhere
def test_dice_of_images_of_unequal_size_has_two_means(name):
    y = np.zeros((2, 200))
    y[0, 0] = 1  # one pixel, found
    y[1, :100] = 1  # a hundred pixels, missed
    p = np.zeros((2, 200))
    p[0, 0] = 1
    target, prediction = made(name, y, p)
    by_image = ls.dice(target, prediction, from_logits=False)
    assert number(by_image) == 0.5
    by_batch = ls.dice(target, prediction, from_logits=False, over="batch")
    assert number(by_batch) == pytest.approx(0.980, abs=5e-4)


def test_dice_by_image_does_not_depend_on_the_size_of_the_batch():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 2, (6, 20)).astype(float), rng.normal(size=(6, 20))
    alone = [ls.dice(y[i : i + 1], z[i : i + 1]) for i in range(6)]
    assert ls.dice(y, z) == pytest.approx(np.mean(alone))
