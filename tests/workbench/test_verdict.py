from __future__ import annotations

import numpy as np
import pytest

from lossary.workbench.metrics import get_metric
from lossary.workbench.statistics import Verdict, paired_comparison
from lossary.workbench.table import Row
from lossary.workbench.verdict import judge

RNG = np.random.default_rng(0)
Y = RNG.normal(100, 10, size=200)
NOISE = RNG.normal(size=200)
FOLDS = [(r, np.arange(f, 200, 5)) for r in range(2) for f in range(5)]


def predictions(error, spread=0.0, seed=1):
    wobble = np.random.default_rng(seed).normal(size=(2, 200))
    return Y + error * np.sign(NOISE) + spread * wobble


MADE = {
    "control": predictions(10),
    "better": predictions(5),
    "better_too": predictions(5.0, 0.02, 2),
    "same": predictions(10, 0.01),
    "unclear": predictions(10.0, 6, 3),
    "worse": predictions(14),
}


def compare(loss, other):
    return paired_comparison(
        "mae", Y, MADE[loss], MADE[other], FOLDS, names=(loss, other)
    )


def row(loss, complexity=1, bias=1.0, rmse=20.0, failures=()):
    compared = None if loss == "control" or failures else compare(loss, "control")
    mean = None if failures else float(np.abs(MADE[loss] - Y).mean())
    complexity = 0 if loss == "control" else complexity
    others = {"rmse": rmse, "bias": bias}
    return Row(
        loss, mean, None, (), compared, others, 0.0, failures, "", "", "none",
        complexity,
    )  # fmt: skip


def judged(*rows, baseline=50.0):
    ordered = sorted(rows, key=lambda r: np.inf if r.mean is None else r.mean)
    return judge(get_metric("mae"), ordered, "control", baseline, compare)


def test_a_better_loss_is_recommended_with_its_price():
    found = judged(row("control"), row("better", bias=0.8, rmse=28.4), row("worse"))
    assert found.winner == "better"
    assert found.word == Verdict.BETTER
    assert found.text == (
        "Train with better: MAE 5 against 10 for control, 5 lower (95 % interval 5 to "
        "5): BETTER. It costs 8.4 in RMSE and predicts 20 % low on average."
    )


def test_what_costs_nothing_is_not_said_to():
    assert judged(row("control"), row("better", rmse=20.1)).text.endswith("BETTER.")


@pytest.mark.parametrize(
    ("loss", "word"),
    [
        ("same", Verdict.EQUIVALENT),
        ("unclear", Verdict.INCONCLUSIVE),
        ("worse", Verdict.WORSE),
    ],
)
def test_without_a_better_loss_the_control_is_kept(loss, word):
    found = judged(row("control"), row(loss))
    assert found.winner == "control"
    assert found.word == word
    assert found.text.startswith("Keep control, with MAE 10: ")
    assert "is not shown to be better" in found.text
    assert str(word) in found.text


def test_of_losses_as_good_the_simplest_is_taken():
    plain = row("better_too", complexity=1)
    assert judged(row("control"), row("better", 2), plain).winner == "better_too"
    tuned = row("better_too", complexity=2)
    assert judged(row("control"), row("better", 2), tuned).winner == "better"


def test_a_loss_that_is_clearly_worse_is_not_taken_for_being_simple():
    MADE["best"] = predictions(2)
    found = judged(row("control"), row("best", 2), row("better", 1))
    assert found.winner == "best"


def test_a_control_that_failed_says_so():
    found = judged(
        row("control", failures=("no luck.",)), row("better", failures=("",))
    )
    assert found.winner is None
    assert found.text.startswith("control, the control, failed: no luck. Nothing")


def test_a_control_alone_is_kept():
    assert judged(row("control")).text.endswith("no other loss could be compared.")


def test_losing_to_a_constant_is_said_first():
    found = judged(row("control"), row("same"), baseline=9.0)
    assert found.text.startswith("No loss beats the best constant prediction, 9, so")
    assert "Keep control" in found.text
