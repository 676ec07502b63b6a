"""XGBoost called directly: objectives, metrics, and our counterpart of its train."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import xgboost as xgb
from sklearn.metrics import log_loss

import lossary as ls
from lossary.errors import DomainError, ParameterError
from lossary.frameworks.xgboost import Metric, Objective, train
from lossary.frameworks.xgboost.training import VECTOR_START

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1])
NOISY = SIGNAL + 0.3 * RNG.standard_t(3, size=400)
WEIGHT = RNG.integers(1, 4, size=400).astype(float)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=400) < SIGNAL) * 1.0
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
PARAMS = {"nthread": 1, "max_depth": 3}


# -- the bare callables ---------------------------------------------------------------


def test_an_objective_serves_xgboost_s_train():
    objective = Objective("poisson")
    params = {**PARAMS, "base_score": objective.start(COUNT), "max_delta_step": 0.7}
    data = xgb.DMatrix(X, COUNT, weight=WEIGHT)
    z = xgb.train(params, data, 20, obj=objective).predict(data)
    own = {**params, "objective": "count:poisson", "base_score": float(COUNT.mean())}
    expected = xgb.train(own, data, 20).predict(data)
    np.testing.assert_allclose(objective.response(z), expected, rtol=1e-5)


def test_an_objective_serves_xgboost_s_scikit_learn_classes():
    options = {"n_estimators": 20, "n_jobs": 1, "base_score": 0.0}
    ours = xgb.XGBRegressor(objective=Objective("squared_error"), **options)
    theirs = xgb.XGBRegressor(**options)
    for model in (ours, theirs):
        model.fit(X, NOISY, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)


def test_an_objective_serves_xgboost_s_classifier_of_several_classes():
    options = {"n_estimators": 20, "n_jobs": 1, "base_score": 0.5}
    ours = xgb.XGBClassifier(objective=Objective("cross_entropy"), **options)
    theirs = xgb.XGBClassifier(**options)
    for model in (ours, theirs):
        model.fit(X, CLASS, sample_weight=WEIGHT)
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-4, atol=1e-5
    )


def test_several_labels_come_in_columns():
    labels = np.column_stack([LABEL, 1 - LABEL])
    data = xgb.DMatrix(X, labels, weight=WEIGHT)
    params = {**PARAMS, "base_score": 0.0}
    objective = Objective("binary_cross_entropy")
    z = xgb.train(params, data, 10, obj=objective).predict(data)
    np.testing.assert_allclose(z[:, 0], -z[:, 1], atol=1e-5)
    value = Metric("binary_cross_entropy")(z, data)[1]
    expected = ls.binary_cross_entropy(labels[:, 0], z[:, 0], sample_weight=WEIGHT)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["exponential", "binary_cross_entropy"])
def test_scores_of_two_classes_are_log_odds(loss):
    objective = Objective(loss)
    p = 0.2
    y = np.r_[np.ones(20), np.zeros(80)]
    start = objective.start(y)
    assert start == pytest.approx(np.log(p / (1 - p)), rel=1e-6)
    gradient, curvature = objective(y, np.full(100, start))
    assert gradient.sum() == pytest.approx(0, abs=1e-9)
    step = 1e-4
    ahead, _ = objective(y, np.full(100, start + step))
    np.testing.assert_allclose((ahead - gradient) / step, curvature, rtol=1e-3)
    assert objective.response(start) == pytest.approx(p)


def test_scale_and_damping_are_as_given():
    plain = Objective("squared_error")(np.zeros(3), np.ones(3))
    given = Objective("squared_error", scale=2.0, damping=3.0)(np.zeros(3), np.ones(3))
    np.testing.assert_array_equal(plain, [[1.0] * 3, [1.0] * 3])
    np.testing.assert_array_equal(given, [[4.0] * 3, [12.0] * 3])


def test_an_unknown_curvature_is_refused():
    with pytest.raises(ParameterError, match=r"one of 'exact'.*got 'newton'"):
        Objective("huber", curvature="newton")


def test_a_metric_stops_xgboost_s_train_at_the_least_loss():
    objective, seen = Objective("poisson"), {}
    data = xgb.DMatrix(X[:300], COUNT[:300])
    valid = xgb.DMatrix(X[300:], COUNT[300:])
    booster = xgb.train(
        {**PARAMS, "base_score": 0.0, "disable_default_eval_metric": True},
        data, 300, obj=objective, custom_metric=objective.metric,
        evals=[(valid, "valid")], evals_result=seen, early_stopping_rounds=5,
        verbose_eval=False,
    )  # fmt: skip
    losses = seen["valid"]["poisson"]
    assert booster.best_iteration == int(np.argmin(losses)) < 290
    z = booster.predict(valid, output_margin=True, iteration_range=(0, 1))
    assert losses[0] == pytest.approx(float(ls.poisson(COUNT[300:], z)), abs=1e-6)


def test_a_metric_serves_xgboost_s_scikit_learn_classes():
    metric = Metric("huber")
    model = xgb.XGBRegressor(
        objective=Objective("huber"), eval_metric=metric, n_estimators=5, n_jobs=1,
        base_score=0.0,
    )  # fmt: skip
    model.fit(X, NOISY, sample_weight=WEIGHT, eval_set=[(X, NOISY)], verbose=False,
              sample_weight_eval_set=[WEIGHT])  # fmt: skip
    logged = model.evals_result()["validation_0"]["huber"][-1]
    expected = ls.huber(NOISY, model.predict(X), sample_weight=WEIGHT)
    assert logged == pytest.approx(float(expected), abs=1e-6)


@ls.pointwise
def precision_cost(y, z):
    """Named like a metric that XGBoost takes for better when higher."""
    return (z - y) ** 2


def test_no_loss_is_taken_for_a_score():
    assert Metric(precision_cost).__name__ == "loss_precision_cost"
    assert Metric("0.5*dice + binary_cross_entropy").__name__ == (
        "0.5*dice+binary_cross_entropy"
    )


def test_callables_are_values():
    for value in (Objective(ls.huber(delta=2.0), scale=0.25), Metric("poisson")):
        twin = pickle.loads(pickle.dumps(value))
        assert (twin, hash(twin)) == (value, hash(value))
    assert ls.huber.to_xgboost() == Objective("huber")


# -- train ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_cosh", "huber",
                                  "general_robust(alpha=-2.0)"])  # fmt: skip
def test_a_model_predicts_on_the_response_scale(loss):
    y = COUNT if loss == "poisson" else NOISY
    model = train(loss, X, y, sample_weight=WEIGHT, params=PARAMS)
    constant = ls.get(loss).best_constant(y, sample_weight=WEIGHT)
    link = np.log if loss == "poisson" else np.asarray
    value, worst = (
        ls.get(loss)(y, z, sample_weight=WEIGHT)
        for z in (link(model.predict(X)), np.full(400, constant))
    )
    assert value < 0.75 * worst if loss == "poisson" else value < 0.6 * worst


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "exponential", "dice",
                                  "binary_focal"])  # fmt: skip
def test_every_loss_of_two_classes_learns(loss):
    p = train(Objective(loss), X, LABEL, params=PARAMS, num_boost_round=50).predict(X)
    assert ((p > 0) & (p < 1)).all()
    assert ((p > 0.5) == LABEL).mean() > (0.7 if loss == "dice" else 0.8)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "kl_divergence"])
def test_every_loss_of_several_classes_learns(loss):
    p = train(Objective(loss), X, CLASS, params=PARAMS, num_boost_round=50).predict(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == CLASS).mean() > 0.95


def test_a_class_missing_from_the_rows_keeps_its_column():
    y = np.where(CLASS == 2, 1, CLASS)
    for loss in ("cross_entropy", Objective("cross_entropy")):
        p = train(loss, X, y, params=PARAMS, n_classes=3).predict(X)
        assert p.shape == (400, 3)
        assert p[:, 2].max() < 0.01


def test_a_target_of_distributions_trains_class_scores():
    shares = np.exp(np.column_stack([SIGNAL, -SIGNAL, 0 * SIGNAL]))
    shares /= shares.sum(axis=1, keepdims=True)
    p = train("kl_divergence", X, shares, params=PARAMS).predict(X)
    assert ls.kl_divergence(shares, p, from_logits=False) < 0.02


def test_several_targets_at_once():
    y = np.column_stack([NOISY, 1 - 2 * NOISY])
    for loss in ("squared_error", "log_cosh"):
        p = train(loss, X, y, params=PARAMS).predict(X)
        r = np.corrcoef(np.column_stack([y, p]).T)
        assert min(r[0, 2], r[1, 3]) > 0.9


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "cross_entropy"])
@pytest.mark.parametrize("through", [ls.get, Objective], ids=["own", "gradient"])
def test_an_integer_weight_repeats_a_row(loss, through):
    y = {"poisson": COUNT, "cross_entropy": CLASS}.get(loss, NOISY)
    rows = np.repeat(np.arange(400), WEIGHT.astype(int))
    params = {**PARAMS, "tree_method": "exact"}
    one, other = (
        train(through(loss), X[i], y[i], sample_weight=w, params=params,
              num_boost_round=5).predict(X)
        for i, w in ((slice(None), WEIGHT), (rows, None))
    )  # fmt: skip
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("through", [ls.get, Objective], ids=["own", "gradient"])
def test_a_weight_of_zero_removes_a_row_whatever_it_holds(through):
    y, w = COUNT.copy(), WEIGHT.copy()
    y[:50], w[:50] = np.nan, 0.0
    params = {**PARAMS, "tree_method": "exact"}
    one = train(through("poisson"), X, y, sample_weight=w, params=params,
                num_boost_round=5)  # fmt: skip
    other = train(through("poisson"), X[50:], y[50:], sample_weight=w[50:],
                  params=params, num_boost_round=5)  # fmt: skip
    np.testing.assert_allclose(one.predict(X[50:]), other.predict(X[50:]), rtol=1e-5)


def test_the_loss_is_logged_to_its_last_digit():
    y = 1e-4 * NOISY
    model = train("squared_error", X, y, params=PARAMS, num_boost_round=3,
                  valid=[(X, y)])  # fmt: skip
    logged = model.evals_result["valid_0"]["squared_error"][-1]
    assert 0 < logged < 1e-7
    assert logged == pytest.approx(float(ls.squared_error(y, model.predict(X))), 1e-5)


@pytest.mark.parametrize("through", [ls.get, Objective], ids=["own", "gradient"])
def test_metrics_by_name_see_the_response(through):
    params = {**PARAMS, "eval_metric": ["auc", "logloss"]}
    model = train(through("binary_cross_entropy"), X, LABEL, params=params,
                  num_boost_round=5, valid=[(X, LABEL)])  # fmt: skip
    logged = model.evals_result["valid_0"]
    assert list(logged) == ["auc", "logloss"]
    assert logged["logloss"][-1] == pytest.approx(log_loss(LABEL, model.predict(X)))


@pytest.mark.parametrize("through", [ls.get, Objective], ids=["own", "gradient"])
def test_a_function_sees_the_response(through):
    def mean(p, data):
        return "mean", float(p.mean())

    model = train(through("poisson"), X, COUNT, params=PARAMS, num_boost_round=5,
                  valid=[(X, COUNT)], custom_metric=mean)  # fmt: skip
    logged = model.evals_result["valid_0"]
    assert list(logged) == ["poisson", "mean"]
    assert logged["mean"][-1] == pytest.approx(model.predict(X).mean(), rel=1e-6)


def test_a_metric_that_would_see_raw_scores_is_refused():
    params = {**PARAMS, "eval_metric": "rmse"}
    with pytest.raises(
        ParameterError, match=r"'rmse' would see raw scores of squared_"
    ):
        train("squared_log_error", X, COUNT, params=params)


@pytest.mark.parametrize("loss", ["squared_error", precision_cost, "absolute_error"])
def test_early_stopping_keeps_the_least_loss(loss):
    y = 1e-3 * NOISY
    model = train(loss, X[:200], y[:200], params=PARAMS, num_boost_round=200,
                  valid=[(X[200:], y[200:])], early_stopping_rounds=10)  # fmt: skip
    [losses] = model.evals_result["valid_0"].values()
    best = int(np.argmin(losses))
    assert model.booster.best_iteration == best < 190
    reached = ls.get(loss)(y[200:], model.predict(X[200:]))
    assert reached == pytest.approx(losses[best], rel=1e-5)


def test_a_stored_booster_predicts_by_itself():
    for loss, y in (("poisson", COUNT), (Objective("binary_focal"), LABEL)):
        model = train(loss, X, y, params=PARAMS, num_boost_round=20)
        alone = xgb.Booster()
        alone.load_model(model.booster.save_raw("json"))
        p = alone.predict(xgb.DMatrix(X))
        np.testing.assert_allclose(p, model.predict(X), rtol=1e-5)


def test_where_a_booster_has_room_the_start_is_stored():
    model = train("cross_entropy", X, CLASS, params=PARAMS, num_boost_round=3)
    assert (model.trained.offset is None) == VECTOR_START
    config = json.loads(model.booster.save_config())["learner"]["learner_model_param"]
    shares = np.bincount(CLASS) / 400
    if VECTOR_START:
        stored = json.loads(config["base_score"])
        np.testing.assert_allclose(stored, np.log(shares), rtol=1e-5)
    else:
        np.testing.assert_allclose(model.trained.offset, np.log(shares), rtol=1e-5)


def test_every_label_of_one_kind_is_a_finite_start():
    for y in (np.zeros(400), np.ones(400)):
        p = train("binary_cross_entropy", X, y, params=PARAMS).predict(X)
        np.testing.assert_allclose(p, y, atol=1e-6)


def test_targets_that_the_loss_is_not_defined_on_are_named():
    with pytest.raises(DomainError, match=r"poisson takes .*-1 in row 3"):
        train("poisson", X[:5], [0, 1, 2, -1, 3])


def test_models_pickle():
    model = train(Objective("poisson"), X, COUNT, params=PARAMS, num_boost_round=3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    assert again.trained.loss == ls.poisson
