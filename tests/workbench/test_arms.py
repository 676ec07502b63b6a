from __future__ import annotations

import pytest

import lossary as ls
from lossary.errors import (
    DataError,
    FormulaError,
    KindError,
    NameLookupError,
    ParameterError,
)
from lossary.workbench.arms import load_loss, make_arms
from lossary.workbench.choose import choose

MINE = """
import lossary as ls
from lossary.ops import log1p
from neighbour import SCALE

@ls.pointwise
def cauchy(y, z, scale=SCALE):
    return log1p(((z - y) / scale) ** 2)

def plain(y, z):
    return (z - y) ** 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_losses_of_arms.py").write_text(MINE)
    (tmp_path / "neighbour.py").write_text("SCALE = 3.0")
    (tmp_path / "broken_of_arms.py").write_text("1 / 0")
    wrong = (
        "import lossary as ls\n@ls.pointwise\ndef f(y, z):\n    return z if z else y"
    )
    (tmp_path / "wrong_of_arms.py").write_text(wrong)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mse", "squared_error"),
        ("huber(delta=2)", "huber(delta=2.0)"),
        ("my_losses_of_arms:cauchy", "cauchy"),
        ("my_losses_of_arms.py:cauchy", "cauchy"),
        ("{folder}/my_losses_of_arms.py:cauchy(scale=2)", "cauchy(scale=2.0)"),
    ],
)
def test_a_loss_is_found_where_it_is(folder, spec, expected):
    assert repr(load_loss(spec.format(folder=folder))) == expected


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("hubber", NameLookupError, "did you mean 'huber'"),
        ("no_such_module:f", NameLookupError, "there is no module 'no_such_module'"),
        ("my_losses_of_arm.py:f", NameLookupError, "mean 'my_losses_of_arms.py'"),
        ("my_losses_of_arms:cauchi", NameLookupError, "did you mean 'cauchy'"),
        ("my_losses_of_arms:plain", KindError, "is a function.*@lossary.pointwise"),
        ("my_losses_of_arms:cauchy(2)", ParameterError, "write it like"),
        ("my_losses_of_arms:cauchy(size=2)", ParameterError, "no parameter 'size'"),
        ("broken_of_arms:f", NameLookupError, "cannot be imported: ZeroDivisionError"),
        ("wrong_of_arms:f", FormulaError, "f"),
    ],
)
def test_a_loss_that_cannot_be_found_is_explained(folder, spec, error, message):
    with pytest.raises(error, match=message):
        load_loss(spec)


CHOICE = choose([1.0, 2.0, 5.0, 3.0], metric="mape")


def names(losses, control=None, choice=CHOICE):
    arms, base = make_arms(losses, control, choice)
    return [arm.name for arm in arms], base.name


def test_by_default_the_candidates_run_against_the_default_loss():
    found, base = names(None)
    assert sorted(found) == sorted(c.name for c in CHOICE.candidates)
    assert base == "squared_error"


def test_the_control_is_always_there_and_nothing_twice():
    assert names(["mae", "huber", "absolute_error"]) == (
        ["squared_error", "absolute_error", "huber"],
        "squared_error",
    )
    assert names("huber", control=ls.log_cosh) == (["log_cosh", "huber"], "log_cosh")


def test_a_candidate_keeps_its_reason_however_it_is_named():
    arms, _ = make_arms(["mape", "huber"], None, CHOICE)
    told = {arm.name: (arm.tier, arm.reason) for arm in arms}
    assert told["absolute_percentage_error"][0] == "A"
    assert told["huber"] == ("", "")


def test_two_losses_of_one_name_are_refused():
    @ls.pointwise
    def huber(y, z):
        return abs(z - y) ** 1.5

    with pytest.raises(ParameterError, match="two different losses are called huber"):
        make_arms(["huber", huber], None, CHOICE)


def test_what_is_no_loss_is_refused():
    with pytest.raises(KindError, match=r"got a function.*@lossary.pointwise"):
        make_arms([lambda y, z: (y - z) ** 2], None, CHOICE)


def test_a_target_that_rules_the_metric_out_says_so():
    with pytest.raises(DataError, match="metric mape: it takes numbers other than"):
        make_arms(None, None, choose([0.0, 1.0, 2.0], metric="mape"))
