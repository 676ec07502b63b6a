"""Run by the tests in processes of their own: losses over four devices, or two hosts.

`python -m frameworks.jax_devices devices` prints, as JSON, what each way of spreading
the rows over devices gives; `… hosts RANK PORT` does so on one of two hosts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import lossary as ls

ROWS = PartitionSpec("rows")
X = np.random.default_rng(0).normal(size=(8, 3))
LABELS = np.arange(8) % 4
WEIGHTS = np.array([1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 3.0, 1.0])
MODEL = np.random.default_rng(1).normal(size=(3, 4))
DATA = X, LABELS, WEIGHTS


def cost(model: Any, x: Any, labels: Any, weights: Any) -> Any:
    return ls.cross_entropy(labels, x @ model, sample_weight=weights)


def mean_of_shards(axis: str) -> Callable[..., Any]:
    """The cost where each device holds a part of the rows: sums are merged."""

    def merged(model: Any, x: Any, labels: Any, weights: Any) -> Any:
        sums = ls.cross_entropy.sums(labels, x @ model, sample_weight=weights)
        return jax.lax.psum(sums, axis).mean()

    return merged


def on_one_device() -> Any:
    return jax.value_and_grad(cost)(MODEL, *map(jnp.asarray, DATA))


def sharded(kind: AxisType) -> Any:
    with jax.set_mesh(jax.make_mesh((4,), ("rows",), axis_types=(kind,))):
        data = [jax.device_put(x, ROWS) for x in DATA]
        return jax.jit(jax.value_and_grad(cost))(jnp.asarray(MODEL), *data)


def eagerly_sharded() -> Any:
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    data = [jax.device_put(x, NamedSharding(mesh, ROWS)) for x in DATA]
    return cost(jnp.asarray(MODEL), *data), jax.jit(jax.grad(cost))(MODEL, *data)


def shard_mapped() -> Any:
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    whole = PartitionSpec()
    merged = jax.shard_map(
        mean_of_shards("rows"),
        mesh=mesh,
        in_specs=(whole, ROWS, ROWS, ROWS),
        out_specs=whole,
    )
    return jax.jit(jax.value_and_grad(merged))(MODEL, *DATA)


def pmapped() -> Any:
    data = [x.reshape(4, 2, *x.shape[1:]) for x in DATA]
    in_axes = (None, 0, 0, 0)
    merged = jax.pmap(mean_of_shards("rows"), axis_name="rows", in_axes=in_axes)

    def first(model: Any) -> Any:
        return merged(model, *data)[0]

    return jax.value_and_grad(first)(MODEL)


def gradient_sharding() -> Any:
    """Say whether the gradient lies where the prediction lies."""
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, ROWS)
    labels, scores = (jax.device_put(x, spread) for x in (LABELS, X @ MODEL))
    gradient = jax.jit(jax.grad(ls.cross_entropy, argnums=1))(labels, scores)
    return gradient.sharding.is_equivalent_to(spread, gradient.ndim)


def on_two_hosts(rank: int, port: str) -> Any:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    own = slice(4 * rank, 4 * rank + 4)
    spread = NamedSharding(mesh, ROWS)
    data = [jax.make_array_from_process_local_data(spread, x[own]) for x in DATA]
    value, gradient = jax.jit(jax.value_and_grad(cost))(MODEL, *data)
    return {"eager": cost(MODEL, *data), "compiled": value, "gradient": gradient}


def on_four_devices() -> Any:
    ways = {
        "sums made before any call": lambda: jax.tree.leaves(ls.Sums(0.0, 1.0)),
        "one device": on_one_device,
        "sharded": lambda: sharded(AxisType.Auto),
        "sharded, in the types": lambda: sharded(AxisType.Explicit),
        "sharded, eager": eagerly_sharded,
        "shard_map": shard_mapped,
        "pmap": pmapped,
        "gradient's sharding": gradient_sharding,
    }
    return {name: way() for name, way in ways.items()}


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    found = (
        on_four_devices() if what == "devices" else on_two_hosts(int(rest[0]), rest[1])
    )
    found = jax.tree.map(lambda x: np.asarray(x).tolist(), found)
    print(json.dumps(found))
