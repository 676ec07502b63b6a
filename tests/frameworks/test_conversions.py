"""The way from a loss to an adapter: the same on losses and sums, loaded when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lossary as ls

FRAMEWORKS = {
    "torch": "torch",
    "keras": "keras",
    "jax": "jax",
    "sklearn": "sklearn",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "catboost": "catboost",
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_package_that_is_missing_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, FRAMEWORKS[name], None)
    adapters = [m for m in sys.modules if m.startswith("lossary.frameworks")]
    for module in adapters:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ls.LossaryError, match=r"install lossary\[\w+\]") as raised:
        getattr(ls.huber, f"to_{name}")()
    assert FRAMEWORKS[name] in str(raised.value)
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
