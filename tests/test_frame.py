"""The frame around the code: versions, licence, targets, gates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = CONFIGURATION["project"]

TARGETS = {
    *("setup", "demo", "browser", "test", "lint", "types", "docs", "check"),
    *("bench", "accuracy", "support", "clean", "lock", "help"),
}
# A path of one machine: an absolute folder that is nobody else's.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home)/\w")


def direct_requirements() -> Iterator[Requirement]:
    groups = {
        **PROJECT["optional-dependencies"],
        **CONFIGURATION["dependency-groups"],
        "core": PROJECT["dependencies"],
    }
    for requirements in groups.values():
        every = map(Requirement, requirements)
        yield from (one for one in every if one.name != PROJECT["name"])


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and line[0] != "#"]
    return {canonicalize_name(pin.name): pin for pin in found}


def project_files() -> list[Path]:
    """Files that git keeps or would keep: tracked, or new and not ignored."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = (ROOT / name for name in listing.stdout.splitlines())
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("requirement", list(direct_requirements()), ids=str)
def test_every_direct_dependency_is_pinned(requirement: Requirement) -> None:
    pin = pins()[canonicalize_name(requirement.name)]
    (version,) = pin.specifier
    assert requirement.specifier.contains(version.version)


def test_every_constraint_is_one_exact_version() -> None:
    for pin in pins().values():
        assert [one.operator for one in pin.specifier] == ["=="], pin
        assert pin.url is None


def test_the_version_is_stated_once() -> None:
    assert distribution("lossary").version == PROJECT["version"]
    literal = f'"{PROJECT["version"]}"'
    holders = [
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*.toml"), *(ROOT / "src").rglob("*.py")]
        if literal in path.read_text()
    ]
    assert holders == ["pyproject.toml"]


def test_the_licence_travels_with_the_package() -> None:
    installed = distribution("lossary")
    assert installed.metadata["License-Expression"] == "BSD-3-Clause"
    licence = installed.read_text("licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_target() -> None:
    run = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.split()[0] for line in run.stdout.splitlines()} == TARGETS


def test_continuous_integration_is_make_check() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.search(r"^exec make check$", script.read_text(), flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^check: lint types test\b", makefile, flags=re.MULTILINE)


def test_no_file_mentions_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if MACHINE_PATH.search(line.decode("utf-8", "replace"))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["/work", "/root", "/home"])
def test_a_path_of_one_machine_is_recognised(folder: str) -> None:
    assert MACHINE_PATH.search(f'open("{folder}/data.csv")')
    assert not MACHINE_PATH.search(f"https://example.org{folder}/page")


@pytest.mark.parametrize("imported", ["lossary.workbench", "lossary", "torch"])
def test_a_wrong_way_import_is_caught(tmp_path: Path, imported: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    with (tmp_path / "src/lossary/errors.py").open("a") as module:
        module.write(f"\nimport {imported}\n")
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"lossary.errors -> {imported} (" in run.stdout
