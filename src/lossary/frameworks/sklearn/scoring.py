"""A loss as scikit-learn measures: a metric in its order, and a scorer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest

from lossary.combination import Combination, terms_of
from lossary.definition import FORM_OPTIONS
from lossary.errors import DataError, ParameterError
from lossary.frameworks.bundle import RESPONSES
from lossary.frameworks.curvature import task_of
from lossary.loss import Loss
from lossary.registry import get

Array = NDArray[np.float64]

_SATURATED = 1e-9  # probabilities nearer to 0 or 1 have lost digits of their logits


def _log(p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p))


_LINKS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "logit": ("probability", lambda p: _log(p) - _log(1 - p)),
    "class_logits": ("class_probability", _log),
    "log": ("positive", _log),
}
"""Scores of a loss: what they are on the response scale, and the way back."""

_FROM_SCORES = {
    "probability": RESPONSES["logit"],
    "class_probability": RESPONSES["softmax"],
}


def to_scorer(loss: Any) -> Scorer:
    """Return a loss as a scorer, which has the metric function as its `metric`.

    Examples
    --------
    >>> to_scorer("huber(delta=2)")
    Scorer(huber(delta=2.0))
    """
    return Scorer(loss)


@dataclass(frozen=True)
class Metric:
    """A loss as a metric function, in scikit-learn's order and on its scales.

    Called ``metric(y_true, y_pred, *, sample_weight=None)`` with what the models of
    scikit-learn give: numbers on the scale of the target from ``predict``,
    probabilities from ``predict_proba``, margins from ``decision_function``. Less is
    better.

    Parameters
    ----------
    loss : str, Loss or weighted sum

    Examples
    --------
    >>> from sklearn.metrics import log_loss
    >>> metric = Metric("binary_cross_entropy")
    >>> round(metric(["ham", "spam"], [0.1, 0.8]), 4)
    0.1643
    >>> round(log_loss(["ham", "spam"], [0.1, 0.8]), 4)
    0.1643
    """

    loss: Any

    def __post_init__(self) -> None:
        loss = get(self.loss)
        if not isinstance(loss, (Loss, Combination)):
            raise ParameterError(
                f"{self.loss!r} is not a loss; pass a name such as 'huber', or a loss"
            )
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "__name__", repr(loss))

    def __repr__(self) -> str:
        return f"Metric({self.loss!r})"

    @property
    def task(self) -> str:
        """What the target is: "regression", "binary" or "multiclass"."""
        return task_of(terms_of(self.loss)[0][1])

    @property
    def of_margins(self) -> bool:
        """Whether predictions are margins, as of a hinge loss: no probabilities."""
        binary = self.task == "binary"
        return binary and all(term.form == "real" for _, term in terms_of(self.loss))

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        *,
        sample_weight: Any = None,
        labels: Any = None,
        pos_label: Any = None,
    ) -> float:
        """Return the mean loss.

        Parameters
        ----------
        y_true : array, shape (n,)
            Numbers, or class labels.
        y_pred : array, shape (n,) or (n, k)
            As the class says; columns of probabilities are in the order of `labels`.
        sample_weight : array, shape (n,), optional
        labels : array, shape (k,), optional
            All classes, where `y_true` may lack one; else those of `y_true`, sorted.
        pos_label : label, optional
            Of two classes, the one that is predicted; by default the last label.

        Raises
        ------
        DataError
            For labels that are not two classes, or not those of the predictions.
        """
        p = np.asarray(y_pred, dtype=np.float64)
        return self._mean(y_true, p, sample_weight, labels, pos_label)

    def _mean(
        self, y_true: Any, p: Array, weight: Any, labels: Any = None,
        pos_label: Any = None, scores: bool = False,
    ) -> float:  # fmt: skip
        y: Any = np.asarray(y_true)
        if self.task == "binary":
            y, at = _positive(self.loss, y, labels, pos_label)
            p = p[:, at] if p.ndim == 2 and p.shape[1] == 2 else p
        elif self.task == "multiclass":
            p = p if p.ndim == 2 else np.column_stack([0 * p if scores else 1 - p, p])
            y = _numbers(self.loss, y, labels, p.shape[1])
        return float(
            sum(
                factor * _value(term, y, p, weight, scores)
                for factor, term in terms_of(self.loss)
            )
        )


def _value(term: Loss, y: Any, p: Array, weight: Any, scores: bool) -> float:
    """Return the mean of one loss, of predictions on either scale."""
    if term.target.name == "distribution":
        y = np.eye(p.shape[1])[y]
    score, (response, link) = _scale(term)
    wanted, other = (score, response) if scores else (response, score)
    if wanted in term.definition.forms:
        return float(_in(term, wanted)(y, p, sample_weight=weight))
    change = _FROM_SCORES.get(response, np.asarray) if scores else link
    return float(_in(term, other)(y, change(p), sample_weight=weight))


def _scale(term: Loss) -> tuple[str, tuple[str, Callable[[Array], Array]]]:
    """Name the scores and the response of a loss: one where there is no link."""
    for score, (response, link) in _LINKS.items():
        if term.form in (score, response):
            return score, (response, link)
    return term.form, (term.form, np.asarray)


def _in(term: Loss, form: str) -> Loss:
    """Return the loss of predictions of another kind."""
    if form == term.form:
        return term
    for option, choices in FORM_OPTIONS.items():
        for value, forms in choices.items():
            if form in forms:
                return term.bind(**{option: value})
    return term


# -- labels ---------------------------------------------------------------------------


def _positive(loss: Any, y: Any, labels: Any, pos_label: Any) -> tuple[Any, int]:
    """Return targets of 0 and 1, and the column that the predictions are in."""
    plain = labels is None and pos_label is None and y.dtype.kind in "fiub"
    if plain and ((y >= 0) & (y <= 1)).all():
        return y.astype(np.float64), 1
    known = np.unique(y if labels is None else labels)
    if len(known) != 2:
        raise DataError(
            f"{loss!r} is a loss of two classes, and the labels are {known.tolist()}; "
            "pass both as labels="
        )
    codes = _codes(loss, y, known)
    if pos_label is None or pos_label == known[1]:
        return codes.astype(np.float64), 1
    if pos_label != known[0]:
        raise ParameterError(
            f"pos_label={pos_label!r} is not one of the labels {known.tolist()}; pass "
            "one of them"
        )
    return 1.0 - codes, 0


def _numbers(loss: Any, y: Any, labels: Any, columns: int) -> Any:
    """Return class numbers."""
    known = np.unique(y if labels is None else labels)
    if len(known) != columns:
        raise DataError(
            f"{loss!r}: y_pred has {columns} columns and there are {len(known)} "
            f"labels, {known.tolist()}; pass those of all columns as labels="
        )
    return _codes(loss, y, known)


def _codes(loss: Any, y: Any, known: Any) -> Any:
    codes = np.searchsorted(known, y)
    codes[codes == len(known)] = 0
    strange = np.unique(y[known[codes] != y])
    if len(strange):
        raise DataError(
            f"{loss!r}: y_true holds {strange.tolist()}, which are not among the "
            f"labels {known.tolist()}; pass all of them as labels="
        )
    return codes


# -- scorer ---------------------------------------------------------------------------


class Scorer:
    """A loss as a scorer: minus its mean on the predictions of a fitted model.

    It goes wherever scikit-learn takes `scoring`: cross_validate, GridSearchCV. The
    model is asked for what the loss compares the target with: ``predict`` for a
    regression, ``predict_proba`` for a loss of probabilities (``decision_function``
    where there is none), ``decision_function`` for a loss of margins.

    Parameters
    ----------
    loss : str, Loss or weighted sum

    Attributes
    ----------
    loss : Loss
    metric : Metric
        The loss as a function ``metric(y_true, y_pred, *, sample_weight=None)``.
    greater_is_better : bool
        False, of the metric: the score is its negative.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_diabetes(return_X_y=True)
    >>> scores = cross_val_score(LinearRegression(), X, y, scoring=Scorer("mae"))
    >>> scores.round(1)
    array([-43. , -44.8, -48.2, -43. , -42.4])
    """

    greater_is_better: ClassVar[bool] = False

    def __init__(self, loss: Any) -> None:
        self.metric = Metric(loss)
        self._requests: dict[str, Any] = {"sample_weight": None}

    @property
    def loss(self) -> Any:
        """The loss."""
        return self.metric.loss

    def __repr__(self) -> str:
        return f"Scorer({self.loss!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self.metric)

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        """Return minus the mean loss of the estimator's predictions for X.

        Raises
        ------
        ParameterError
            For an estimator that gives no such predictions.
        """
        if self.metric.task == "regression":
            return -self.metric(y, estimator.predict(X), sample_weight=sample_weight)
        p, scores = self._predicted(estimator, X)
        labels = estimator.classes_
        return -self.metric._mean(y, p, sample_weight, labels, scores=scores)

    def _predicted(self, estimator: Any, X: Any) -> tuple[Array, bool]:
        """Return predictions, and whether they are scores rather than probabilities."""
        decides = hasattr(estimator, "decision_function")
        if self.metric.of_margins:
            if decides:
                return np.asarray(estimator.decision_function(X), np.float64), True
            raise ParameterError(
                f"{self.loss!r} measures margins, and {type(estimator).__name__} has "
                "no decision_function; score with a loss of probabilities such as "
                "'binary_cross_entropy'"
            )
        if not hasattr(estimator, "predict_proba"):
            if decides:
                return np.asarray(estimator.decision_function(X), np.float64), True
            raise ParameterError(
                f"{self.loss!r} measures probabilities, and "
                f"{type(estimator).__name__} has no predict_proba; use a model that "
                "has, or calibrate it by CalibratedClassifierCV"
            )
        p = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        if decides and min(p.min(), (1 - p).min()) < _SATURATED:
            z = np.asarray(estimator.decision_function(X), dtype=np.float64)
            if _are_logits(z, p):
                return z, True
        return p, False

    def _accept_sample_weight(self) -> bool:
        """Answer what searches ask several scorers that they are given at once."""
        return True

    # -- metadata routing -------------------------------------------------------------

    def set_score_request(self, *, sample_weight: Any) -> Scorer:
        """Say whether sample weights are routed here; see scikit-learn's user guide.

        Parameters
        ----------
        sample_weight : bool, None or str
            True routes them, False does not, None refuses them, a name is theirs in
            the call.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        self._requests = {"sample_weight": sample_weight}
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what scikit-learn may route here."""
        request = MetadataRequest(owner=self)
        for param, alias in self._requests.items():
            request.score.add_request(param=param, alias=alias)
        return request


def _are_logits(z: Array, p: Array) -> bool:
    """Say whether scores are those that the probabilities were made of."""
    if z.ndim == 1:
        z = np.column_stack([np.zeros_like(z), z])
    return z.shape == p.shape and np.allclose(RESPONSES["softmax"](z), p, atol=1e-9)
