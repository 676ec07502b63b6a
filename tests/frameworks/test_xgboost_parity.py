"""Our losses in XGBoost and XGBoost's own objectives: the same trees."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb

import lossary as ls
from lossary.frameworks.xgboost import (
    Objective,
    XGBClassifier,
    XGBRegressor,
    train,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
NOISY = SIGNAL + 0.3 * RNG.standard_t(3, size=600)
WEIGHT = RNG.integers(1, 4, size=600).astype(float)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=600) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"n_estimators": 50, "n_jobs": 1}

REGRESSION = {
    "reg:squarederror": ("squared_error", {}, NOISY),
    "reg:pseudohubererror": ("reg:pseudohubererror", {"huber_slope": 0.5}, NOISY),
    "count:poisson": ("poisson", {}, COUNT),
    "reg:tweedie": ("tweedie(power=1.3)", {"tweedie_variance_power": 1.3}, COUNT),
    "reg:squaredlogerror": ("reg:squaredlogerror", {}, COUNT),
    "reg:logistic": ("binary_cross_entropy", {}, 1 / (1 + np.exp(-SIGNAL))),
    "reg:absoluteerror": ("absolute_error", {}, NOISY),
    "reg:quantileerror": ("pinball(tau=0.8)", {"quantile_alpha": 0.8}, NOISY),
}
CLASSES = {
    "binary:logistic": ("binary_cross_entropy", LABEL),
    "binary:hinge": ("hinge", LABEL),
    "multi:softprob": ("cross_entropy", CLASS),
}
BY_GRADIENT = {
    "reg:squarederror",
    "reg:pseudohubererror",
    "count:poisson",
    "reg:tweedie",
    "reg:logistic",
    "binary:logistic",
    "multi:softprob",
}


def loss_of(theirs):
    if theirs in CLASSES:
        return ls.get(CLASSES[theirs][0])
    name, options, _ = REGRESSION[theirs]
    return ls.get(name, **(options if name == theirs else {}))


def start_of(model):
    config = json.loads(model.get_booster().save_config())["learner"]
    found = json.loads(config["learner_model_param"]["base_score"])
    return found if isinstance(found, float) else found[0]


def both(theirs, weight, through):
    """Fit our estimator and XGBoost's, from the same start."""
    loss = through(loss_of(theirs))
    if theirs in CLASSES:
        y, options = CLASSES[theirs][1], {}
        ours, own = XGBClassifier(loss, **FAST), xgb.XGBClassifier
    else:
        _, options, y = REGRESSION[theirs]
        ours, own = XGBRegressor(loss, **FAST), xgb.XGBRegressor
    ours.fit(X, y, sample_weight=weight)
    margin = None
    if theirs == "multi:softprob":
        margin = np.tile(Objective(loss_of(theirs)).start(y, weight, 3), (600, 1))
    else:
        options = {**options, "base_score": start_of(ours)}
    model = own(objective=theirs, **options, **FAST)
    model.fit(X, y, sample_weight=weight, base_margin=margin)
    return ours, model, margin


def predictions(model, margin=None):
    own = type(model).__module__.startswith("xgboost")
    options = {} if margin is None or not own else {"base_margin": margin}
    if hasattr(model, "classes_") and hasattr(model, "predict_proba"):
        return model.predict_proba(X, **options)
    return model.predict(X, **options)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("theirs", [*REGRESSION, *CLASSES])
def test_an_estimator_is_xgboost_s_own(theirs, weight):
    if theirs == "binary:hinge":
        ours, model, _ = both(theirs, weight, lambda loss: loss)
        a, b = (m.predict(X, output_margin=True) for m in (ours, model))
    else:
        ours, model, margin = both(theirs, weight, lambda loss: loss)
        a, b = predictions(ours), predictions(model, margin)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("theirs", sorted(BY_GRADIENT))
