"""What the documentation shows is what happens: examples, figures, printed output."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from lossary.loss import Loss
from lossary.registry import registry

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PYTHON = (Path(sys.executable), "-W", "error")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NUMBER = r"\d+(?:\.\d+)?"


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs_and_reports(script: Path, tmp_path: Path) -> None:
    assert run(*PYTHON, script, folder=tmp_path).strip()
    assert not list(tmp_path.iterdir()), "an example leaves no files behind"


# A loss is an object, so that pytest's own collection does not look into it.
@pytest.mark.parametrize("loss", registry().values(), ids=repr)
def test_docstring_of_a_loss_runs(loss: Loss) -> None:
    doc = loss.definition.doc
    test = doctest.DocTestParser().get_doctest(doc, {}, loss.name, None, 0)
    assert test.examples, f"{loss.name} shows no example"
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not result.failed, "".join(report)


def test_the_picture_is_what_the_library_draws(tmp_path: Path) -> None:
    run(*PYTHON, ROOT / "docs" / "figures.py", tmp_path, folder=tmp_path)
    drawn = (tmp_path / "losses.svg").read_text(encoding="utf-8")
    shown = (ROOT / "docs" / "images" / "losses.svg").read_text(encoding="utf-8")
    assert "losses.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
    curves = re.compile(r'd="([^"]{400,})"')
    assert len(curves.findall(drawn)) == 8  # loss and gradient of four losses
    for ours, theirs in zip(curves.findall(drawn), curves.findall(shown), strict=True):
        assert_allclose(*(numbers(path) for path in (ours, theirs)), atol=0.1)


def test_the_readme_shows_what_compare_prints(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^\$ lossary compare\n(.*?)^```", readme, re.S | re.M)
    printed = run(PYTHON[0].with_name("lossary"), "compare", folder=tmp_path)
    assert (tmp_path / "report.html").exists()
    assert words(printed) == words(shown)
    # Another processor may round a split of a tree the other way.
    assert_allclose(numbers(printed), numbers(shown), rtol=0.1, atol=0.3)


def words(text: str) -> list[str]:
    """Leave numbers, rules, and the name of the folder of trials out."""
    text = re.sub(r"diabetes-\w+", "", text)
    return re.sub(rf"{NUMBER}|[─−+]", "", text).split()


def numbers(text: str) -> list[float]:
    """Read the numbers, without their signs."""
    return [float(n) for n in re.findall(NUMBER, re.sub(r"diabetes-\w+", "", text))]
