from __future__ import annotations

import math
import pickle
from functools import partial

import joblib
import lightgbm as lgb
import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import lossary as ls
from lossary.errors import DataError, DomainError, ParameterError, ShapeError
from lossary.frameworks.lightgbm import Objective, train

# LightGBM 4.6 names the columns of an array, and newer scikit-learn misses the names.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

PARAMS = {
    "verbosity": -1,
    "num_threads": 1,
    "seed": 0,
    "deterministic": True,
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
WEIGHT = RNG.integers(1, 4, size=600).astype(float)

PARITY = {
    "regression": ("squared_error", SIGNAL + 0.3 * RNG.normal(size=600)),
    "huber": ("huber(delta=0.5)", SIGNAL + 0.3 * RNG.standard_t(2, size=600)),
    "cross_entropy": ("binary_cross_entropy", 1 / (1 + np.exp(-SIGNAL))),
    "binary": ("binary_cross_entropy", (RNG.logistic(size=600) < SIGNAL) * 1.0),
    "poisson": ("poisson", RNG.poisson(np.exp(SIGNAL / 2)) * 1.0),
    "tweedie": ("tweedie(power=1.5)", RNG.poisson(np.exp(SIGNAL / 2)) * 1.5),
    "multiclass": ("cross_entropy", np.digitize(SIGNAL, [-1.0, 1.0])),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("builtin", PARITY)
def test_equals_the_builtin_objective(builtin, weight):
    loss, y = PARITY[builtin]
    params = {**PARAMS, "objective": builtin}
    if builtin == "multiclass":
        params["num_class"] = 3
    params |= {"tweedie": {"tweedie_variance_power": 1.5}, "huber": {"alpha": 0.5}}.get(
        builtin, {}
    )
    theirs = lgb.train(params, lgb.Dataset(X, y, weight=weight), 50).predict(X)
    objective = Objective(loss)  # as it is, where LightGBM has a faster one as well
    model = train(
        objective, X, y, sample_weight=weight, params=PARAMS, num_boost_round=50
    )
    assert model.booster.params["objective"] == "none"
    ours = model.predict(X)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("through", [ls.get, Objective])
def test_several_labels_are_one_against_all(through):
    y = PARITY["multiclass"][1]
    params = {**PARAMS, "objective": "multiclassova", "num_class": 3}
    theirs = lgb.train(params, lgb.Dataset(X, y, weight=WEIGHT), 50).predict(X)
    model = train(
        through("binary_cross_entropy"), X, np.eye(3)[y], sample_weight=WEIGHT,
        params=PARAMS, num_boost_round=50,
    )  # fmt: skip
    np.testing.assert_allclose(model.predict(X), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("builtin", "settings"), [
    ("binary", {"scale_pos_weight": 3.0}),
    ("binary", {"is_unbalance": True}),
    ("poisson", {"poisson_max_delta_step": 0.2}),
    ("poisson", {"boost_from_average": False}),
    ("poisson", {"bagging_fraction": 0.5, "bagging_freq": 1}),
])  # fmt: skip
def test_settings_mean_what_they_mean_to_the_builtin(builtin, settings):
    loss, y = PARITY[builtin]
    y = np.where(SIGNAL > 1, y, 0.0)  # of which 0 is the more frequent
    params = {**PARAMS, **settings}
    own = {**params, "objective": builtin}
    theirs = lgb.train(own, lgb.Dataset(X, y, weight=WEIGHT), 50).predict(X)
    model = train(loss, X, y, sample_weight=WEIGHT, params=params, num_boost_round=50)
    np.testing.assert_allclose(model.predict(X), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("loss", "settings", "words"), [
    ("huber", {"alpha": 0.5}, "huber has delta=1.0, but alpha=0.5"),
    ("tweedie", {"tweedie_variance_power": 1.2}, "power=1.5, but tweedie_variance"),
    ("squared_error", {"reg_sqrt": True}, "reg_sqrt=True"),
    ("hinge", {"sigmoid": 2.0}, "sigmoid=2.0"),
    ("hinge", {"is_unbalance": True, "scale_pos_weight": 2}, "cannot go together"),
])  # fmt: skip
def test_settings_that_contradict_the_loss_are_refused(loss, settings, words):
    y = PARITY["binary"][1]
    with pytest.raises(ParameterError, match=words):
        train(loss, X, y, params={**PARAMS, **settings}, num_boost_round=1)


@pytest.mark.parametrize("builtin", ["regression", "poisson", "multiclass"])
def test_an_integer_weight_repeats_a_row(builtin):
    loss, y = PARITY[builtin]
    rows = np.repeat(np.arange(600), WEIGHT.astype(int))
    params = {**PARAMS, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 20.0}
    # Bins come from the rows, so both must be cut alike.
    binned = np.round(X * 4) / 4
    weighted = train(
        loss, binned, y, sample_weight=WEIGHT, params=params, num_boost_round=5
    )
    repeated = train(loss, binned[rows], y[rows], params=params, num_boost_round=5)
    np.testing.assert_allclose(
        weighted.predict(binned), repeated.predict(binned), rtol=1e-5
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("loss", "tau"), [("absolute_error", 0.5), ("pinball", 0.9)])
def test_a_loss_without_curvature_learns_at_every_scale(loss, tau, scale):
    y = scale * PARITY["regression"][1]
    bound = loss if loss == "absolute_error" else f"pinball(tau={tau})"
    params = {**PARAMS, "objective": "quantile", "alpha": tau}
    theirs = lgb.train(params, lgb.Dataset(X, y), 100).predict(X)
    ours = train(bound, X, y, params=PARAMS).predict(X)
    metric = ls.pinball(tau=tau)
    assert metric(y, ours) <= 1.01 * metric(y, theirs)


@pytest.mark.parametrize("delta", [0.1, 1.0, 100.0])
def test_robust_losses_learn_far_from_their_own_scale(delta):
    y = 100 * PARITY["regression"][1]
    for loss in (ls.huber(delta=delta), ls.log_cosh):
        objective = Objective(loss, curvature="majorised")
        model = train(objective, X, y, params=PARAMS)
        constant = np.full_like(y, loss.best_constant(y))
        assert loss(y, model.predict(X)) < 0.3 * loss(y, constant)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "exponential", "dice",
                                  "binary_focal"])  # fmt: skip
