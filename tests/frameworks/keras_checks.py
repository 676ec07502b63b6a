"""What is checked on each backend of Keras; `test_keras_backends` runs it.

``python -m frameworks.keras_checks FOLDER`` runs every check on the backend that
KERAS_BACKEND names, leaves models in the folder, and prints what failed as JSON;
``… load FOLDER`` loads those models, as a fresh process.
"""

from __future__ import annotations

import itertools
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from frameworks.keras_models import X, Y, compiled, dense, learning, load, save
from keras.src.backend import set_keras_mask

import lossary as ls
from lossary.errors import DomainError, ParameterError, ShapeError

RNG = np.random.default_rng(0)
N, STEPS, CLASSES = 6, 4, 3
CHECKS: dict[str, Callable[[], None]] = {}
TENSORFLOW_CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


# -- data -----------------------------------------------------------------------------


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


def real(shape: Any) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(shape: Any) -> np.ndarray:
    return RNG.uniform(0.1, 2.0, size=shape)


def count(shape: Any) -> np.ndarray:
    return RNG.poisson(2.0, size=shape).astype(float)


def label(shape: Any) -> np.ndarray:
    return RNG.integers(0, 2, size=shape).astype(float)


def probability(shape: Any) -> np.ndarray:
    return RNG.uniform(0.05, 0.95, size=shape)


def simplex(shape: Any) -> np.ndarray:
    return softmax(real(shape))


def number(shape: Any) -> np.ndarray:
    return RNG.integers(0, shape[-1], size=shape[:-1])


def column(shape: Any) -> np.ndarray:
    return number(shape)[..., None]


def one_hot(shape: Any) -> np.ndarray:
    return np.eye(shape[-1])[number(shape)]


BUILT_IN = [
    ("MeanSquaredError", {}, real, real),
    ("MeanAbsoluteError", {}, real, real),
    ("MeanAbsolutePercentageError", {}, positive, real),
    ("MeanSquaredLogarithmicError", {}, positive, positive),
    ("Huber", {"delta": 0.7}, real, real),
    ("LogCosh", {}, real, real),
    ("Poisson", {}, count, positive),
    ("BinaryCrossentropy", {"from_logits": True}, label, real),
    ("BinaryCrossentropy", {}, label, probability),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 1.5}, label, real),
    ("Hinge", {}, label, real),
    ("SquaredHinge", {}, label, real),
    ("CategoricalCrossentropy", {"from_logits": True}, one_hot, real),
    ("CategoricalCrossentropy", {}, one_hot, simplex),
    ("CategoricalFocalCrossentropy", {"from_logits": True}, one_hot, real),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, number, real),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, column, real),
    ("SparseCategoricalCrossentropy", {}, number, simplex),
    ("KLDivergence", {}, simplex, simplex),
    ("Dice", {}, label, probability),
]
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", None)


def weights_and_masks(shape: tuple[int, ...]) -> Any:
    """List what Keras itself can take: one weight and mask per loss, or per row."""
    per_loss = shape[:-1] if len(shape) > 1 else shape
    weights = [
        None,
        RNG.uniform(size=per_loss),
        np.arange(per_loss[0]).reshape(-1, *[1] * (len(per_loss) - 1)) % 3 * 1.0,
    ]
    masks = [None, RNG.uniform(size=per_loss) > 0.4]
    # PyTorch cannot mask weights that are broadcast.
    return [
        (w, m)
        for w, m in itertools.product(weights, masks)
        if w is None or m is None or w.shape == m.shape
    ]


def masked(z: np.ndarray, mask: Any) -> Any:
    """Return a prediction as a layer that masks would: a tensor that says so."""
    tensor = keras.ops.convert_to_tensor(z, dtype="float32")
    if mask is not None:
        set_keras_mask(tensor, keras.ops.convert_to_tensor(mask))
    return tensor


def array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def compare(name: str, options: Any, y: Any, z: Any, how: Any) -> None:
    """Hold one loss against Keras's own, under reductions, weights and masks."""
    loss = ls.get(f"keras.losses.{name}", **options)
    for reduction, (weight, mask) in how:
        theirs = getattr(keras.losses, name)(reduction=reduction, **options)
        ours = loss.to_keras(reduction=reduction)
        expected, got = (array(f(y, masked(z, mask), weight)) for f in (theirs, ours))
        what = f"{name} {options} {reduction} {z.shape} {weight} {mask}"
        np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-6, err_msg=what)


@check
def numbers_of_the_built_in_losses() -> None:
    shape = (N, STEPS, CLASSES)
    for name, options, target, prediction in BUILT_IN:
        how = [("sum", (None, None))]
        if name != "Dice":  # which weighs the one number of a batch
            how += [("mean", weights_and_masks(shape)[-1])]
        compare(name, options, target(shape), prediction(shape), how)


@check
def every_reduction_weight_and_mask_as_keras_has_it() -> None:
    for name, options, target, prediction in (BUILT_IN[4], BUILT_IN[15]):
        for shape in ((N, CLASSES), (N, STEPS, CLASSES)):
            how = itertools.product(REDUCTIONS, weights_and_masks(shape))
            compare(name, options, target(shape), prediction(shape), how)


