"""The peers: for each, a table of the losses that it has.

A peer's module of this folder has ``tasks(case, y, z, threads)``, which returns its
competitors by name, and none where it lacks the loss. It is imported when it is asked
for, and left out where its library is not installed.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from speed.cases import CURVED, Case
from speed.tasks import Task

PEERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "numpy": (("numpy",), ("NumPy",)),
    "torch": (("torch",), ("lossary, tensors", "PyTorch")),
    "compile": (("torch",), ("torch.compile",)),
    "jax": (("jax", "optax"), ("JAX",)),
    "tensorflow": (("tensorflow",), ("TensorFlow XLA",)),
    "sklearn": (("sklearn",), ("scikit-learn",)),
}
"""What must be installed for a peer, and the competitors that its module has."""

OTHERWISE = {
    ("scikit-learn", loss, CURVED): "its curvature is a 1 that its solvers ignore"
    for loss in ("absolute_error", "pinball")
}
"""Competitors that do not compute what ours do, and what they do instead."""

DISTRIBUTIONS = {"sklearn": "scikit-learn", "tensorflow": "tensorflow-cpu"}


def installed(names: list[str]) -> list[str]:
    """Return those of the peers that are here."""
    return [name for name in names if all(find_spec(x) for x in PEERS[name][0])]


def versions(names: list[str]) -> str:
    """Return the peers' libraries with their versions."""
    packages = dict.fromkeys(x for name in names for x in PEERS[name][0])
    return ", ".join(f"{x} {version(DISTRIBUTIONS.get(x, x))}" for x in packages)


def competitors(names: list[str]) -> list[str]:
    """Return what the peers may enter."""
    return [competitor for name in names for competitor in PEERS[name][1]]


def tasks(
    names: list[str], case: Case, y: Any, z: Any, threads: int
) -> dict[str, Task]:
    """Return the competitors of a case."""
    found: dict[str, Task] = {}
    for name in names:
        module = importlib.import_module(f"speed.peers.with_{name}")
        found |= module.tasks(case, y, z, threads)
    return found
