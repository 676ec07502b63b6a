"""LightGBM's scikit-learn classes with a loss: the same habits, other gradients."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle

import joblib
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import lossary as ls
from lossary.errors import (
    DataError,
    DomainError,
    LossaryError,
    NameLookupError,
    ParameterError,
)
from lossary.frameworks.lightgbm import (
    LGBMClassifier,
    LGBMRanker,
    LGBMRegressor,
    Objective,
)

# LightGBM 4.6 names the columns of an array, and newer scikit-learn misses the names.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

PARAMS = {"verbosity": -1, "n_jobs": 1, "random_state": 0, "n_estimators": 50}
RNG = np.random.default_rng(0)
N = 600
X = RNG.normal(size=(N, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
WEIGHT = RNG.uniform(0.2, 3.0, N)
REAL = SIGNAL + 0.3 * RNG.standard_t(2, N)
COUNT = RNG.poisson(np.exp(SIGNAL / 2)).astype(float)
BINARY = (RNG.logistic(size=N) < SIGNAL).astype(int)
CLASS = np.digitize(SIGNAL + 0.5 * RNG.normal(size=N), [-1.0, 1.0])
PART, REST = slice(0, 400), slice(400, N)

REGRESSION = {
    "squared_error": ({"objective": "regression"}, REAL),
    "huber(delta=0.9)": ({"objective": "huber", "alpha": 0.9}, REAL),
    "poisson": ({"objective": "poisson"}, COUNT),
    "tweedie(power=1.3)": (
        {"objective": "tweedie", "tweedie_variance_power": 1.3}, 1.5 * COUNT
    ),
    "binary_cross_entropy": (
        {"objective": "cross_entropy"}, 1 / (1 + np.exp(-SIGNAL))
    ),
}  # fmt: skip
CLASSES = {"binary_cross_entropy": BINARY, "cross_entropy": CLASS}


def judged(X, y):
    """Name data to evaluate on as the installed version does: ``eval_X`` is of 4.7."""
    if "eval_X" in inspect.signature(lgb.LGBMModel.fit).parameters:
        return {"eval_X": X, "eval_y": y}
    pairs = zip(X, y, strict=True) if isinstance(X, tuple) else [(X, y)]
    return {"eval_set": list(pairs)}


def stopping(rounds: int = 8):
    return [lgb.early_stopping(rounds, verbose=False)]


# -- the same as the built-in ---------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("given", [str, Objective])
@pytest.mark.parametrize("loss", REGRESSION)
def test_a_regressor_has_the_trees_of_the_builtin(loss, given, weight):
    options, y = REGRESSION[loss]
    ours = LGBMRegressor(given(loss), **PARAMS).fit(X, y, sample_weight=weight)
    theirs = lgb.LGBMRegressor(**options, **PARAMS).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        ours.predict(X, raw_score=True),
        theirs.predict(X, raw_score=True),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("loss", REGRESSION)
def test_regularisation_means_the_same_as_with_the_builtin(loss):
    options, y = REGRESSION[loss]
    strong = {"reg_lambda": 5.0, "min_child_weight": 10.0, "min_split_gain": 0.1}
    ours = LGBMRegressor(Objective(loss), **strong, **PARAMS).fit(X, y)
    theirs = lgb.LGBMRegressor(**options, **strong, **PARAMS).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("balanced", [None, "balanced", {0: 1.0, 1: 4.0}])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("loss", CLASSES)
def test_a_classifier_has_the_trees_of_the_builtin(loss, weight, balanced):
    y = CLASSES[loss]
    if loss == "cross_entropy" and isinstance(balanced, dict):
        balanced = {**balanced, 2: 2.0}
    ours = LGBMClassifier(loss, class_weight=balanced, **PARAMS)
    theirs = lgb.LGBMClassifier(class_weight=balanced, **PARAMS)
    for model in (ours, theirs):
        model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize(("start", "count"), [(0, 3), (3, None), (5, 10)])
def test_parts_of_a_model_predict_as_those_of_the_builtin(start, count):
    ours = LGBMRegressor("poisson", **PARAMS).fit(X, COUNT)
    theirs = lgb.LGBMRegressor(objective="poisson", **PARAMS).fit(X, COUNT)
    a, b = (
        m.predict(X, start_iteration=start, num_iteration=count) for m in (ours, theirs)
    )
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_contributions_add_up_to_the_raw_score():
    model = LGBMRegressor("poisson", **PARAMS).fit(X, COUNT)
    total = model.predict(X, pred_contrib=True).sum(axis=1)
    np.testing.assert_allclose(total, model.predict(X, raw_score=True), atol=1e-9)
    assert model.predict(X, pred_leaf=True).shape == (N, 50)


# -- evaluation -----------------------------------------------------------------------


def test_metrics_and_early_stopping_are_those_of_the_builtin():
    def fitted(model):
        return model.fit(
            X[PART], COUNT[PART], **judged(X[REST], COUNT[REST]),
            eval_metric=["l2", "poisson"], callbacks=stopping(),
        )  # fmt: skip

    options = {**PARAMS, "n_estimators": 300}
    ours = fitted(LGBMRegressor("poisson", **options))
    theirs = fitted(lgb.LGBMRegressor(objective="poisson", **options))
    assert ours.best_iteration_ == theirs.best_iteration_ < 300
    for name in ("l2", "poisson"):
        np.testing.assert_allclose(
            ours.evals_result_["valid_0"][name], theirs.evals_result_["valid_0"][name]
        )


@pytest.mark.parametrize("loss", CLASSES)
def test_metrics_of_classes_are_those_of_the_builtin(loss):
    y, ordered = CLASSES[loss], "auc" if loss == "binary_cross_entropy" else "auc_mu"
    seen = []
    for model in (LGBMClassifier(loss, **PARAMS), lgb.LGBMClassifier(**PARAMS)):
        model.fit(
            X[PART], y[PART], **judged(X[REST], y[REST]),
            eval_metric=["logloss", "error", ordered],
        )  # fmt: skip
        seen.append(model.evals_result_["valid_0"])
    for name, values in seen[1].items():
        rtol = 1e-2 if name == ordered else 1e-6  # rounding breaks ties
        np.testing.assert_allclose(seen[0][name], values, rtol=rtol)


@pytest.mark.parametrize("loss", ["huber", "absolute_error", "2*absolute_error"])
def test_a_metric_that_is_higher_when_better_stops_the_right_way(loss):
    def agreement(y, p):
        return "agreement", float(np.corrcoef(y, p)[0, 1]), True

    model = LGBMRegressor(loss, **{**PARAMS, "n_estimators": 300})
    model.fit(
        X[PART], REAL[PART], **judged(X[REST], REAL[REST]),
        eval_metric=agreement, callbacks=stopping(),
    )  # fmt: skip
    name, *_ = model.evals_result_["valid_0"]
    logged = {k: np.array(v) for k, v in model.evals_result_["valid_0"].items()}
    best = model.best_iteration_ - 1
    assert best in (logged[name].argmin(), logged["agreement"].argmax())
    assert len(logged[name]) <= best + 1 + 8


def test_a_function_sees_classes_and_probabilities():
    shapes = []

    def metric(y, p, weight, group):
        shapes.append((y.shape, p.shape, weight.shape, group))
        return "sum", float(p.sum(axis=1).mean()), True

    model = LGBMClassifier("focal", **PARAMS)
    model.fit(
        X[PART], CLASS[PART], **judged(X[REST], CLASS[REST]),
        eval_sample_weight=[WEIGHT[REST]], eval_metric=metric,
    )  # fmt: skip
    assert shapes[0] == ((200,), (200, 3), (200,), None)
    np.testing.assert_allclose(model.evals_result_["valid_0"]["sum"], 1.0)


def test_the_training_set_may_be_evaluated_too():
    model = LGBMRegressor("poisson", **PARAMS)
    model.fit(X, COUNT, **judged((X, X[REST]), (COUNT, COUNT[REST])))
    z = model.predict(X, raw_score=True)
    assert model.evals_result_["training"]["poisson"][-1] == pytest.approx(
        float(ls.poisson(COUNT, z)), rel=1e-6
    )
    assert "valid_1" in model.evals_result_


def test_metrics_given_to_the_constructor_are_evaluated():
    model = LGBMRegressor("poisson", metric="rmse", **PARAMS)
    model.fit(X, COUNT, **judged(X[REST], COUNT[REST]))
    assert list(model.evals_result_["valid_0"]) == ["poisson", "rmse"]


# -- classes --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_focal",
                                  "exponential", "squared_hinge"])  # fmt: skip
def test_probabilities_of_two_classes_are_calibrated(loss):
    true = 1 / (1 + np.exp(-2 * X[:, 0]))
    y = (RNG.uniform(size=N) < true).astype(int)
    rows, labels = np.tile(np.round(X[:, :1]), (4, 1)), np.tile(y, 4)
    p = LGBMClassifier(loss, **PARAMS).fit(rows, labels).predict_proba(rows)[:, 1]
    for value in (-1.0, 0.0, 1.0):
        here = rows[:, 0] == value
        assert p[here].mean() == pytest.approx(labels[here].mean(), abs=0.02)


def test_probabilities_of_a_focal_loss_are_mapped_back():
    rows = np.repeat(np.eye(2), 300, axis=0)
    y = np.tile([0, 1, 2, 2, 2, 2], 100)
    model = LGBMClassifier("focal(gamma=3)", **PARAMS).fit(rows, y)
    p = model.predict_proba(np.eye(2))
    np.testing.assert_allclose(p, [[1 / 6, 1 / 6, 4 / 6]] * 2, atol=0.01)


def test_class_labels_may_be_words():
    words = np.array(["no", "yes"])[BINARY]
    model = LGBMClassifier(**PARAMS)
    model.fit(X[PART], words[PART], **judged(X[REST], words[REST]))
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.predict(X)) == {"no", "yes"}
    logged = model.evals_result_["valid_0"]["binary_cross_entropy"][-1]
    p = model.predict_proba(X[REST])
    assert logged == pytest.approx(log_loss(words[REST], p), rel=1e-6)


def test_margins_decide_and_are_no_probabilities():
    model = LGBMClassifier("hinge", **PARAMS).fit(X, BINARY)
    assert model.score(X, BINARY) > 0.85
    assert not hasattr(model, "predict_proba")


def test_two_classes_may_have_a_score_each():
    model = LGBMClassifier("cross_entropy", **PARAMS).fit(X, BINARY)
    assert model.predict_proba(X).shape == model.predict(X, raw_score=True).shape
    assert model.score(X, BINARY) > 0.85


def test_several_labels_are_one_model_each_in_one_fit():
    Y = np.column_stack([BINARY, CLASS == 1, CLASS == 2]).astype(int)
    model = LGBMClassifier(**PARAMS)
    model.fit(X[PART], Y[PART], WEIGHT[PART], **judged(X[REST], Y[REST]))
    p = model.predict_proba(X)
    for k in range(3):
        alone = LGBMClassifier(**PARAMS).fit(X[PART], Y[PART, k], WEIGHT[PART])
        np.testing.assert_allclose(p[:, k], alone.predict_proba(X)[:, 1], rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), p > 0.5)
    logged = model.evals_result_["valid_0"]["binary_cross_entropy"][-1]
    z = model.predict(X[REST], raw_score=True)
    assert logged == pytest.approx(ls.binary_cross_entropy(Y[REST], z), rel=1e-6)


# -- ranking --------------------------------------------------------------------------

GROUP = [20] * 30
RELEVANCE = np.clip(np.round(SIGNAL + 1), 0, 4).astype(int)


@pytest.mark.parametrize("loss", ["cross_entropy", "kl_divergence", "focal"])
def test_a_ranker_puts_relevant_documents_first(loss):
    model = LGBMRanker(loss, **PARAMS)
    model.fit(
        X[PART], RELEVANCE[PART], group=GROUP[:20],
        **judged(X[REST], RELEVANCE[REST]), eval_group=[GROUP[20:]],
        eval_metric="ndcg", eval_at=[5], callbacks=stopping(20),
    )  # fmt: skip
    logged = model.evals_result_["valid_0"]
    assert list(logged) == [loss, "ndcg@5"]
    assert logged["ndcg@5"][model.best_iteration_ - 1] > 0.8
    assert logged[loss][model.best_iteration_ - 1] < logged[loss][0]


def test_weights_of_queries_are_applied():
    heavy = np.repeat(np.r_[np.ones(15), np.zeros(15)], 20)
    with_half = LGBMRanker(**PARAMS)
    with_half.fit(X, RELEVANCE, group=GROUP, sample_weight=heavy)
    swapped = np.where(heavy > 0, RELEVANCE, 4 - RELEVANCE)
    other = LGBMRanker(**PARAMS).fit(X, swapped, group=GROUP, sample_weight=heavy)
    np.testing.assert_array_equal(with_half.predict(X), other.predict(X))


# -- habits of an estimator -----------------------------------------------------------


def results(model):
    found = check_estimator(model, on_fail=None, on_skip=None)
    return {r["check_name"] for r in found if r["status"] == "failed"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(LGBMRegressor, lgb.LGBMRegressor), (LGBMClassifier, lgb.LGBMClassifier)],
)
@pytest.mark.filterwarnings("ignore")
def test_no_check_of_scikit_learn_fails_that_the_parent_passes(ours, theirs):
    options = {"n_jobs": 1, "verbosity": -1, "n_estimators": 10}
    assert results(ours(**options)) <= results(theirs(**options))


def test_parameters_are_got_set_and_cloned():
    model = clone(LGBMRegressor("huber(delta=2)", num_leaves=7, max_bin=31))
    assert model.get_params()["loss"] == "huber(delta=2)"
    assert model.get_params()["max_bin"] == 31
    assert repr(model).startswith("LGBMRegressor(loss='huber(delta=2)'")
    search = GridSearchCV(
        LGBMRegressor(**PARAMS), {"loss": ["poisson", "squared_error"]}, cv=2
    )
    assert search.fit(X, COUNT).best_params_["loss"] in ("poisson", "squared_error")


def test_fits_in_other_processes():
    model = LGBMRegressor(Objective(ls.poisson), **PARAMS)
    [there] = joblib.Parallel(n_jobs=2)([joblib.delayed(model.fit)(X, COUNT)])
    np.testing.assert_array_equal(there.predict(X), model.fit(X, COUNT).predict(X))


def test_a_fitted_model_predicts_in_a_spawned_process():
    model = LGBMRegressor("poisson", **PARAMS).fit(X, COUNT)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(model.predict, (X,)), model.predict(X))


@pytest.mark.parametrize(("model", "y"), [
    (LGBMRegressor("2*pinball(tau=0.3)", **PARAMS), REAL),
    (LGBMClassifier("focal", **PARAMS), CLASS)])  # fmt: skip
def test_pickles(model, y):
    model.fit(X, y)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    assert twin.loss_ == model.loss_
    assert twin.objective_ == model.objective_


def test_categories_missing_values_and_sparse_matrices_are_lightgbm_s():
    frame = pd.DataFrame(X).add_prefix("x")
    frame["kind"] = pd.Categorical(np.array(["a", "b", "c"])[CLASS])
    frame.loc[::7, "x0"] = np.nan
    for loss, objective in (("poisson", "poisson"), ("2*absolute_error", "l1")):
        ours = LGBMRegressor(loss, **PARAMS)
        theirs = lgb.LGBMRegressor(objective=objective, **PARAMS)
        scores = []
        for model in (ours, theirs):
            model.fit(frame, COUNT, **judged(frame, COUNT))
            scores.append(ls.absolute_error(COUNT, model.predict(frame)))
        assert scores[0] == pytest.approx(scores[1], rel=0.05)
    matrix = scipy.sparse.csr_matrix(np.where(abs(X) > 1, X, 0))
    dense = LGBMRegressor("2*absolute_error", **PARAMS).fit(matrix.toarray(), REAL)
    thin = LGBMRegressor("2*absolute_error", **PARAMS).fit(matrix, REAL)
    np.testing.assert_allclose(thin.predict(matrix), dense.predict(matrix.toarray()))


def test_a_model_is_continued():
    half = {**PARAMS, "n_estimators": 25}
    first = LGBMClassifier(**half).fit(X, CLASS)
    both = LGBMClassifier(**half).fit(X, CLASS, init_model=first)
    whole = LGBMClassifier(**PARAMS).fit(X, CLASS)
    np.testing.assert_allclose(both.predict_proba(X), whole.predict_proba(X), rtol=1e-6)


def test_start_scores_of_one_s_own_replace_the_best_constant():
    offset = np.log(1 + abs(X[:, 4]))
    ours = LGBMRegressor("poisson", **PARAMS).fit(X, COUNT, init_score=offset)
    theirs = lgb.LGBMRegressor(objective="poisson", **PARAMS)
    theirs.fit(X, COUNT, init_score=offset)
    a, b = (m.predict(X, raw_score=True) for m in (ours, theirs))
    np.testing.assert_allclose(a, b, rtol=1e-9)


# -- errors ---------------------------------------------------------------------------

BAD = COUNT.copy()
BAD[3] = -2.0


@pytest.mark.parametrize(
    ("fit", "error", "words"),
    [
        (lambda: LGBMRegressor("poisson").fit(X, BAD), DomainError,
         "poisson takes targets that are counts or amounts.*-2 in row 3"),
        (lambda: LGBMRegressor("hinge").fit(X, REAL), ParameterError,
         "hinge is a loss of classes; use LGBMClassifier"),
        (lambda: LGBMRegressor("cross_entropy").fit(X, REAL), ParameterError,
         "use LGBMClassifier"),
        (lambda: LGBMRegressor("hubber").fit(X, REAL), NameLookupError,
         "did you mean 'huber'"),
        (lambda: LGBMRegressor("huber", objective="l2").fit(X, REAL), ParameterError,
         "trains on loss="),
        (lambda: LGBMClassifier("huber").fit(X, BINARY), ParameterError,
         "huber is not a loss of 2 classes.*'binary_cross_entropy'"),
        (lambda: LGBMClassifier("hinge").fit(X, CLASS), ParameterError,
         "hinge is not a loss of 3 classes.*'cross_entropy'"),
        (lambda: LGBMClassifier().fit(X, np.zeros(N, int)), DataError,
         "at least 2 classes"),
        (lambda: LGBMClassifier("huber").fit(X, np.eye(3)[CLASS]), ParameterError,
         "huber is not a loss of 3 labels"),
        (lambda: LGBMClassifier(class_weight="balanced").fit(X, np.eye(3)[CLASS]),
         ParameterError, "pass sample_weight"),
        (lambda: LGBMRanker("huber").fit(X, RELEVANCE, group=GROUP), ParameterError,
         "huber cannot rank"),
        (lambda: LGBMRanker().fit(X, RELEVANCE, group=GROUP, sample_weight=WEIGHT),
         DataError, "sample_weight changes within query 0"),
        (lambda: LGBMRegressor().fit(X, REAL, sample_weight=np.zeros(N)), DataError,
         "sample_weight is zero in every row"),
        (lambda: Objective("huber", curvature="sharp"), ParameterError,
         "curvature must be one of"),
        (lambda: LGBMClassifier(metric="auc", verbosity=-1).fit(
            X, np.eye(3)[CLASS], **judged(X, np.eye(3)[CLASS])), ParameterError,
         "metric 'auc' takes one label per row"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said(fit, error, words):
    with pytest.raises(LossaryError, match=words) as caught:
        fit()
    assert caught.type is error
    assert "\n" not in str(caught.value)
