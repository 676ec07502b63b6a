"""Our CatBoost estimators on CatBoost's own losses: the same predictions."""

from __future__ import annotations

import catboost as cb
import numpy as np
import pytest

import lossary as ls
from lossary.frameworks.catboost import (
    CatBoostClassifier,
    CatBoostRegressor,
    Objective,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
WEIGHT = RNG.integers(0, 4, size=600).astype(float)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=600) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"iterations": 30, "verbose": 0, "thread_count": 1}
THEIRS = {**FAST, "allow_writing_files": False}


def regressor(loss=None, **params):
    return CatBoostRegressor(loss=loss, **{**FAST, **params})


def classifier(loss=None, **params):
    return CatBoostClassifier(loss=loss, **{**FAST, **params})


# -- the built-in losses --------------------------------------------------------------

REGRESSION = {
    "RMSE": ("squared_error", SIGNAL),
    "MAE": ("absolute_error", SIGNAL),
    "Quantile:alpha=0.2": ("pinball(tau=0.2)", SIGNAL),
    "MAPE": ("absolute_percentage_error", COUNT + 1),
    "Huber:delta=1.5": ("huber(delta=1.5)", SIGNAL),
    "LogCosh": ("log_cosh", SIGNAL),
    "Poisson": ("poisson", COUNT),
    "Tweedie:variance_power=1.3": ("tweedie(power=1.3)", COUNT),
}
PLAIN = [{"iterations": 50}, {"iterations": 210, "depth": 2}]


@pytest.mark.parametrize("params", PLAIN, ids=["few trees", "many trees"])
@pytest.mark.parametrize("theirs", REGRESSION)
def test_a_plain_regressor_is_catboost_s_own(theirs, params):
    loss, y = REGRESSION[theirs]
    own = cb.CatBoostRegressor(loss_function=theirs, **{**THEIRS, **params})
    expected = own.fit(X, y, sample_weight=WEIGHT).predict(X)
    found = regressor(loss, **params).fit(X, y, sample_weight=WEIGHT).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("params", PLAIN, ids=["few trees", "many trees"])
@pytest.mark.parametrize("theirs", ["RMSE", "Tweedie:variance_power=1.3"])
def test_the_callback_takes_the_defaults_of_catboost_s_own(theirs, params):
    loss, y = REGRESSION[theirs]
    own = cb.CatBoostRegressor(loss_function=theirs, **{**THEIRS, **params})
    expected = own.fit(X, y, sample_weight=WEIGHT).predict(X)
    model = regressor(Objective(loss), **params).fit(X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6, atol=1e-6)
    assert model.learning_rate_ == pytest.approx(own.learning_rate_)


@pytest.mark.parametrize("through", [lambda loss: None, ls.get, Objective],
                         ids=["default", "own", "callback"])  # fmt: skip
@pytest.mark.parametrize("y", [LABEL, CLASS], ids=["binary", "multiclass"])
def test_a_plain_classifier_is_catboost_s_own(y, through):
    loss = "cross_entropy" if y is CLASS else "binary_cross_entropy"
    own = cb.CatBoostClassifier(**THEIRS).fit(X, y, sample_weight=WEIGHT)
    model = classifier(through(loss)).fit(X, y, sample_weight=WEIGHT)
    found, expected = model.predict_proba(X), own.predict_proba(X)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(model.predict(X), own.predict(X))


SHARE = 1 / (1 + np.exp(-SIGNAL))
LABELS = np.stack([LABEL, CLASS > 0], axis=1) * 1
SEVERAL = {
    "CrossEntropy": ("binary_cross_entropy", SHARE),
    "Focal:focal_alpha=0.5;focal_gamma=1.5": ("binary_focal(gamma=1.5)", LABEL),
    "MultiCrossEntropy": ("binary_cross_entropy", np.stack([SHARE, 1 - SHARE], 1)),
    "MultiLogloss": ("binary_cross_entropy", LABELS),
}


@pytest.mark.parametrize("theirs", SEVERAL)
def test_a_classifier_of_shares_and_labels_is_catboost_s_own(theirs):
    loss, y = SEVERAL[theirs]
    models = (classifier(loss), cb.CatBoostClassifier(loss_function=theirs, **THEIRS))
    found, expected = (
        model.fit(X, y, sample_weight=WEIGHT).predict(X, "RawFormulaVal")
        for model in models
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_several_targets_are_catboost_s_own():
    y = np.stack([SIGNAL, X[:, 0]], axis=1)
    models = (regressor("squared_error"),
              cb.CatBoostRegressor(loss_function="MultiRMSE", **THEIRS))  # fmt: skip
    found, expected = (m.fit(X, y, sample_weight=WEIGHT).predict(X) for m in models)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


# Large enough that the training loss is not a matter of luck in the first splits.
LARGE = RNG.normal(size=(3000, 4))
NOISY = LARGE[:, 0] + np.sin(2 * LARGE[:, 1]) + 0.5 * RNG.standard_t(3, size=3000)
LARGE_WEIGHT = RNG.integers(1, 4, size=3000).astype(float)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("tau", [0.05, 0.25, 0.5, 0.75, 0.95])
def test_majorised_steps_reach_the_loss_of_exact_leaves(tau, scale):
    loss, y = ls.pinball(tau=tau), scale * NOISY
    params = {**THEIRS, "iterations": 100, "learning_rate": 0.1,
              "bootstrap_type": "No", "random_strength": 0, "depth": 4}  # fmt: skip
    exact = cb.CatBoostRegressor(loss_function=f"Quantile:alpha={tau}", **params)
    steps = CatBoostRegressor(loss=Objective(loss), **params)
    for model in (exact, steps):
        model.fit(LARGE, y, sample_weight=LARGE_WEIGHT)
    reached, least = (
        loss(y, m.predict(LARGE), sample_weight=LARGE_WEIGHT) for m in (steps, exact)
    )
    assert reached <= 1.01 * least
