"""Training as with Keras's own losses: weights, masks, compilers, replicas."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from frameworks.keras_models import X, Y, compiled, dense, learning
from frameworks.keras_support import RNG, array, check, close, tensorflow_check

import lossary as ls

TOKENS = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])


def fitted(loss: Any, y: np.ndarray, units: int = 1, **options: Any) -> list[Any]:
    keras.utils.set_random_seed(0)
    model = compiled(dense(units=units), loss)
    model.fit(X, y, epochs=2, batch_size=40, verbose=0, **options)
    return [array(w) for w in model.weights]


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
def a_loss_is_a_metric_with_and_without_weights() -> None:
    metric = ls.absolute_error.to_keras
    model = dense()
    model.compile(
        "sgd",
        loss=ls.huber.to_keras(),
        metrics=[metric(name="plain"), "mae"],
        weighted_metrics=[
            metric(name="weighted", reduction=None),
            "mean_absolute_error",
        ],
    )
    weight = RNG.uniform(size=96)
    _, plain, theirs, weighted, mean = model.evaluate(
        X, Y, sample_weight=weight, verbose=0
    )
    close([plain, weighted], [theirs, mean])
    assert abs(plain - weighted) > 1e-4


@check
def a_removed_row_may_hold_anything() -> None:
    y, weight = Y.copy(), np.ones(96)
    y[::7], weight[::7] = np.nan, 0.0
    expected = fitted(keras.losses.Huber(), np.nan_to_num(y), sample_weight=weight)
    close(fitted(ls.huber.to_keras(), y, sample_weight=weight), expected)


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


@check
def several_outputs_have_several_losses() -> None:
    y = {"line": Y, "class": np.digitize(Y, [-1, 1])}
    weight = {name: RNG.uniform(size=96) for name in y}
    theirs = {
        "line": keras.losses.Huber(),
        "class": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    ours = {"line": ls.huber.to_keras(), "class": ls.cross_entropy.to_keras()}
    expected, named = (two_heads(loss, y, weight) for loss in (theirs, ours))
    assert expected.keys() == named.keys() == {"loss", "line_loss", "class_loss"}
    listed = two_heads(*(list(x.values()) for x in (ours, y, weight)))
    for found in (named, listed):
        close(sorted(found.values()), sorted(expected.values()))


def two_heads(loss: Any, y: Any, weight: Any) -> dict[str, list[float]]:
    """Train a model whose outputs, losses and weights are a list, or have names."""
    keras.utils.set_random_seed(0)
    seen = keras.Input((3,))
    heads: Any = {
        "line": keras.layers.Dense(1, name="line")(seen),
        "class": keras.layers.Dense(3, name="class")(seen),
    }
    factors: Any = {"line": 1.0, "class": 0.3}
    if isinstance(loss, list):
        heads, factors = list(heads.values()), list(factors.values())
    model = compiled(keras.Model(seen, heads), loss, loss_weights=factors)
    fit = model.fit(X, y, sample_weight=weight, epochs=2, batch_size=40, verbose=0)
    found: dict[str, list[float]] = fit.history
    return found


@tensorflow_check
def replicas_share_a_batch_as_for_the_built_in_loss() -> None:
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    assert strategy.num_replicas_in_sync == 2
    found = []
    for loss in (keras.losses.Huber(), ls.huber.to_keras()):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = compiled(dense(), loss)
        costs = model.fit(X, Y, epochs=2, batch_size=40, verbose=0).history["loss"]
        found.append([costs, *(array(w) for w in model.weights)])
    close(*found)
    with strategy.scope():
        criterion, model = learning()
    model.fit(X, Y, epochs=1, verbose=0)
    assert criterion.layer.values["scale"] != 1.0
