"""CatBoost's estimators on any loss: habits, start, link, classes, saving."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import catboost as cb
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

import lossary as ls
from lossary.errors import DataError, DomainError, ParameterError
from lossary.frameworks.catboost import (
    CatBoostClassifier,
    CatBoostRegressor,
    Objective,
)
from lossary.frameworks.catboost.objective import builtin

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


# -- start, link, weights -------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "constant"),
    [
        ("squared_log_error", np.expm1(np.log1p(COUNT + 100).mean())),
        ("poisson", (COUNT + 100).mean()),
        ("general_robust", ls.general_robust.best_constant(COUNT + 100)),
    ],
)
def test_predictions_start_from_the_best_constant(loss, constant):
    model = regressor(loss, iterations=1, boost_from_average=True, learning_rate=1e-6)
    p = model.fit(X, COUNT + 100).predict(X)
    np.testing.assert_allclose(p, constant, rtol=1e-5)


def test_boost_from_average_can_be_declined():
    model = regressor("general_robust", boost_from_average=False).fit(X, SIGNAL)
    assert model.get_scale_and_bias() == (1.0, 0.0)


def test_a_baseline_replaces_the_start():
    start = np.full(600, 3.0)
    model = regressor("general_robust").fit(X, SIGNAL, baseline=start)
    assert model.get_scale_and_bias() == (1.0, 0.0)
    pool = cb.Pool(X, SIGNAL, baseline=start)
    again = regressor("general_robust").fit(pool)
    np.testing.assert_allclose(again.predict(X), model.predict(X))


def test_a_prediction_is_a_mean_and_the_raw_score_can_be_had():
    for loss in ("poisson", Objective("poisson")):
        model = regressor(loss).fit(X, COUNT)
        scores = model.predict(X, prediction_type="RawFormulaVal")
        np.testing.assert_allclose(model.predict(X), np.exp(scores))
        left = ((COUNT - np.exp(scores)) ** 2).mean()
        assert model.score(X, COUNT) == pytest.approx(1 - left / COUNT.var())


def test_stages_end_at_the_prediction():
    for loss in ("squared_log_error", "poisson"):
        model = regressor(loss).fit(X, COUNT)
        *_, last = model.staged_predict(X)
        np.testing.assert_allclose(last, model.predict(X))


@pytest.mark.parametrize("loss", ["poisson", Objective("poisson")])
def test_weight_zero_removes_a_target_whatever_it_is(loss):
    y = np.where(WEIGHT == 0, np.nan, COUNT)
    expected = regressor(loss).fit(X, COUNT, sample_weight=WEIGHT).predict(X)
    found = regressor(loss).fit(X, y, sample_weight=WEIGHT).predict(X)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("loss", ["general_robust", "squared_log_error"])
def test_an_integer_weight_repeats_a_row(loss):
    # Borders come from the rows, so both must be cut alike.
    binned, w = np.round(2 * X) / 2, WEIGHT + 1
    rows = np.repeat(np.arange(600), w.astype(int))
    params = {"bootstrap_type": "No", "random_strength": 0, "iterations": 5, "depth": 3,
              "l2_leaf_reg": 0, "boosting_type": "Plain"}  # fmt: skip
    weighted = regressor(Objective(loss), **params)
    weighted.fit(binned, COUNT, sample_weight=w)
    repeated = regressor(Objective(loss), **params).fit(binned[rows], COUNT[rows])
    np.testing.assert_allclose(
        weighted.predict(binned), repeated.predict(binned), rtol=1e-6
    )


# -- classes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("no", "yes"), (3, 7), (-1, 1), (0.0, 1.0), (False, True)]
)
@pytest.mark.parametrize("loss", [None, "squared_hinge", "exponential"])
def test_labels_come_back_as_they_went_in(names, loss):
    y = np.array(names)[LABEL]
    model = classifier(loss, learning_rate=0.3).fit(X, y)
    assert set(model.predict(X).tolist()) <= set(names)
    assert (model.predict(X) == y).mean() > 0.8
    assert model.score(X, y) > 0.8
    assert list(model.classes_) == list(names)


def test_several_classes_by_name():
    y = np.array(["a", "b", "c"])[CLASS]
    model = classifier("focal", learning_rate=0.3).fit(X, y)
    assert (model.predict(X)[:, 0] == y).mean() > 0.8
    assert list(model.classes_) == ["a", "b", "c"]


def test_probabilities_of_half_log_odds_are_those_of_the_loss():
    model = classifier("exponential").fit(X, LABEL)
    p = model.predict_proba(X)
    assert p.shape == (600, 2)
    assert model.get_scale_and_bias()[0] == 2.0
    half = model.predict(X, prediction_type="RawFormulaVal") / 2
    np.testing.assert_allclose(p[:, 1], Objective("exponential").response(half))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)


@pytest.mark.parametrize("loss", [None, Objective("binary_cross_entropy"), "hinge"])
def test_several_labels_at_once(loss):
    Y = np.stack([LABEL, CLASS > 0], axis=1) * 1
    model = classifier(loss, learning_rate=0.3).fit(X, Y, sample_weight=WEIGHT)
    assert model.predict(X).shape == (600, 2)
    assert (model.predict(X) == Y).mean() > 0.85
    if loss != "hinge":
        own = cb.CatBoostClassifier(
            loss_function="MultiLogloss", learning_rate=0.3, **THEIRS
        ).fit(X, Y, sample_weight=WEIGHT)
        np.testing.assert_allclose(model.predict_proba(X), own.predict_proba(X))


def test_shares_of_a_class_are_a_target():
    share = 1 / (1 + np.exp(-SIGNAL))
    p = classifier("binary_cross_entropy").fit(X, share).predict_proba(X)
    assert abs(p[:, 1] - share).mean() < 0.2


# -- data -----------------------------------------------------------------------------


def frame():
    table = pd.DataFrame(X, columns=list("vwxyz"))
    table["kind"] = np.array(["p", "q", "r"])[CLASS]
    return table


def test_categories_are_catboost_s():
    own = cb.CatBoostRegressor(cat_features=["kind"], **THEIRS).fit(frame(), SIGNAL)
    for given in ({"loss": None}, {"loss": Objective("squared_error")}):
        model = CatBoostRegressor(**given, cat_features=["kind"], **FAST)
        found = model.fit(frame(), SIGNAL).predict(frame())
        np.testing.assert_allclose(found, own.predict(frame()), rtol=1e-6, atol=1e-6)


def test_text_is_left_to_catboost():
    words = np.array(["low small", "middle", "high large"])[CLASS]
    table = pd.DataFrame({"x": X[:, 0], "text": words})
    model = classifier("squared_hinge", text_features=["text"], learning_rate=0.3)
    assert model.fit(table, LABEL).score(table, LABEL) > 0.7


def test_a_pool_is_not_changed():
    pool = cb.Pool(frame(), SIGNAL, cat_features=["kind"], weight=WEIGHT)
    model = regressor("general_robust").fit(pool, eval_set=pool)
    same = regressor("general_robust", cat_features=["kind"])
    same.fit(frame(), SIGNAL, sample_weight=WEIGHT)
    assert np.size(pool.get_baseline()) == 0
    np.testing.assert_allclose(model.predict(pool), same.predict(frame()))


def test_validation_data_of_any_form_start_where_training_does(tmp_path):
    pool = cb.Pool(frame(), SIGNAL, cat_features=["kind"])
    histories = []
    for given in (pool, (frame(), SIGNAL), [pool]):
        model = regressor("general_robust", iterations=5).fit(pool, eval_set=given)
        histories.append(model.evals_result_["validation"]["general_robust"])
    assert histories[0] == histories[1] == histories[2]
    numbers = tmp_path / "numbers.csv"
    np.savetxt(numbers, np.column_stack([SIGNAL, X]), delimiter="\t")
    from_file = regressor("general_robust", iterations=5)
    from_file.fit(str(numbers), eval_set=str(numbers))
    result = from_file.evals_result_
    assert result["validation"]["general_robust"] == pytest.approx(
        result["learn"]["general_robust"]
    )


def test_sparse_is_dense():
    expected = regressor("general_robust").fit(X, SIGNAL).predict(X)
    sparse = scipy.sparse.csr_matrix(X)
    found = regressor("general_robust").fit(sparse, SIGNAL).predict(sparse)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["general_robust", Objective("poisson")])
def test_early_stopping_stops_at_the_least_loss(loss):
    y = COUNT
    model = regressor(loss, iterations=500, learning_rate=0.3)
    held_out = (X[400:], y[400:])
    model.fit(X[:400], y[:400], eval_set=held_out, early_stopping_rounds=10)
    name = model._bundle("").loss.name
    history = model.evals_result_["validation"][name]
    assert len(history) < 500
    assert model.best_iteration_ == int(np.argmin(history))
    assert model.tree_count_ == model.best_iteration_ + 1
    scores = model.predict(X[400:], prediction_type="RawFormulaVal")
    value = model._bundle("").loss(y[400:], scores)
    assert history[model.best_iteration_] == pytest.approx(float(value), rel=1e-6)


def test_training_goes_on_from_a_model(tmp_path):
    y = SIGNAL + 100
    first = regressor("general_robust").fit(X, y)
    first.save_model(tmp_path / "first.cbm")
    for init in (first, str(tmp_path / "first.cbm")):
        more = regressor("general_robust").fit(X, y, init_model=init)
        assert more.tree_count_ == 60
        assert ls.general_robust(y, more.predict(X)) < ls.general_robust(
            y, first.predict(X)
        )


# -- an estimator among others --------------------------------------------------------


def test_scikit_learn_clones_and_searches():
    model = regressor(ls.huber(delta=2.0), cat_features=[], depth=3)
    assert clone(model).get_params() == model.get_params()
    losses = ["general_robust", ls.huber(delta=0.1), Objective("pinball")]
    search = GridSearchCV(regressor(iterations=5), {"loss": losses}, cv=2)
    assert search.fit(X, SIGNAL).best_params_["loss"] in losses
    scores = cross_val_score(classifier(), X, LABEL, scoring="roc_auc", cv=2)
    assert scores.min() > 0.6


def test_parameters_are_set():
    model = regressor().set_params(loss="poisson", depth=2)
    assert (model.loss, model.get_params()["depth"]) == ("poisson", 2)
    assert repr(model).startswith("CatBoostRegressor(depth=2, iterations=30, loss='poi")


@pytest.mark.parametrize("loss", ["poisson", Objective("poisson"), "general_robust"])
def test_a_model_pickles_and_copies(loss):
    model = regressor(loss).fit(X, COUNT)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.loss == model.loss
        np.testing.assert_array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize("loss", ["squared_log_error", "tweedie(power=1.3)"])
@pytest.mark.parametrize("format", ["cbm", "json"])
def test_a_saved_model_remembers_its_loss(loss, format, tmp_path):
    model = regressor(loss).fit(X, COUNT)
    model.save_model(tmp_path / "model", format=format)
    again = CatBoostRegressor().load_model(tmp_path / "model", format=format)
    assert again.loss == ls.get(loss)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-6)
    clone(again).fit(X, COUNT)


def test_a_saved_classifier_remembers_its_labels(tmp_path):
    y = np.array(["no", "yes"])[LABEL]
    model = classifier("exponential").fit(X, y)
    model.save_model(tmp_path / "model")
    again = CatBoostClassifier().load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X))


def test_a_model_of_a_loss_that_is_not_imported_still_predicts(tmp_path):
    model = regressor("poisson").fit(X, COUNT)
    model.get_metadata()["lossary_loss"] = "nobody_knows_it"
    model.save_model(tmp_path / "model")
    again = CatBoostRegressor().load_model(tmp_path / "model")
    assert again.loss == "nobody_knows_it"
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_model_of_catboost_s_own_loads(tmp_path):
    own = cb.CatBoostRegressor(loss_function="Poisson", **THEIRS).fit(X, COUNT)
    own.save_model(tmp_path / "model")
    again = CatBoostRegressor().load_model(tmp_path / "model")
    scores = again.predict(X, prediction_type="RawFormulaVal")
    np.testing.assert_allclose(own.predict(X), np.exp(scores))


def test_works_in_other_processes():
    model = regressor(Objective("poisson"), iterations=3)
    there = joblib.Parallel(n_jobs=2)([joblib.delayed(model.fit)(X, COUNT)] * 2)
    expected = model.fit(X, COUNT).predict(X)
    for found in there:
        np.testing.assert_array_equal(found.predict(X), expected)


def test_an_objective_is_spawned():
    context = multiprocessing.get_context("spawn")
    z, y = np.zeros(2), np.ones(2, np.float32)
    objective = Objective("squared_error")
    with context.Pool(1) as pool:
        found = pool.apply(objective.calc_ders_range, (z, y, None))
    np.testing.assert_array_equal(found, objective.calc_ders_range(z, y, None))


def test_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    regressor("general_robust").fit(X, SIGNAL)
    regressor().fit(X, SIGNAL)
    assert not list(tmp_path.iterdir())


# -- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence", "call"),
    [
        (DomainError, r"poisson takes targets that are counts.*-1 in row 3",
         lambda: regressor("poisson").fit(X[:5], [0, 1, 2, -1, 3])),
        (ParameterError, "hinge is a loss of classes; use CatBoostClassifier",
         lambda: regressor("hinge").fit(X, SIGNAL)),
        (ParameterError, "huber is not a loss of 2 classes; use .*'binary_cross_ent",
         lambda: classifier("huber").fit(X, LABEL)),
        (ParameterError, "hinge is not a loss of 3 classes; use .*'cross_entropy'",
         lambda: classifier("hinge").fit(X, CLASS)),
        (ParameterError, "general_robust is computed by a callback.*task_type='GPU'",
         lambda: regressor("general_robust", task_type="GPU").fit(X, SIGNAL)),
        (ParameterError, "takes its loss as loss=.*got loss_function='RMSE'",
         lambda: regressor(loss_function="RMSE")),
        (ParameterError, "grid_search would train without loss='poisson'",
         lambda: regressor("poisson").grid_search({"depth": [2]}, X, COUNT)),
        (ParameterError, r"shape \(600, 2\).*MultiOutputRegressor",
         lambda: regressor("huber").fit(X, np.stack([SIGNAL, SIGNAL], 1))),
        (ParameterError, "shares of the positive class.*'binary_cross_entropy'",
         lambda: classifier("binary_focal").fit(X, LABEL * 0.5)),
        (ParameterError, "exponential cannot continue from init_model",
         lambda: classifier("exponential").fit(X, LABEL, init_model="a.cbm")),
        (ParameterError, r"one class out of several.*shape \(600, 2\)",
         lambda: classifier("focal").fit(X, np.stack([LABEL, LABEL], 1))),
        (DataError, "at least 2 classes, but the target holds 1",
         lambda: classifier().fit(X, 0 * LABEL)),
        (DataError, "there is no target: y is None and X is a ndarray",
         lambda: regressor().fit(X)),
        (DataError, "sample_weight must hold 600 finite numbers",
         lambda: regressor().fit(X, SIGNAL, sample_weight=-np.ones(600))),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(error, sentence, call):
    with pytest.raises(error, match=sentence):
        call()


def test_a_floored_percentage_is_not_taken_for_ours():
    y = COUNT + 0.5  # CatBoost divides by max(1, |y|)
    loss = ls.absolute_percentage_error
    assert builtin(Objective(loss).bundle, y) is None
    theirs = cb.CatBoostRegressor(loss_function="MAPE", **THEIRS).fit(X, y).predict(X)
    assert loss(y, regressor(loss).fit(X, y).predict(X)) < loss(y, theirs)