def test_every_binary_loss_learns(loss):
    y = PARITY["binary"][1]
    p = train(loss, X, y, params=PARAMS, num_boost_round=50).predict(X)
    assert ((p > 0) & (p < 1)).all()
    # Dice favours the positive class, the others only its more likely rows.
    assert ((p > 0.5) == y).mean() > (0.75 if loss == "dice" else 0.85)


def test_the_scikit_learn_classes_apply_weights_once():
    y = PARITY["regression"][1]
    objective = Objective("squared_error", scale=0.5)
    ours = lgb.LGBMRegressor(n_estimators=20, objective=objective, **PARAMS)
    theirs = lgb.LGBMRegressor(n_estimators=20, **PARAMS)
    theirs.set_params(boost_from_average=False)
    for model in (ours, theirs):
        model.fit(X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)


def test_start_and_response_serve_the_scikit_learn_classes():
    y = PARITY["poisson"][1]
    objective = Objective("poisson")
    model = lgb.LGBMRegressor(n_estimators=20, objective=objective, **PARAMS)
    start = objective.start(y)
    assert start == pytest.approx(math.log(y.mean()))
    model.fit(X, y, init_score=np.full(len(y), start))
    expected = train("poisson", X, y, params=PARAMS, num_boost_round=20).predict(X)
    np.testing.assert_allclose(
        objective.response(start + model.predict(X)), expected, rtol=1e-12
    )


def test_the_stored_trees_predict_raw_scores_by_themselves():
    y = PARITY["poisson"][1]
    model = train("poisson", X, y, params=PARAMS, num_boost_round=20)
    alone = lgb.Booster(model_str=model.booster.model_to_string())
    np.testing.assert_allclose(np.exp(alone.predict(X)), model.predict(X), rtol=1e-12)
    assert model.start == pytest.approx(math.log(y.mean()), rel=1e-6)


def test_metrics_see_the_response():
    y, seen = PARITY["binary"][1], {}
    params = {**PARAMS, "metric": ["binary_logloss", "auc"]}
    record = lgb.record_evaluation(seen)
    model = train(
        "binary_cross_entropy", X, y, params=params, num_boost_round=5,
        valid=[(X, y)], callbacks=[record],
    )  # fmt: skip
    logged = {name: values[-1] for name, values in seen["valid_0"].items()}
    p = model.predict(X)
    assert logged["binary_logloss"] == pytest.approx(log_loss(y, p), rel=1e-6)
    assert logged["auc"] == pytest.approx(roc_auc_score(y, p), rel=1e-6)


