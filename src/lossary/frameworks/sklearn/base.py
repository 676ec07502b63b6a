"""What the linear estimators share: parameters, data, solution."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from lossary.errors import DataError, ParameterError, nearest
from lossary.frameworks.bundle import Array, Bundle, Scale, checked_weight, scale_of
from lossary.frameworks.linear.descent import (
    DESCENTS,
    State,
    descend,
    one_pass,
    rate_of,
)
from lossary.frameworks.linear.design import Design, design_of
from lossary.frameworks.linear.problem import Problem, Solution, problem_of
from lossary.frameworks.linear.solvers import BATCH_SOLVERS, choose

PENALTIES = (None, "l1", "l2")
SOLVERS = ("auto", *BATCH_SOLVERS, *DESCENTS)


def learns_in_parts(model: LinearModel) -> bool:
    """Say whether the solver takes rows as they come, so that partial_fit exists."""
    descent = DESCENTS.get(model.solver)
    return descent is not None and descent.batched


class LinearModel(BaseEstimator):  # type: ignore[misc]
    """Base of `LossRegressor` and `LossClassifier`."""

    _progress: Progress | None = None

    def __init__(
        self,
        loss: Any = None,
        *,
        penalty: str | None = None,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int | None = None,
        tol: float = 1e-6,
        learning_rate: float | None = None,
        batch_size: int = 32,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def raw_scores(self, X: Any) -> Array:
        """Return what the loss was trained on: shape (n,), or (n, k) of k classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=np.float64)
        several = Bundle(self.loss_).task == "multiclass"
        coef = np.atleast_2d(self.coef_)
        if several:
            return np.asarray(X @ coef.T + self.intercept_)
        return np.asarray(X @ coef[0] + np.ravel(self.intercept_)[0])

    # -- for the two estimators -------------------------------------------------------

    def _checked(self, X: Any, y: Any, reset: bool = True, **options: Any) -> Any:
        """Check parameters and data."""
        if self.penalty not in PENALTIES:
            raise ParameterError(
                f"penalty must be None, 'l1' or 'l2', got {self.penalty!r}"
            )
        if self.solver not in SOLVERS:
            raise ParameterError(
                f"solver={self.solver!r} is not known; "
                + nearest(str(self.solver), SOLVERS)
            )
        for name, low in (("alpha", 0), ("tol", 0), ("max_iter", 1), ("batch_size", 1),
                          ("learning_rate", 0)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise ParameterError(f"{name} must be at least {low}, got {value!r}")
        return validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=np.float64, **options
        )

    def _fit(
        self, X: Any, y: Any, weight: Any, bundle: Bundle, k: int | None = None
    ) -> None:
        """Solve, and set the fitted attributes; `k` is the number of score columns."""
        X, y, weight = _counted(X, y, weight)
        target = bundle.target(y, k)
        scale = scale_of(bundle, target, weight, k)
        design = design_of(X, weight, self.fit_intercept)
        problem = self._problem(design, target, weight, bundle, scale)
        self.solver_ = choose(problem) if self.solver == "auto" else self.solver
        solution = self._solve(problem)
        self._keep(problem, solution.theta)
        self._progress = None
        if learns_in_parts(self):
            state, passes = State(solution.theta), solution.iterations
            now = Progress(scale, design.bare(), self._rng(), state, passes)
            self._progress = now
        self.n_iter_ = solution.iterations
        self.converged_ = solution.converged
        self.objective_ = solution.value / problem.factor
        if not solution.converged:
            warnings.warn(
                f"{self.solver_} did not converge on {bundle.loss!r} in "
                f"{solution.iterations} iterations; raise max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _partial_fit(
        self, X: Any, y: Any, weight: Any, bundle: Bundle, k: int | None
    ) -> None:
        """Pass once over these rows; the first ones set the scale of the problem."""
        X, y, weight = _counted(X, y, weight)
        target = bundle.target(y, k)
        now = self._progress
        if now is None:
            scale = _first_scale(bundle, target, weight, k)
            design = design_of(X, weight, self.fit_intercept)
            now = self._progress = Progress(scale, design.bare(), self._rng())
        problem = self._problem(now.design.of(X), target, weight, bundle, now.scale)
        solver = DESCENTS[self.solver]
        state = now.state or State(np.zeros(problem.shape))
        rate = rate_of(problem, solver, self.learning_rate) / np.sqrt(1 + now.passes)
        one_pass(problem, solver, state, rate, self.batch_size, now.rng)
        now.state, now.passes = state, now.passes + 1
        self._keep(problem, state.theta)
        self.n_iter_ = now.passes

    def _problem(
        self, design: Design, y: Any, weight: Array | None, bundle: Bundle, scale: Scale
    ) -> Problem:
        return problem_of(design, y, weight, bundle, scale, self.penalty, self.alpha)

    def _solve(self, problem: Problem) -> Solution:
        if self.solver_ in BATCH_SOLVERS:
            return BATCH_SOLVERS[self.solver_](problem, self.max_iter, self.tol)
        descent = DESCENTS[self.solver_]
        return descend(
            problem,
            descent,
            max_iter=self.max_iter or descent.max_iter,
            tol=self.tol,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=self._rng(),
        )

    def _rng(self) -> np.random.Generator:
        seed = check_random_state(self.random_state).randint(2**31)
        return np.random.default_rng(seed)

    def _keep(self, problem: Problem, theta: Array) -> None:
        coef, offset = problem.design.unscaled(problem.spread * theta)
        start = np.broadcast_to(np.asarray(problem.start), (len(coef),))
        self.coef_, self.intercept_ = coef, start + offset
        self.loss_ = problem.bundle.loss


@dataclass
class Progress:
    """Where partial_fit stands.

    Attributes
    ----------
    scale, design
        The units of the problem, and how its columns are scaled; without rows.
    """

    scale: Scale
    design: Design
    rng: np.random.Generator
    state: State | None = None
    passes: int = 0


def _first_scale(bundle: Bundle, y: Any, weight: Array | None, k: int | None) -> Scale:
    """Measure the scale on first rows, which may lack what later ones hold."""
    if bundle.task != "regression":
        return scale_of(bundle, bundle.target(np.arange(k or 2), k), None, k)
    if bundle.link == "log" and not y.any():
        raise DataError(
            f"{bundle.loss!r} begins at the logarithm of the mean target, and the "
            "first rows hold only 0; pass more rows to the first partial_fit"
        )
    return scale_of(bundle, y, weight)


def _counted(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Array | None]:
    """Return the rows that count, and their weights; a weight of 0 removes a row."""
    if weight is None:
        return X, y, None
    whole = _check_sample_weight(weight, X, dtype=np.float64)
    checked_weight(whole, X.shape[0])
    kept = whole > 0
    return (X, y, whole) if kept.all() else (X[kept], y[kept], whole[kept])
