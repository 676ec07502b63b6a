"""Linear models of any loss: a regressor and a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from lossary.errors import DataError, ParameterError
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.sklearn.base import LinearModel, has_parts, weights_of


class LossRegressor(RegressorMixin, LinearModel):  # type: ignore[misc]
    """A linear regression trained on any loss.

    Parameters
    ----------
    loss : str, Loss or weighted sum, optional
        A regression loss, as `lossary.get` takes it; "squared_error" by default. Its
        parameters can be set and searched as ``loss__delta``.
    penalty : {None, "l1", "l2"}
    alpha : float, default 1.0
        Strength of the penalty; see the module.
    fit_intercept : bool, default True
    solver : {"auto", "newton-cholesky", "interior-point", "highs", "lbfgs", "gd", \
"sgd", "rmsprop", "adam"}
        "auto" takes the interior point for losses of two straight lines (HiGHS, a
        linear program of SciPy's, where there are more columns than rows and the
        penalty is "l1"), Newton's method for other convex losses of up to 1000
        coefficients (rows, where they are fewer and the penalty is "l2"), and else
        L-BFGS, which is SciPy's. "gd"
        descends on all rows, the last three on batches. Losses with kinks are fine
        for all of them.
    max_iter : int, optional
        Steps (100; 1000 of L-BFGS), or passes over the rows: of gd (1000), of others
        (200).
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
    solver_ : str
        The solver that ran.
    n_iter_ : int
    converged_ : bool

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(8.0)[:, None]
    >>> y = 3 * X[:, 0] + 1
    >>> y[7] = 500.0
    >>> model = LossRegressor("absolute_error").fit(X, y)
    >>> model.coef_.round(3), round(model.intercept_, 3)
    (array([3.]), 1.0)
    """

    _of_columns = "MultiOutputRegressor"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossRegressor:
        """Fit the coefficients.

        Parameters
        ----------
        X : array or sparse matrix, shape (n, d)
        y : array, shape (n,)
        sample_weight : array, shape (n,), optional
            At least 0; 0 removes a row.
        """
        X, y = self._checked(X, y)
        self._fit(X, y, sample_weight, self._bundle())
        self._flatten()
        return self

    @available_if(has_parts)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossRegressor:
        """Pass once over some rows; the first call sets the scale of the problem.

        After `fit` it goes on from there. It exists for the solvers "sgd", "rmsprop"
        and "adam"; the rate falls with the square root of the passes.
        """
        first = self._progress is None
        X, y = self._checked(X, y, reset=first)
        self._partial_fit(X, y, sample_weight, self._bundle(), None)
        self._flatten()
        return self

    def _bundle(self) -> Bundle:
        bundle = Bundle("squared_error" if self.loss is None else self.loss)
        if bundle.task != "regression":
            raise ParameterError(
                f"{bundle.loss!r} is a loss of classes; use LossClassifier, or a loss "
                "of a real target such as 'squared_error'"
            )
        return bundle

    def _flatten(self) -> None:
        self.coef_: Any = self.coef_[0]
        self.intercept_: Any = float(self.intercept_[0])

    def predict(self, X: Any) -> Array:
        """Predict on the response scale: a mean, a median, …; shape (n,)."""
        z = self.raw_scores(X)
        return Bundle(self.loss_).response(z)


_OTHERWISE = {
    "regression": ", or train LossRegressor with this one",
    "binary": ", or train one classifier per class with this one, by "
    "sklearn.multiclass.OneVsRestClassifier",
}
"""Where a loss that is not of the classes at hand belongs, by its task."""


def _gives_probabilities(model: LossClassifier) -> bool:
    """Say whether predict_proba has a meaning: margins are no probabilities."""
    loss = getattr(model, "loss_", model.loss)
    if loss is None or Bundle(loss).calibrated:
        return True
    raise AttributeError(
        f"predict_proba is there for losses that are least at the true probability, "
        f"and {Bundle(loss).loss!r} is not one; train 'binary_cross_entropy', use "
        "decision_function, or calibrate the model by CalibratedClassifierCV"
    )


class LossClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """A linear classifier trained on any loss.

    Parameters
    ----------
    loss : str, Loss or weighted sum, optional
        A loss of two classes or of several; by default "binary_cross_entropy" or
        "cross_entropy", as the target asks.
    penalty, alpha, fit_intercept, solver, max_iter, tol, learning_rate, batch_size, \
