"""Losses in TensorFlow: functions, XLA, unknown shapes, gradients, saved functions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from laws.cases import random

import lossary as ls
from lossary.errors import KindError, ParameterError
from lossary.learning import Learning
from lossary.registry import registry

LOSSES = list(registry().values())
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
compiler = pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
REDUCTIONS = ("mean", "mean_over_items", "mean_over_rows", "sum", "none")


def unknown(x: Any) -> tf.TensorSpec:
    """Return the signature of an array whose sizes are known when the call runs."""
    return tf.TensorSpec([None] * len(x.shape), x.dtype)


def function(act: Any, *arrays: Any, jit: bool = False) -> Any:
    signature = [unknown(x) for x in arrays]
    return tf.function(act, input_signature=signature, jit_compile=jit)


def tensors(loss: Any, n: int = 6) -> tuple[Any, Any]:
    inputs = random(loss, n=n, seed=3)
    return tf.constant(inputs.y), tf.constant(inputs.z)


# -- functions ------------------------------------------------------------------------


def derivatives(loss: Any, y: Any, z: Any) -> tuple[Any, ...]:
    """Return value, gradient, and the gradient of the gradient's sum of squares."""
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        gradient = tape.gradient(value, z)
        steepness = tf.reduce_sum(gradient**2)
    bend = outer.gradient(steepness, z, unconnected_gradients="zero")
    return value, gradient, bend


@compiler
@every_loss
def test_a_function_of_unknown_sizes_has_eager_derivatives(loss, jit):
    y, z = tensors(loss)
    compiled = function(lambda y, z: derivatives(loss, y, z), y, z, jit=jit)
    for got, expected in zip(compiled(y, z), derivatives(loss, y, z), strict=True):
        np.testing.assert_allclose(got, expected, **CLOSE)


@every_loss
def test_a_function_has_the_gradient_of_numpy(loss):
    y, z = tensors(loss)
    value, gradient, _ = derivatives(loss, y, z)
    expected = loss.value_and_grad(y.numpy(), z.numpy())
    np.testing.assert_allclose(value, expected[0], **CLOSE)
    np.testing.assert_allclose(gradient, expected[1], **CLOSE)


def counted(loss: Any, y: Any) -> tuple[Any, Any]:
    """Return weights and a mask of the rows, with something removed by each."""
    n = y.shape[0]
    return tf.constant(np.arange(n) % 3 * 1.0), tf.constant(np.arange(n) % 4 != 3)


@compiler
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["huber", "cross_entropy", "dice", "info_nce"])
def test_weights_and_masks_of_unknown_sizes(name, reduction, jit):
    loss = ls.get(name)
    y, z = tensors(loss)
    if name == "huber":
        y, z = tf.reshape(y, (3, 2)), tf.reshape(z, (3, 2))
    weight, mask = counted(loss, y)

    def act(y: Any, z: Any, weight: Any, mask: Any) -> Any:
        options = {"mask": mask, "reduction": reduction, "empty": "zero"}
        return loss(y, z, sample_weight=weight, **options), loss(y, z, **options)

    arrays = (y, z, weight, mask)
    compiled = function(act, *arrays, jit=jit)
    for got, expected in zip(compiled(*arrays), act(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, **CLOSE)


@compiler
@pytest.mark.parametrize("name", ["huber", "cross_entropy", "dice"])
def test_value_and_grad_in_a_function(name, jit):
    loss = ls.get(name)
    arrays = tensors(loss)
    compiled = function(lambda y, z: loss.value_and_grad(y, z), *arrays, jit=jit)
    for got, expected in zip(
        compiled(*arrays), loss.value_and_grad(*arrays), strict=True
    ):
        np.testing.assert_allclose(got, expected, **CLOSE)


def test_a_function_is_traced_once_for_all_batch_sizes():
    traced = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3])])
    def value(y, z):
        traced.append(y.shape)
        return ls.huber(y, z)

    for n in (2, 5, 0):
        y, z = tf.zeros((n, 3)), tf.ones((n, 3))
        np.testing.assert_array_equal(value(y, z), 0.5 if n else np.nan)
    assert len(traced) == 1