def test_a_target_of_distributions_trains_class_scores():
    shares = np.exp(np.column_stack([SIGNAL, -SIGNAL, 0 * SIGNAL]))
    shares /= shares.sum(axis=1, keepdims=True)
    p = train("kl_divergence", X, shares, params=PARAMS).predict(X)
    assert ls.kl_divergence(shares, p, from_logits=False) < 0.02


@pytest.mark.parametrize(
    ("loss", "y", "error", "words"),
    [
        ("huber", SIGNAL[:, None], ShapeError, r"\(600, 1\); pass one column"),
        (
            "kl_divergence",
            np.ones((600, 3)),
            DomainError,
            "sum to 1, but not in rows 0",
        ),
        ("cross_entropy", SIGNAL, DomainError, "class numbers from 0"),
    ],
)
def test_a_target_of_the_wrong_form_is_said(loss, y, error, words):
    with pytest.raises(error, match=words):
        train(loss, X, y, params=PARAMS)


def test_features_that_never_vary_are_an_error_of_ours():
    with pytest.raises(DataError, match=r"no feature varies.*pass X"):
        train("poisson", np.zeros((50, 2)), np.ones(50), params=PARAMS)


@pytest.mark.parametrize("option", [{"linear_tree": True}, {"boosting": "rf"}])
def test_what_a_custom_objective_cannot_do_is_said_before_training(option):
    with pytest.raises(ParameterError, match=rf"poisson .*{next(iter(option))}="):
        train("poisson", X, PARITY["poisson"][1], params=option)


@pytest.mark.parametrize(
    ("loss", "objective"),
    [("squared_error", "regression"), ("huber(delta=2)", "huber"),
     ("absolute_error", "regression_l1"), ("pinball(tau=0.3)", "quantile")],
)  # fmt: skip
def test_what_lightgbm_trains_faster_it_trains_itself(loss, objective):
    y = PARITY["regression"][1]
    model = train(loss, X, y, params=PARAMS, num_boost_round=5)
    assert model.booster.params["objective"] == objective
    assert (model.predict(X) == model.scores(X)).all()


def test_scale_alone_changes_no_tree():
    y = PARITY["regression"][1]
    one, eight = (
        train(Objective("squared_error", scale=s), X, y, params=PARAMS).predict(X)
        for s in (1.0, 8.0)
    )
    np.testing.assert_allclose(one, eight, rtol=1e-6)


def test_early_stopping_sees_the_loss_of_the_validation_set():
    y = PARITY["poisson"][1]
    seen: dict[str, dict[str, list[float]]] = {}
    stop = lgb.early_stopping(5, verbose=False)
    model = train(
        "poisson", X[:400], y[:400], params=PARAMS, num_boost_round=500,
        valid=[(X[400:], y[400:])], callbacks=[stop, lgb.record_evaluation(seen)],
    )  # fmt: skip
    best = model.booster.best_iteration
    assert 0 < best < 500
    logged = seen["valid_0"]["poisson"][best - 1]
    z = model.scores(X[400:])
    assert logged == pytest.approx(float(ls.poisson(y[400:], z)), rel=1e-6)


def test_a_class_missing_from_the_rows_keeps_its_column():
    y = np.where(PARITY["multiclass"][1] == 2, 1, PARITY["multiclass"][1])
    p = train("cross_entropy", X, y, params=PARAMS, n_classes=3).predict(X)
    assert p.shape == (600, 3)
    assert (p[:, 2] < 1e-6).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_targets_that_the_loss_is_not_defined_on_are_named():
    with pytest.raises(DomainError, match=r"counts or amounts.*-1 in row 3"):
        train("poisson", X[:5], [0, 1, 2, -1, 3])


def test_pickles():
    objective = Objective(ls.huber(delta=2.0), scale=0.25)
    twin = pickle.loads(pickle.dumps(objective))
    assert twin == objective
    y = PARITY["regression"][1]
    model = train(objective, X, y, params=PARAMS, num_boost_round=3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


def test_works_in_other_processes():
    fit = partial(
        train, Objective("poisson"), X, PARITY["poisson"][1], params=PARAMS,
        num_boost_round=3,
    )  # fmt: skip
    there = joblib.Parallel(n_jobs=2, backend="loky")([joblib.delayed(fit)()] * 2)
    for model in there:
        np.testing.assert_array_equal(model.predict(X), fit().predict(X))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_target_s_unit_is_no_hyperparameter(scale):
    y = PARITY["regression"][1]
    one, other = (
        train("absolute_error", X, c * y, params=PARAMS).predict(X) / c
        for c in (1.0, scale)
    )
    assert ls.absolute_error(one, other) < 0.02 * ls.absolute_error(y, one * 0)
