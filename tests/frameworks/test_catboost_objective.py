"""A loss in CatBoost's protocols, called back from CatBoost's own training."""

from __future__ import annotations

import copy
import pickle

import catboost as cb
import numpy as np
import pytest

import lossary as ls
from lossary.errors import ParameterError
from lossary.frameworks.bundle import Bundle
from lossary.frameworks.catboost import objective
from lossary.frameworks.catboost.objective import (
    Metric,
    MultiTargetMetric,
    MultiTargetObjective,
    Objective,
    builtin,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
WEIGHT = RNG.integers(1, 4, size=600).astype(float)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=600) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
QUIET = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}

BUILT_IN = {
    "RMSE": ("squared_error", SIGNAL),
    "Logloss": ("binary_cross_entropy", LABEL),
    "CrossEntropy": ("binary_cross_entropy", 1 / (1 + np.exp(-SIGNAL))),
    "Poisson": ("poisson", COUNT),
    "Tweedie:variance_power=1.3": ("tweedie(power=1.3)", 1.5 * COUNT),
    "MultiClass": ("cross_entropy", CLASS),
}


def trained(loss_function, y, weight, **params):
    metric = {}
    if not isinstance(loss_function, str):
        metric = {"eval_metric": Metric(loss_function.loss)}
        if loss_function.bundle.task == "multiclass":
            metric["class_names"] = [0, 1, 2]
    settings = {"loss_function": loss_function, "iterations": 50, **QUIET, **metric}
    if loss_function in ("RMSE", "MAE", "MAPE", "Quantile:alpha=0.2"):
        settings["boost_from_average"] = False
    return cb.CatBoost({**settings, **params}).fit(X, y, sample_weight=weight)


def raw(model):
    return model.predict(X, prediction_type="RawFormulaVal")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("method", ["Newton", "Gradient"])
@pytest.mark.parametrize("theirs", BUILT_IN)
def test_the_callback_grows_the_trees_of_the_built_in(theirs, method, weight):
    loss, y = BUILT_IN[theirs]
    params = {"learning_rate": 0.1, "leaf_estimation_method": method,
              "leaf_estimation_iterations": 1, "bootstrap_type": "No"}  # fmt: skip
    expected = raw(trained(theirs, y, weight, **params))
    found = raw(trained(Objective(loss), y, weight, **params))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("theirs", ["Logloss", "Tweedie:variance_power=1.3"])
def test_several_newton_steps_in_a_leaf_are_those_of_the_built_in(theirs):
    loss, y = BUILT_IN[theirs]
    params = {"learning_rate": 0.1, "leaf_estimation_iterations": 10}
    params["leaf_estimation_method"] = "Newton"
    expected = raw(trained(theirs, y, WEIGHT, **params))
    found = raw(trained(Objective(loss), y, WEIGHT, **params))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("theirs", "loss"),
    [("Huber:delta=1.5", "huber(delta=1.5)"), ("LogCosh", "log_cosh")],
)
def test_gradient_leaves_need_no_curvature(theirs, loss):
    params = {"learning_rate": 0.1, "leaf_estimation_method": "Gradient"}
    expected = raw(trained(theirs, SIGNAL, WEIGHT, **params))
    found = raw(trained(Objective(loss), SIGNAL, WEIGHT, **params))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


SCALAR = ["squared_error", "poisson", "binary_focal", "hinge", "huber", "log_cosh",
          "pinball(tau=0.2)", "absolute_percentage_error", "general_robust",
          "squared_error + absolute_percentage_error"]  # fmt: skip


def block(loss, weight=None):
    rng = np.random.default_rng(1)
    bundle = Bundle(loss)
    y = rng.gamma(2.0, size=300) + 0.1
    if bundle.task == "binary":
        y = (y > 1) * 1.0
    return rng.normal(size=300), y.astype(np.float32), weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", SCALAR)
def test_derivatives_are_those_of_the_loss_with_the_sign_turned(loss, weighted):
    z, y, w = block(loss, WEIGHT[:300].astype(np.float32) if weighted else None)
    objective = Objective(loss, scale=1.0)
    g, h = objective.bundle.grad_and_hess(y.astype(float), z, w)
    expected = -np.stack([g, h], axis=1) * (w[:, None] if weighted else 1.0)
    found = objective.calc_ders_range(z, y, w)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", SCALAR)
def test_compiled_is_interpreted(loss, weighted, monkeypatch):
    z, y, w = block(loss, WEIGHT[:300].astype(np.float32) if weighted else None)
    plain = Objective(loss).calc_ders_range(z, y, w)
    monkeypatch.setattr(objective, "_COMPILED_FROM", 0)
    compiled = Objective(loss)
    np.testing.assert_allclose(
        compiled.calc_ders_range(z, y, w), plain, rtol=1e-12, atol=1e-13
    )
    assert "_blocks" in compiled.__dict__


ROWS = ["cross_entropy", "focal", "focal(gamma=0.5)", "0.5*focal + cross_entropy"]


@pytest.mark.parametrize("loss", ROWS)
def test_a_compiled_row_is_an_interpreted_one(loss, monkeypatch):
    scores = np.array([0.5, -1.0, 2.0, 0.1])
    plain = Objective(loss).calc_ders_multi(scores, 2.0, 1.5)
    monkeypatch.setattr(objective, "_COMPILED_FROM", 0)
    compiled = Objective(loss).calc_ders_multi(scores, 2.0, 1.5)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_the_second_derivatives_of_a_row_are_those_of_its_gradient():
    objective, scores, step = Objective("cross_entropy"), np.array([0.5, -1, 2.0]), 1e-6
    _, second = objective.calc_ders_multi(scores, 1.0, 2.0)
    for j, one in enumerate(np.eye(3)):
        ahead, _ = objective.calc_ders_multi(scores + step * one, 1.0, 2.0)
        behind, _ = objective.calc_ders_multi(scores - step * one, 1.0, 2.0)
        difference = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(second[:, j], difference, atol=1e-8)


