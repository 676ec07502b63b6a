"""XGBoost's estimators with a loss, saved, pickled and sent to other processes."""

from __future__ import annotations

import multiprocessing
import pickle

import joblib
import numpy as np
import pytest
import xgboost as xgb
from sklearn.base import clone

import lossary as ls
from lossary.errors import ParameterError
from lossary.frameworks.xgboost import (
    Objective,
    XGBClassifier,
    XGBRanker,
    XGBRegressor,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1])
NOISY = SIGNAL + 0.3 * RNG.standard_t(3, size=400)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=400) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"n_estimators": 20, "n_jobs": 1}


STORED = {
    "own": (XGBRegressor("poisson", **FAST), COUNT),
    "gradient": (XGBRegressor(Objective("huber(delta=0.5)"), **FAST), NOISY),
    "log1p": (XGBRegressor("squared_log_error", **FAST), COUNT),
    "sum": (XGBRegressor(0.5 * ls.huber + ls.log_cosh, **FAST), NOISY),
    "focal": (XGBClassifier("focal", **FAST), np.array(["a", "b", "c"])[CLASS]),
    "labels": (XGBClassifier(**FAST), np.column_stack([LABEL, 1 - LABEL])),
    "margins": (XGBClassifier("squared_hinge", **FAST), LABEL),
}


def outputs(model):
    found = [model.predict(X), model.predict(X, output_margin=True)]
    if hasattr(model, "predict_proba"):
        found.append(model.predict_proba(X))
    return found


def assert_same(one, other):
    for a, b in zip(outputs(one), outputs(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("case", STORED)
def test_a_saved_model_remembers_its_loss(case, suffix, tmp_path):
    model, y = STORED[case]
    model = clone(model).fit(X, y)
    model.save_model(tmp_path / f"model.{suffix}")
    again = type(model)()
    again.load_model(tmp_path / f"model.{suffix}")
    assert_same(model, again)
    assert repr(again.loss) == repr(model.loss_)
    assert_same(again.fit(X, y), clone(again).fit(X, y))  # and trains like a new one


@pytest.mark.parametrize("case", STORED)
def test_a_model_pickles(case):
    model, y = STORED[case]
    model = clone(model).fit(X, y)
    assert_same(model, pickle.loads(pickle.dumps(model)))


def test_a_ranker_is_saved(tmp_path):
    queries = np.repeat(np.arange(40), 10)
    model = XGBRanker(**FAST).fit(X, COUNT, qid=queries)
    model.save_model(tmp_path / "ranker.json")
    again = XGBRanker()
    again.load_model(tmp_path / "ranker.json")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_loss_of_one_s_own_is_loaded_by_its_link(tmp_path):
    @ls.pointwise(target="count", prediction="log", link="log", elicits="mean")
    def likelihood(y, z):
        """Poisson, of one's own."""
        from lossary.ops import exp

        return exp(z) - y * z

    model = XGBRegressor(likelihood, **FAST).fit(X, COUNT)
    model.save_model(tmp_path / "own.json")
    again = XGBRegressor()
    again.load_model(tmp_path / "own.json")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.loss == "likelihood"


def test_a_model_of_another_s_is_refused(tmp_path):
    xgb.XGBRegressor(**FAST).fit(X, NOISY).save_model(tmp_path / "theirs.json")
    with pytest.raises(ParameterError, match="not trained on a loss of lossary"):
        XGBRegressor().load_model(tmp_path / "theirs.json")


def test_works_in_other_processes():
    for loss in ("poisson", Objective("poisson")):
        model = XGBRegressor(loss, **FAST)
        there = joblib.Parallel(n_jobs=2)([joblib.delayed(model.fit)(X, COUNT)] * 2)
        expected = model.fit(X, COUNT).predict(X)
        for found in there:
            np.testing.assert_array_equal(found.predict(X), expected)


def test_a_spawned_process_loads_a_model():
    model = XGBRegressor(Objective("poisson"), **FAST).fit(X, COUNT)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        p = pool.apply(model.predict, (X,))
    np.testing.assert_array_equal(p, model.predict(X))
