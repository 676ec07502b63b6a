"""CONTRIBUTING is true: its steps are applied to a copy of the package and run.

In the chapters "Add …" a ``diff`` block is an edit of the last file that the text
names, a ``python`` block is a new file, and a ``console`` block is run.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHAPTERS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
RECIPES = [title for title in CHAPTERS if title.startswith("Add ")]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
NAMED = re.compile(r"`((?:src|tests)/[\w/]+\.py)`")

# What a newcomer's primitive must do beside the laws of a loss: be the same function
# in every interpreter, the compiled one included.
WALK = """
import numpy as np, torch, tensorflow as tf, jax, jax.numpy as jnp
import lossary as ls
from lossary import kernels
from lossary.ops import atan

jax.config.update("jax_enable_x64", True)

@ls.pointwise
def bounded(y, z, width=1.0):
    return atan(((z - y) / width) ** 2) * atan(width)

bounded = bounded(width=2.0)
y, z = np.zeros(5), np.array([0.0, 0.5, -1.0, 20.0, np.nan])
expected = np.arctan((z / 2) ** 2) * np.arctan(2.0)
slope = z / 2 / (1 + (z / 2) ** 4) * np.arctan(2.0)
for make in (np.asarray, torch.tensor, tf.constant, jnp.asarray):
    items = bounded(make(y), make(z), reduction="none")
    np.testing.assert_allclose(np.asarray(items), expected, rtol=1e-14)
    total, gradient = bounded.value_and_grad(make(y), make(z), reduction="sum")
    np.testing.assert_allclose(np.asarray(gradient), slope, rtol=1e-14)
assert "arctan" in bounded.latex()
assert "ATAN" in bounded.sql("y", "z")
printed = {}
exec(bounded.code("numpy"), printed)
mean = printed["bounded"](y[:4], z[:4])
np.testing.assert_allclose(mean, expected[:4].mean(), rtol=1e-14)

assert kernels.available()
n = 1 << 18
rng = np.random.default_rng(0)
y, z = rng.normal(size=n), 9 * rng.normal(size=n)
fused, gradient = bounded.value_and_grad(y, z)
plain = np.arctan(((z - y) / 2) ** 2) * np.arctan(2.0)
np.testing.assert_allclose(fused, plain.mean(), rtol=1e-12)
"""


class Step(NamedTuple):
    """One fenced block, and the file that the text before it names last."""

    language: str
    text: str
    path: str


def steps(title: str) -> Iterator[Step]:
    """Walk over the blocks of a chapter."""
    chapter, end, path = CHAPTERS[title], 0, ""
    for block in BLOCK.finditer(chapter):
        named = NAMED.findall(chapter[end : block.start()])
        path = named[-1] if named else path
        yield Step(block[1], block[2], path)
        end = block.end()


def apply(step: Step, folder: Path) -> None:
    """Do what a block says."""
    file = folder / step.path
    if step.language == "console":
        console(step.text, folder)
    elif step.language == "python":
        assert not file.exists(), f"{step.path} exists: show the change as a diff"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.text, encoding="utf-8")
    else:
        edit(file, step.text.splitlines(keepends=True))


def edit(file: Path, lines: list[str]) -> None:
    """Apply a diff: its old lines must stand in the file, and only once."""
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if old:
        assert text.count(old) == 1, f"{file.name} does not hold this once:\n{old}"
        text = text.replace(old, new)
    else:
        text += new
    file.write_text(text, encoding="utf-8")


def console(text: str, folder: Path) -> None:
    """Run the commands of a block, and compare what they print where it is shown."""
    for entry in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, expected = entry.partition("\n")
        printed = run(command, folder)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if expected.strip():
            same = doctest.OutputChecker().check_output(expected, printed, flags)
            assert same, f"$ {command}\n{printed}\nis not\n{expected}"


def run(command: str, folder: Path) -> str:
    """Run one command on the copy of the package, with the tools of this run."""
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "PYTEST_ADDOPTS": "-q -p no:cacheprovider",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_four_recipes_are_there() -> None:
    assert RECIPES == [
        "Add a loss",
        "Add a primitive",
        "Add an interpreter",
        "Add an adapter",
    ]


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title: str, copy: Path) -> None:
    touched = {step.path for step in steps(title)}
    for step in steps(title):
        apply(step, copy)
    if title == "Add a primitive":
        (copy / "walk.py").write_text(WALK)
        run("python walk.py && rm walk.py", copy)
    files = " ".join(sorted(touched))
    run(f"ruff check {files} && ruff format --check {files} && lint-imports", copy)


def test_one_test_can_be_run() -> None:
    (block,) = BLOCK.findall(CHAPTERS["Run one test"])
    first, _, last = re.findall(r"^\$ (.+)$", block[1], re.M)
    assert "1 passed" in run(first, ROOT)
    assert "passed" in run(last, ROOT)


def test_a_step_that_no_longer_fits_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("a = 1\n")
    edit(file, [" a = 1\n", "+b = 2\n"])
    assert file.read_text() == "a = 1\nb = 2\n"
    with pytest.raises(AssertionError, match="does not hold this once"):
        edit(file, ["-c = 3\n"])
    with pytest.raises(AssertionError, match="is not"):
        console("$ echo one\ntwo\n", tmp_path)
