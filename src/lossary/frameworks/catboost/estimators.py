"""CatBoost's regressor and classifier, with a loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import catboost as cb
import numpy as np
from numpy.typing import NDArray

from lossary.errors import LossaryError, ParameterError
from lossary.frameworks.boosting.probabilities import (
    for_decisions,
    for_probabilities,
    probabilities,
)
from lossary.frameworks.boosting.tasks import (
    check_classes,
    check_labels,
    check_regression,
    check_several,
    default_of,
)
from lossary.frameworks.bundle import RESPONSES, Array, Bundle
from lossary.frameworks.catboost.base import LOSS, WithLoss
from lossary.frameworks.catboost.objective import (
    Objective,
    builtin,
)
from lossary.frameworks.catboost.settings import target_of


class CatBoostRegressor(WithLoss, cb.CatBoostRegressor):  # type: ignore[misc]
    """``catboost.CatBoostRegressor``, trained on any loss.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, default "squared_error"
        A regression loss, as `lossary.get` takes it.
    *args, **params
        CatBoost's parameters, apart from ``loss_function``.

    Examples
    --------
    >>> X = np.arange(20.0)[:, None]
    >>> y = X[:, 0] + 5
    >>> y[19] = 1000.0
    >>> model = CatBoostRegressor(loss="absolute_error", depth=2, verbose=0)
    >>> bool(model.fit(X, y).predict([[10.0]])[0] < 30)
    True
    """

    def _problem(
        self, labels: NDArray[Any], weight: Array | None
    ) -> tuple[Bundle, NDArray[Any], list[Any] | None]:
        bundle = self._bundle("squared_error")
        check_regression(bundle, "CatBoostClassifier", fractions=False)
        counted = slice(None) if weight is None else weight > 0
        target = bundle.target(labels[counted])
        if labels.ndim == 2 and (
            isinstance(self.loss, Objective) or not builtin(bundle, target)
        ):
            raise ParameterError(
                f"{self.loss!r} cannot be trained on a target of shape {labels.shape}, "
                "since CatBoost starts every other loss than its own MultiRMSE from 0 "
                "there; use sklearn.multioutput.MultiOutputRegressor, or "
                "loss='squared_error'"
            )
        return bundle, labels.astype(np.float64), None

    def _answer(self, scores: Array) -> Array:
        return RESPONSES[self._link() or "identity"](scores)

    def predict(
        self, data: Any, prediction_type: str | None = None, *args: Any, **options: Any
    ) -> Any:
        """Predict on the response scale; shape (n,), or (n, k) of several targets.

        With a ``prediction_type`` it is that of CatBoost: "RawFormulaVal" gives scores.
        """
        if prediction_type is not None or self._link() is None:
            return super().predict(data, prediction_type, *args, **options)
        return self._answer(super().predict(data, "RawFormulaVal", *args, **options))

    def staged_predict(
        self, data: Any, prediction_type: str | None = None, *args: Any, **options: Any
    ) -> Iterator[Any]:
        """Predict with one tree, with two, …, on the response scale."""
        asked = prediction_type or "RawFormulaVal"
        for scores in super().staged_predict(data, asked, *args, **options):
            yield scores if prediction_type else self._answer(scores)

    def score(self, X: Any, y: Any = None) -> float:
        """Return R², the share of the target's variance that predictions explain."""
        target = np.asarray(target_of(X, y), dtype=np.float64)
        left = target - np.reshape(self.predict(X), target.shape)
        return float(1 - (left**2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


def _plain(classes: Any) -> list[Any]:
    """Return classes as CatBoost names them: whole numbers are integers."""
    names = np.asarray(classes)
    if names.dtype.kind == "f" and (names == np.floor(names)).all():
        names = names.astype(np.int64)
    return list(names.tolist())


class CatBoostClassifier(WithLoss, cb.CatBoostClassifier):  # type: ignore[misc]
    """``catboost.CatBoostClassifier``, trained on any loss.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, optional
        A loss of two classes or of several; by default "binary_cross_entropy" or
        "cross_entropy", as the target asks. With a target of shape (n, k), of 0 and
        1, a loss of two classes is that of k labels.
    *args, **params
        CatBoost's parameters, apart from ``loss_function``.

    Examples
    --------
    >>> X = np.arange(8.0)[:, None]
    >>> y = ["no"] * 4 + ["yes"] * 4
    >>> model = CatBoostClassifier(loss="squared_hinge", iterations=50, verbose=0)
    >>> model.fit(X, y).predict([[1.0], [6.0]]).tolist()
    ['no', 'yes']
    """

    def _problem(
        self, labels: NDArray[Any], weight: Array | None
    ) -> tuple[Bundle, NDArray[Any], list[Any] | None]:
        if labels.ndim == 2:
            bundle = self._bundle(default_of(2))
            check_labels(bundle, labels.shape[1])
            if bundle.task != "binary":
                raise ParameterError(
                    f"{bundle.loss!r} is a loss of one class out of several, and the "
                    f"target has shape {labels.shape}; use a loss of two classes such "
                    "as 'binary_cross_entropy', or a target of one column"
                )
            return bundle, bundle.target(labels), None
        numbers = labels.dtype.kind == "f"
        inside = numbers and ((labels >= 0) & (labels <= 1)).all()
        if self.loss is not None and inside and ((labels > 0) & (labels < 1)).any():
            bundle = self._bundle("")
            check_classes(bundle, 2)
            if isinstance(self.loss, Objective) or not builtin(bundle, labels):
                raise ParameterError(
                    f"{self.loss!r} cannot be trained on shares of the positive class, "
                    "which CatBoost takes with its own CrossEntropy alone; use "
                    "loss='binary_cross_entropy', or labels"
                )
            return bundle, labels, None
        names = self._canonical().get("class_names")
        classes = _plain(np.unique(labels) if names is None else names)
        check_several(classes)
        bundle = self._bundle(default_of(len(classes)))
        check_classes(bundle, len(classes))
        order = np.argsort(classes, kind="stable")
        codes = order[np.searchsorted(np.asarray(classes)[order], labels)]
        several = bundle.task == "multiclass"
        return bundle, codes if several else codes.astype(np.float64), classes

    def predict(
        self, data: Any, prediction_type: str = "Class", *args: Any, **options: Any
    ) -> Any:
        """Predict classes, shape (n,) for two and (n, 1) for more, as CatBoost does.

        Of several labels, 0 or 1 each, shape (n, k).
        """
        if prediction_type == "Class" and self._labels_alone():
            scores = super().predict(data, "RawFormulaVal", *args, **options)
            return (scores > 0).astype(np.int64)
        return super().predict(data, prediction_type, *args, **options)

    @for_probabilities
    def predict_proba(self, X: Any, *args: Any, **options: Any) -> Any:
        """Predict probabilities, shape (n, k): those that the loss is minimised by."""
        if self._plainly():
            return super().predict_proba(X, *args, **options)
        return self._mapped(super().predict(X, "RawFormulaVal", *args, **options))

    @for_probabilities
    def predict_log_proba(self, data: Any, *args: Any, **options: Any) -> Any:
        """Predict logarithms of probabilities, shape (n, k)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(data, *args, **options))

    @for_probabilities
    def staged_predict_proba(self, data: Any, *args: Any, **options: Any) -> Any:
        """Predict probabilities with one tree, with two, and so on."""
        if self._plainly():
            yield from super().staged_predict_proba(data, *args, **options)
            return
        stages = super().staged_predict(data, "RawFormulaVal", *args, **options)
        for scores in stages:
            yield self._mapped(scores)

    @for_decisions
    def decision_function(self, X: Any) -> Any:
        """Return raw scores, shape (n,) or (n, k), of a loss that only decides."""
        return super().predict(X, "RawFormulaVal")

    def _plainly(self) -> bool:
        """Say whether CatBoost's probabilities are those of the loss."""
        bundle = self._trained_on()
        return bundle is None or (bundle.calibrated and not self._labels_alone())

    def _mapped(self, scores: Array) -> Array:
        bundle = self._trained_on()
        assert bundle is not None
        half = bundle.link == "half_logit"  # CatBoost has the whole log-odds
        p = probabilities(bundle, scores / 2 if half else scores)
        return p if p.ndim == 2 else np.column_stack([1 - p, p])

    def _trained_on(self) -> Bundle | None:
        """Return the loss that was trained on, if it is known here."""
        text = self._remembered(LOSS)
        try:
            return None if text is None else Bundle(text)
        except LossaryError:  # a loss of one's own that is not imported here
            return None

    def _labels_alone(self) -> bool:
        """Say whether several labels were trained by a callback, a score for each."""
        return len(self.classes_) == 0 and self._link() is not None
