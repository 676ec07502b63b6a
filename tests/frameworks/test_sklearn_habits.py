"""The estimators keep scikit-learn's habits: parts, weights, routing, searches."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn import linear_model as skl
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lossary as ls
from lossary.errors import DataError, LossaryError, ParameterError
from lossary.frameworks.sklearn import LossClassifier, LossRegressor

RNG = np.random.default_rng(2)
N = 600
X = RNG.normal(size=(N, 3)) * [1.0, 10.0, 0.1]
LINEAR = X @ [1.0, 0.1, -10.0]
REAL = 5 + LINEAR + RNG.normal(size=N)
COUNT = RNG.poisson(np.exp(LINEAR / 3)).astype(float)
LABEL = np.where(LINEAR + RNG.logistic(size=N) > 1, "yes", "no")
COLOUR = np.array(["red", "green", "blue"])[np.digitize(REAL, [4.0, 6.0])]
WEIGHT = RNG.uniform(0.1, 3.0, size=N)
CHUNKS = [slice(i, i + 100) for i in range(0, N, 100)]


# -- rows that come in parts ----------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize(
    ("loss", "y"),
    [("squared_error", REAL), ("absolute_error", REAL), ("poisson", COUNT)],
)
def test_a_regressor_learns_from_parts(solver, loss, y):
    whole = LossRegressor(loss).fit(X, y)
    model = LossRegressor(loss, solver=solver, random_state=0)
    for _ in range(10):
        for rows in CHUNKS:
            model.partial_fit(X[rows], y[rows])
    constant = ls.get(loss).best_constant(y)
    worst = ls.get(loss)(y, np.full(N, constant))
    z = model.raw_scores(X)
    assert ls.get(loss)(y, z) - whole.objective_ < 0.05 * (worst - whole.objective_)
    assert model.n_iter_ == 60


@pytest.mark.parametrize("y", [LABEL, COLOUR], ids=["two classes", "three classes"])
def test_a_classifier_learns_from_parts_that_lack_classes(y):
    order = np.argsort(y, kind="stable")
    model = LossClassifier(solver="sgd", random_state=0)
    for epoch in range(15):
        shuffled = order if epoch == 0 else RNG.permutation(N)
        for rows in np.array_split(shuffled, 6):
            model.partial_fit(X[rows], y[rows], classes=np.unique(y))
    assert model.score(X, y) > LossClassifier().fit(X, y).score(X, y) - 0.03
    assert model.predict(X).dtype == y.dtype


@pytest.mark.filterwarnings("ignore:adam did not converge")
def test_fit_starts_afresh_and_partial_fit_goes_on():
    model = LossRegressor(solver="adam", random_state=0, max_iter=5)
    fresh = clone(model).fit(X, REAL)
    model.partial_fit(X, -REAL).fit(X, REAL)
    np.testing.assert_array_equal(model.coef_, fresh.coef_)
    model.partial_fit(X, REAL)
    assert model.n_iter_ == 6
    assert not np.array_equal(model.coef_, fresh.coef_)
    first = clone(model).partial_fit(X, REAL)
    assert abs(model.coef_ - first.coef_).max() > abs(model.coef_ - fresh.coef_).max()


def test_a_model_learns_on_after_a_pickle():
    model = LossRegressor(solver="sgd", random_state=0).partial_fit(X, REAL)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        copy.partial_fit(X, REAL).coef_, model.partial_fit(X, REAL).coef_
    )


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cholesky", "gd"])
def test_only_solvers_of_batches_have_partial_fit(solver):
    assert not hasattr(LossRegressor(solver=solver), "partial_fit")
    assert not hasattr(LossClassifier(solver=solver), "partial_fit")
    with pytest.raises(AttributeError) as refused:
        LossRegressor(solver=solver).partial_fit(X, REAL)
    assert f"sgd, rmsprop, adam, and this one is '{solver}'" in str(
        refused.value.__cause__
    )


def test_partial_fit_says_what_it_needs():
    model = LossClassifier(solver="sgd")
    with pytest.raises(ParameterError, match="needs classes="):
        model.partial_fit(X, LABEL)
    with pytest.raises(DataError, match=r"\['yes'\].* not among the classes"):
        model.partial_fit(X, LABEL, classes=["no", "maybe"])
    model.partial_fit(X, LABEL, classes=["no", "yes"])
    with pytest.raises(ParameterError, match="not those of the first"):
        model.partial_fit(X, LABEL, classes=["no", "maybe"])
    with pytest.raises(ParameterError, match="balanced"):
        LossClassifier(solver="sgd", class_weight="balanced").partial_fit(
            X, LABEL, classes=["no", "yes"]
        )
    with pytest.raises(DataError, match="hold only 0"):
        LossRegressor("poisson", solver="sgd").partial_fit(X, np.zeros(N))


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("y", [LABEL, COLOUR], ids=["two classes", "three classes"])
def test_class_weights_are_those_of_logistic_regression(y):
    count = pd.Series(y).map(pd.Series(y).value_counts()).to_numpy()
    given = {label: 1.0 + (label == y[0]) for label in np.unique(y)}
    for class_weight, total in (
        ("balanced", (N / len(given) / count).sum()),
        (given, np.array([given[label] for label in y]).sum()),
    ):
        ours = LossClassifier(penalty="l2", alpha=0.01, class_weight=class_weight)
        theirs = skl.LogisticRegression(
            C=1 / (0.01 * total), class_weight=class_weight, tol=1e-10, max_iter=1000
        )
        np.testing.assert_allclose(
            ours.fit(X, y).predict_proba(X),
            theirs.fit(X, y).predict_proba(X),
            atol=1e-4,
        )


def test_a_class_weight_is_a_sample_weight():
    ours = LossClassifier("hinge", class_weight={"no": 1, "yes": 3})
    ours.fit(X, LABEL, sample_weight=WEIGHT)
    weight = WEIGHT * np.where(LABEL == "yes", 3, 1)
    other = LossClassifier("hinge").fit(X, LABEL, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, other.coef_, rtol=1e-6)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(N), "but every one is zero"),
        (np.where(np.arange(N) == 3, -2.0, 1.0), "but there is -2 in row 3"),
        (WEIGHT * np.nan, "but there is nan in rows 0, 1, 2 and 597 more"),
        (WEIGHT[:5], r"got shape \(5,\)"),
        (WEIGHT[:, None], r"got shape \(600, 1\)"),
        (np.full(N, "heavy"), "cannot be read as such"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weight, message):
    with pytest.raises(DataError, match=f"^sample_weight must hold 600 .*{message}"):
        LossRegressor().fit(X, REAL, sample_weight=weight)


def test_one_weight_is_that_of_every_row():
    one = LossRegressor("huber").fit(X, REAL, sample_weight=2.0)
    np.testing.assert_allclose(one.coef_, LossRegressor("huber").fit(X, REAL).coef_)


# -- metadata routing -----------------------------------------------------------------


def test_weights_are_routed_to_fit_and_scorer():
    rows = slice(0, N // 2)
    bad = REAL.copy()
    bad[N // 2 :] = 1e6
    weight = np.r_[np.ones(N // 2), np.zeros(N - N // 2)]
    halves = [(np.arange(N), np.arange(N))]
    with config_context(enable_metadata_routing=True):
        plain = StandardScaler().set_fit_request(sample_weight=False)
        model = LossRegressor("huber").set_fit_request(sample_weight=True)
        scorer = ls.huber.to_sklearn().set_score_request(sample_weight=True)
        found = cross_validate(
            make_pipeline(plain, model), X, bad, cv=halves, scoring=scorer,
            params={"sample_weight": weight},
        )["test_score"]  # fmt: skip
        unasked = LossRegressor("huber").set_fit_request(sample_weight=False)
        other = cross_validate(
            make_pipeline(plain, unasked), X, bad, cv=halves, scoring=scorer,
            params={"sample_weight": weight},
        )["test_score"]  # fmt: skip
    clean = LossRegressor("huber").fit(X[rows], REAL[rows])
    np.testing.assert_allclose(found, -clean.objective_, rtol=1e-6)
    assert other[0] < 10 * found[0]


def test_a_search_routes_weights_through_a_pipeline():
    grid = {"lossregressor__loss": ["squared_error", "absolute_error", ls.huber]}
    with config_context(enable_metadata_routing=True):
        model = LossRegressor().set_fit_request(sample_weight=True)
        scorer = ls.absolute_error.to_sklearn().set_score_request(sample_weight=True)
        search = GridSearchCV(make_pipeline(model), grid, scoring=scorer, cv=3)
        search.fit(X, REAL, sample_weight=WEIGHT)
    assert search.best_params_["lossregressor__loss"] == "absolute_error" or (
        search.best_score_ >= search.cv_results_["mean_test_score"].max()
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_weight_that_nobody_asked_for_is_refused():
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match=r"sample_weight.* but are not explicitly"),
    ):
        cross_validate(
            make_pipeline(LossRegressor()), X, REAL, params={"sample_weight": WEIGHT}
        )


def test_partial_fit_can_be_routed_to():
    with config_context(enable_metadata_routing=True):
        model = LossClassifier(solver="sgd")
        model.set_partial_fit_request(sample_weight=True, classes=True)
        request = model.get_metadata_routing().partial_fit.requests
    assert request == {"sample_weight": True, "classes": True}


# -- names, tags, copies --------------------------------------------------------------


def test_feature_names_are_kept_and_checked():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = LossRegressor("huber").fit(frame, REAL)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["c", "b", "a"]])


def test_tags_say_what_is_accepted():
    assert LossRegressor().__sklearn_tags__().input_tags.sparse
    assert LossClassifier().__sklearn_tags__().classifier_tags.multi_class
    assert LossRegressor().__sklearn_tags__().estimator_type == "regressor"


@pytest.mark.parametrize("loss", ["huber(delta=2)", ls.huber(delta=2.0)])
def test_copies_keep_the_loss(loss):
    model = LossRegressor(loss, penalty="l2", alpha=0.1)
    assert clone(model).get_params() == model.get_params()
    fitted = model.fit(X, REAL)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict(X), fitted.predict(X))
    assert copy.loss_ == ls.huber(delta=2.0)


def test_parameters_of_the_loss_are_parameters_of_the_model():
    model = LossRegressor(ls.huber(delta=2.0))
    assert model.get_params()["loss__delta"] == 2.0
    assert "loss__delta" not in model.get_params(deep=False)
    assert model.set_params(loss__delta=3, alpha=0.1).loss == ls.huber(delta=3.0)
    assert model.alpha == 0.1
    named = LossRegressor("pinball").set_params(loss__tau=0.9)
    assert named.loss == ls.pinball(tau=0.9)
    both = model.set_params(loss__tau=0.2, loss="pinball")
    assert both.loss == ls.pinball(tau=0.2)
    with pytest.raises(ParameterError, match="did you mean 'tau'"):
        model.set_params(loss__tua=0.2)
    with pytest.raises(ParameterError, match="loss__tau is a parameter of a loss, and"):
        LossRegressor().set_params(loss__tau=0.2)


def test_a_search_chooses_the_parameters_of_the_loss():
    dirty = REAL + np.where(np.arange(N) % 7 == 0, 300.0, 0.0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LossRegressor("huber")),
        {"lossregressor__loss__delta": [1e4, 1.0]},
        scoring=ls.absolute_error.to_sklearn(),
    ).fit(X, dirty)
    assert search.best_params_ == {"lossregressor__loss__delta": 1.0}
    assert search.best_estimator_[-1].loss_ == ls.huber(delta=1.0)


def test_the_score_is_that_of_scikit_learn():
    theirs = skl.LinearRegression().fit(X, REAL).score(X, REAL)
    assert LossRegressor().fit(X, REAL).score(X, REAL) == pytest.approx(theirs)
    theirs = skl.LogisticRegression(C=1e9).fit(X, LABEL).score(X, LABEL)
    assert LossClassifier().fit(X, LABEL).score(X, LABEL) == pytest.approx(theirs)


def test_only_a_solver_that_stops_early_warns():
    for loss in ("absolute_error", "poisson"):
        with pytest.warns(ConvergenceWarning, match="raise max_iter"):
            LossRegressor(loss, max_iter=1, solver="lbfgs").fit(X, COUNT)
        LossRegressor(loss, solver="lbfgs").fit(X, COUNT)


def test_errors_are_ours():
    with pytest.raises(LossaryError, match="did you mean 'newton-cholesky'"):
        LossRegressor(solver="newton").fit(X, REAL)
