"""CatBoost's classifier: probabilities, decisions, and what classes weigh."""

from __future__ import annotations

import catboost as cb
import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from lossary.errors import ParameterError
from lossary.frameworks.boosting.probabilities import probabilities
from lossary.frameworks.bundle import Bundle
from lossary.frameworks.catboost import (
    CatBoostClassifier,
    CatBoostRegressor,
    Objective,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=600) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"iterations": 30, "verbose": 0, "thread_count": 1}
THEIRS = {**FAST, "allow_writing_files": False}


def classifier(loss=None, **params):
    return CatBoostClassifier(loss=loss, **{**FAST, **params})


@pytest.mark.parametrize(("loss", "y"), [
    ("squared_hinge", LABEL), ("binary_focal", LABEL), ("focal", CLASS),
    (Objective("binary_focal"), LABEL),
])  # fmt: skip
def test_probabilities_are_those_that_minimise_the_loss(loss, y):
    model = classifier(loss).fit(X, y)
    raw, p = model.predict(X, "RawFormulaVal"), model.predict_proba(X)
    expected = probabilities(Bundle(getattr(loss, "loss", loss)), raw)
    np.testing.assert_allclose(p if y is CLASS else p[:, 1], expected, rtol=1e-9)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
    *_, last = model.staged_predict_proba(X)
    np.testing.assert_allclose(last, p, rtol=1e-9)


def test_decisions_are_no_probabilities():
    model = classifier("hinge").fit(X, LABEL)
    assert not hasattr(model, "predict_proba")
    assert hasattr(classifier("binary_focal"), "predict_proba")
    scores = cross_val_score(classifier("hinge"), X, LABEL, scoring="roc_auc", cv=2)
    assert scores.min() > 0.6


def test_positives_weigh_as_much_as_catboost_lets_them():
    options = {"scale_pos_weight": 3.0}
    ours = classifier(Objective("binary_cross_entropy"), **options).fit(X, LABEL)
    own = cb.CatBoostClassifier(**THEIRS, **options).fit(X, LABEL)
    np.testing.assert_allclose(ours.predict_proba(X), own.predict_proba(X))


def test_a_metric_that_would_see_logarithms_is_refused():
    with pytest.raises(ParameterError, match="metric 'RMSE' would see raw scores of "
                       "squared_log_error"):  # fmt: skip
        CatBoostRegressor(loss="squared_log_error", eval_metric="RMSE").fit(X, COUNT)
