"""What the linear estimators share: parameters, data, solution."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from lossary.errors import DataError, ParameterError, ShapeError, nearest
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
from lossary.frameworks.linear.wide import narrowed
from lossary.loss import Loss
from lossary.registry import get

PENALTIES = (None, "l1", "l2")
_NUMBERS: dict[str, tuple[Any, float, str]] = {
    "alpha": (Real, 0, "a finite number, at least 0"),
    "tol": (Real, 0, "a finite number, at least 0"),
    "learning_rate": (Real, np.finfo(float).tiny, "a finite number above 0"),
    "max_iter": (Integral, 1, "a whole number, at least 1"),
    "batch_size": (Integral, 1, "a whole number, at least 1"),
}
_OPTIONAL = ("learning_rate", "max_iter")
SOLVERS = ("auto", *BATCH_SOLVERS, *DESCENTS)
IN_PARTS = tuple(name for name, descent in DESCENTS.items() if descent.batched)
_OF_LOSS = "loss__"  # before the name of a parameter of the loss, as of an estimator


def has_parts(model: LinearModel) -> bool:
    """Say whether the solver takes rows as they come, so that partial_fit exists."""
    if model.solver in IN_PARTS:
        return True
    raise AttributeError(
        f"partial_fit is there for the solvers {', '.join(IN_PARTS)}, and this one is "
        f"{model.solver!r}"
    )


class LinearModel(BaseEstimator):  # type: ignore[misc]
    """Base of `LossRegressor` and `LossClassifier`."""

    _of_columns = ""  # what trains one model per column of targets
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; `deep` adds those of a loss, as ``loss__delta``."""
        found: dict[str, Any] = super().get_params(deep)
        if deep and isinstance(self.loss, Loss):
            of_loss = self.loss.parameters.items()
            found |= {_OF_LOSS + name: value for name, value in of_loss}
        return found

    def set_params(self, **params: Any) -> LinearModel:
        """Set parameters, and those of the loss: ``set_params(loss__delta=2.0)``."""
        names = [name for name in params if name.startswith(_OF_LOSS)]
        of_loss = {name.removeprefix(_OF_LOSS): params.pop(name) for name in names}
        super().set_params(**params)
        if of_loss:
            self.loss = _bound(self.loss, of_loss)
        return self

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
        for name, (kind, low, allowed) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not (isinstance(value, kind) and low <= value < np.inf):
                raise ParameterError(f"{name} must be {allowed}, got {value!r}")
        shape = np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            raise ShapeError(
                f"{type(self).__name__} takes one target per row, and y has shape "
                f"{shape}; wrap it in {self._of_columns} of sklearn.multioutput, or "
                "pass one column"
            )
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
        solution = self._solve(problem)
        self._keep(problem, solution.theta)
        self._progress = None
        if self.solver in IN_PARTS:
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
        """Return the solution, and name the solver."""
        self.solver_ = self.solver
        descent = DESCENTS.get(self.solver)
        if descent is None:
            narrow, widened = narrowed(problem)
            if self.solver == "auto":
                self.solver_ = choose(narrow)
            found = BATCH_SOLVERS[self.solver_](narrow, self.max_iter, self.tol)
            return replace(found, theta=widened(found.theta))
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
    whole = weights_of(weight, X.shape[0])
    if whole is None:
        return X, y, None
    kept = whole > 0
    return (X, y, whole) if kept.all() else (X[kept], y[kept], whole[kept])


def weights_of(weight: Any, rows: int) -> Array | None:
    """Return checked weights; one number is that of every row, as in scikit-learn."""
    if isinstance(weight, Real):
        weight = np.full(rows, weight)
    return checked_weight(weight, rows)


def _bound(loss: Any, options: dict[str, Any]) -> Any:
    """Return a loss with other parameters."""
    loss = get(loss)
    if isinstance(loss, Loss):
        return loss.bind(**options)
    raise ParameterError(
        f"loss__{next(iter(options))} is a parameter of a loss, and the loss here is "
        f"{loss!r}; pass losses with their parameters as loss="
    )
