"""XGBoost's scikit-learn classifier, with a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from lossary.frameworks.boosting.probabilities import for_decisions, for_probabilities
from lossary.frameworks.boosting.signatures import called_as, named, with_loss
from lossary.frameworks.boosting.targets import coded, labels_of
from lossary.frameworks.boosting.tasks import (
    Code,
    check_classes,
    check_labels,
    check_several,
    default_of,
    encoder,
)
from lossary.frameworks.xgboost.estimators import WithLoss
from lossary.frameworks.xgboost.training import xgboost

_PREDICT: Any = xgboost.XGBClassifier.predict
_PROBA: Any = xgboost.XGBClassifier.predict_proba


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
        labels = labels_of(X, y, options.get("sample_weight"))
        how, code = (self._columns if labels.ndim == 2 else self._classes)(labels)
        labels, options = coded(X, labels, y, options, code, "sample_weight_eval_set")
        self._train(X, labels=labels, options=options, **how)
        return self

    def _classes(self, labels: NDArray[Any]) -> tuple[dict[str, Any], Code]:
        """Choose the loss of one class per row, and say how to encode classes."""
        check_classification_targets(labels)
        classes = np.unique(labels)
        k = self.n_classes_ = len(classes)
        check_several(classes)
        objective = self._objective(default_of(k))
        bundle = objective[0].bundle
        check_classes(bundle, k)
        several = k if bundle.task == "multiclass" else None
        how = {"objective": objective, "columns": several, "classes": classes}
        return how, encoder(classes)

    def _columns(self, labels: NDArray[Any]) -> tuple[dict[str, Any], Code]:
        """Choose the loss of several columns."""
        objective = self._objective("binary_cross_entropy")
        bundle, k = objective[0].bundle, labels.shape[1]
        check_labels(bundle, k)
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

    @for_probabilities
    @called_as(xgboost.XGBClassifier.predict_proba)
    def predict_proba(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict probabilities, shape (n, k)."""
        options = named(_PROBA, 2, self, X, *given, **options)
        p = self.stored.probabilities(self._scores(X, **options))
        return p if p.ndim == 2 else np.column_stack([1 - p, p])

    @for_decisions
    def decision_function(self, X: Any) -> Any:
        """Return raw scores, shape (n,) or (n, k), of a loss that only decides."""
        return self._scores(X)

    def load_model(self, fname: Any) -> None:
        """Load a model, the loss that it was trained on, and its classes."""
        super().load_model(fname)
        self.n_classes_ = len(self.classes_)
