"""What is run of a loss in each framework; `support` writes what became of it.

A check takes a loss, and raises AssertionError where the framework's answer is wrong.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from laws.accuracy import limit, measure
from laws.cases import random
from laws.frameworks import FRAMEWORKS
from laws.spread import over_devices, over_ranks
from lossary.loss import Loss

Check = Callable[[Loss], None]
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


class DoesNotApplyError(Exception):
    """A check does not apply to a loss, for the reason that it says."""


def agrees(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), **CLOSE)


def reference(loss: Loss) -> tuple[Any, Any, float, np.ndarray]:
    """Return ordinary rows, and NumPy's value and gradient of them."""
    inputs = random(loss)
    return inputs.y, inputs.z, *loss.value_and_grad(inputs.y, inputs.z)


# -- array libraries ------------------------------------------------------------------


def exact(library: str, what: str) -> Check:
    """Compare with 50 digits, on the edge grid."""

    def check(loss: Loss) -> None:
        found = measure(loss, FRAMEWORKS[library], "float64")[what]
        assert found.error <= limit(loss, what, "float64"), found.place

    return check


def numpy_compiled(loss: Loss) -> None:
    from lossary.arrays import fused

    y, z, value, gradient = reference(loss)
    if loss.structure.kernel_for(loss) is None:
        raise DoesNotApplyError("no fused kernel: array code runs")
    before = fused.COMPILED_FROM
    fused.COMPILED_FROM = 0
    try:
        agrees(loss.value_and_grad(y, z)[0], value)
        agrees(loss.value_and_grad(y, z)[1], gradient)
    finally:
        fused.COMPILED_FROM = before


def numpy_saved(loss: Loss) -> None:
    y, z, value, _ = reference(loss)
    agrees(pickle.loads(pickle.dumps(loss))(y, z), value)


def numpy_merged(loss: Loss) -> None:
    y, z, value, _ = reference(loss)
    agrees((loss.sums(y[:5], z[:5]) + loss.sums(y[5:], z[5:])).mean(), value)


def torch_compiled(loss: Loss) -> None:
    import torch

    y, z, value, gradient = reference(loss)
    torch._dynamo.reset()
    criterion = torch.compile(loss.to_torch(), fullgraph=True, backend="aot_eager")
    scores = torch.tensor(z, requires_grad=True)
    found = criterion(scores, torch.tensor(y))
    found.backward()
    agrees(found.detach(), value)
    agrees(scores.grad, gradient)


def torch_saved(loss: Loss) -> None:
    import io

    import torch

    y, z, value, _ = reference(loss)
    file = io.BytesIO()
    torch.save(loss.to_torch(), file)
    file.seek(0)
    criterion = torch.load(file, weights_only=False)
    agrees(criterion(torch.tensor(z), torch.tensor(y)), value)


def torch_distributed(loss: Loss) -> None:
    *_, value, gradient = reference(loss)
    for rank in over_ranks(2):
        agrees(rank[loss.name][0], value)
    agrees(np.concatenate([r[loss.name][1] for r in over_ranks(2)]), gradient)


