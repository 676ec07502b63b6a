"""Each framework as the laws use it: make an array, get value, gradient, curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.loss import Loss

Array = np.ndarray


@dataclass(frozen=True)
class Framework:
    """One way to reach a loss.

    `items`, `gradient` and `curvature` take a loss and NumPy arrays and return NumPy;
    the gradient is that of the sum of all items, by the framework's own autodiff
    where it has one.
    """

    name: str
    make: Callable[[Array], Any]
    items: Callable[[Loss, Array, Array], Array]
    gradient: Callable[[Loss, Array, Array], Array]
    curvature: Callable[[Loss, Array, Array], Array] | None = None
    derives: bool = True
    """Whether the curvature is lossary's own, not autodiff's."""


def _plain(
    name: str, make: Callable[[Array], Any], back: Callable[[Any], Array]
) -> Framework:
    """A library without autodiff: everything through lossary's own calls."""

    def items(loss: Loss, y: Array, z: Array) -> Array:
        return back(loss(make(y), make(z), reduction="none"))

    def gradient(loss: Loss, y: Array, z: Array) -> Array:
        return back(loss.value_and_grad(make(y), make(z), reduction="sum")[1])

    def curvature(loss: Loss, y: Array, z: Array) -> Array:
        return back(loss.grad_and_hess(make(y), make(z))[1])

    return Framework(name, make, items, gradient, curvature)


def _identity(x: Array) -> Array:
    return x


def _dask(x: Array) -> Any:
    import dask.array as da

    return da.from_array(x, chunks=x.shape)


def _strict(x: Array) -> Any:
    import array_api_strict

    return array_api_strict.asarray(x)


def _torch_make(x: Array) -> Any:
    import torch

    return torch.tensor(x)


def _torch_gradient(loss: Loss, y: Array, z: Array) -> Array:
    import torch

    scores = torch.tensor(z, requires_grad=True)
    total = loss(torch.tensor(y), scores, reduction="sum")
    (gradient,) = torch.autograd.grad(total, scores)
    return gradient.numpy()


def _torch_curvature(loss: Loss, y: Array, z: Array) -> Array:
    import torch

    scores = torch.tensor(z, requires_grad=True)
    total = loss(torch.tensor(y), scores, reduction="sum")
    (gradient,) = torch.autograd.grad(total, scores, create_graph=True)
    if not gradient.requires_grad:  # constant gradient: curvature 0
        return np.zeros_like(z)
    result = torch.zeros_like(scores)
    for index in _independent(loss, z):
        (row,) = torch.autograd.grad(
            gradient[index].sum(), scores, retain_graph=True, allow_unused=True
        )
        if row is not None:
            result[index] = row[index]
    return result.detach().numpy()


def _independent(loss: Loss, z: Array) -> list[Any]:
    """List sets of predictions whose curvatures do not mix, to be taken at once."""
    if loss.structure.name == "pointwise":
        return [...]
    if loss.structure.name == "rowwise":
        return [(..., k) for k in range(z.shape[-1])]
    return list(np.ndindex(z.shape))


def _jax_make(x: Array) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(x)


def _jax_gradient(loss: Loss, y: Array, z: Array) -> Array:
    import jax

    total = lambda s: loss(_jax_make(y), s, reduction="sum")  # noqa: E731
    return np.asarray(jax.grad(total)(_jax_make(z)))


def _jax_curvature(loss: Loss, y: Array, z: Array) -> Array:
    import jax
    import jax.numpy as jnp

    slope = jax.grad(lambda s: loss(_jax_make(y), s, reduction="sum"))
    scores, result = _jax_make(z), np.zeros_like(z)
    for index in _independent(loss, z):
        way = jnp.zeros_like(scores).at[index].set(1.0)
        _, bend = jax.jvp(slope, (scores,), (way,))
        result[index] = np.asarray(bend)[index]
    return result


def _tf_make(x: Array) -> Any:
    import tensorflow as tf

    return tf.constant(x)


def _tf_gradient(loss: Loss, y: Array, z: Array) -> Array:
    import tensorflow as tf

    scores = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = loss(tf.constant(y), scores, reduction="sum")
    return tape.gradient(total, scores).numpy()


def _tf_curvature(loss: Loss, y: Array, z: Array) -> Array:
    import tensorflow as tf

    scores, result = tf.constant(z), np.zeros_like(z)
    for index in _independent(loss, z):
        with tf.GradientTape() as outer:
            outer.watch(scores)
            with tf.GradientTape() as tape:
                tape.watch(scores)
                total = loss(tf.constant(y), scores, reduction="sum")
            slope = tf.reduce_sum(tape.gradient(total, scores)[index])
        row = outer.gradient(slope, scores)
        result[index] = 0 if row is None else row.numpy()[index]
    return result


def _autodiff(name: str, make: Any, gradient: Any, curvature: Any) -> Framework:
    def items(loss: Loss, y: Array, z: Array) -> Array:
        return np.asarray(loss(make(y), make(z), reduction="none"))

    return Framework(name, make, items, gradient, curvature, derives=False)


NUMPY = _plain("numpy", _identity, np.asarray)
FRAMEWORKS = {
    f.name: f
    for f in (
        NUMPY,
        _plain("dask", _dask, lambda x: np.asarray(x.compute(scheduler="synchronous"))),
        _plain("strict", _strict, np.asarray),
        _autodiff("torch", _torch_make, _torch_gradient, _torch_curvature),
        _autodiff("tensorflow", _tf_make, _tf_gradient, _tf_curvature),
        _autodiff("jax", _jax_make, _jax_gradient, _jax_curvature),
    )
}