@check
def a_column_of_predictions_with_a_row_of_targets() -> None:
    for name, options, target, prediction in BUILT_IN[4:8]:
        y, z, weight = target((N, 1)), prediction((N, 1)), positive(N)
        how = [("sum_over_batch_size", (weight, None))]
        compare(name, options, y[:, 0], z, how)
        theirs = getattr(keras.losses, name)(**options)(y, z)
        ours = ls.get(f"keras.losses.{name}", **options).to_keras()
        for target_, prediction_ in [(y, z[:, 0]), (y[:, 0], z[:, 0])]:
            close([array(ours(target_, prediction_))], [array(theirs)])


# -- training -------------------------------------------------------------------------

TOKENS = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])


def fitted(loss: Any, y: np.ndarray, units: int = 1, **options: Any) -> list[Any]:
    keras.utils.set_random_seed(0)
    model = compiled(dense(units=units), loss)
    model.fit(X, y, epochs=2, batch_size=40, verbose=0, **options)
    return [array(w) for w in model.weights]


def close(got: Any, expected: Any, rtol: float = 1e-4) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)


@check
def training_is_that_of_the_built_in_loss() -> None:
    theirs, ours = keras.losses.Huber(), ls.huber.to_keras()
    close(fitted(ours, Y), fitted(theirs, Y))
    weight = RNG.uniform(size=96)
    close(
        fitted(ours, Y, sample_weight=weight), fitted(theirs, Y, sample_weight=weight)
    )


@check
def class_weights_are_those_of_the_built_in_loss() -> None:
    y, weights = np.digitize(Y, [-1, 1]), {0: 1.0, 1: 3.0, 2: 0.5}
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = fitted(theirs, y, units=3, class_weight=weights)
    close(fitted(ls.cross_entropy.to_keras(), y, 3, class_weight=weights), expected)


@check
def a_layer_masks_steps_as_for_the_built_in_loss() -> None:
    tokens = keras.Input((None,))
    seen = keras.layers.Embedding(10, 4, mask_zero=True)(tokens)
    model = keras.Model(tokens, keras.layers.Dense(1)(seen))
    y, found = np.arange(8.0).reshape(2, 4, 1), []
    for loss in (keras.losses.Huber(), ls.huber.to_keras()):
        compiled(model, loss)
        found.append([
            model.evaluate(TOKENS, y, verbose=0),
            model.evaluate(TOKENS, y, sample_weight=y[..., 0], verbose=0),
        ])  # fmt: skip
    close(*found)


@check
def a_removed_row_may_hold_anything() -> None:
    y, weight = Y.copy(), np.ones(96)
    y[::7], weight[::7] = np.nan, 0.0
    expected = fitted(keras.losses.Huber(), np.nan_to_num(y), sample_weight=weight)
    close(fitted(ls.huber.to_keras(), y, sample_weight=weight), expected)


@check
def a_masked_step_may_hold_anything() -> None:
    y, z, mask = real((N, STEPS, 1)), real((N, STEPS, 1)), label((N, STEPS)) > 0
    expected = ls.huber.to_keras()(y, masked(z, mask))
    y[~mask] = np.nan
    close([array(ls.huber.to_keras()(y, masked(z, mask)))], [array(expected)])


@check
def a_weight_of_a_row_weighs_all_its_steps() -> None:
    y, z, weight = real((N, STEPS, 1)), real((N, STEPS, 1)), positive(N)
    for reduction in REDUCTIONS:
        loss = ls.huber.to_keras(reduction=reduction)
        expected = loss(y, z, np.repeat(weight[:, None], STEPS, axis=1))
        close([array(loss(y, z, weight))], [array(expected)])


@check
def weights_of_images_and_of_pixels() -> None:
    y, z = label((N, 5, 5)), real((N, 5, 5))
    images, pixels = positive(N), positive((N, 5, 5))
    each = ls.dice(y, z, reduction="none")
    got = ls.dice.to_keras()(y, z, images)
    close([array(got)], [(images * each).mean()])
    got = ls.dice.to_keras()(y, z, pixels)
    close([array(got)], [ls.dice(y, z, sample_weight=pixels)])
    got = ls.dice(over="batch").to_keras()(y, z[..., None], images)
    close([array(got)], [ls.dice(y, z, over="batch", sample_weight=images)])
    got = ls.dice.to_keras()(y, masked(z, pixels[:, 0] > 1))
    close([array(got)], [ls.dice(y, z, mask=pixels[:, 0] > 1)])


@check
def sums_and_losses_of_pairs() -> None:
    y, z = label((N, 5)), real((N, 5))
    both = 0.5 * ls.dice + ls.binary_cross_entropy
    close([array(both.to_keras()(y, z))], [both(y, z)])
    keys, queries = real((N, 5)), real((N, 5))
    got = ls.info_nce.to_keras()(keys, queries)
    close([array(got)], [ls.info_nce(keys, queries)])


@check
def compiles_with_xla() -> None:
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    close(jitted(ls.cross_entropy.to_keras()), jitted(theirs))