def tensorflow_compiled(loss: Loss) -> None:
    import tensorflow as tf

    y, z, value, gradient = reference(loss)

    @tf.function(jit_compile=True)
    def both(y: Any, z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            found = loss(y, z)
        return found, tape.gradient(found, z)

    found, slopes = both(tf.constant(y), tf.constant(z))
    agrees(found, value)
    agrees(slopes, gradient)


def jax_compiled(loss: Loss) -> None:
    import jax

    y, z, value, gradient = reference(loss)
    both = jax.jit(jax.value_and_grad(lambda z, y: loss(y, z)))
    found, slopes = both(jax.numpy.asarray(z), jax.numpy.asarray(y))
    agrees(found, value)
    agrees(slopes, gradient)


def jax_saved(loss: Loss) -> None:
    """A loaded loss is the same static argument: nothing is compiled again."""
    import jax

    y, z, value, _ = reference(loss)
    traced = []

    def call(loss: Loss, y: Any, z: Any) -> Any:
        traced.append(loss)
        return loss(y, z)

    run = jax.jit(call, static_argnums=0)
    run(loss, y, z)
    agrees(run(pickle.loads(pickle.dumps(loss)), y, z), value)
    assert len(traced) == 1


def jax_distributed(loss: Loss) -> None:
    *_, value, gradient = reference(loss)
    found, slopes = over_devices(4)[loss.name]
    agrees(found, value)
    agrees(slopes, gradient)


def dask_distributed(loss: Loss) -> None:
    import dask.array as da

    y, z, value, _ = reference(loss)
    chunks = [da.from_array(x, chunks=(7, *x.shape[1:])) for x in (y, z)]
    agrees(loss(*chunks).compute(scheduler="synchronous"), value)


# -- Keras ----------------------------------------------------------------------------


def keras_value(loss: Loss) -> None:
    import keras

    y, z, value, _ = reference(loss)
    agrees(loss.to_keras(dtype="float64")(*map(keras.ops.array, (y, z))), value)


def keras_gradient(loss: Loss) -> None:
    import tensorflow as tf

    y, z, _, gradient = reference(loss)
    scores = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = loss.to_keras(dtype="float64")(tf.constant(y), scores)
    agrees(tape.gradient(found, scores), gradient)


def _keras_model(loss: Loss, y: np.ndarray, z: np.ndarray) -> Any:
    """A model whose prediction is its input, shifted: it is one weight to train."""
    import keras

    inputs = keras.Input(z.shape[1:] or (1,))
    outputs = keras.layers.Dense(
        inputs.shape[-1], use_bias=False, kernel_initializer="identity"
    )(inputs)
    return keras.Model(inputs, outputs)


def keras_compiled(loss: Loss) -> None:
    y, z, value, _ = reference(loss)
    model = _keras_model(loss, y, z)
    model.compile("sgd", loss=loss.to_keras(), jit_compile=True)
    found = model.evaluate(*_columns(z, y), batch_size=len(z), verbose=0)
    np.testing.assert_allclose(found, value, rtol=2e-5)


def keras_saved(loss: Loss) -> None:
    import tempfile

    import keras

    y, z, value, _ = reference(loss)
    model = _keras_model(loss, y, z)
    model.compile("sgd", loss=loss.to_keras())
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        model = keras.models.load_model(f"{folder}/model.keras")
    found = model.evaluate(*_columns(z, y), batch_size=len(z), verbose=0)
    np.testing.assert_allclose(found, value, rtol=2e-5)


def _columns(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what Keras takes: at least one column."""
    if z.ndim == 1:
        return z[:, None], y[:, None]
    return z, y


# -- scikit-learn and the boosters ----------------------------------------------------


def rows(loss: Loss, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return features, and the targets that a learner of this loss is given."""
    from lossary.frameworks.bundle import Bundle

    Bundle(loss)  # refuses what no model of scores can be trained on
    y = random(loss, n, seed=2).y
    if loss.target.name == "distribution":
        y = y.argmax(axis=1)
    elif loss.target.name in ("label", "fraction") or loss.structure.name == "overlap":
        y = (np.arange(n) % 3 == 0).astype(float)
    rng = np.random.default_rng(3)
    return np.column_stack([y + rng.normal(size=n), rng.normal(size=(n, 2))]), y


def _classes(loss: Loss) -> bool:
    from lossary.frameworks.curvature import task_of

    return task_of(loss) != "regression"


def sklearn_value(loss: Loss) -> None:
    """The scorer is minus the loss of what the estimator predicts."""
    from lossary.frameworks.sklearn import LossClassifier, LossRegressor

    X, y = rows(loss)
    model = (LossClassifier if _classes(loss) else LossRegressor)(
        loss, penalty="l2", alpha=0.1
    ).fit(X, y)
    scores = model.raw_scores(X)
    target = np.asarray(y, dtype=int if scores.ndim == 2 else float)
    if loss.target.name == "distribution":
        target = np.eye(scores.shape[1])[target]
    linked = loss.linked()
    if linked.form in ("class_probability", "probability"):
        linked = linked.bind(from_logits=True)
    agrees(-loss.to_sklearn()(model, X, y), linked(target, scores))


def sklearn_gradient(loss: Loss) -> None:
    """Nothing near the fitted coefficients has a smaller objective."""
    from lossary.frameworks.bundle import Bundle
    from lossary.frameworks.sklearn import LossClassifier, LossRegressor

    X, y = rows(loss)
    model = (LossClassifier if _classes(loss) else LossRegressor)(
        loss, penalty="l2", alpha=0.1
    ).fit(X, y)
    bundle, scores = Bundle(loss), model.raw_scores(X)
    k = scores.shape[1] if scores.ndim == 2 else None
    target = bundle.target(y, k)
    best = bundle.value_and_grad(target, scores)[0]
    best += 0.05 * float(np.sum(np.square(model.coef_)))
    rng = np.random.default_rng(0)
    for _ in range(10):
        coef = model.coef_ + 1e-3 * rng.normal(size=np.shape(model.coef_))
        shift = X @ (coef - model.coef_).T
        moved = scores + shift.reshape(scores.shape)
        value = bundle.value_and_grad(target, moved)[0]
        assert value + 0.05 * float(np.sum(np.square(coef))) >= best - 1e-7 * abs(best)


def sklearn_saved(loss: Loss) -> None:
    from lossary.frameworks.sklearn import LossClassifier, LossRegressor

    X, y = rows(loss)
    model = (LossClassifier if _classes(loss) else LossRegressor)(loss).fit(X, y)
    agrees(pickle.loads(pickle.dumps(model)).raw_scores(X), model.raw_scores(X))


QUIET: dict[str, dict[str, Any]] = {
    "lightgbm": {"verbosity": -1, "n_jobs": 1},
    "xgboost": {"verbosity": 0, "n_jobs": 1},
    "catboost": {"verbose": 0, "thread_count": 1, "allow_writing_files": False},
}


def booster(module: str, family: str) -> dict[str, Check]:
    """Check an adapter by its estimator of the task that a loss is for."""

    def fitted(loss: Loss) -> tuple[Any, np.ndarray, np.ndarray]:
        from importlib import import_module

        X, y = rows(loss)
        adapter = import_module(f"lossary.frameworks.{module}")
        kind = "Classifier" if _classes(loss) else "Regressor"
        estimator = getattr(adapter, f"{family}{kind}")
        model = estimator(
            loss=loss, n_estimators=20, learning_rate=0.3, **QUIET[module]
        )
        return model.fit(X, y), X, y

    def predicted(model: Any, X: np.ndarray) -> np.ndarray:
        return getattr(model, "predict_proba", model.predict)(X)

    def value(loss: Loss) -> None:
        """Twenty trees beat the best constant, on the scale that is predicted."""
        from lossary.frameworks.bundle import Bundle

        model, X, y = fitted(loss)
        bundle = Bundle(loss)
        if hasattr(model, "decision_function"):
            z = model.decision_function(X)
        elif bundle.calibrated:
            z = _scores(bundle, predicted(model, X))
        else:  # probabilities of its own, which are no scores
            assert np.mean(np.ravel(model.predict(X)) == y) > np.mean(y == np.median(y))
            return
        k = z.shape[1] if bundle.task == "multiclass" else None
        target = bundle.target(y, k)
        start = np.broadcast_to(bundle.start(target, None, k), z.shape).copy()
        reached, before = (bundle.value_and_grad(target, x)[0] for x in (z, start))
        assert reached < before

    def gradient(loss: Loss) -> None:
        """What each row pulls with is the gradient, but for one factor of all rows."""
        from lossary.frameworks.bundle import Bundle

        y = rows(loss)[1].astype(np.float32)
        bundle = Bundle(loss)
        k = int(y.max()) + 1 if bundle.task == "multiclass" else None
        z = np.random.default_rng(4).normal(size=(len(y), k) if k else len(y))
        pulls = PULLS[module](getattr(loss, f"to_{module}")(), y, z)
        slopes = bundle.value_and_grad(bundle.target(y, k), z)[1]
        agrees(pulls / np.linalg.norm(pulls), slopes / np.linalg.norm(slopes))

    def saved(loss: Loss) -> None:
        model, X, _ = fitted(loss)
        agrees(predicted(pickle.loads(pickle.dumps(model)), X), predicted(model, X))

    return {"value": value, "gradient": gradient, "saved and loaded": saved}


def _catboost_pulls(objective: Any, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Ask row by row where there are classes, and turn the sign: CatBoost ascends."""
    if z.ndim == 1:
        return -objective.calc_ders_range(z, y, None)[:, 0]
    found = [objective.calc_ders_multi(*row, 1.0)[0] for row in zip(z, y, strict=True)]
    return -np.array(found)


PULLS: dict[str, Callable[[Any, np.ndarray, np.ndarray], np.ndarray]] = {
    "lightgbm": lambda objective, y, z: objective(y, z)[0],
    "xgboost": lambda objective, y, z: objective(y, z / objective.unit)[0],
    "catboost": _catboost_pulls,
}


def _scores(bundle: Any, p: np.ndarray) -> np.ndarray:
    """Map a response back to the raw score."""
    p = np.clip(p, 1e-12, None) if bundle.link in ("log", "softmax") else p
    if bundle.task == "multiclass":
        return np.log(p)
    if bundle.task == "binary":
        p = np.clip(p[:, 1], 1e-12, 1 - 1e-12)
        odds = np.log(p) - np.log1p(-p)
        return odds / 2 if bundle.link == "half_logit" else odds
    return {"log": np.log, "log1p": np.log1p}.get(bundle.link, lambda x: x)(p)
