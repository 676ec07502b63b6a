"""scikit-learn estimators: linear models trained on any loss.

Both minimise ::

    mean loss(y, X @ coef + intercept) + alpha * penalty(coef)

where the mean is Σ w·l / Σ w and the penalty is ``Σ|coef|`` ("l1") or ``Σ coef²/2``
("l2"); the intercept is free. This is `QuantileRegressor` for ``pinball``,
`PoissonRegressor` for ``poisson``, `ElasticNet` for ``0.5*squared_error``, `Ridge` at
``alpha = 2·alpha/n`` for ``squared_error``, and `LogisticRegression` at
``C = 1/(n·alpha)`` for ``binary_cross_entropy`` and ``cross_entropy``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from lossary.errors import DataError, ParameterError, nearest
from lossary.frameworks.objective import Array, Bundle, Scale, scale_of
from lossary.frameworks.solvers import (
    DESCENTS,
    SOLVERS,
    Problem,
    Solution,
    descend,
    lbfgs,
)

PENALTIES = (None, "l1", "l2")


class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """What regressor and classifier share: parameters, problem, solution."""

    def __init__(
        self,
        loss: Any,
        *,
        penalty: str | None = None,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
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

    def _check_parameters(self) -> None:
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

    def _fit(
        self, X: Array, y: Any, weight: Any, bundle: Bundle, k: int | None = None
    ) -> None:
        """Solve, and set the fitted attributes; `k` is the number of score columns."""
        self._check_parameters()
        if weight is not None:
            weight = _check_sample_weight(weight, X, dtype=float)
        target = bundle.target(y, k)
        scale = scale_of(bundle, target, weight, k)
        centre, size = _moments(X, weight, self.fit_intercept)
        problem = self._problem(X, target, weight, bundle, scale, centre, size)
        solution = self._solve(problem)
        theta = problem.spread * solution.theta
        coef = (theta[: len(size)] / size[:, None]).T
        start = np.broadcast_to(np.asarray(problem.start), (len(coef),))
        offset = theta[-1] if self.fit_intercept else 0.0
        self.coef_ = coef
        self.intercept_ = start + offset - coef @ centre
        self.loss_ = bundle.loss
        self.n_iter_ = solution.iterations
        self.converged_ = solution.converged
        self.objective_ = problem.value(solution.theta) / problem.factor
        if not solution.converged:
            warnings.warn(
                f"{self.solver} did not converge on {bundle.loss!r} in "
                f"{solution.iterations} iterations; raise max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _problem(
        self, X: Array, y: Any, w: Any, bundle: Bundle, scale: Scale, centre: Array,
        size: Array,
    ) -> Problem:  # fmt: skip
        factor = 1 / (scale.slope * scale.spread)
        columns = (X - centre) / size
        strength = np.zeros((2, len(size) + self.fit_intercept, 1))
        if self.fit_intercept:
            columns = np.column_stack([columns, np.ones(len(X))])
        if self.penalty is not None:
            order = 1 if self.penalty == "l1" else 2
            units = (scale.spread / size) ** order
            strength[order - 1, : len(size), 0] = factor * self.alpha * units
        return Problem(
            bundle, columns, y, w,
            start=scale.start if self.fit_intercept else np.zeros_like(scale.start),
            spread=scale.spread, factor=factor, l1=strength[0], l2=strength[1],
            outputs=np.size(scale.start),
        )  # fmt: skip

    def _solve(self, problem: Problem) -> Solution:
        if self.solver == "lbfgs":
            return lbfgs(problem, self.max_iter or 1000, self.tol)
        descent = DESCENTS[self.solver]
        seed = check_random_state(self.random_state).randint(2**31)
        return descend(
            problem,
            descent,
            max_iter=self.max_iter or descent.max_iter,
            tol=self.tol,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=np.random.default_rng(seed),
        )

    def raw_scores(self, X: Any) -> Array:
        """Return what the loss was trained on: shape (n,), or (n, k) of k classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        several = Bundle(self.loss_).task == "multiclass"
        z: Array = X @ np.atleast_2d(self.coef_).T + self.intercept_
        return z if several else z[:, 0]


def _moments(X: Array, w: Any, centred: bool) -> tuple[Array, Array]:
    """Return what is taken off the columns and what they are divided by.

    It conditions the problem and does not change it: the intercept is free, and the
    penalty is on the coefficients of the columns as they came.
    """
    centre = np.average(X, axis=0, weights=w) if centred else np.zeros(X.shape[1])
    size = np.sqrt(np.average((X - centre) ** 2, axis=0, weights=w))
    # A constant column is zero up to rounding once it is centred.
    constant = size <= 1e-12 * np.maximum(abs(centre), np.finfo(float).tiny)
    return centre, np.where(constant, 1.0, size)


