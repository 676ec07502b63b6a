"""The first use of a loss in a fresh process, its kernels compiled or kept on disk.

    python benchmarks/first_call.py [--repeats 5]

Each figure is the median of fresh processes: seconds from ``import lossary`` to the
first result, NumPy being imported, with an empty folder of kernels ("cold") and with
one that holds them ("warm"). Beside it stands the least that a just-in-time compiler
costs: a function ``x + 1`` that Numba compiles, or has kept on disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

LOSSES = (
    "squared_error", "huber", "binary_cross_entropy", "poisson", "general_robust",
    "cross_entropy",
)  # fmt: skip

OVER_NUMBA, COLD = 0.2, 1.5
"""Targets: warm, over the function of Numba; and cold, in seconds."""

OURS = """
import time
import numpy as np
n = 1 << 19
y, z = np.ones(n, np.float32), np.zeros(n, np.float32)
if {name!r} == "cross_entropy":
    y, z = np.zeros(n // 8, np.int64), z.reshape(-1, 8)
start = time.perf_counter()
import lossary as ls
ls.get({name!r}).value_and_grad(y, z)
print(time.perf_counter() - start)
"""

NUMBA = """
import time
import numpy as np
start = time.perf_counter()
import plus
plus.one(1.0)
print(time.perf_counter() - start)
"""

PLUS = """
from numba import njit

@njit(cache=True)
def one(x):
    return x + 1.0
"""


def seconds(script: str, folder: Path) -> float:
    """Run a script in a fresh process, its caches in a folder."""
    environment = os.environ | {
        "LOSSARY_CACHE_DIR": str(folder),
        "NUMBA_CACHE_DIR": str(folder),
        "PYTHONPATH": str(folder),
    }
    command = [sys.executable, "-c", script]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return float(ran.stdout)


def cold_and_warm(script: str, repeats: int) -> tuple[float, float]:
    """Return the medians of first and second runs, each pair in a new folder."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "plus.py").write_text(PLUS)
            cold.append(seconds(script, Path(folder)))
            warm.append(seconds(script, Path(folder)))
    return median(cold), median(warm)


def mark(met: bool) -> str:
    """Print whether a target was missed."""
    return "" if met else "  missed"


def main() -> None:
    """Print seconds; a missed target is marked, and is not an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'first call, s':32}{'cold':>8}{'warm':>8}")
    least = None
    if find_spec("numba") is not None:
        cold, least = cold_and_warm(NUMBA, options.repeats)
        print(f"{'x + 1 in Numba':32}{cold:8.3f}{least:8.3f}")
    for name in LOSSES:
        cold, warm = cold_and_warm(OURS.format(name=name), options.repeats)
        line = f"{name:32}{cold:8.3f}{warm:8.3f}"
        if least is not None:
            over = warm - least
            line += f"   {over:+.3f} over Numba, <= {OVER_NUMBA}"
            line += mark(over <= OVER_NUMBA)
        print(f"{line}; cold <= {COLD}{mark(cold <= COLD)}", flush=True)


if __name__ == "__main__":
    main()