random_state
        As for `LossRegressor`.
    class_weight : mapping or "balanced", optional
        What the rows of each class weigh, beside their own weights; "balanced" gives
        every class the same total.

    Attributes
    ----------
    classes_ : array, shape (k,)
    coef_ : array, shape (1, d) or (k, d)
    intercept_ : array, shape (1,) or (k,)
    loss_, objective_, solver_, n_iter_, converged_
        As for `LossRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LossClassifier("hinge").fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]]).tolist()
    ['no', 'yes']
    """

    _of_columns = "MultiOutputClassifier"

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
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            loss, penalty=penalty, alpha=alpha, fit_intercept=fit_intercept,
            solver=solver, max_iter=max_iter, tol=tol, learning_rate=learning_rate,
            batch_size=batch_size, random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossClassifier:
        """Fit the coefficients.

        Parameters
        ----------
        X : array or sparse matrix, shape (n, d)
        y : array, shape (n,)
            Class labels, numbers or text.
        sample_weight : array, shape (n,), optional
            At least 0; 0 removes a row.
        """
        X, y = self._checked(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._fit(X, *self._encoded(X, y, sample_weight))
        if len(self.intercept_) > 1:
            self.intercept_ -= self.intercept_.mean()  # only differences count
        return self

    @available_if(has_parts)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> LossClassifier:
        """Pass once over some rows; the first call names all `classes`.

        After `fit` it goes on from there. It exists for the solvers "sgd", "rmsprop"
        and "adam"; the rate falls with the square root of the passes.
        """
        first = self._progress is None
        X, y = self._checked(X, y, reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ParameterError(
                "the first partial_fit needs classes=, the labels of all classes, "
                "since these rows may lack some"
            )
        if self.class_weight == "balanced":
            raise ParameterError(
                "class_weight='balanced' needs all rows, and partial_fit sees some; "
                "pass a mapping from class to weight"
            )
        if classes is not None:
            given = np.unique(classes)
            if not first and not np.array_equal(given, self.classes_):
                raise ParameterError(
                    f"classes={given.tolist()} are not those of the first partial_fit, "
                    f"{self.classes_.tolist()}; leave them out from the second call on"
                )
            self.classes_ = given
        self._partial_fit(X, *self._encoded(X, y, sample_weight))
        return self

    def _encoded(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Any, Any, Bundle, int | None]:
        """Return class numbers, weights, the loss, and the number of score columns."""
        k = len(self.classes_)
        if k < 2:
            raise DataError(
                "a classifier needs at least 2 classes, but the target holds 1 class: "
                f"{self.classes_.tolist()[0]!r}"
            )
        codes = np.searchsorted(self.classes_, y)
        codes[codes == k] = 0
        if (self.classes_[codes] != y).any():
            strange = np.unique(y[self.classes_[codes] != y]).tolist()
            raise DataError(
                f"the target holds {strange}, which are not among the classes "
                f"{self.classes_.tolist()}; name all classes in the first partial_fit"
            )
        if self.class_weight is not None:
            sample_weight = self._class_weighted(y, codes, sample_weight)
        default = "binary_cross_entropy" if k == 2 else "cross_entropy"
        bundle = Bundle(default if self.loss is None else self.loss)
        several = bundle.task == "multiclass"
        if bundle.task == "regression" or (k > 2 and not several):
            raise ParameterError(
                f"{bundle.loss!r} is not a loss of {k} classes; use a loss such as "
                f"{default!r}" + _OTHERWISE[bundle.task]
            )
        return codes, sample_weight, bundle, k if several else None

    def _class_weighted(self, y: Any, codes: Any, sample_weight: Any) -> Array:
        weight = weights_of(sample_weight, len(codes))
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            totals = np.bincount(codes, weight, len(self.classes_))
            present = np.where(totals > 0, totals, 1.0)
            each = totals.sum() / (len(totals) * present)
        else:
            each = self._given_weights(y)
        return np.asarray(each[codes] if weight is None else weight * each[codes])

    def _given_weights(self, y: Any) -> Array:
        try:
            each = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            legal = np.isfinite(each).all() and (each >= 0).all()
        except (TypeError, ValueError):
            legal = False
        if not legal:
            raise ParameterError(
                "class_weight must be None, 'balanced' or a mapping from class to "
                f"weight, at least 0, of the classes {self.classes_.tolist()}, got "
                f"{self.class_weight!r}"
            )
        return np.asarray(each)

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
