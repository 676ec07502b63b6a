"""What the checks of Keras share: the list of them, data, masks, comparing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

RNG = np.random.default_rng(0)
CHECKS: dict[str, Callable[[], None]] = {}
TENSORFLOW_CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    """List a check of every backend."""
    CHECKS[function.__name__] = function
    return function


def tensorflow_check(function: Callable[[], None]) -> Callable[[], None]:
    """List a check of the TensorFlow backend alone."""
    TENSORFLOW_CHECKS[function.__name__] = function
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


class Masked(keras.layers.Layer):
    """A layer that masks its output: by a mask that it is given."""

    def __init__(self, mask: Any) -> None:
        super().__init__()
        self.mask = keras.ops.convert_to_tensor(mask)

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask


def masked(z: np.ndarray, mask: Any) -> Any:
    """Return a prediction as a layer that masks would: a tensor that says so."""
    tensor = keras.ops.convert_to_tensor(z, dtype="float32")
    return tensor if mask is None else Masked(mask)(tensor)


# -- comparing ------------------------------------------------------------------------


def array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def close(got: Any, expected: Any, rtol: float = 1e-4) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)


def sentence(kind: type[Exception], act: Callable[[], Any]) -> str:
    """Return what an act complains of."""
    try:
        act()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")