@pytest.mark.parametrize("loss", [ls.huber, ls.dice + ls.binary_cross_entropy])
def test_autograph_leaves_a_loss_as_it_is_written(loss):
    def value(y, z):
        return loss(y, z)

    with pytest.raises(Exception, match="nothing is broadcast") as raised:
        tf.function(value)(tf.zeros(3), tf.zeros((3, 1)))
    # It marks by one star what it has rewritten.
    rewritten = re.findall(r", in (\w+)  \*\n", str(raised.value))
    assert rewritten == ["value"]


# -- derivatives ----------------------------------------------------------------------


@compiler
def test_learned_parameters_have_gradients(jit):
    learning = Learning(ls.general_robust(alpha=0.7, scale=2.0), ("alpha", "scale"))
    raw = {n: tf.Variable(x, dtype=tf.float64) for n, x in learning.start().items()}
    y, z = tensors(ls.general_robust)

    def slopes(y: Any, z: Any) -> Any:
        with tf.GradientTape() as tape:
            value = learning(y, z, raw)
        return tape.gradient(value, list(raw.values()))

    got = function(slopes, y, z, jit=jit)(y, z)
    for name, slope in zip(raw, got, strict=True):
        around = []
        for step in (1e-5, -1e-5):
            at = {n: v + step * (n == name) for n, v in raw.items()}
            around.append(learning(y, z, at))
        expected = (around[0] - around[1]) / 2e-5
        assert float(slope) == pytest.approx(float(expected), rel=1e-6)


def test_a_parameter_may_be_a_variable():
    y, z = tf.zeros(3, tf.float64), tf.constant([0.5, 3.0, -4.0], tf.float64)
    delta = tf.Variable(2.0, dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = ls.huber(y, z, delta=delta, reduction="sum")
    assert float(value) == pytest.approx(
        float(ls.huber(y, z, delta=2.0, reduction="sum"))
    )
    assert float(tape.gradient(value, delta)) == pytest.approx((3 - 2) + (4 - 2))


def test_a_removed_row_has_no_gradient_whatever_it_holds():
    y, z = tf.constant([0.0, np.nan]), tf.constant([1.0, np.inf])
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = ls.huber(y, z, mask=tf.constant([True, False]))
    np.testing.assert_array_equal(tape.gradient(value, z), [1.0, 0.0])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda d: d.name)
def test_half_precision_is_summed_in_single(dtype):
    z = tf.fill([100_000], tf.cast(0.1, dtype))
    value = tf.function(ls.absolute_error)(tf.zeros_like(z), z)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(float(tf.cast(z[0], tf.float32)), rel=1e-5)


# -- errors ---------------------------------------------------------------------------


def test_sizes_that_differ_when_the_call_runs_are_an_error_of_ours():
    one, three = tf.zeros(1), tf.zeros(3)
    compiled = function(lambda y, z: ls.huber(y, z), one, three)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="huber: the shape of y_tr"
    ):
        compiled(one, three)


def test_weights_of_other_sizes_are_an_error_of_ours():
    one, three = tf.ones(1), tf.zeros(3)
    compiled = function(
        lambda y, z, w: ls.huber(y, z, sample_weight=w), three, three, one
    )
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="huber: sample_weight must"
    ):
        compiled(three, three, one)


def test_sizes_that_differ_under_xla_are_not_broadcast():
    one, three = tf.zeros(1), tf.zeros(3)
    compiled = function(lambda y, z: ls.huber(y, z), one, three, jit=True)
    assert float(compiled(three, three)) == 0.0
    with pytest.raises(tf.errors.InvalidArgumentError):
        compiled(one, three)


