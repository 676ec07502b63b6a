from __future__ import annotations

import numpy as np
import pytest
from joblib import parallel_config

import lossary as ls
from lossary.errors import DataError, LossaryError
from lossary.workbench.baseline import baseline
from lossary.workbench.compare import compare
from lossary.workbench.data import load
from lossary.workbench.metrics import get_metric
from lossary.workbench.models import Model
from lossary.workbench.splits import repeated_splits
from lossary.workbench.statistics import Verdict

SMALL = {"folds": 3, "repeats": 2}


def numbers(study):
    """Everything that must not depend on the machine."""
    rows = [row.to_dict() | {"seconds": 0} for row in study.table]
    return rows, study.verdict, study.baseline


def rows(study):
    return {row.loss: row for row in study.table}


@pytest.fixture(scope="module")
def default():
    return compare("diabetes", metric="mape")


def test_the_demonstration_finds_what_is_known(default):
    # scikit-learn's histogram booster: squared 0.406, weighted absolute 0.341.
    found = rows(default)
    assert found["squared_error"].mean == pytest.approx(0.406, abs=0.015)
    best = found["absolute_percentage_error"]
    assert best.mean == pytest.approx(0.35, abs=0.015)
    assert best.comparison.verdict == Verdict.BETTER
    assert best.comparison.p_holm < 0.01
    assert 0.75 < best.other_metrics["bias"] < 0.92
    assert best.other_metrics["rmse"] > found["squared_error"].other_metrics["rmse"]
    assert default.winner == "absolute_percentage_error"
    assert default.verdict.startswith("Train with absolute_percentage_error: MAPE 3")
    assert default.baseline == pytest.approx(0.451, abs=0.01)


def test_scores_follow_from_the_predictions_that_are_kept(default):
    y = load("diabetes").y
    metric = get_metric("mape")
    splits = repeated_splits(y, folds=5, repeats=5, seed=0)
    for row in default.table:
        p = default.oof[row.loss]
        assert p.shape == (5, len(y))
        scores = [metric.value(y[s.test], p[s.repeat, s.test]) for s in splits]
        assert row.per_fold == tuple(scores)
        assert row.mean == pytest.approx(np.mean(scores), rel=1e-12)


@pytest.mark.parametrize("model", ["lightgbm", "linear"])
def test_numbers_do_not_depend_on_where_trials_run(model):
    one = compare("diabetes", metric="mae", model=model, n_jobs=1, **SMALL)
    threads = compare("diabetes", metric="mae", model=model, n_jobs=2, **SMALL)
    with parallel_config("loky", n_jobs=2):
        processes = compare("diabetes", metric="mae", model=model, **SMALL)
    assert numbers(one) == numbers(threads) == numbers(processes)


def test_another_seed_gives_other_numbers(toy):
    assert numbers(toy.study(seed=1)) != numbers(toy.study(seed=2))


@pytest.mark.parametrize(
    ("data", "metric", "beside"),
    [
        ("breast_cancer", "accuracy", {"log_loss", "brier", "f1", "auc"}),
        ("breast_cancer", "auc", {"log_loss", "brier", "accuracy", "f1"}),
        ("wine", "log_loss", {"brier", "accuracy"}),
        ("wine", "accuracy", {"log_loss", "brier"}),
        ("diabetes", "poisson", {"rmse", "mae", "mape", "rmsle", "r2", "bias"}),
        ("diabetes", "rmsle", {"rmse", "mae", "mape", "r2", "bias"}),
    ],
)
def test_every_kind_of_task_ends_in_a_verdict(data, metric, beside):
    study = compare(data, metric=metric, model="linear", folds=3, repeats=1)
    assert study.word is not None
    for row in study.table:
        assert not row.failures
        assert set(row.other_metrics) == beside
    better = study.table[0].mean > study.baseline
    assert better == bool(study.metric.greater_is_better)


def test_a_tuned_threshold_is_what_the_labels_come_from():
    losses = ["binary_cross_entropy+threshold"]
    study = compare(
        "breast_cancer", metric="f1", model="linear", losses=losses, folds=3, repeats=1
    )
    y, metric = load("breast_cancer").y, get_metric("f1")
    splits = repeated_splits(y, folds=3, repeats=1, stratify=True)
    tuned = [t for t in study.trials if t.loss in losses]
    assert any(t.threshold != 0.5 for t in tuned)
    for split, trial in zip(splits, tuned, strict=True):
        decided = study.oof[losses[0]][0, split.test] > trial.threshold
        assert trial.scores["f1"] == metric.value(y[split.test], decided)


