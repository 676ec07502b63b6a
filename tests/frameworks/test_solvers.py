"""The solvers find the minimum, and the same one."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog
from sklearn import linear_model as skl
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import lossary as ls
from lossary.errors import ParameterError
from lossary.frameworks.linear.algebra import solver_of
from lossary.frameworks.linear.design import design_of
from lossary.frameworks.linear.interior import penalised_minimum
from lossary.frameworks.sklearn import LossClassifier, LossRegressor

RNG = np.random.default_rng(1)
N = 300
X = RNG.normal(size=(N, 5)) * (RNG.random((N, 5)) < 0.5) * [1.0, 20.0, 0.1, 1.0, 1.0]
LINEAR = X @ [1.0, 0.05, -10.0, 0.0, 0.5]
REAL = 3 + LINEAR + RNG.standard_t(3, size=N)
COUNT = RNG.poisson(np.exp(LINEAR / 3)).astype(float)
BINARY = (RNG.logistic(size=N) < LINEAR).astype(int)
CLASS = np.digitize(REAL, [2.0, 4.0])
WEIGHT = RNG.uniform(0.5, 2.0, size=N)

CASES = [
    ("squared_error", REAL, "newton-cholesky"),
    ("huber", REAL, "newton-cholesky"),
    ("log_cosh", REAL, "newton-cholesky"),
    ("poisson", COUNT, "newton-cholesky"),
    ("tweedie", COUNT, "newton-cholesky"),
    ("squared_log_error", COUNT, "newton-cholesky"),
    ("0.5*squared_error + 2*absolute_error", REAL, "newton-cholesky"),
    ("absolute_error", REAL, "interior-point"),
    ("pinball(tau=0.2)", REAL, "interior-point"),
    ("binary_cross_entropy", BINARY, "newton-cholesky"),
    ("squared_hinge", BINARY, "newton-cholesky"),
    ("exponential", BINARY, "newton-cholesky"),
    ("hinge", BINARY, "interior-point"),
    ("cross_entropy", CLASS, "newton-cholesky"),
]


def fitted(loss, y, X=X, **options):
    regression = y is REAL or y is COUNT
    model = (LossRegressor if regression else LossClassifier)(loss, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, sample_weight=WEIGHT)


def off(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
@pytest.mark.parametrize(("loss", "y", "solver"), CASES)
def test_the_automatic_solver_finds_the_minimum_of_lbfgs(loss, y, solver, penalty):
    found = fitted(loss, y, penalty=penalty, alpha=0.02)
    other = fitted(loss, y, penalty=penalty, alpha=0.02, solver="lbfgs", tol=1e-8)
    assert found.solver_ == solver
    assert found.converged_
    assert found.objective_ <= other.objective_ * (1 + 1e-7)
    assert off(found.coef_, other.coef_) < 1e-3


@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
@pytest.mark.parametrize(
    "name", ["general_robust(alpha=0.0)", "general_robust(alpha=-2.0)"]
)
def test_a_loss_that_is_not_convex_is_fitted_near_the_bulk(name, penalty):
    dirty = REAL.copy()
    dirty[::10] += 1e3
    model = LossRegressor(name, penalty=penalty, alpha=1e-4).fit(X, dirty)
    clean = LossRegressor("huber").fit(X, REAL)
    assert model.solver_ == "lbfgs"
    assert off(model.predict(X), clean.predict(X)) < 0.1


@pytest.mark.parametrize("format", [sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize(
    "solver",
    ["newton-cholesky", "interior-point", "highs", "lbfgs", "gd", "sgd", "adam"],
)
def test_sparse_columns_give_the_coefficients_of_dense_ones(solver, format):
    lines = solver in ("interior-point", "highs")
    loss = "absolute_error" if lines else "squared_error"
    options = {"solver": solver, "max_iter": 50, "random_state": 0}
    dense = fitted(loss, REAL, **options)
    sparse = fitted(loss, REAL, X=format(X), **options)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(sparse.predict(format(X)), dense.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("penalty", "solver"), [("l1", "lbfgs"), ("l2", "newton-cholesky")]
)
def test_a_sparse_matrix_of_many_columns_is_never_made_dense(penalty, solver):
    wide = sp.random_array((50, 200_000), density=1e-4, rng=RNG, format="csr")
    y = np.asarray(wide.sum(axis=1)).ravel()
    model = LossRegressor(penalty=penalty, alpha=1e-3, max_iter=20)
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert model.fit(wide, y).solver_ == solver
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert penalty == "l1" or most < wide.shape[0] * wide.shape[1] * 8 / 2


def test_the_interior_point_finds_the_vertex_of_the_linear_program():
    tau, columns = 0.3, np.column_stack([X, np.ones(N)])
    costs = np.r_[np.zeros(6), np.full(N, tau), np.full(N, 1 - tau)]
    equal = np.hstack([columns, np.eye(N), -np.eye(N)])
    bounds = [(None, None)] * 6 + [(0, None)] * (2 * N)
    exact = linprog(costs, A_eq=equal, b_eq=REAL, bounds=bounds).x[:6]
    model = LossRegressor(ls.pinball(tau=tau)).fit(X, REAL)
    np.testing.assert_allclose(np.r_[model.coef_, model.intercept_], exact, rtol=1e-5)


def test_newton_solves_least_squares_in_one_step():
    model = LossRegressor("squared_error").fit(X, REAL)
    assert model.n_iter_ == 1
    assert off(model.coef_, skl.LinearRegression().fit(X, REAL).coef_) < 1e-10


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_a_far_mean_costs_no_digits(loss):
    near = LossRegressor(loss).fit(X, REAL)
    far = LossRegressor(loss).fit(X + 1e7, REAL)
    assert off(far.coef_, near.coef_) < 1e-4


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "absolute_error", "poisson"]
)
def test_collinear_and_constant_columns_change_no_prediction(loss):
    y = COUNT if loss == "poisson" else REAL
    twice = np.column_stack([X, X[:, 0], np.full(N, 7.0), X @ np.ones(5)])
    plain = LossRegressor(loss).fit(X, y).predict(X)
    model = LossRegressor(loss).fit(twice, y)
    np.testing.assert_allclose(model.predict(twice), plain, rtol=1e-4, atol=1e-6)
    assert np.abs(model.coef_).max() < 100


def test_more_columns_than_rows_interpolate():
    few = slice(0, 4)
    model = LossRegressor("squared_error").fit(X[few], REAL[few])
    np.testing.assert_allclose(model.predict(X[few]), REAL[few], rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson"])
def test_an_l1_penalty_sets_coefficients_to_zero_exactly(loss):
    y = COUNT if loss == "poisson" else REAL
    some = LossRegressor(loss, penalty="l1", alpha=0.05).fit(X, y).coef_
    options = {"penalty": "l1", "alpha": 1e3, "fit_intercept": False}
    none = LossRegressor(loss, **options).fit(X, y).coef_
    assert (some == 0).any()
    assert (some != 0).any()
    assert (none == 0).all()


def test_the_penalised_minimum_is_optimal_where_guessed_signs_fail():
    rng = np.random.default_rng(0)
    for _ in range(20):
        A = rng.normal(size=(4, 8))  # singular
        g, l1 = A.T @ rng.normal(size=4), np.full(8, 0.3)
        theta = penalised_minimum(A.T @ A, g, l1)
        slope = A.T @ A @ theta + g
        assert (np.abs(slope) <= 0.3 + 1e-5).all()
        np.testing.assert_allclose(
            slope[theta != 0], -0.3 * np.sign(theta[theta != 0]), atol=1e-5
        )


def test_weights_repeat_rows():
    whole = RNG.integers(0, 4, size=N)
    rows = np.repeat(np.arange(N), whole)
    for loss in ("squared_error", "huber", "absolute_error"):
        weighted = LossRegressor(loss).fit(X, REAL, sample_weight=whole)
        repeated = LossRegressor(loss).fit(X[rows], REAL[rows])
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-4)


def test_a_removed_row_may_hold_what_the_loss_is_not_defined_on():
    y, weight = COUNT.copy(), np.ones(N)
    y[3], weight[3] = -1.0, 0.0
    kept = np.arange(N) != 3
    model = LossRegressor("poisson").fit(X, y, sample_weight=weight)
    other = LossRegressor("poisson").fit(X[kept], y[kept])
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-10)


WIDE = RNG.normal(size=(40, 300)) * RNG.uniform(0.1, 10, size=300) + 5
WIDE[:, 7] = 3.0  # constant
WIDE[:, 8] = WIDE[:, 9]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("format", [np.asarray, sp.csr_array])
def test_ridge_of_many_columns_is_that_of_scikit_learn(format, intercept):
    y, w = REAL[:40], WEIGHT[:40]
    options = {"fit_intercept": intercept}
    theirs = skl.Ridge(3.0, **options).fit(WIDE, y, sample_weight=w)
    ours = LossRegressor(penalty="l2", alpha=6.0 / w.sum(), **options)
    ours.fit(format(WIDE), y, sample_weight=w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-7)


@pytest.mark.parametrize(("loss", "y", "solver"), CASES)
def test_fewer_rows_than_columns_are_solved_by_a_column_per_row(loss, y, solver):
    regression = y is REAL or y is COUNT
    model = (LossRegressor if regression else LossClassifier)(
        loss, penalty="l2", alpha=0.1
    )
    several = np.array([0, 1, 2])[RNG.permutation(np.arange(40) % 3)]
    y = several if y is CLASS else y[:40]
    found = model.fit(WIDE, y)
    assert found.solver_ == solver
    assert found.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = clone(model).set_params(solver="gd", max_iter=3000).fit(WIDE, y)
    assert found.objective_ <= plain.objective_ * (1 + 1e-9)
    scores = found.raw_scores(WIDE)
    constant = found.intercept_ + 0 * scores
    assert not np.allclose(scores, constant)
    penalty = 0.1 / 2 * (found.coef_**2).sum()
    value = ls.get(loss).linked() if isinstance(ls.get(loss), ls.Loss) else ls.get(loss)
    assert found.objective_ == pytest.approx(value(y, scores) + penalty, rel=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("format", [np.asarray, sp.csr_array])
def test_quantiles_of_many_columns_are_those_of_scikit_learn(format, intercept):
    y, w = REAL[:40], WEIGHT[:40]
    options = {"alpha": 0.02, "fit_intercept": intercept}
    theirs = skl.QuantileRegressor(quantile=0.7, **options).fit(WIDE, y, w)
    ours = LossRegressor(ls.pinball(tau=0.7), penalty="l1", **options)
    ours.fit(format(WIDE), y, sample_weight=w)
    assert ours.solver_ == "highs"
    assert ours.converged_
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6)


def test_the_linear_program_of_a_hinge_has_the_optimum_of_the_interior_point():
    options = {"penalty": "l1", "alpha": 0.05}
    program = LossClassifier("hinge", **options).fit(WIDE, BINARY[:40])
    inside = LossClassifier("hinge", solver="interior-point", **options)
    inside.fit(WIDE, BINARY[:40])
    assert program.solver_ == "highs"
    assert program.objective_ == pytest.approx(inside.objective_, rel=1e-6)


def test_columns_that_say_nothing_leave_the_constant():
    same = np.ones((3, 20))
    model = LossRegressor("huber", penalty="l2").fit(same, [1.0, 2.0, 3.0])
    assert (model.coef_ == 0).all()
    assert model.intercept_ == pytest.approx(2.0)


def test_many_columns_and_classes_are_left_to_lbfgs():
    wide = RNG.normal(size=(40, 1001))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert LossRegressor(max_iter=5).fit(wide, REAL[:40]).solver_ == "lbfgs"


@pytest.mark.parametrize(
    ("solver", "loss", "y"),
    [
        ("interior-point", "huber", REAL),
        ("interior-point", "0.5*squared_error + absolute_error", REAL),
        ("highs", "huber", REAL),
        ("newton-cholesky", "focal", CLASS),
        ("newton-cholesky", "kl_divergence", CLASS),
    ],
)
def test_a_solver_that_does_not_suit_a_loss_says_so(solver, loss, y):
    with pytest.raises(ParameterError, match=f"solver='{solver}'"):
        fitted(loss, y, solver=solver)


@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "absolute_error", "pinball"]
)
def test_a_target_that_is_constant_or_met_exactly_is_no_trouble(loss, penalty):
    constant = LossRegressor(loss, penalty=penalty, alpha=0.1).fit(X, np.full(N, 7.0))
    np.testing.assert_allclose(constant.coef_, 0, atol=1e-8)
    np.testing.assert_allclose(constant.intercept_, 7, rtol=1e-8)
    exact = LossRegressor(loss, penalty=penalty, alpha=0.0).fit(X, LINEAR)
    np.testing.assert_allclose(exact.predict(X), LINEAR, atol=1e-6)


def test_separable_classes_end_in_finite_coefficients():
    for loss in (None, "hinge", "exponential"):
        model = LossClassifier(loss).fit(X, (X[:, 0] > 0).astype(int))
        assert np.isfinite(model.coef_).all()
        assert model.score(X, (X[:, 0] > 0).astype(int)) == 1


# -- parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_the_design_is_the_matrix_of_scaled_columns(far, weight, intercept):
    columns = X + far
    design = design_of(columns, weight, intercept)
    A = (columns - design.moved - design.centre) / design.size
    if intercept:
        A = np.column_stack([A, np.ones(N)])
    theta, slope = RNG.normal(size=A.shape[1]), RNG.normal(size=N)
    w = RNG.uniform(size=N)
    np.testing.assert_allclose(design.scores(theta), A @ theta, atol=1e-8)
    np.testing.assert_allclose(design.pull(slope), A.T @ slope, atol=1e-8)
    for share in (w, -w, w - 0.5):
        expected = A.T @ (share[:, None] * A)
        np.testing.assert_allclose(design.gram(share), expected, atol=1e-8)
    np.testing.assert_allclose(design.gram(2.0), 2 * A.T @ A, atol=1e-7)
    if intercept:
        centre = np.average(A[:, :-1], axis=0, weights=weight)
        np.testing.assert_allclose(centre, 0, atol=1e-9)


def test_a_singular_system_gets_its_shortest_solution():
    A = RNG.normal(size=(3, 5))
    b = A.T @ RNG.normal(size=3)
    np.testing.assert_allclose(
        solver_of(A.T @ A)(b), np.linalg.pinv(A.T @ A) @ b, rtol=1e-6
    )