def test_our_gradients_give_the_trees_of_xgboost_s_own(theirs, weight):
    ours, model, margin = both(theirs, weight, Objective)
    np.testing.assert_allclose(
        predictions(ours), predictions(model, margin), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("theirs", ["reg:squarederror", "count:poisson"])
def test_train_is_xgboost_s_own(theirs):
    name, _, y = REGRESSION[theirs]
    params = {"nthread": 1, "max_depth": 3}
    for loss in (name, Objective(name)):
        model = train(
            loss, X, y, sample_weight=WEIGHT, params=params, num_boost_round=50
        )
        start = Objective(name).start(y, WEIGHT)
        base = np.exp(start) if theirs == "count:poisson" else start
        own = {**params, "objective": theirs, "base_score": float(base)}
        booster = xgb.train(own, xgb.DMatrix(X, y, weight=WEIGHT), 50)
        expected = booster.predict(xgb.DMatrix(X))
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step", [0.2, 1.5])
def test_poisson_is_damped_by_the_given_max_delta_step(step):
    ours = XGBRegressor(Objective("poisson"), max_delta_step=step, **FAST)
    ours.fit(X, COUNT, sample_weight=WEIGHT)
    own = xgb.XGBRegressor(
        objective="count:poisson", max_delta_step=step, base_score=start_of(ours),
        **FAST,
    ).fit(X, COUNT, sample_weight=WEIGHT)  # fmt: skip
    np.testing.assert_allclose(ours.predict(X), own.predict(X), rtol=1e-5)


@pytest.mark.parametrize("through", [ls.get, Objective], ids=["own", "gradient"])
def test_positives_weigh_as_much_as_xgboost_lets_them(through):
    options = {**FAST, "scale_pos_weight": 3.0, "base_score": 0.5}
    ours = XGBClassifier(through("binary_cross_entropy"), **options).fit(X, LABEL)
    own = xgb.XGBClassifier(**options).fit(X, LABEL)
    np.testing.assert_allclose(
        ours.predict_proba(X), own.predict_proba(X), rtol=1e-4, atol=1e-5
    )


# -- losses that are linear on both sides ---------------------------------------------

LARGE = RNG.normal(size=(2000, 4))
TAILED = LARGE[:, 0] + np.sin(2 * LARGE[:, 1]) + 0.5 * RNG.standard_t(3, size=2000)
LARGE_WEIGHT = RNG.integers(1, 4, size=2000).astype(float)
SLOW = {"n_estimators": 100, "n_jobs": 1, "max_depth": 4, "learning_rate": 0.1}


def training_loss(loss, model, y):
    model.fit(LARGE, y, sample_weight=LARGE_WEIGHT)
    return loss(y, model.predict(LARGE), sample_weight=LARGE_WEIGHT)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("tau", [0.05, 0.5, 0.95])
def test_quantiles_reach_the_loss_of_xgboost_s_own(tau, scale):
    loss, y = ls.pinball(tau=tau), scale * TAILED
    own = xgb.XGBRegressor(objective="reg:quantileerror", quantile_alpha=tau, **SLOW)
    least = training_loss(loss, own, y)
    assert training_loss(loss, XGBRegressor(loss, **SLOW), y) <= 1.01 * least
    assert training_loss(loss, XGBRegressor(8 * loss, **SLOW), y) <= 1.01 * least


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("tau", [0.05, 0.5, 0.95])
def test_majorised_steps_come_close_to_refitted_leaves(tau, scale):
    loss, y = ls.pinball(tau=tau), scale * TAILED
    own = xgb.XGBRegressor(objective="reg:quantileerror", quantile_alpha=tau, **SLOW)
    steps = training_loss(loss, XGBRegressor(Objective(loss), **SLOW), y)
    assert steps <= 1.05 * training_loss(loss, own, y)


def test_a_percentage_error_is_an_absolute_error_of_weighted_rows():
    y = 0.2 + np.exp(TAILED)
    ours = XGBRegressor("absolute_percentage_error", base_score=1.0, **SLOW)
    ours.fit(LARGE, y, sample_weight=LARGE_WEIGHT)
    own = xgb.XGBRegressor(objective="reg:absoluteerror", base_score=1.0, **SLOW)
    weight = LARGE_WEIGHT / y
    own.fit(LARGE, y, sample_weight=weight * LARGE_WEIGHT.sum() / weight.sum())
    np.testing.assert_allclose(ours.predict(LARGE), own.predict(LARGE), rtol=1e-4)


def test_a_sum_of_quantiles_is_their_middle():
    loss = ls.pinball(tau=0.2) + ls.pinball(tau=0.6)
    ours = XGBRegressor(loss, **SLOW).fit(LARGE, TAILED)
    config = json.loads(ours.get_booster().save_config())["learner"]["objective"]
    assert config["name"] == "reg:quantileerror"
    assert float(json.loads(config["quantile_loss_param"]["quantile_alpha"])[0]) == (
        pytest.approx(0.4)
    )


def test_amounts_of_any_size_are_learned_on_their_logarithms():
    y = 1e5 * np.exp(TAILED)
    metric = ls.squared_log_error
    own = xgb.XGBRegressor(objective="reg:squaredlogerror", base_score=1e5, **SLOW)
    ours = XGBRegressor("squared_log_error", **SLOW)
    with np.errstate(all="ignore"):
        theirs = training_loss(metric, own, y)
    assert training_loss(metric, ours, y) < 0.5 * theirs
