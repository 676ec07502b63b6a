"""Every loss on rows that are spread over processes or devices.

``python -m laws.spread ranks WORLD RANK FOLDER`` is one rank of PyTorch;
``python -m laws.spread devices COUNT FOLDER`` is a host with several devices of JAX.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

Results = dict[str, tuple[float, np.ndarray]]
"""Value and gradient of each loss, by name."""

TESTS = Path(__file__).parents[1]


@lru_cache(maxsize=1)
def over_ranks(world: int) -> list[Results]:
    """Run every loss on real processes that share the rows unevenly."""
    with tempfile.TemporaryDirectory() as folder:
        started = [
            _start("ranks", world, rank, folder, env={}) for rank in range(world)
        ]
        return [_result(process, folder, r) for r, process in enumerate(started)]


@lru_cache(maxsize=1)
def over_devices(count: int) -> Results:
    """Run every loss on rows that are sharded over devices of one host."""
    flags = f"--xla_force_host_platform_device_count={count}"
    with tempfile.TemporaryDirectory() as folder:
        process = _start("devices", count, folder, env={"XLA_FLAGS": flags})
        return _result(process, folder, 0)


def _start(*arguments: Any, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "laws.spread"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=TESTS, env={**os.environ, **env}, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def _result(process: subprocess.Popen[str], folder: str, number: int) -> Any:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return pickle.loads(Path(folder, f"{number}.pickle").read_bytes())


def _ranks(world: int, rank: int, folder: str) -> Results:
    import torch
    import torch.distributed as dist

    import lossary as ls
    from laws.cases import random
    from lossary.frameworks.distributed import GlobalLoss

    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    found: Results = {}
    for name in ls.names():
        inputs = random(ls.get(name))
        mine = slice(0, 5) if rank == 0 else slice(5, None)
        scores = torch.tensor(inputs.z[mine], requires_grad=True)
        criterion = GlobalLoss(ls.get(name), gradients="summed")
        value = criterion(scores, torch.tensor(inputs.y[mine]))
        value.backward()
        assert scores.grad is not None
        found[name] = float(value.detach()), scores.grad.numpy()
    dist.destroy_process_group()
    return found


def _devices(count: int) -> Results:
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import lossary as ls
    from laws.cases import random

    mesh = jax.make_mesh((count,), ("rows",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("rows"))
    found: Results = {}
    for name in ls.names():
        inputs, loss = random(ls.get(name)), ls.get(name)
        y, z = (jax.device_put(x, rows) for x in (inputs.y, inputs.z))
        both = jax.jit(jax.value_and_grad(lambda z, y, loss=loss: loss(y, z)))
        value, gradient = both(z, y)
        assert len(gradient.sharding.device_set) == count
        found[name] = float(value), np.asarray(gradient)
    return found


def main(kind: str, *arguments: str) -> None:
    if kind == "ranks":
        world, rank, folder = int(arguments[0]), int(arguments[1]), arguments[2]
        number, found = rank, _ranks(world, rank, folder)
    else:
        number, folder = 0, arguments[1]
        found = _devices(int(arguments[0]))
    Path(folder, f"{number}.pickle").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
