"""A loss is at home on every backend of Keras: the same checks on each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from frameworks.keras_checks import CHECKS, TENSORFLOW_CHECKS

TESTS = Path(__file__).parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
SAVED = ["huber", "learned", "own", "parameters", "sum", "third"]


def run(backend: str, *arguments: str) -> Any:
    process = subprocess.run(
        [sys.executable, "-m", "frameworks.keras_checks", *arguments],
        cwd=TESTS,
        env=os.environ | {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "0"},
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return how the checks went on a backend, and where its models are."""

    @cache
    def on(backend: str) -> tuple[dict[str, str], Path]:
        folder = tmp_path_factory.mktemp(backend)
        return run(backend, str(folder)), folder

    return on


@pytest.fixture(scope="module")
def loaded(checked: Any) -> Any:
    """Return what models evaluate to before and after they are saved and loaded."""

    @cache
    def from_(backend: str) -> tuple[dict[str, Any], dict[str, Any]]:
        _, folder = checked(backend)
        before = json.loads((folder / "values.json").read_text())
        return before, run(backend, "load", str(folder))

    return from_


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend(checked, backend, name):
    failures, _ = checked(backend)
    assert not failures[name], failures[name]


@pytest.mark.parametrize("name", TENSORFLOW_CHECKS)
def test_tensorflow_backend(checked, name):
    failures, _ = checked("tensorflow")
    assert not failures[name], failures[name]


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_saved_model_loads_in_a_fresh_process(loaded, backend, name):
    before, after = loaded(backend)
    assert before.keys() == after.keys() == set(SAVED)
    assert after[name] == pytest.approx(before[name], rel=1e-4)
