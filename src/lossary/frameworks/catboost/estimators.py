"""CatBoost's regressor and classifier, with a loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import catboost as cb
import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError, LossaryError, ParameterError
from lossary.frameworks.bundle import RESPONSES, Array, Bundle
from lossary.frameworks.catboost.base import WithLoss
from lossary.frameworks.catboost.objective import (
    Objective,
    builtin,
)
from lossary.frameworks.catboost.settings import labels_of


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
        if bundle.task != "regression":
            raise ParameterError(
                f"{bundle.loss!r} is a loss of classes; use CatBoostClassifier, or a "
                "loss of a real target such as 'squared_error'"
            )
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
        target = np.asarray(labels_of(X) if y is None else y, dtype=np.float64)
        left = target - np.reshape(self.predict(X), target.shape)
        return float(1 - (left**2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


class _OfProbabilities:
    """A method that is there where the loss elicits probabilities: margins are none.

    scikit-learn asks whether a method is there before it takes its answer for one.
    """

    def __init__(self, method: Any) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    def __get__(self, model: Any, owner: Any) -> Any:
        if model is None:
            return self
        if not _elicits_probabilities(model.loss):
            raise AttributeError(
                f"{model.loss!r} elicits no probabilities; use predict, or a loss such "
                "as 'binary_cross_entropy'"
            )
        return self.method.__get__(model, owner)


def _elicits_probabilities(loss: Any) -> bool:
    if loss is None:
        return True
    try:
        bundle = loss.bundle if isinstance(loss, Objective) else Bundle(loss)
    except LossaryError:  # a loss of one's own, loaded with a model and not imported
        return True
    return bundle.calibrated


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
            bundle = self._checked(self._bundle("binary_cross_entropy"), 2)
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
            bundle = self._checked(self._bundle(""), 2)
            if isinstance(self.loss, Objective) or not builtin(bundle, labels):
                raise ParameterError(
                    f"{self.loss!r} cannot be trained on shares of the positive class, "
                    "which CatBoost takes with its own CrossEntropy alone; use "
                    "loss='binary_cross_entropy', or labels"
                )
            return bundle, labels, None
        names = self._canonical().get("class_names")
        classes = _plain(np.unique(labels) if names is None else names)
        if len(classes) < 2:
            raise DataError(
                "a classifier needs at least 2 classes, but the target holds "
                f"{len(classes)}: {classes}"
            )
        default = "cross_entropy" if len(classes) > 2 else "binary_cross_entropy"
        bundle = self._checked(self._bundle(default), len(classes))
        order = np.argsort(classes, kind="stable")
        codes = order[np.searchsorted(np.asarray(classes)[order], labels)]
        several = bundle.task == "multiclass"
        return bundle, codes if several else codes.astype(np.float64), classes

    def _checked(self, bundle: Bundle, k: int) -> Bundle:
        if bundle.task == "regression" or (k > 2 and bundle.task == "binary"):
            default = "cross_entropy" if k > 2 else "binary_cross_entropy"
            raise ParameterError(
                f"{bundle.loss!r} is not a loss of {k} classes; use a loss such as "
                f"{default!r}"
            )
        return bundle

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

    @_OfProbabilities
    def predict_proba(self, X: Any, *args: Any, **options: Any) -> Any:
        """Predict probabilities, shape (n, k)."""
        if self._labels_alone():
            scores = super().predict(X, "RawFormulaVal", *args, **options)
            return RESPONSES["logit"](scores)
        return super().predict_proba(X, *args, **options)

    def _labels_alone(self) -> bool:
        """Say whether several labels were trained by a callback, a score for each."""
        return len(self.classes_) == 0 and self._link() is not None
