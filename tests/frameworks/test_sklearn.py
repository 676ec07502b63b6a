from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import linear_model as skl
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import lossary as ls
from lossary.errors import DomainError, LossaryError, ParameterError
from lossary.frameworks.sklearn import LossClassifier, LossRegressor

RNG = np.random.default_rng(0)
N = 240
X = RNG.normal(size=(N, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 5.0, 1.0, 0.0]
LINEAR = X @ [1.0, 0.2, -5.0, 0.0]
REAL = 30 * (LINEAR + RNG.standard_t(3, size=N))
COUNT = RNG.poisson(np.exp(LINEAR / 4)).astype(float)
BINARY = (RNG.logistic(size=N) < LINEAR + 3).astype(int)
CLASS = np.digitize(LINEAR + RNG.normal(size=N), [-5.0, -2.0])
WEIGHT = RNG.uniform(0.5, 3.0, size=N)
TIGHT = {"tol": 1e-8}


def close(ours, theirs, rtol=1e-4):
    np.testing.assert_allclose(
        ours, theirs, rtol=rtol, atol=1e-4 * np.abs(theirs).max()
    )


REGRESSORS = {
    "LinearRegression": (
        skl.LinearRegression(), LossRegressor("squared_error"), REAL),
    "Ridge": (
        skl.Ridge(alpha=5.0, tol=1e-10),
        lambda w: LossRegressor(penalty="l2", alpha=2 * 5.0 / w.sum()), REAL),
    "Lasso": (
        skl.Lasso(alpha=4.0, tol=1e-12),
        LossRegressor("0.5*squared_error", penalty="l1", alpha=4.0, **TIGHT), REAL),
    "PoissonRegressor": (
        skl.PoissonRegressor(alpha=0.1, tol=1e-9, max_iter=1000),
        LossRegressor("poisson", penalty="l2", alpha=0.1, **TIGHT), COUNT),
    "TweedieRegressor": (
        skl.TweedieRegressor(power=1.5, alpha=0.1, tol=1e-9, max_iter=1000),
        LossRegressor("tweedie(power=1.5)", penalty="l2", alpha=0.1, **TIGHT), COUNT),
}  # fmt: skip


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_equals_the_estimator_of_the_same_objective(name, weight):
    theirs, ours, y = REGRESSORS[name]
    if not isinstance(ours, LossRegressor):
        ours = ours(np.ones(N) if weight is None else weight)
    theirs, ours = clone(theirs), clone(ours)
    theirs.fit(X, y, sample_weight=weight)
    ours.fit(X, y, sample_weight=weight)
    close(ours.coef_, theirs.coef_)
    close(ours.predict(X), theirs.predict(X))
    if name == "Lasso":
        assert (ours.coef_ == 0).tolist() == (theirs.coef_ == 0).tolist()


def test_equals_huber_regressor_at_its_scale():
    # Theirs also estimates a scale; at that scale both minimise the same objective.
    theirs = skl.HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-8, max_iter=1000)
    theirs.fit(X, REAL)
    ours = LossRegressor(ls.huber(delta=1.35 * theirs.scale_)).fit(X, REAL)
    close(ours.coef_, theirs.coef_, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("alpha", [0.0, 0.02])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_reaches_the_minimum_of_the_quantile_regressor(tau, alpha, scale):
    y = scale * REAL
    theirs = skl.QuantileRegressor(quantile=tau, alpha=alpha).fit(X, y)
    ours = LossRegressor(ls.pinball(tau=tau), penalty="l1", alpha=alpha).fit(X, y)

    def objective(model):
        penalty = alpha * np.abs(model.coef_).sum()
        return ls.pinball(y, model.predict(X), tau=tau) + penalty

    assert ours.objective_ == pytest.approx(objective(ours), rel=1e-9)
    assert objective(ours) <= (1 + 1e-3) * objective(theirs)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_reaches_the_minimum_of_the_linear_svm(loss):
    alpha = 0.01
    # Theirs penalises the intercept too, as one more coefficient: give it as a column.
    columns = np.column_stack([X / X.std(axis=0), np.ones(N)])
    theirs = LinearSVC(
        loss=loss,
        C=1 / (alpha * N),
        fit_intercept=False,
        tol=1e-6,
        max_iter=200_000,
        dual=loss == "hinge",
        random_state=0,
    )
    theirs.fit(columns, BINARY)
    ours = LossClassifier(loss, penalty="l2", alpha=alpha, fit_intercept=False)
    ours.fit(columns, BINARY)

    def objective(model):
        z = model.decision_function(columns)
        return ls.get(loss)(BINARY, z) + alpha / 2 * (model.coef_**2).sum()

    assert objective(ours) <= (1 + 1e-3) * objective(theirs)


@pytest.mark.parametrize("y", [BINARY, CLASS], ids=["binary", "multiclass"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_equals_logistic_regression(y, weight):
    alpha = 0.01
    total = N if weight is None else weight.sum()
    theirs = skl.LogisticRegression(C=1 / (total * alpha), tol=1e-10, max_iter=5000)
    theirs.fit(X, y, sample_weight=weight)
    ours = LossClassifier(penalty="l2", alpha=alpha, **TIGHT)
    ours.fit(X, y, sample_weight=weight)
    close(ours.predict_proba(X), theirs.predict_proba(X))
    close(ours.coef_, theirs.coef_, rtol=1e-3)
    assert (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("solver", ["gd", "sgd", "rmsprop", "adam"])
@pytest.mark.parametrize(
    ("loss", "y"),
    [("squared_error", REAL), ("absolute_error", REAL), ("poisson", COUNT),
     ("squared_log_error", COUNT), ("log_cosh", 1e3 * REAL)],
)  # fmt: skip
def test_every_solver_finds_the_minimum(solver, loss, y):
    options = {"random_state": 0}
    best = LossRegressor(loss, **options).fit(X, y).objective_
    constant = ls.get(loss)
    start = constant(y, np.full(N, constant.linked().best_constant(y))) \
        if loss != "squared_log_error" else np.var(np.log1p(y))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = LossRegressor(loss, solver=solver, **options).fit(X, y).objective_
    assert found - best <= 0.02 * (start - best)


@pytest.mark.parametrize("solver", ["gd", "sgd", "rmsprop", "adam"])
def test_every_solver_sets_coefficients_to_zero_under_l1(solver):
    model = LossRegressor("0.5*squared_error", penalty="l1", alpha=200.0,
                          solver=solver, random_state=0).fit(X, REAL)  # fmt: skip
    exact = skl.Lasso(alpha=200.0, tol=1e-10).fit(X, REAL)
    assert (model.coef_ == 0).tolist() == (exact.coef_ == 0).tolist()
    assert (exact.coef_ == 0).any()
    assert (exact.coef_ != 0).any()


def test_units_of_columns_and_target_do_not_matter():
    one = LossRegressor("absolute_error").fit(X, REAL).predict(X)
    other = LossRegressor("absolute_error").fit(1e3 * X, 1e-3 * REAL).predict(1e3 * X)
    np.testing.assert_allclose(other, 1e-3 * one, rtol=1e-3, atol=1e-4)


def test_margins_are_not_called_probabilities():
    hinge = LossClassifier("hinge").fit(X, BINARY)
    assert not hasattr(hinge, "predict_proba")
    with pytest.raises(AttributeError) as refused:
        hinge.predict_proba(X)
    assert "hinge is not one; train 'binary_cross" in str(refused.value.__cause__)
    exponential = LossClassifier("exponential").fit(X, BINARY)
    logistic = LossClassifier().fit(X, BINARY)
    p = exponential.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.corrcoef(p[:, 1], logistic.predict_proba(X)[:, 1])[0, 1] > 0.99


def test_a_softmax_of_two_classes_gives_one_score():
    model = LossClassifier("cross_entropy").fit(X, BINARY)
    assert model.decision_function(X).shape == (N,)
    close(model.predict_proba(X), LossClassifier().fit(X, BINARY).predict_proba(X))


def test_a_sum_of_losses_is_a_loss():
    both = 0.5 * ls.squared_error + 100.0 * ls.absolute_error
    model = LossRegressor(both).fit(X, REAL)
    near = (LossRegressor(e).fit(X, REAL) for e in ("squared_error", "absolute_error"))
    assert all(model.objective_ <= float(both(REAL, m.predict(X))) for m in near)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (LossRegressor(penalty="l3"), REAL, "penalty must be None, 'l1' or 'l2'"),
        (LossRegressor(solver="lbgfs"), REAL, "did you mean 'lbfgs'"),
        (LossRegressor(alpha=-1), REAL, "alpha must be a finite .* 0, got -1"),
        (LossRegressor(alpha=np.inf), REAL, "alpha must be a finite .*, got inf"),
        (LossRegressor(alpha="1"), REAL, "alpha must be a finite number, .* got '1'"),
        (LossRegressor(max_iter=1.5), REAL, "max_iter must be a whole number"),
        (LossRegressor(batch_size=0), REAL, "batch_size must be a whole .* least 1"),
        (LossRegressor(learning_rate=0), REAL, "learning_rate must be .* above 0"),
        (LossRegressor("info_nce"), REAL, "takes one vector per row as predictions"),
        (LossRegressor("huber"), np.full(N, "a"), "huber takes .* read as numbers"),
        (LossRegressor(), np.c_[REAL, REAL], r"\(240, 2\); wrap it in MultiOutputReg"),
        (LossClassifier(), np.eye(3)[CLASS], r"\(240, 3\); wrap it in MultiOutputCl"),
        (LossClassifier("mae"), BINARY, "or train LossRegressor"),
        (LossClassifier(class_weight="balance"), BINARY, "class_weight must be None"),
        (LossClassifier(class_weight={0: -1}), BINARY, "class_weight must be .* -1"),
        (LossClassifier(class_weight={"x": 1}), BINARY, r"of the classes \[0, 1\]"),
        (LossRegressor("hinge"), BINARY, "use LossClassifier"),
        (LossRegressor("poisson"), REAL, "counts or amounts"),
        (LossClassifier("hinge"), CLASS, "not a loss of 3 classes.*OneVsRest"),
        (LossClassifier(), np.ones(N), "1 class"),
        (LossRegressor(solver="sgd", learning_rate=1e9), REAL, "diverged"),
    ],
)
def test_errors_say_what_to_do(model, y, message):
    with np.errstate(all="ignore"), pytest.raises(LossaryError, match=message):
        model.fit(X, y)


def test_errors_are_of_the_family():
    assert issubclass(ParameterError, ValueError)
    assert issubclass(DomainError, ValueError)


@parametrize_with_checks([LossRegressor(), LossClassifier()])
def test_is_a_scikit_learn_estimator(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)
