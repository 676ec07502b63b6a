"""JAX: optax's losses and others, jitted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from speed.cases import VALUE, Case
from speed.peers.written import Mean, Words, mean_of
from speed.tasks import Task

jax.config.update("jax_enable_x64", True)


def _mean(items: Mean) -> Mean:
    return lambda y, z: items(y, z).mean()


OWN: dict[tuple[str, str], Mean] = {
    ("squared_error", "like"): _mean(lambda y, z: optax.squared_error(z, y)),
    ("huber", "like"): _mean(lambda y, z: optax.huber_loss(z, y)),
    ("log_cosh", "like"): _mean(lambda y, z: optax.log_cosh(z, y)),
    ("hinge", "like"): _mean(lambda y, z: optax.hinge_loss(z, 2 * y - 1)),
    ("binary_cross_entropy", "like"): _mean(
        lambda y, z: optax.sigmoid_binary_cross_entropy(z, y)
    ),
    ("binary_focal", "like"): _mean(lambda y, z: optax.sigmoid_focal_loss(z, y)),
    ("cross_entropy", "labels"): _mean(
        lambda y, z: optax.softmax_cross_entropy_with_integer_labels(z, y)
    ),
    ("cross_entropy smoothed", "labels"): _mean(
        lambda y, z: optax.softmax_cross_entropy(
            z, optax.smooth_labels(jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype), 0.1)
        )
    ),
    ("cross_entropy", "distribution"): _mean(
        lambda y, z: optax.softmax_cross_entropy(z, y)
    ),
    ("kl_divergence", "distribution"): _mean(
        lambda y, z: optax.kl_divergence(jax.nn.log_softmax(z), y)
    ),
}

WORDS = Words(
    exp=jnp.exp,
    log=jnp.log,
    log1p=jnp.log1p,
    sqrt=jnp.sqrt,
    relu=jax.nn.relu,
    where=jnp.where,
    sigmoid=jax.nn.sigmoid,
    softplus=jax.nn.softplus,
    logistic=lambda y, z: optax.sigmoid_binary_cross_entropy(z, y),
    log_softmax=jax.nn.log_softmax,
    mean=jnp.mean,
    sum=jnp.sum,
    count=lambda mask, like: mask.sum(dtype=like.dtype),
    pick=lambda rows, y: jnp.take_along_axis(rows, y[:, None], -1)[:, 0],
    transpose=jnp.transpose,
    diagonal=jnp.diagonal,
)


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return the jitted derivatives; XLA uses the cores that the process may use."""
    found = mean_of(case, OWN, WORDS)
    if found is None or (case.what != VALUE and case.target != "like"):
        return {}
    mean, written = found
    compute = jax.jit(
        jax.value_and_grad(mean, argnums=1) if case.what == VALUE else _curved(mean)
    )
    target, prediction = jax.device_put(y), jax.device_put(z)
    return {
        "JAX": Task(
            lambda: jax.block_until_ready(compute(target, prediction)),
            lambda pair: tuple(map(jax.device_get, pair)),
            written,
        )
    }


def _curved(mean: Mean) -> Any:
    slope = jax.grad(mean, argnums=1)
    bend = jax.grad(slope, argnums=1)
    return lambda y, z: (jax.vmap(slope)(y, z), jax.vmap(bend)(y, z))
