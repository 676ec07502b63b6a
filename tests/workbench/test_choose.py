"""Candidates, refusals and cautions, and the table that they come from."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import lossary as ls
from lossary.errors import (
    DataError,
    KindError,
    NameLookupError,
    ParameterError,
    ShapeError,
)
from lossary.workbench.choose import TIERS, TUNED, _table, choose
from lossary.workbench.facts import target_facts
from lossary.workbench.metrics import get_metric

RNG = np.random.default_rng(3)
POSITIVE = RNG.lognormal(3, 0.8, 300)
REAL = RNG.normal(0, 1, 300)
COUNTS = RNG.poisson(1.2, 300)
BINARY = np.where(RNG.random(300) < 0.3, "yes", "no")
CLASSES = RNG.choice(["a", "b", "c"], 300)
REGRESSION = ("mse", "rmse", "r2", "mae", "mape", "rmsle", "msle", "pinball(alpha=0.9)")
DEVIANCES = ("poisson", "tweedie(power=1.5)")
BINARY_METRICS = ("log_loss", "brier", "accuracy", "f1", "auc")
MULTI_METRICS = ("log_loss", "brier", "accuracy")
CASES = (
    *((m, POSITIVE, "squared_error") for m in REGRESSION + DEVIANCES),
    *((m, BINARY, "binary_cross_entropy") for m in BINARY_METRICS),
    *((m, CLASSES, "cross_entropy") for m in MULTI_METRICS),
)


def losses(choice):
    return [c.loss for c in choice.candidates]


def refused(choice):
    return {r.subject: r.reason for r in choice.refusals}


# --- choices ----------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "y", "default"), CASES)
@pytest.mark.parametrize("most", [3, 5])
def test_always_offers_default_and_best_tier(metric, y, default, most):
    choice = choose(y, metric, max_candidates=most)
    assert choice.control.loss == default
    assert sum(c.default for c in choice.candidates) == 1
    assert 2 <= len(choice.candidates) <= most
    # Labels are cut from scores, so no loss is consistent for them as it stands.
    best = "B" if choice.metric.prediction == "label" else "A"
    assert min(c.tier for c in choice.candidates) == best
    for c in choice.candidates:
        assert isinstance(ls.get(c.loss), ls.Loss)


@pytest.mark.parametrize(
    ("metric", "y", "tuned"),
    [
        ("f1", BINARY, "binary_cross_entropy+threshold"),
        ("mse", POSITIVE, "squared_log_error+smearing"),
        ("rmsle", POSITIVE, None),  # smearing would spoil it
        ("mae", POSITIVE, None),
    ],
)
def test_tuned_transform_where_the_metric_wants_one(metric, y, tuned):
    choice = choose(y, metric, max_candidates=3)
    found = [c.name for c in choice.candidates if c.transform in TUNED]
    assert found[:1] == ([tuned] if tuned else [])


def test_tier_a_is_the_metric_as_a_loss():
    assert losses(choose(POSITIVE, "mape"))[0] == "absolute_percentage_error"
    assert losses(choose(POSITIVE, "pinball(alpha=0.9)"))[0] == "pinball(tau=0.9)"
    assert "tweedie(power=1.3)" in losses(choose(POSITIVE, "tweedie(power=1.3)"))
    assert "tweedie(power=3)" not in losses(choose(POSITIVE, "tweedie(power=3)"))


def test_huber_knows_the_scale_of_the_target():
    (small,) = (c for c in losses(choose(REAL, "mae")) if c.startswith("huber"))
    (large,) = (c for c in losses(choose(100 * REAL, "mae")) if c.startswith("huber"))
    mad = 1.4826 * np.median(np.abs(REAL - np.median(REAL)))
    delta = float(re.findall(r"[\d.]+", small)[0])
    assert delta == pytest.approx(1.345 * mad, rel=0.01)
    assert float(re.findall(r"[\d.]+", large)[0]) == pytest.approx(
        100 * delta, rel=0.01
    )


def test_losses_that_the_target_rules_out():
    y = np.r_[POSITIVE, -3.0, -0.5, -4.0]
    found = refused(choose(y, "mse"))
    assert found["poisson"] == (
        "it takes counts or amounts, and 3 targets are not (rows 300, 301, 302)"
    )
    assert "2 targets are not (rows 300, 302)" in found["squared_log_error"]
    assert "poisson" not in losses(choose(y, "mse"))
    assert "poisson" in losses(choose(POSITIVE, "mse"))


def test_metric_that_the_target_rules_out():
    choice = choose([3.0, 0.0, 1.0], "mape")
    assert choice.candidates == ()
    assert choice.control is None
    assert refused(choice)["metric mape"] == (
        "it takes numbers other than zero, and 1 target is not (row 1); "
        "choose by mae or msle instead"
    )


def test_losses_that_do_not_serve_a_metric():
    assert "no probability" in refused(choose(BINARY, "log_loss"))["hinge"]
    assert "ranking" in refused(choose(BINARY, "auc"))["hinge"]
    assert refused(choose(CLASSES, "log_loss")) == {}


def test_default_is_clipped_where_the_metric_has_an_edge():
    for metric in ("poisson", "tweedie", "rmsle"):
        assert choose(COUNTS, metric).control.transform == "clip"
    assert choose(COUNTS, "mae").control.transform == "none"


@pytest.mark.parametrize(
    ("metric", "y", "words"),
    [
        ("mae", np.r_[np.zeros(60), np.arange(40.0)], "61% of the targets are 0"),
        (
            "mse",
            np.r_[np.arange(90.0), np.full(10, 1e4)],
            "10.0% of the targets are far",
        ),
        ("mape", POSITIVE, "rewards low predictions"),
        ("mape", np.r_[POSITIVE, 0.001], "the smallest target is"),
        ("pinball(alpha=0.9)", POSITIVE, "about 30 rows lie beyond"),
        ("poisson", np.r_[COUNTS, 90], "the variance is"),
        ("accuracy", ["a"] * 19 + ["b"], "95% of the rows are one class"),
        ("log_loss", ["a"] * 19 + ["b"], "do not reweight"),
        ("f1", BINARY, "'yes' counts as the positive one"),
        ("auc", BINARY, "AUC will be noisy"),
    ],
)
def test_cautions_from_the_data(metric, y, words):
    assert any(words in text for text in choose(y, metric).cautions)


def test_no_cautions_without_cause():
    assert choose(REAL, "mae").cautions == ()
    assert choose(np.resize(["a", "b"], 1000), "accuracy").cautions == ()
    assert choose(np.resize(["a", "b"], 1000), "auc").cautions == ()


@pytest.mark.parametrize(("metric", "y", "_default"), CASES)
def test_page_reads_in_80_columns(metric, y, _default):
    choice = choose(y, metric)
    lines = str(choice).splitlines()
    assert max(map(len, lines)) <= 80
    assert not re.search(r"[{}]|\bNone\b|\.\.", str(choice))
    for c in choice.candidates:
        assert any(c.name in line and line.startswith(f"  {c.tier}") for line in lines)


def test_to_dict_is_json():
    found = json.loads(json.dumps(choose(BINARY, "f1").to_dict()))
    assert found["candidates"][0]["name"] == "binary_cross_entropy+threshold"
    assert found["facts"]["task"] == "binary"


@pytest.mark.parametrize(
    ("y", "metric", "options", "error", "message"),
    [
        (POSITIVE, "mapes", {}, NameLookupError, "did you mean 'mape'"),
        (POSITIVE, len, {}, KindError, "given by name"),
        (POSITIVE, "bias", {}, ParameterError, "no loss aims at metric bias"),
        (POSITIVE, "mae", {"max_candidates": 2}, ParameterError, "at least 3"),
        (POSITIVE, "accuracy", {}, DataError, "such as mae"),
        (np.arange(300), "accuracy", {}, DataError, "300 different numbers"),
        (BINARY, "mae", {}, DataError, "such as log_loss"),
        (CLASSES, "f1", {}, DataError, "has 3 classes; accuracy, brier"),
        (["a", "a"], "f1", {}, DataError, "one class only, 'a'"),
        ([1.0, np.nan, 2.0, np.inf], "mae", {}, DataError, "rows 1, 3"),
        (["a", None, "b"], "f1", {}, DataError, "missing or infinite in row 1"),
        ([[1.0], [2.0]], "mae", {}, ShapeError, r"shape \(2, 1\)"),
        ([], "mae", {}, DataError, "no rows"),
    ],
)
def test_refuses_with_a_sentence(y, metric, options, error, message):
    with pytest.raises(error, match=message):
        choose(y, metric, **options)


# --- the table --------------------------------------------------------------------


def _entries():
    table = _table()
    for metric, entry in table["metrics"].items():
        for part in ("candidates", "refused", "cautions"):
            for row in entry.get(part, ()):
                yield metric, part, row


def test_table_speaks_of_things_that_exist():
    table = _table()
    for metric in (*table["metrics"], *table["same_as"]):
        get_metric(metric)
    for name in table["losses"]:
        assert ls.get(name).name == name
    used = {"transforms": {"none"}, "citations": set(), "losses": set()}
    for loss in table["losses"].values():
        used["citations"].add(loss["citation"])
    for _metric, part, row in _entries():
        if part != "cautions":
            used["losses"].add(row["loss"].partition("(")[0])
        if "citation" in row:
            used["citations"].add(row["citation"])
        if part == "candidates":
            used["transforms"].add(row.get("transform", "none"))
            assert row["tier"] in TIERS
    for kind, names in used.items():
        assert names == set(table[kind]), kind


def test_table_asks_only_for_facts_that_exist():
    known = set()
    for metric, y, _ in CASES:
        known |= choose_context(metric, y)
    for _metric, _part, row in _entries():
        assert set(row.get("when", {})) <= known
        for text in (row.get("text", ""), row.get("loss", "")):
            assert set(re.findall(r"{(\w+)", text)) <= known


def choose_context(metric, y):
    from lossary.workbench.choose import _context, _task

    metric = get_metric(metric)
    return set(_context(metric, target_facts(y, _task(metric))))


# --- facts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["no", "yes"], "binary"),
        ([True, False], "binary"),
        ([0, 1, 1, 0], "binary"),
        ([-1, 1, 1], "binary"),
        ([0, 1, 2] * 20, "multiclass"),
        (["a", "b", "c"], "multiclass"),
        (RNG.poisson(1, 1000), "count"),
        ([0, 3, 1, 7], "count"),
        ([151.0, 75.0, 141.0], "positive"),
        ([0.2, 0.9, 1.0], "fraction"),
        ([0.0, 0.0, 2.5], "nonnegative"),
        ([-0.5, 0.5, 2.0], "real"),
    ],
)
def test_kind_is_guessed(y, kind):
    assert target_facts(y).kind == kind


def test_task_settles_the_guess():
    assert target_facts([0, 1, 2] * 20, "regression").task == "regression"
    assert target_facts([0, 3, 1, 7], "classification").kind == "multiclass"
    with pytest.raises(ParameterError, match="task must be"):
        target_facts([1, 2], "ranking")


def test_numbers_of_a_target():
    facts = target_facts([0.0, 0.0, 1.0, 1.5, 2.0, 3.0, 100.0])
    assert (facts.n, facts.zeros, facts.negatives) == (7, 2, 0)
    assert (facts.minimum, facts.maximum, facts.median) == (0, 100, 1.5)
    assert facts.robust_scale == pytest.approx(1.4826 * 1.5)
    assert facts.outlier_share == pytest.approx(1 / 7)
    y = np.array([0, 0, 1, 1.5, 2, 3, 100])
    assert facts.variance_to_mean == pytest.approx(y.var() / y.mean())
    assert facts.skew == pytest.approx((((y - y.mean()) / y.std()) ** 3).mean())
    assert target_facts([-1.0, 1.5, 4.0]).variance_to_mean is None


def test_a_constant_target_has_no_nan():
    facts = target_facts([2.5, 2.5, 2.5])
    assert (facts.skew, facts.outlier_share, facts.robust_scale) == (0, 0, 0)
    assert "huber(delta=1.34" in str(choose([2.5, 2.5], "mae").candidates)


def test_classes_are_counted():
    facts = target_facts(["b", "a", "b", "b"])
    assert facts.classes == (("a", 1), ("b", 3))
    assert facts.numbers()["minority_share"] == 0.25
    assert "2 classes" in str(facts)