def jitted(loss: Any) -> list[Any]:
    keras.utils.set_random_seed(0)
    jit = keras.backend.backend() != "torch"  # its compiler is not what is tested here
    model = compiled(dense(units=3), loss, jit_compile=jit)
    model.fit(X, np.digitize(Y, [-1, 1]), epochs=1, verbose=0)
    return [array(w) for w in model.weights]


@check
def trains_in_half_precision() -> None:
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            criterion = ls.general_robust.to_keras(learn=("alpha", "scale"))
            model = compiled(dense(criterion.layer), criterion)
            scaled = hasattr(model.optimizer, "inner_optimizer")
            assert scaled == (policy == "mixed_float16")
            costs = model.fit(X, Y, epochs=3, batch_size=16, verbose=0).history["loss"]
            assert costs[-1] < costs[0], (policy, costs)
            assert criterion.layer.raw["alpha"].dtype == "float32"
        finally:
            keras.config.set_dtype_policy("float32")


def replicas_share_a_batch_as_for_the_built_in_loss() -> None:
    import tensorflow as tf

    found = []
    for loss in (keras.losses.Huber(), ls.huber.to_keras()):
        keras.utils.set_random_seed(0)
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        with strategy.scope():
            model = compiled(dense(), loss)
        model.fit(X, Y, epochs=1, batch_size=48, verbose=0)
        found.append([array(w) for w in model.weights])
    assert strategy.num_replicas_in_sync == 2
    close(*found)


TENSORFLOW_CHECKS["replicas"] = replicas_share_a_batch_as_for_the_built_in_loss


# -- learned parameters ---------------------------------------------------------------


@check
def learned_parameters_move_with_the_model() -> None:
    criterion, model = learning()
    costs = model.fit(X, Y, epochs=5, batch_size=8, verbose=0).history["loss"]
    values = criterion.layer.values
    assert values["scale"] < 0.8, values
    assert abs(values["alpha"] - 1) > 0.1, values
    assert costs[-1] < costs[0]
    assert len(model.trainable_variables) == 4


@check
def a_clone_learns_its_own_parameters() -> None:
    criterion, model = learning()
    clone = compiled(keras.models.clone_model(model), criterion)
    clone.fit(X, Y, epochs=2, verbose=0)
    assert clone.layers[-1].values["scale"] != 1.0
    assert criterion.layer.values["scale"] == 1.0


@check
def a_forgotten_layer_is_an_error() -> None:
    criterion, _ = learning()
    model = compiled(dense(), criterion)
    said = sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))
    assert "criterion.layer the last layer" in said, said
    model = compiled(dense(criterion.layer, keras.layers.Activation("relu")), criterion)
    said = sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))
    assert "does not come from the layer" in said, said
    other = ls.info_nce.to_keras(learn=["temperature"])
    model = compiled(dense(other.layer), criterion)
    assert sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))


@check
def a_temperature_is_learned() -> None:
    criterion = ls.info_nce.to_keras(learn="temperature")
    model = compiled(dense(criterion.layer, units=4), criterion)
    model.fit(X, real((96, 4)), epochs=2, verbose=0)
    assert criterion.layer.values["temperature"] > 0.07


# -- errors ---------------------------------------------------------------------------


def sentence(kind: type[Exception], act: Callable[[], Any]) -> str:
    try:
        act()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


@check
def a_shape_error_is_ours() -> None:
    model = compiled(dense(), ls.huber.to_keras())
    two = np.stack([Y, Y], axis=1)
    said = sentence(ShapeError, lambda: model.fit(X, two, verbose=0))
    assert "huber: y_true has shape (32, 2) and y_pred has shape (32, 1)" in said, said


@check
def a_weight_of_another_shape_is_refused() -> None:
    y, z = real((N, STEPS, 1)), real((N, STEPS, 1))
    for shape in ((N - 1,), (N, STEPS - 1), (N, STEPS, 2)):
        act = lambda shape=shape: ls.huber.to_keras()(y, z, np.ones(shape))  # noqa: E731
        said = sentence(ShapeError, act)
        assert f"huber: sample_weight has shape {shape}" in said, said


@check
def a_value_error_names_its_row() -> None:
    loss = ls.binary_cross_entropy(from_logits=False).to_keras()
    act = lambda: loss(np.zeros((3, 1)), np.array([[0.5], [1.5], [0.5]]))  # noqa: E731
    assert "there is 1.5 in row 1" in sentence(DomainError, act)


# -- running --------------------------------------------------------------------------


def outcome(act: Callable[[], None]) -> str:
    """Return how an act failed; nothing if it did not."""
    try:
        act()
    except Exception:
        return traceback.format_exc()
    return ""


def run(folder: Path) -> dict[str, str]:
    """Run the checks of this backend; on two processors, where TensorFlow has them."""
    checks = dict(CHECKS)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        two = [tf.config.LogicalDeviceConfiguration()] * 2
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, two)
        checks |= TENSORFLOW_CHECKS
    save(folder)
    return {name: outcome(act) for name, act in checks.items()}


if __name__ == "__main__":
    *command, where = sys.argv[1:]
    print(json.dumps((load if command else run)(Path(where))))
