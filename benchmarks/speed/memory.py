"""Peak memory of a competitor beyond its inputs, in a process of its own.

    python -m speed.memory CASE ITEMS THREADS COMPETITOR [PEER]

It runs twice, so that compilers are done, and prints the highest resident memory of
the second run over that before anything was computed, in bytes. The gradient counts:
who needs nothing else stands at 1 gradient.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

from speed import ours, peers, resident
from speed.cases import Case, drawn, pointwise, rows
from speed.resident import available as available
from speed.tasks import Task

CASES = ("binary_cross_entropy", "cross_entropy, 1000 classes")


def case_named(name: str) -> Case:
    """Return a case in float32."""
    return next(c for c in pointwise("float32") + rows("float32") if c.name == name)


def _task(case: Case, threads: int, competitor: str, peer: list[str]) -> Task:
    y, z = drawn(case)
    if not peer:
        return ours.task(case, y, z)
    return peers.tasks(peer, case, y, z, threads)[competitor]


def peak(name: str, items: int, *who: Any) -> int:
    """Return the bytes that a competitor needs beyond its inputs."""
    case = case_named(name)
    task = _task(case.at(items), *who)
    # Imports and compilers take memory, and TensorFlow lets go of arrays that it has
    # copied at its next operation.
    _task(case.at(ours.LOADED), *who).run()
    gc.collect()
    before = resident.now()  # of arrays that are empty nothing is resident
    task.run()
    gc.collect()
    resident.forget_peak()
    task.run()
    return max(0, resident.peak() - before)


def measured(name: str, items: int, threads: int, *who: str) -> int:
    """Return `peak` of a competitor and its peer, in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "speed.memory"]
    ran = subprocess.run(
        [*command, name, str(items), str(threads), *who],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout.split()[-1])


if __name__ == "__main__":
    named, count, number, competitor, *peer = sys.argv[1:]
    print(peak(named, int(count), int(number), competitor, peer))
