"""XGBoost's scikit-learn classifier, with a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from lossary.errors import DataError, ParameterError
from lossary.frameworks.boosting.probabilities import gives_probabilities
from lossary.frameworks.boosting.signatures import called_as, named, with_loss
from lossary.frameworks.xgboost.estimators import WithLoss, coded, labels_of
from lossary.frameworks.xgboost.objective import Objective
from lossary.frameworks.xgboost.training import xgboost

Code = Callable[[NDArray[Any]], NDArray[Any]]
_PREDICT: Any = xgboost.XGBClassifier.predict
_PROBA: Any = xgboost.XGBClassifier.predict_proba


def _has_probabilities(model: Any) -> bool:
    """Say whether predict_proba has a meaning: decisions are no probabilities."""
    loss = getattr(model, "loss_", model.loss)
    if loss is None or (isinstance(loss, str) and model._trained is not None):
        return True
    objective = loss if isinstance(loss, Objective) else Objective(loss)
    return gives_probabilities(objective.bundle)


class XGBClassifier(WithLoss, xgboost.XGBClassifier):
    """XGBoost's classifier, trained on any loss, with any labels.

    Training starts at the best constant under the weights, and probabilities are
    those that the loss is minimised by: scores of a focal loss are mapped back. See
    `XGBRegressor` for metrics and raw scores.

    Several labels at once, y of shape (n, k) holding 0 and 1, are k score columns of a
    loss of two classes; y of shape (n, k) holding one probability per class is the
    target of a loss of several.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, optional
        By default "binary_cross_entropy" or "cross_entropy", as the target asks.
    **options
        Those of `xgboost.XGBClassifier`, but for ``objective``.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside XGBoost's own attributes.

    Raises
    ------
    ParameterError
        For a loss of numbers, or one of two classes where there are more.
    DataError
        For one class alone, or a class to evaluate on that is not trained.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(X[:, 0] > 0, "yes", "no")
    >>> model = XGBClassifier("binary_focal", n_estimators=20, n_jobs=1)
    >>> model.fit(X, y).predict([[2.0, 0.0], [-2.0, 0.0]]).tolist()
    ['yes', 'no']
    """

    parent = xgboost.XGBClassifier

    @with_loss(xgboost.XGBClassifier)
    def __init__(self, loss: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels, sorted; 0 and 1 for several labels at once."""
        if self._trained is None:
            raise AttributeError("classes_ are known once the classifier is fitted")
        return np.asarray(self._trained.classes)

    @called_as(xgboost.XGBClassifier.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> XGBClassifier:
        """Fit the trees; arguments are those of XGBoost's."""
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        labels = labels_of(y, options.get("sample_weight"))
        how, code = (self._columns if labels.ndim == 2 else self._classes)(labels)
        labels, options = coded(y, options, code)
        self._train(X, labels=labels, options=options, **how)
        return self

    def _classes(self, labels: NDArray[Any]) -> tuple[dict[str, Any], Code]:
        """Choose the loss of one class per row, and say how to encode classes."""
        check_classification_targets(labels)
        classes = np.unique(labels)
        k = self.n_classes_ = len(classes)
        if k < 2:
            raise DataError(
                "a classifier needs at least 2 classes, but the target holds "
                f"{k} class: {classes.tolist()}"
            )
        default = "binary_cross_entropy" if k == 2 else "cross_entropy"
        objective = self._objective(default)
        bundle = objective[0].bundle
        if bundle.task == "regression" or (k > 2 and bundle.task == "binary"):
            raise ParameterError(
                f"{bundle.loss!r} is not a loss of {k} classes; use a loss such as "
                f"{default!r}"
            )

        def code(labels: NDArray[Any]) -> NDArray[Any]:
            places = np.searchsorted(classes, labels).clip(0, k - 1)
            new = labels[classes[places] != labels].tolist()
            if new:
                raise DataError(
                    f"eval_set holds the class {new[0]!r}, which the target lacks; "
                    f"its classes are {classes.tolist()}"
                )
            return places

        several = k if bundle.task == "multiclass" else None
        return {"objective": objective, "columns": several, "classes": classes}, code

    def _columns(self, labels: NDArray[Any]) -> tuple[dict[str, Any], Code]:
        """Choose the loss of several columns."""
        objective = self._objective("binary_cross_entropy")
        bundle, k = objective[0].bundle, labels.shape[1]
        if bundle.task == "regression":
            raise ParameterError(
                f"{bundle.loss!r} is not a loss of {k} labels; use a loss such as "
                "'binary_cross_entropy'"
            )
        classes = np.arange(k if bundle.task == "multiclass" else 2)
        self.n_classes_ = len(classes)
        how = {"objective": objective, "columns": k, "classes": classes}
        return how, bundle.target

    @called_as(xgboost.XGBClassifier.predict)
    def predict(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict the likeliest class; arguments are those of XGBoost's."""
        options = named(_PREDICT, 2, self, X, *given, **options)
        raw = options.pop("output_margin", False)
        z = self._scores(X, **options)
        if raw:
            return z
        trained = self.stored
        if trained.task == "multiclass":
            return self.classes_[z.argmax(axis=1)]
        chosen = (trained.probabilities(z) > 0.5).astype(int)
        return chosen if chosen.ndim == 2 else self.classes_[chosen]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    @called_as(xgboost.XGBClassifier.predict_proba)
    def predict_proba(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict probabilities, shape (n, k)."""
        options = named(_PROBA, 2, self, X, *given, **options)
        p = self.stored.probabilities(self._scores(X, **options))
        return p if p.ndim == 2 else np.column_stack([1 - p, p])

    def load_model(self, fname: Any) -> None:
        """Load a model, the loss that it was trained on, and its classes."""
        super().load_model(fname)
        self.n_classes_ = len(self.classes_)