REFUSED = {
    "ragged": (
        lambda: ls.huber(tf.ragged.constant([[1.0], [1.0, 2.0]]), tf.zeros((2, 2))),
        "huber: y_true is a RaggedTensor; pass x.to_tensor(), with mask=",
    ),
    "sparse": (
        lambda: ls.huber(tf.zeros((2, 2)), tf.sparse.eye(2)),
        "huber: y_pred is a SparseTensor; pass tf.sparse.to_dense(x)",
    ),
    "sparse weights": (
        lambda: ls.huber(tf.zeros(2), tf.zeros(2), sample_weight=tf.sparse.eye(2)),
        "huber: sample_weight is a SparseTensor; pass tf.sparse.to_dense(x)",
    ),
    "complex": (
        lambda: ls.huber(tf.zeros(2), tf.constant([1j, 2.0])),
        "huber: y_pred is a tensor of complex128, but losses compare real numbers",
    ),
    "words": (
        lambda: ls.huber(tf.constant(["a"]), tf.zeros(1)),
        "huber: y_true is a tensor of string, but losses compare real numbers",
    ),
    "uneven lists": (
        lambda: ls.huber([[1.0, 2.0], [3.0]], tf.zeros((2, 2))),
        "huber: y_true is a list of which no tensor of numbers can be made",
    ),
}


@pytest.mark.parametrize(("act", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_dense_tensor_of_numbers_is_refused(act, sentence):
    with pytest.raises(KindError, match=re.escape(sentence)):
        act()


def test_an_unknown_number_of_axes_is_refused():
    value = tf.function(ls.huber, input_signature=[tf.TensorSpec(None)] * 2)
    with pytest.raises(Exception, match="huber: y_true has an unknown number of axes"):
        value(tf.zeros(3), tf.zeros(3))


def test_a_value_is_checked_where_there_is_one():
    bad = tf.constant([0.5, 1.5])
    with pytest.raises(ls.errors.DomainError, match=r"there is 1\.5 in row 1"):
        ls.binary_cross_entropy(tf.zeros(2), bad, from_logits=False)
    value = tf.function(lambda y, z: ls.binary_cross_entropy(y, z, from_logits=False))
    assert np.isnan(value(tf.zeros(2), bad))


def test_an_array_for_a_number_is_refused_in_our_words():
    with pytest.raises(ParameterError, match="dice: smooth must be a number"):
        ls.dice(tf.zeros((2, 2)), tf.zeros((2, 2)), smooth=tf.Variable(1.0))


# -- training and saving --------------------------------------------------------------


def step_of(loss: Any, weights: Any) -> Any:
    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, tf.linalg.matvec(x, weights))
        weights.assign_sub(0.1 * tape.gradient(value, weights))
        return value

    return step


def test_a_loop_over_a_dataset_trains_as_by_hand():
    x = tf.random.stateless_normal((40, 3), seed=(1, 2))
    y = tf.linalg.matvec(x, [1.0, 2.0, -1.0])
    rows = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    trained = []
    for loss in (ls.squared_error, lambda y, z: tf.reduce_mean((z - y) ** 2)):
        weights = tf.Variable(tf.zeros(3))
        step = step_of(loss, weights)
        for _ in range(20):
            for batch in rows:
                step(*batch)
        trained.append(weights.numpy())
    np.testing.assert_allclose(trained[0], trained[1], rtol=1e-5)
    np.testing.assert_allclose(trained[0], [1.0, 2.0, -1.0], atol=0.05)


def test_an_exported_function_computes_without_lossary(tmp_path):
    module = tf.Module()
    y, z = tf.constant([0, 2]), tf.constant([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
    module.value = function(lambda y, z: ls.cross_entropy(y, z), y, z)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert float(loaded.value(y, z)) == pytest.approx(float(ls.cross_entropy(y, z)))
    assert float(loaded.value(y[:1], z[:1])) == pytest.approx(
        float(ls.cross_entropy(y[:1], z[:1]))
    )
