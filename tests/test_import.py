"""`import lossary` loads NumPy, nothing heavier, and costs next to nothing more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ALLOWED = {"numpy"}
BUDGET_SECONDS = 0.1
TRIES = 7  # A busy machine makes single runs slow; none makes them fast.

PROGRAM = """
import sys, time
sys.path[:0] = [path for path in sys.argv[2:]]
before = set(sys.modules)
import numpy
start = time.process_time()
__import__(sys.argv[1])
seconds = time.process_time() - start
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(seconds, *sorted(loaded - sys.stdlib_module_names - {sys.argv[1]}))
"""


def import_cost(package: str, *paths: Path) -> tuple[float, set[str]]:
    """Seconds of work over `import numpy`, and what is loaded, in a fresh process."""
    command = [sys.executable, "-c", PROGRAM, package, *map(str, paths)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, *loaded = run.stdout.split()
    return float(seconds), set(loaded)


def check_import(package: str, *paths: Path) -> None:
    """Fail if importing `package` loads what is not allowed or is always slow."""
    fastest = float("inf")
    for _ in range(TRIES):
        seconds, loaded = import_cost(package, *paths)
        assert loaded <= ALLOWED, f"{package} loads {sorted(loaded - ALLOWED)}"
        fastest = min(fastest, seconds)
        if fastest <= BUDGET_SECONDS:
            return
    raise AssertionError(f"{package} takes {fastest:.3f} s of {BUDGET_SECONDS} s")


def make_package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


def test_import_is_light() -> None:
    check_import("lossary")


def test_light_twin_passes(tmp_path: Path) -> None:
    make_package(tmp_path, "twin", "import json, numpy.linalg")
    check_import("twin", tmp_path)


def test_heavy_twin_is_caught(tmp_path: Path) -> None:
    make_package(tmp_path, "heavy", "")
    make_package(tmp_path, "twin", "import heavy")
    with pytest.raises(AssertionError, match="twin loads"):
        check_import("twin", tmp_path)


def test_slow_twin_is_caught(tmp_path: Path) -> None:
    end = f"from time import process_time as now\nend = now() + {2 * BUDGET_SECONDS}"
    make_package(tmp_path, "twin", f"{end}\nwhile now() < end: pass")
    with pytest.raises(AssertionError, match="twin takes"):
        check_import("twin", tmp_path)
