"""Models trained with Optax, with its loss and with ours: the same all the way."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_diabetes, load_digits

import lossary as ls


def digits(kind: str) -> tuple[Any, Any]:
    features, labels = load_digits(return_X_y=True)
    y = (labels > 4).astype(float) if kind == "binary" else labels
    return jnp.asarray(features[:400] / 16), jnp.asarray(y[:400])


def diabetes() -> tuple[Any, Any]:
    features, target = load_diabetes(return_X_y=True)
    return jnp.asarray(features * 20), jnp.asarray(target / 100)


def trajectory(cost: Any, x: Any, y: Any, outputs: int) -> tuple[Any, Any]:
    """Train a network of one hidden layer with Adam; return its path and its end."""
    keys = jax.random.split(jax.random.key(0))
    model = [
        0.1 * jax.random.normal(key, shape)
        for key, shape in zip(keys, [(x.shape[1], 16), (16, outputs)], strict=True)
    ]
    optimizer = optax.adam(0.01)

    def predict(model: Any) -> Any:
        scores = jnp.tanh(x @ model[0]) @ model[1]
        return scores if outputs > 1 else scores[:, 0]

    def step(carry: Any, _: Any) -> Any:
        model, state = carry
        value, slopes = jax.value_and_grad(lambda m: cost(y, predict(m)))(model)
        updates, state = optimizer.update(slopes, state, model)
        return (optax.apply_updates(model, updates), state), value

    start = model, optimizer.init(model)
    (end, _), values = jax.jit(lambda s: jax.lax.scan(step, s, None, 60))(start)
    return values, end


PAIRS = {
    "softmax_cross_entropy_with_integer_labels": (ls.cross_entropy, "labels", 10),
    "sigmoid_binary_cross_entropy": (ls.binary_cross_entropy, "binary", 1),
    "l2_loss": (0.5 * ls.squared_error, "diabetes", 1),
    "huber_loss": (ls.huber, "diabetes", 1),
    "log_cosh": (ls.log_cosh, "diabetes", 1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_training_takes_the_same_path(name):
    loss, kind, outputs = PAIRS[name]
    x, y = diabetes() if kind == "diabetes" else digits(kind)
    theirs = getattr(optax, name)
    path, end = trajectory(loss, x, y, outputs)
    same, goal = trajectory(lambda y, z: theirs(z, y).mean(), x, y, outputs)
    assert path[-1] < 0.9 * path[0]
    np.testing.assert_allclose(path, same, rtol=1e-9)
    for ours, other in zip(end, goal, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-7, atol=1e-9)
