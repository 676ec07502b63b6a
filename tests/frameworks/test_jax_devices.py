"""Rows spread over devices and hosts: value and gradient are those of one device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frameworks.jax_devices import on_one_device

TESTS = Path(__file__).parents[1]
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


def started(*arguments: str, devices: int) -> subprocess.Popen[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "frameworks.jax_devices", *arguments],
        cwd=TESTS,
        env=os.environ | {"XLA_FLAGS": flags},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def printed(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def found() -> Any:
    return printed(started("devices", devices=4))


@pytest.mark.parametrize(
    "way",
    ["sharded", "sharded, in the types", "sharded, eager", "shard_map", "pmap"],
)
def test_rows_over_four_devices(found, way):
    for got, expected in zip(found[way], found["one device"], strict=True):
        np.testing.assert_allclose(got, expected, **TIGHT)


def test_sums_are_a_pytree_from_the_start(found):
    assert found["sums made before any call"] == [0.0, 1.0]


def test_the_gradient_lies_where_the_prediction_lies(found):
    assert found["gradient's sharding"] is True


def test_rows_over_two_hosts():
    """No host can see all values: they are left unchecked, and the mean is global."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    hosts = [started("hosts", rank, port, devices=1) for rank in ("0", "1")]
    value, gradient = on_one_device()
    for host in [printed(process) for process in hosts]:
        np.testing.assert_allclose(host["eager"], value, **TIGHT)
        np.testing.assert_allclose(host["compiled"], value, **TIGHT)
        np.testing.assert_allclose(host["gradient"], gradient, **TIGHT)
