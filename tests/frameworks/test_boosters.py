"""What the estimators of the boosters say and do alike."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

import lossary as ls
from lossary.errors import DataError, DomainError, ParameterError, ShapeError
from lossary.frameworks.catboost import CatBoostClassifier, CatBoostRegressor
from lossary.frameworks.lightgbm import LGBMClassifier, LGBMRegressor
from lossary.frameworks.xgboost import XGBClassifier, XGBRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = X[:, 0] + 0.1 * RNG.normal(size=200)
LABEL = (Y > 0) * 1
CLASS = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.5, 0.5])]
SHORT = {
    LGBMRegressor: {"n_estimators": 5, "n_jobs": 1, "verbosity": -1},
    XGBRegressor: {"n_estimators": 5, "n_jobs": 1},
    CatBoostRegressor: {"iterations": 5, "thread_count": 1, "verbose": 0},
}
CLASSIFIERS = {
    LGBMRegressor: LGBMClassifier,
    XGBRegressor: XGBClassifier,
    CatBoostRegressor: CatBoostClassifier,
}
ONCE = 1 * (np.arange(200) == 3)
MINUS = np.where(ONCE, -1.0, 1.0)
MISSING = np.where(ONCE, np.nan, Y)

EACH = pytest.mark.parametrize("booster", SHORT, ids=lambda b: b.__name__)


def regressor(booster, loss):
    return booster(loss=loss, **SHORT[booster])


def classifier(booster, loss=None):
    return CLASSIFIERS[booster](loss=loss, **SHORT[booster])


REGRESSIONS = [
    ("poisson", MINUS, None, DomainError, "poisson .*-1 in row 3; a count .* negative"),
    ("huber", MISSING, None, DomainError, "huber takes .* real numbers.* nan in row 3"),
    ("huber", CLASS, None, DomainError, "huber .* cannot be read as numbers; encode"),
    ("huber", Y[:-1], None, ShapeError, "199 targets and 200 rows"),
    ("huber", Y, MINUS, DataError, "200 finite numbers, at least 0.* -1 in row 3"),
    ("huber", Y, np.ones(199), DataError, r"200 finite numbers.* got shape \(199,\)"),
    ("huber", Y, np.zeros(200), DataError, "sample_weight is zero in every row"),
    ("hinge", LABEL, None, ParameterError, "hinge is a loss of classes; use .*Classif"),
    (len, Y, None, ParameterError, "len.* is not a loss; pass a name such as 'huber'"),
]


@EACH
@pytest.mark.parametrize(("loss", "y", "weight", "error", "words"), REGRESSIONS)
def test_a_regressor_says_what_is_wrong(booster, loss, y, weight, error, words):
    with pytest.raises(error, match=words):
        regressor(booster, loss).fit(X, y, sample_weight=weight)


@EACH
@pytest.mark.parametrize(("loss", "y", "error", "words"), [
    ("huber", LABEL, ParameterError, "huber is not a loss of 2 classes; use a loss "),
    ("hinge", CLASS, ParameterError, "hinge is not a loss of 3 classes; .*'cross_entr"),
    (None, np.ones(200), DataError, r"2 classes, .* holds 1 class: \[1(.0)?\]; pass"),
])  # fmt: skip
def test_a_classifier_says_what_is_wrong(booster, loss, y, error, words):
    with pytest.raises(error, match=words):
        classifier(booster, loss).fit(X, y)


@EACH
def test_a_target_of_weight_zero_may_be_anything(booster):
    model = regressor(booster, "log_cosh")
    p = model.fit(X, MISSING, sample_weight=1.0 - ONCE).predict(X)
    assert np.isfinite(p).all()


@EACH
@pytest.mark.parametrize("loss", ["hinge", "binary_focal", "squared_hinge"])
def test_scores_rank_and_probabilities_are_those_of_the_loss(booster, loss):
    labels = np.array(["no", "yes"])[LABEL]
    model = classifier(booster, loss)
    assert cross_val_score(model, X, labels, scoring="roc_auc", cv=2).min() > 0.9
    assert hasattr(model, "predict_proba") == (loss != "hinge")
    assert hasattr(model, "decision_function") == (loss == "hinge")
    if loss == "hinge":
        model.fit(X, labels)
        above = model.decision_function(X) > 0
        assert ((model.predict(X) == "yes") == above).all()


@EACH
def test_a_loss_is_given_by_name_or_by_itself(booster):
    by_name = regressor(booster, "huber(delta=0.5)").fit(X, Y).predict(X)
    itself = regressor(booster, ls.huber(delta=0.5)).fit(X, Y).predict(X)
    np.testing.assert_array_equal(by_name, itself)
    assert np.isfinite(regressor(booster, None).fit(X, Y).predict(X)).all()
