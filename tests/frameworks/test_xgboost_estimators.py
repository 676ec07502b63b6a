"""XGBoost's scikit-learn classes with a loss: the habits of XGBoost, and of a loss."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xgboost as xgb
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, mean_absolute_error
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import lossary as ls
from lossary.errors import DataError, DomainError, ParameterError
from lossary.frameworks.xgboost import (
    Objective,
    XGBClassifier,
    XGBRanker,
    XGBRegressor,
)
from lossary.frameworks.xgboost.training import VECTOR_START

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1])
NOISY = SIGNAL + 0.3 * RNG.standard_t(3, size=400)
WEIGHT = RNG.integers(1, 4, size=400).astype(float)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)) * 1.0
LABEL = (RNG.logistic(size=400) < SIGNAL) * 1
CLASS = np.digitize(SIGNAL, [-1.0, 1.0])
FAST = {"n_estimators": 20, "n_jobs": 1}
THROUGH = pytest.mark.parametrize(
    "through", [ls.get, Objective], ids=["own", "gradient"]
)


# -- parameters -----------------------------------------------------------------------


def test_a_clone_has_the_same_parameters():
    model = XGBRegressor(ls.huber(delta=2.0), max_depth=3, base_score=0.5, tree="x")
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert (twin.loss, twin.max_depth) == (ls.huber(delta=2.0), 3)


@THROUGH
def test_parameters_set_after_training_leave_predictions_alone(through):
    model = XGBRegressor(through("poisson"), **FAST).fit(X, COUNT)
    before, raw = model.predict(X), model.get_booster().predict(xgb.DMatrix(X))
    model.set_params(n_jobs=2, learning_rate=0.5)
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(model.get_booster().predict(xgb.DMatrix(X)), raw)


def test_the_loss_is_a_hyperparameter():
    grid = {"loss": ["squared_error", "poisson"], "max_depth": [2, 3]}
    search = GridSearchCV(XGBRegressor(**FAST), grid, cv=2).fit(X, COUNT)
    assert search.best_estimator_.loss_.name == search.best_params_["loss"]


def test_fitting_leaves_parameters_alone():
    model = XGBClassifier("focal", **FAST)
    before = model.get_params()
    assert model.fit(X, CLASS).get_params() == before


def test_a_failed_fit_leaves_parameters_alone():
    model = XGBRegressor("poisson", callbacks=[object()], **FAST)
    before = model.get_params()
    with pytest.raises(TypeError, match="TrainingCallback"):
        model.fit(X, COUNT)
    assert model.get_params() == before


def test_an_objective_beside_the_loss_is_refused():
    with pytest.raises(ParameterError, match=r"trains on loss=.*objective="):
        XGBRegressor("huber", objective="count:poisson").fit(X, NOISY)


@pytest.mark.parametrize(("model", "y", "words"), [
    (XGBRegressor("cross_entropy"), NOISY, "use XGBClassifier"),
    (XGBClassifier("poisson"), LABEL, "not a loss of 2 classes"),
    (XGBClassifier("hinge"), CLASS, "not a loss of 3 classes"),
    (XGBClassifier("huber"), np.column_stack([LABEL, LABEL]), "not a loss of 2 labels"),
    (XGBRanker("poisson"), COUNT, "cannot rank"),
])  # fmt: skip
def test_a_loss_of_another_task_is_refused(model, y, words):
    with pytest.raises(ParameterError, match=words):
        model.fit(X, y)


def test_what_a_loss_is_not_defined_on_is_named():
    y = COUNT.copy()
    y[3] = -1
    with pytest.raises(DomainError, match=r"poisson takes .*-1 in row 3"):
        XGBRegressor("poisson", **FAST).fit(X, y)
    with pytest.raises(DomainError, match=r"poisson takes .*-1 in row 3"):
        XGBRegressor("poisson", **FAST).fit(X, COUNT, eval_set=[(X, y)])


def test_unusable_data_are_said():
    with pytest.raises(DataError, match="needs at least 2 classes"):
        XGBClassifier(**FAST).fit(X, np.ones(400))
    with pytest.raises(DataError, match="zero in every row"):
        XGBRegressor(**FAST).fit(X, NOISY, sample_weight=np.zeros(400))
    with pytest.raises(DataError, match="holds the class 7, which the target lacks"):
        XGBClassifier(**FAST).fit(X, LABEL, eval_set=[(X, LABEL + 7)])
    with pytest.raises(NotFittedError):
        XGBRegressor().predict(X)


def checked(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(model, on_fail=None)
    return {r["check_name"] for r in results if r["status"] == "failed"}


@pytest.mark.parametrize("ours", [
    XGBRegressor, XGBClassifier, lambda **kw: XGBRegressor("huber", **kw),
])  # fmt: skip
def test_scikit_learn_s_checks_pass(ours):
    # XGBoost predicts several targets in single precision.
    assert checked(ours(n_estimators=3, n_jobs=1)) <= {"check_regressor_multioutput"}


# -- regression -----------------------------------------------------------------------


@THROUGH
def test_raw_scores_and_response(through):
    model = XGBRegressor(through("poisson"), **FAST).fit(X, COUNT)
    z = model.predict(X, output_margin=True)
    np.testing.assert_allclose(model.predict(X), np.exp(z), rtol=1e-6)


@THROUGH
def test_scores_start_from_the_best_constant(through):
    model = XGBRegressor(
        through("poisson"), n_estimators=1, learning_rate=0.0, n_jobs=1
    )
    model.fit(X, COUNT, sample_weight=WEIGHT)
    mean = np.average(COUNT, weights=WEIGHT)
    np.testing.assert_allclose(model.predict(X), mean, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, mean, rtol=1e-6)


def test_a_given_base_score_is_on_the_response_scale():
    for loss in ("poisson", Objective("poisson")):
        model = XGBRegressor(loss, base_score=3.0, n_estimators=1, learning_rate=0.0)
        np.testing.assert_allclose(model.fit(X, COUNT).predict(X), 3.0, rtol=1e-6)


def test_a_base_margin_is_an_offset():
    exposure = RNG.uniform(0.5, 2.0, size=400)
    y = RNG.poisson(exposure * np.exp(SIGNAL / 2))
    margin = np.log(exposure)
    for loss in ("poisson", Objective("poisson")):
        model = XGBRegressor(loss, **FAST).fit(X, y, base_margin=margin)
        p = model.predict(X, base_margin=margin)
        own = xgb.XGBRegressor(objective="count:poisson", **FAST)
        own.fit(X, y, base_margin=margin)
        np.testing.assert_allclose(p, own.predict(X, base_margin=margin), rtol=1e-5)


def test_the_first_trees_alone_predict():
    model = XGBRegressor("poisson", **FAST).fit(X, COUNT)
    few = XGBRegressor("poisson", **{**FAST, "n_estimators": 5}).fit(X, COUNT)
    np.testing.assert_allclose(
        model.predict(X, iteration_range=(0, 5)), few.predict(X), rtol=1e-6
    )


def test_fractions_are_numbers():
    share = 1 / (1 + np.exp(-SIGNAL))
    for loss in ("binary_cross_entropy", Objective("binary_cross_entropy")):
        p = XGBRegressor(loss, **FAST).fit(X, share).predict(X)
        assert ((p > 0) & (p < 1)).all()
        assert mean_absolute_error(share, p) < 0.05


@THROUGH
@pytest.mark.parametrize("booster", ["dart", "gblinear", "gbtree"])
def test_every_booster_trains(booster, through):
    model = XGBRegressor(through("poisson"), booster=booster, **FAST).fit(X, COUNT)
    own = xgb.XGBRegressor(
        objective="count:poisson", booster=booster, base_score=COUNT.mean(), **FAST
    ).fit(X, COUNT)
    np.testing.assert_allclose(model.predict(X), own.predict(X), rtol=1e-4)


@THROUGH
def test_one_tree_for_all_targets(through):
    y = np.column_stack([NOISY, -NOISY])
    options = {**FAST, "multi_strategy": "multi_output_tree"}
    p = XGBRegressor(through("squared_error"), **options).fit(X, y).predict(X)
    assert p.shape == (400, 2)
    np.testing.assert_allclose(p[:, 0], -p[:, 1], atol=1e-4)


@THROUGH
def test_data_frames_with_categories_train(through):
    frame = pd.DataFrame({"x": X[:, 0], "kind": pd.Categorical(CLASS.astype(str))})
    y = pd.Series(COUNT)
    model = XGBRegressor(through("poisson"), enable_categorical=True, **FAST)
    model.fit(frame, y, eval_set=[(frame, y)], verbose=False)
    own = xgb.XGBRegressor(
        objective="count:poisson", enable_categorical=True, base_score=COUNT.mean(),
        **FAST,
    ).fit(frame, y)  # fmt: skip
    np.testing.assert_allclose(model.predict(frame), own.predict(frame), rtol=1e-5)
    assert model.feature_names_in_.tolist() == ["x", "kind"]
    with pytest.raises(ValueError, match="feature_names mismatch"):
        model.predict(frame[["kind", "x"]])


def test_sparse_features_train():
    sparse = scipy.sparse.csr_matrix(np.where(X > 0, X, 0.0))
    model = XGBRegressor(Objective("poisson"), **FAST).fit(sparse, COUNT)
    own = xgb.XGBRegressor(objective="count:poisson", base_score=COUNT.mean(), **FAST)
    own.fit(sparse, COUNT)
    np.testing.assert_allclose(model.predict(sparse), own.predict(sparse), rtol=1e-5)


@THROUGH
def test_training_goes_on_from_a_model(through, tmp_path):
    whole = XGBRegressor(through("poisson"), n_estimators=20, n_jobs=1).fit(X, COUNT)
    first = XGBRegressor(through("poisson"), n_estimators=10, n_jobs=1).fit(X, COUNT)
    first.save_model(tmp_path / "first.json")
    for start in (first, first.get_booster(), str(tmp_path / "first.json")):
        again = XGBRegressor(through("poisson"), n_estimators=10, n_jobs=1)
        again.fit(X, COUNT, xgb_model=start)
        np.testing.assert_allclose(again.predict(X), whole.predict(X), rtol=1e-4)


# -- metrics --------------------------------------------------------------------------


@THROUGH
def test_early_stopping_looks_at_the_loss(through):
    model = XGBRegressor(
        through("poisson"), n_estimators=300, n_jobs=1, early_stopping_rounds=5
    )
    w = WEIGHT[300:]
    model.fit(X[:300], COUNT[:300], eval_set=[(X[300:], COUNT[300:])],
              sample_weight_eval_set=[w], verbose=False)  # fmt: skip
    [(name, losses)] = model.evals_result()["validation_0"].items()
    assert (name, model.best_iteration) == ("poisson", int(np.argmin(losses)))
    assert model.best_score == pytest.approx(min(losses), rel=1e-12)
    z = model.predict(X[300:], output_margin=True)
    assert min(losses) == pytest.approx(ls.poisson(COUNT[300:], z, sample_weight=w))


@THROUGH
def test_the_best_rounds_alone_can_be_kept(through):
    stop = xgb.callback.EarlyStopping(rounds=5, save_best=True)
    model = XGBRegressor(through("poisson"), n_estimators=300, callbacks=[stop])
    model.fit(X[:300], COUNT[:300], eval_set=[(X[300:], COUNT[300:])], verbose=False)
    [losses] = model.evals_result()["validation_0"].values()
    assert model.get_booster().num_boosted_rounds() == int(np.argmin(losses)) + 1
    z = model.predict(X[300:], output_margin=True)
    assert float(ls.poisson(COUNT[300:], z)) == pytest.approx(min(losses), rel=1e-5)


@THROUGH
def test_early_stopping_on_a_score_keeps_the_highest(through):
    model = XGBClassifier(
        through("binary_cross_entropy"), n_estimators=200, n_jobs=1,
        early_stopping_rounds=10, eval_metric=["logloss", "auc"],
    )  # fmt: skip
    model.fit(X[:300], LABEL[:300], eval_set=[(X[300:], LABEL[300:])], verbose=False)
    logged = model.evals_result()["validation_0"]
    assert list(logged) == ["logloss", "auc"]
    assert model.best_iteration == int(np.argmax(logged["auc"]))


@THROUGH
@pytest.mark.parametrize("y", [LABEL, CLASS], ids=["two", "three"])
def test_a_function_sees_labels_and_probabilities(y, through):
    loss = "cross_entropy" if y is CLASS else "binary_cross_entropy"
    model = XGBClassifier(through(loss), eval_metric=log_loss, **FAST)
    model.fit(X, y, sample_weight=WEIGHT, eval_set=[(X, y)],
              sample_weight_eval_set=[WEIGHT], verbose=False)  # fmt: skip
    logged = model.evals_result()["validation_0"]
    assert list(logged) == [loss, "log_loss"]
    expected = log_loss(y, model.predict_proba(X), sample_weight=WEIGHT)
    assert logged["log_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert logged[loss][-1] == pytest.approx(expected, rel=1e-5)


def test_a_metric_by_name_beside_a_function():
    model = XGBRegressor("poisson", eval_metric=["mae", mean_absolute_error], **FAST)
    if not VECTOR_START:  # before version 3.1 XGBoost knows one or the other
        with pytest.raises(xgb.core.XGBoostError, match="Unknown metric function"):
            model.fit(X, COUNT, eval_set=[(X, COUNT)])
        return
    model.fit(X, COUNT, eval_set=[(X, COUNT)], verbose=False)
    logged = model.evals_result()["validation_0"]
    assert list(logged) == ["mae", "mean_absolute_error"]
    np.testing.assert_allclose(logged["mae"], logged["mean_absolute_error"], rtol=1e-5)


def test_margins_are_judged_by_their_sign():
    model = XGBClassifier(Objective("squared_hinge"), eval_metric="error", **FAST)
    model.fit(X, LABEL, eval_set=[(X, LABEL)], verbose=False)
    [wrong] = model.evals_result()["validation_0"].values()
    assert wrong[-1] == pytest.approx(np.mean(model.predict(X) != LABEL), abs=1e-6)