def test_a_score_that_is_no_probability_is_not_judged_as_one():
    study = compare(
        "breast_cancer", metric="log_loss", model="linear", losses=["hinge"], **SMALL
    )
    assert rows(study)["hinge"].failures == (
        "hinge gives a score and no probability, which metric log_loss needs",
    )
    study = compare(
        "breast_cancer", metric="accuracy", model="linear", losses=["hinge"], **SMALL
    )
    assert rows(study)["hinge"].other_metrics["log_loss"] is None
    assert rows(study)["hinge"].other_metrics["auc"] > 0.9


def test_a_loss_of_ones_own_is_compared_like_any():
    @ls.pointwise
    def cauchy(y, z, scale=30.0):
        return ls.ops.log1p(((z - y) / scale) ** 2)

    study = compare("diabetes", metric="mae", losses=[cauchy(scale=100.0)], **SMALL)
    row = rows(study)["cauchy(scale=100.0)"]
    assert 40 < row.mean < 55
    assert row.comparison.control == "squared_error"
    assert study.definitions[row.loss].name == "cauchy"
    assert study.reproduce["command"] == ""
    assert "losses=[cauchy(scale=100.0)]" in study.reproduce["python"]


# -- failures --------------------------------------------------------------------------


@pytest.fixture
def faulty(toy, monkeypatch):
    """The toy model, with faults: loss → what happens when it is trained."""
    from lossary.workbench.models import MODELS

    faults = {}

    def train(task, settings):
        predict, info = toy.train(task, settings)
        fault = faults.get(repr(task.bundle.loss))
        if isinstance(fault, Exception):
            raise fault
        return (predict if fault is None else fault), info

    monkeypatch.setitem(MODELS, "toy", Model("toy", {}, train))
    return faults


def test_a_loss_that_fails_does_not_stop_the_others(toy, faulty):
    faulty["huber"] = ZeroDivisionError("by the user's own formula")
    faulty["log_cosh"] = lambda X: np.full(len(X), np.nan)
    study = toy.study(losses=["mape", "huber", "log_cosh"])
    found = rows(study)
    assert found["huber"].failures == ("ZeroDivisionError: by the user's own formula",)
    assert found["log_cosh"].failures == (
        "the model trained with log_cosh predicts NaN or infinity in 30 of 30 rows",
    )
    for loss in ("huber", "log_cosh"):
        assert found[loss].mean is None
        assert found[loss].comparison is None
        assert np.isnan(study.oof[loss]).all()
    assert found["absolute_percentage_error"].comparison is not None
    assert [row.loss for row in study.table][2:] == ["huber", "log_cosh"]
    assert "huber failed: ZeroDivisionError" in str(study)


def test_a_control_that_fails_leaves_the_scores(toy, faulty):
    faulty["squared_error"] = LossaryError("no luck")
    study = toy.study(losses=["mape"])
    assert study.winner is None
    assert study.word is None
    assert "squared_error, the control, failed: no luck." in study.verdict
    assert rows(study)["absolute_percentage_error"].mean is not None


def test_when_all_fail_the_first_reason_is_given(toy, faulty):
    faulty.update(squared_error=LossaryError("no luck"), huber=LossaryError("none"))
    with pytest.raises(DataError, match="every loss failed; squared_error: no luck"):
        toy.study(losses=["huber"])


# -- the score to beat -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("mae", lambda y: np.abs(y - np.median(y)).mean()),
        ("rmse", lambda y: y.std()),
        ("r2", lambda y: 0.0),
        ("mape", lambda y: min((np.abs(y - c) / y).mean() for c in y)),
    ],
)
def test_the_baseline_is_the_best_constant(metric, expected):
    y = np.random.default_rng(0).lognormal(size=4000)
    splits = repeated_splits(y, folds=4, repeats=2)
    found = baseline(get_metric(metric), y, None, splits)
    assert found == pytest.approx(expected(y), rel=0.01, abs=0.01)


def test_the_baseline_of_classes():
    y = np.repeat([0, 1], [70, 30])
    splits = repeated_splits(y, folds=5, repeats=1, stratify=True)
    found = {
        name: baseline(get_metric(name), y, None, splits, n_classes=2)
        for name in ("accuracy", "f1", "brier", "auc")
    }
    expected = {"accuracy": 0.7, "f1": 0.6 / 1.3, "brier": 0.21, "auc": 0.5}
    assert found == pytest.approx(expected)


def test_weights_count_as_repeated_rows():
    X, y = np.arange(12.0), np.arange(1.0, 13.0)
    w = np.tile([1.0, 3.0], 6)
    splits = repeated_splits(X, folds=3, repeats=1)
    found = baseline(get_metric("mse"), y, w, splits)
    plain = []
    for s in splits:
        mean = np.average(y[s.train], weights=w[s.train])
        plain.append(np.average((y[s.test] - mean) ** 2, weights=w[s.test]))
    assert found == pytest.approx(np.mean(plain))
