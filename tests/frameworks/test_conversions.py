"""The way from a loss to an adapter: the same on losses and sums, loaded when asked."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata

import pytest

import lossary as ls
from lossary.errors import MissingExtraError

FRAMEWORKS = ("torch", "keras", "jax", "sklearn", "lightgbm", "xgboost", "catboost")
NEEDS = [*((name, name) for name in FRAMEWORKS), ("xgboost", "sklearn")]


@pytest.mark.parametrize(("name", "package"), NEEDS)
def test_a_package_that_is_missing_is_named_with_its_extra(name, package, monkeypatch):
    for module in list(sys.modules):
        if module.startswith(("lossary.frameworks", f"{package}.")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"the package {package}") as raised:
        getattr(ls.huber, f"to_{name}")()
    (extra,) = re.findall(r"install lossary\[(\w+)\]", str(raised.value))
    assert extra in metadata("lossary").get_all("Provides-Extra")
    assert isinstance(raised.value, ImportError)


def test_asking_what_there_is_loads_no_framework():
    program = (
        "import sys, lossary as ls\n"
        "[getattr(ls.huber, n) for n in dir(ls.huber) if n.startswith('to_')]\n"
        f"print(sorted(set(sys.modules) & {set(FRAMEWORKS)!r}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_a_sum_goes_where_a_loss_goes():
    both = 0.5 * ls.dice + ls.binary_cross_entropy
    names = [n for n in dir(ls.huber) if n.startswith("to_")]
    assert len(names) == len(FRAMEWORKS)
    assert all(hasattr(both, name) for name in names)
