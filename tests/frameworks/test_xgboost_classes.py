"""XGBoost's classifier and ranker with a loss: labels, probabilities, queries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import lossary as ls
from lossary.errors import DomainError
from lossary.frameworks.boosting.ranking import Queries
from lossary.frameworks.xgboost import (
    Objective,
    XGBClassifier,
    XGBRanker,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1])
WEIGHT = RNG.integers(1, 4, size=400).astype(float)
LABEL = (RNG.logistic(size=400) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"n_estimators": 20, "n_jobs": 1}


# -- classification -------------------------------------------------------------------


@pytest.mark.parametrize("names", [["no", "yes"], [-1, 1], [False, True], [1.0, 2.0]])
def test_any_labels_are_classes(names):
    y = np.asarray(names)[LABEL]
    model = XGBClassifier(**FAST).fit(X, y, eval_set=[(X, y)], verbose=False)
    assert model.classes_.tolist() == names
    assert model.n_classes_ == 2
    p = model.predict_proba(X)
    assert p.shape == (400, 2)
    np.testing.assert_array_equal(model.predict(X), np.asarray(names)[p.argmax(axis=1)])
    assert model.score(X, y) > 0.85


def test_a_class_that_does_not_count_is_none():
    y = np.r_[np.full(100, "x"), np.where(LABEL[100:], "yes", "no")]
    w = np.r_[np.zeros(100), np.ones(300)]
    model = XGBClassifier(**FAST).fit(X, y, sample_weight=w)
    assert model.classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize(("loss", "y"), [
    ("binary_focal(gamma=1)", LABEL), ("focal(gamma=1)", CLASS),
    ("exponential", LABEL), ("kl_divergence", CLASS),
])  # fmt: skip
def test_probabilities_are_those_that_minimise_the_loss(loss, y):
    constant = XGBClassifier(loss, n_estimators=1, learning_rate=0.0, n_jobs=1)
    p = constant.fit(X, y, sample_weight=WEIGHT).predict_proba(X)
    shares = np.bincount(y, WEIGHT) / WEIGHT.sum()
    np.testing.assert_allclose(p, np.tile(shares, (400, 1)), atol=2e-4)


def test_decisions_are_no_probabilities():
    model = XGBClassifier("hinge", **FAST)
    assert not hasattr(model, "predict_proba")
    assert model.fit(X, LABEL).score(X, LABEL) > 0.8
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize("loss", [None, Objective("binary_cross_entropy"), "hinge"])
def test_several_labels_at_once(loss):
    y = np.column_stack([LABEL, 1 - LABEL, CLASS == 1]).astype(int)
    model = XGBClassifier(loss, **FAST)
    model.fit(X, y, sample_weight=WEIGHT, eval_set=[(X, y)], verbose=False)
    chosen = model.predict(X)
    assert (chosen.shape, chosen.dtype.kind) == ((400, 3), "i")
    assert (chosen == y).mean() > 0.85
    if loss is None:
        own = xgb.XGBClassifier(base_score=0.5, **FAST)
        ours = XGBClassifier(base_score=0.5, **FAST)
        p, expected = (m.fit(X, y).predict_proba(X) for m in (ours, own))
        np.testing.assert_allclose(p, expected, rtol=1e-5)


def test_one_probability_per_class_is_a_target():
    shares = np.exp(np.column_stack([SIGNAL, -SIGNAL, 0 * SIGNAL]))
    shares /= shares.sum(axis=1, keepdims=True)
    model = XGBClassifier("kl_divergence", **FAST).fit(X, shares)
    assert ls.kl_divergence(shares, model.predict_proba(X), from_logits=False) < 0.02
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.predict(X) == shares.argmax(axis=1)).mean() > 0.9


# -- ranking --------------------------------------------------------------------------

SIZES = RNG.integers(1, 9, size=80)
DOCUMENTS = RNG.normal(size=(SIZES.sum(), 3))
RELEVANCE = RNG.poisson(np.exp(DOCUMENTS[:, 0] + DOCUMENTS[:, 1]) / 2)
QID = np.repeat(np.arange(80), SIZES)


def test_a_ranker_lowers_the_loss_of_the_queries():
    queries = Queries(SIZES)
    model = XGBRanker(**FAST, learning_rate=0.1).fit(DOCUMENTS, RELEVANCE, qid=QID)
    before, after = (
        queries.value("cross_entropy", RELEVANCE, z)
        for z in (np.zeros(len(QID)), model.predict(DOCUMENTS))
    )
    assert after < 0.8 * before
    assert model.score(pd.DataFrame(DOCUMENTS).assign(qid=QID), RELEVANCE) > 0.9


def test_groups_and_query_numbers_say_the_same():
    frame = pd.DataFrame(DOCUMENTS, columns=["a", "b", "c"])
    by_group = XGBRanker(**FAST).fit(frame, RELEVANCE, group=SIZES)
    by_qid = XGBRanker(**FAST).fit(frame, RELEVANCE, qid=QID)
    by_column = XGBRanker(**FAST).fit(frame.assign(qid=QID), RELEVANCE)
    for model in (by_qid, by_column):
        np.testing.assert_array_equal(model.predict(frame), by_group.predict(frame))


def test_a_query_of_weight_zero_is_removed():
    w = np.r_[np.zeros(40), np.full(40, 2.0)]
    last = QID >= 40
    options = {**FAST, "tree_method": "exact"}
    one = XGBRanker(**options).fit(DOCUMENTS, RELEVANCE, qid=QID, sample_weight=w)
    other = XGBRanker(**options)
    other.fit(DOCUMENTS[last], RELEVANCE[last], qid=QID[last], sample_weight=w[40:])
    z, expected = (model.predict(DOCUMENTS[last]) for model in (one, other))
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)


def test_a_ranker_stops_at_the_least_loss():
    model = XGBRanker(n_estimators=200, n_jobs=1, early_stopping_rounds=5)
    last = QID >= 60
    model.fit(
        DOCUMENTS[~last], RELEVANCE[~last], qid=QID[~last],
        eval_set=[(DOCUMENTS[last], RELEVANCE[last])], eval_qid=[QID[last]],
    )  # fmt: skip
    losses = model.evals_result()["validation_0"]["cross_entropy"]
    assert model.best_iteration == int(np.argmin(losses)) < 190
    z = model.predict(DOCUMENTS[last])
    expected = Queries(SIZES[60:]).value("cross_entropy", RELEVANCE[last], z)
    assert min(losses) == pytest.approx(expected, rel=1e-5)


def test_a_ranker_shows_xgboost_s_metrics_of_the_training_set():
    model = XGBRanker(eval_metric=["ndcg", "map"], **FAST)
    y = RELEVANCE > 0
    model.fit(DOCUMENTS, y, qid=QID, eval_set=[(DOCUMENTS, y)], eval_qid=[QID])
    logged = model.evals_result()["validation_0"]
    assert list(logged) == ["ndcg", "map"]
    assert logged["ndcg"][-1] > logged["ndcg"][0]


def test_relevance_below_zero_is_named():
    with pytest.raises(DomainError, match=r"relevance .*-1 in rows"):
        XGBRanker(**FAST).fit(DOCUMENTS, -1 * (RELEVANCE > 0), qid=QID)