class LossRegressor(RegressorMixin, _LinearModel):  # type: ignore[misc]
    """A linear regression trained on any loss.

    Parameters
    ----------
    loss : str, Loss or weighted sum, default "squared_error"
        A regression loss, as `lossary.get` takes it.
    penalty : {None, "l1", "l2"}
    alpha : float, default 1.0
        Strength of the penalty; see the module.
    fit_intercept : bool, default True
    solver : {"lbfgs", "gd", "sgd", "rmsprop", "adam"}
        L-BFGS through SciPy; gradient descent on all rows; or on batches. Losses with
        kinks are fine for all of them.
    max_iter : int, optional
        Steps of L-BFGS (1000), passes over the rows of gd (1000) and others (200).
    tol : float, default 1e-6
        Largest gradient at the solution, where the loss is scaled to have a mean one
        of 1 at its best constant.
    learning_rate : float, optional
        The first rate; it falls linearly to 0. Scores and columns are scaled inside,
        so that it does not depend on units.
    batch_size : int, default 32
    random_state : int, RandomState or None

    Attributes
    ----------
    coef_ : array, shape (d,)
    intercept_ : float
    loss_ : Loss
    objective_ : float
        The minimum: mean loss and penalty.
    n_iter_ : int
    converged_ : bool

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(8.0)[:, None]
    >>> y = 3 * X[:, 0] + 1
    >>> y[7] = 500.0
    >>> model = LossRegressor("absolute_error").fit(X, y)
    >>> model.coef_.round(3), model.intercept_.round(3)
    (array([3.]), np.float64(1.0))
    """

    def __init__(
        self,
        loss: Any = "squared_error",
        *,
        penalty: str | None = None,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int | None = None,
        tol: float = 1e-6,
        learning_rate: float | None = None,
        batch_size: int = 32,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            loss, penalty=penalty, alpha=alpha, fit_intercept=fit_intercept,
            solver=solver, max_iter=max_iter, tol=tol, learning_rate=learning_rate,
            batch_size=batch_size, random_state=random_state,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossRegressor:
        """Fit the coefficients; X has shape (n, d) and y has shape (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        bundle = Bundle(self.loss)
        if bundle.task != "regression":
            raise ParameterError(
                f"{bundle.loss!r} is a loss of classes; use LossClassifier, or a loss "
                "of a real target such as 'squared_error'"
            )
        self._fit(X, y, sample_weight, bundle)
        self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def predict(self, X: Any) -> Array:
        """Predict on the response scale: a mean, a median, …; shape (n,)."""
        z = self.raw_scores(X)
        return Bundle(self.loss_).response(z)


def _gives_probabilities(model: LossClassifier) -> bool:
    """Say whether predict_proba has a meaning: margins are no probabilities."""
    loss = getattr(model, "loss_", model.loss)
    return loss is None or Bundle(loss).calibrated


class LossClassifier(ClassifierMixin, _LinearModel):  # type: ignore[misc]
    """A linear classifier trained on any loss.

    Parameters
    ----------
    loss : str, Loss or weighted sum, optional
        A loss of two classes or of several; by default "binary_cross_entropy" or
        "cross_entropy", as the target asks.
    penalty, alpha, fit_intercept, solver, max_iter, tol, learning_rate, batch_size, \
random_state
        As for `LossRegressor`.

    Attributes
    ----------
    classes_ : array, shape (k,)
    coef_ : array, shape (1, d) or (k, d)
    intercept_ : array, shape (1,) or (k,)
    loss_, objective_, n_iter_, converged_
        As for `LossRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LossClassifier("hinge").fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self,
        loss: Any = None,
        *,
        penalty: str | None = None,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int | None = None,
        tol: float = 1e-6,
        learning_rate: float | None = None,
        batch_size: int = 32,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            loss, penalty=penalty, alpha=alpha, fit_intercept=fit_intercept,
            solver=solver, max_iter=max_iter, tol=tol, learning_rate=learning_rate,
            batch_size=batch_size, random_state=random_state,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossClassifier:
        """Fit the coefficients; X has shape (n, d), y holds n class labels."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        k = len(self.classes_)
        if k < 2:
            raise DataError(
                "a classifier needs at least 2 classes, but the target holds 1 class: "
                f"{self.classes_[0]!r}"
            )
        default = "binary_cross_entropy" if k == 2 else "cross_entropy"
        bundle = Bundle(default if self.loss is None else self.loss)
        several = bundle.task == "multiclass"
        if bundle.task == "regression" or (k > 2 and not several):
            raise ParameterError(
                f"{bundle.loss!r} is not a loss of {k} classes; use a loss such as "
                f"{default!r}"
            )
        self._fit(X, codes, sample_weight, bundle, k if several else None)
        return self

    def decision_function(self, X: Any) -> Array:
        """Return raw scores: shape (n,) for two classes, else (n, k)."""
        z = self.raw_scores(X)
        return z[:, 1] - z[:, 0] if z.ndim == 2 and z.shape[1] == 2 else z

    def predict(self, X: Any) -> Any:
        """Predict the class of the highest score."""
        z = self.decision_function(X)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return self.classes_[codes]

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Predict probabilities, shape (n, k); only losses that elicit them can."""
        z = self.raw_scores(X)
        p = Bundle(self.loss_).response(z)
        return p if p.ndim == 2 else np.column_stack([1 - p, p])
