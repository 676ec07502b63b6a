"""The peers: for each, a table of the losses that it has.

A module of this folder has ``tasks(case, y, z, threads)``, which returns its
competitors by name, and none where it lacks the loss. It is imported when it is asked
for, and left out where its library is not installed.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from speed.cases import Case
from speed.tasks import Task

PEERS = {
    "numpy": ("speed.peers.with_numpy", ("numpy",)),
    "torch": ("speed.peers.with_torch", ("torch",)),
    "jax": ("speed.peers.with_jax", ("jax", "optax")),
    "tensorflow": ("speed.peers.with_tensorflow", ("tensorflow",)),
    "sklearn": ("speed.peers.with_sklearn", ("sklearn",)),
}
"""The module of each peer, and what must be installed for it."""

DISTRIBUTIONS = {"sklearn": "scikit-learn", "tensorflow": "tensorflow-cpu"}


def installed(names: list[str]) -> list[str]:
    """Return those of the peers that are here."""
    return [name for name in names if all(find_spec(x) for x in PEERS[name][1])]


def versions(names: list[str]) -> str:
    """Return the peers' libraries with their versions."""
    packages = [x for name in names for x in PEERS[name][1]]
    return ", ".join(f"{x} {version(DISTRIBUTIONS.get(x, x))}" for x in packages)


def tasks(
    names: list[str], case: Case, y: Any, z: Any, threads: int
) -> dict[str, Task]:
    """Return the competitors of a case."""
    found: dict[str, Task] = {}
    for name in names:
        module = importlib.import_module(PEERS[name][0])
        found |= module.tasks(case, y, z, threads)
    return found