@pytest.mark.parametrize("loss", ROWS)
def test_a_row_of_classes_is_curved_downwards_for_catboost(loss):
    for scores in (np.array([0.5, -1.0, 2.0]), np.array([30.0, 0.0, -30.0])):
        _, second = Objective(loss).calc_ders_multi(scores, 2.0, 1.0)
        assert np.linalg.eigvalsh(second).max() <= 1e-12


@pytest.mark.parametrize("threshold", [0, 1 << 40], ids=["compiled", "plain"])
def test_a_row_of_weight_zero_is_removed_whatever_it_holds(threshold, monkeypatch):
    monkeypatch.setattr(objective, "_COMPILED_FROM", threshold)
    z, w = np.array([0.0, np.nan]), np.array([1.0, 0.0], np.float32)
    y = np.array([1.0, np.nan], np.float32)
    found = Objective("squared_error").calc_ders_range(z, y, w)
    assert found.tolist() == [[1.0, -1.0], [0.0, 0.0]]
    rows = Objective("focal").calc_ders_multi(np.full(3, np.nan), 0.0, 0.0)
    assert not np.any(rows[0])
    assert not np.any(rows[1])


def test_scale_is_the_built_in_s_own():
    assert Objective("squared_error").factor == 0.5
    assert Objective("poisson").factor == Objective("general_robust").factor == 1.0


def test_a_loss_that_compares_rows_is_refused():
    with pytest.raises(ParameterError, match=r"dice compares whole arrays.*'binary_fo"):
        Objective("dice")


def test_an_objective_pickles_and_is_its_own_copy():
    objective = Objective(ls.huber(delta=2.0), scale=0.25)
    assert pickle.loads(pickle.dumps(objective)) == objective
    assert copy.deepcopy(objective) is objective
    used = Objective("squared_error")
    used.calc_ders_range(np.zeros(2), np.ones(2, np.float32), None)
    assert pickle.loads(pickle.dumps(used)) == used


def test_catboost_does_not_compile_our_methods_itself():
    # It would replace the methods by closures, which no pickle takes.
    objective, metric = Objective("poisson"), Metric("poisson")
    params = {"loss_function": objective, "eval_metric": metric, "iterations": 2}
    model = cb.CatBoost({**params, **QUIET}).fit(X, COUNT)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(raw(model), raw(again))


def test_several_targets_add_up():
    Y = np.stack([LABEL, CLASS > 0], axis=1) * 1
    params = {"learning_rate": 0.1, "leaf_estimation_method": "Newton",
              "leaf_estimation_iterations": 1, "iterations": 20,
              "bootstrap_type": "No", **QUIET}  # fmt: skip
    theirs = cb.CatBoost({**params, "loss_function": "MultiLogloss"})
    ours = cb.CatBoost({
        **params,
        "loss_function": MultiTargetObjective("binary_cross_entropy"),
        "eval_metric": MultiTargetMetric("binary_cross_entropy"),
    })  # fmt: skip
    theirs.fit(X, Y, sample_weight=WEIGHT)
    ours.fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(raw(ours), raw(theirs), rtol=1e-9, atol=1e-9)
    metric = ours.get_evals_result()["learn"]["binary_cross_entropy"][-1]
    value = ls.binary_cross_entropy(Y * 1.0, raw(ours), sample_weight=WEIGHT)
    assert metric == pytest.approx(float(value))


@pytest.mark.parametrize("loss", ["poisson", "focal", "0.5*huber + absolute_error"])
def test_a_metric_is_the_weighted_mean_of_the_loss(loss):
    y = CLASS if loss == "focal" else COUNT
    objective = Objective(loss)
    model = trained(objective, y, WEIGHT, iterations=5)
    logged = model.get_evals_result()["learn"][objective.loss.name][-1]
    value = objective.loss(y, raw(model), sample_weight=WEIGHT)
    assert logged == pytest.approx(float(value), rel=1e-6)


def test_a_metric_of_nothing_is_nan():
    metric = Metric("huber")
    nothing = metric.evaluate((np.ones(2),), np.ones(2), np.zeros(2))
    assert nothing == (0.0, 0.0)
    assert np.isnan(metric.get_final_error(*nothing))


def test_a_metric_pickles():
    metric = Metric(ls.huber(delta=2.0))
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert metric != Metric("huber")
    assert repr(metric) == "Metric(huber(delta=2.0))"


@pytest.mark.parametrize(
    ("loss", "y", "name"),
    [
        ("squared_error", SIGNAL, "RMSE"),
        ("huber(delta=2)", SIGNAL, "Huber:delta=2.0"),
        ("tweedie(power=1.3)", COUNT, "Tweedie:variance_power=1.3"),
        ("absolute_percentage_error", COUNT + 1, "MAPE"),
        ("absolute_percentage_error", COUNT + 0.5, None),  # CatBoost's is floored
        ("binary_cross_entropy", LABEL * 1.0, "Logloss"),
        ("binary_cross_entropy", np.array([0.2, 0.9]), "CrossEntropy"),
        ("cross_entropy", CLASS, "MultiClass"),
        ("squared_error", np.stack([SIGNAL, SIGNAL], 1), "MultiRMSE"),
        ("huber + squared_error", SIGNAL, None),
        ("general_robust", SIGNAL, None),
    ],
)
def test_the_built_in_of_a_loss_is_found(loss, y, name):
    assert builtin(Bundle(loss), y) == name
