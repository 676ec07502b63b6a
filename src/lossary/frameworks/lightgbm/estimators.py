"""LightGBM's scikit-learn classes, with a loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from lossary.errors import ParameterError, ShapeError
from lossary.frameworks.boosting.probabilities import (
    for_decisions,
    for_probabilities,
    probabilities,
)
from lossary.frameworks.boosting.ranking import listwise
from lossary.frameworks.boosting.signatures import (
    called_as,
    evaluation_sets,
    named,
    with_loss,
    with_targets,
)
from lossary.frameworks.boosting.targets import coded, labels_of
from lossary.frameworks.boosting.tasks import (
    Code,
    check_classes,
    check_labels,
    check_regression,
    check_several,
    default_of,
    encoder,
)
from lossary.frameworks.bundle import Bundle, refuse_no_weight
from lossary.frameworks.lightgbm.objective import as_objective
from lossary.frameworks.lightgbm.settings import METRICS, setting
from lossary.frameworks.lightgbm.tables import tabled
from lossary.frameworks.lightgbm.training import Run, explained, lightgbm

_FIT: Any = lightgbm.LGBMModel.fit
_PREDICT: Any = lightgbm.LGBMModel.predict


class _WithLoss:
    """What the estimators share: parameters, one training run, raw scores."""

    parent: ClassVar[Any]
    loss: Any
    objective: Any

    # LightGBM reads its parameters here. "loss" is one of its names for an objective,
    # so that it is shown an estimator of its own class, without that parameter.
    def _process_params(self, stage: str) -> dict[str, Any]:
        twin: Any = copy.copy(self)
        twin.__class__ = self.parent
        twin._other_params = {
            k: v for k, v in twin._other_params.items() if k != "loss"
        }
        if stage == "fit":
            twin._objective = self._run.objective
            self._run.given = twin._process_params(stage)
            return self._run.params
        params: dict[str, Any] = twin._process_params(stage)
        return params

    def _train(
        self,
        fit: Callable[..., Any],
        X: Any,
        y: Any,
        loss: Any,
        options: dict[str, Any],
        **how: Any,
    ) -> None:
        """Fit by a method of LightGBM's, on encoded labels; `how` is that of a run."""
        if self.objective is not None:
            raise ParameterError(
                f"{type(self).__name__} trains on loss=, so that objective= must be "
                "left out; lightgbm's own class takes an objective"
            )
        refuse_no_weight(options.get("sample_weight"))
        names, functions = self._metrics(options.pop("eval_metric", None))
        others = [other for other, labels in evaluation_sets(options)
                  if not (other is X and labels is y)]  # fmt: skip
        run = self._run = Run(
            loss, self._settings(), X, others,
            metrics=names, functions=functions, **how,
        )  # fmt: skip
        options["eval_metric"] = [run.evaluation]
        options["callbacks"] = [*(options.get("callbacks") or []), *run.callbacks]
        try:
            with explained():
                fit(self, X, y, **options)
        finally:
            del self._run
        run.finish(self.booster_)  # type: ignore[attr-defined]
        self._objective = run.concrete
        self.loss_ = run.objective.bundle.loss

    def _settings(self) -> dict[str, Any]:
        params = self.get_params()  # type: ignore[attr-defined]
        return {k: v for k, v in params.items() if k not in ("loss", "objective")}

    def _metrics(self, asked: Any) -> tuple[list[str], list[Callable[..., Any]]]:
        """Sort the metrics that are asked for into names and functions."""
        every: list[Any] = []
        for given in (setting(self._settings(), "metric"), asked):
            if given is not None:
                every += given if isinstance(given, (list, tuple, set)) else [given]
        names = dict.fromkeys(self._spelt(m) for m in every if isinstance(m, str))
        return [*names], [metric for metric in every if callable(metric)]

    def _spelt(self, metric: str) -> str:
        return metric

    def _scores(self, X: Any, **options: Any) -> Any:
        """Predict raw scores, or leaves or contributions if those are asked for."""
        if not (options.get("pred_leaf") or options.get("pred_contrib")):
            options["raw_score"] = True
        return _PREDICT(self, X, **options)


class LGBMRegressor(_WithLoss, lightgbm.LGBMRegressor):
    """LightGBM's regressor, trained on any loss.

    Training starts at the best constant, weights are applied once, and predictions
    are on the response scale; with ``raw_score=True`` they are what trees and start
    add up to. The first metric of ``eval_set`` is the mean loss, lower is better;
    LightGBM's metrics and one's own functions see predictions on the response scale.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, default "squared_error"
        A loss of numbers, or of fractions, such as "binary_cross_entropy".
        ``squared_error``, ``huber``, ``absolute_error`` and ``pinball`` LightGBM
        trains by its own objectives, to the same trees.
    **options
        Those of `lightgbm.LGBMRegressor`, but for ``objective``.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside LightGBM's own attributes.

    Raises
    ------
    ParameterError
        For a loss of classes.
    DomainError
        For a target that the loss is not defined on, naming rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = rng.poisson(np.exp(X[:, 0]))
    >>> model = LGBMRegressor("poisson", n_estimators=20, verbosity=-1, n_jobs=1)
    >>> bool(model.fit(X, y).predict(X).min() > 0)
    True
    """

    parent = lightgbm.LGBMRegressor

    @with_loss(lightgbm.LGBMRegressor)
    def __init__(self, loss: Any = "squared_error", **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @called_as(lightgbm.LGBMRegressor.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> LGBMRegressor:
        """Fit the trees; arguments are those of LightGBM's."""
        loss = "squared_error" if self.loss is None else self.loss
        bundle = as_objective(loss).bundle
        check_regression(bundle, "LGBMClassifier")
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        labels = labels_of(X, _column(y), options.get("sample_weight"))
        if labels.ndim == 2:
            raise ShapeError(
                f"y must have shape (n,) to train LGBMRegressor on {bundle.loss!r}, "
                f"got {labels.shape}; wrap it in sklearn.multioutput."
                "MultiOutputRegressor for several targets"
            )
        labels, options = coded(
            X, labels, y, options, bundle.target, "eval_sample_weight"
        )
        self._train(self.parent.fit, X, labels, loss, options)
        return self

    @called_as(lightgbm.LGBMRegressor.predict)
    def predict(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict on the response scale; arguments are those of LightGBM's."""
        options = named(_PREDICT, 2, self, X, *given, **options)
        found = self._scores(X, **options)
        return found if _as_asked(options) else Bundle(self.loss_).response(found)


def _column(y: Any) -> Any:
    """Return a target of shape (n, 1) as one of (n,), with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if np.asarray(y).shape[1:] == (1,) else y


def _as_asked(options: dict[str, Any]) -> bool:
    """Say whether something else than predictions is asked for."""
    return any(options.get(k) for k in ("raw_score", "pred_leaf", "pred_contrib"))


class LGBMClassifier(_WithLoss, lightgbm.LGBMClassifier):
    """LightGBM's classifier, trained on any loss.

    Training starts at the best constant under the weights, and probabilities are
    those that the loss is minimised by: scores of a focal loss are mapped back. See
    `LGBMRegressor` for metrics and raw scores.

    Several labels at once, y of shape (n, k) holding 0 and 1, are k score columns of a
    loss of two classes; y of shape (n, k) holding one probability per class is the
    target of a loss of several.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, optional
        By default "binary_cross_entropy" or "cross_entropy", as the target asks.
    **options
        Those of `lightgbm.LGBMClassifier`, but for ``objective``.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside LightGBM's own attributes.

    Raises
    ------
    ParameterError
        For a loss of numbers, or one of two classes where there are more.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(X[:, 0] > 0, "yes", "no")
    >>> options = {"n_estimators": 20, "verbosity": -1, "n_jobs": 1}
    >>> model = LGBMClassifier("binary_focal", **options)
    >>> model.fit(X, y).predict([[2.0, 0.0], [-2.0, 0.0]]).tolist()
    ['yes', 'no']
    """

    parent = lightgbm.LGBMClassifier

    @with_loss(lightgbm.LGBMClassifier)
    def __init__(self, loss: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @called_as(lightgbm.LGBMClassifier.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> LGBMClassifier:
        """Fit the trees; arguments are those of LightGBM's."""
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        labels = labels_of(X, _column(y), options.get("sample_weight"))
        if labels.ndim == 2:
            how, labels, options = self._columns(labels, y, options)
        else:
            how, code = self._classes_of(labels)
            labels, options = coded(X, labels, y, options, code, "eval_sample_weight")
        self._train(_FIT, X, labels, options=options, **how)
        return self

    def _classes_of(self, labels: Any) -> tuple[dict[str, Any], Code]:
        """Choose the loss of one class per row, and say how to encode classes."""
        check_classification_targets(labels)
        self._le = LabelEncoder().fit(labels)
        self._classes = self._le.classes_
        k = self._n_classes = len(self._classes)
        check_several(self._classes)
        self._class_map = {c: i for i, c in enumerate(self._classes)}
        given: Any = self.class_weight
        mapped = isinstance(given, dict)
        self._class_weight = (
            {self._class_map[c]: w for c, w in given.items()} if mapped else given
        )
        loss = default_of(k) if self.loss is None else self.loss
        bundle = as_objective(loss).bundle
        check_classes(bundle, k)
        columns = k if bundle.task == "multiclass" else None
        return {"loss": loss, "columns": columns}, encoder(self._classes)

    def _columns(
        self, labels: Any, y: Any, options: dict[str, Any]
    ) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """Prepare a target of several columns, for a library that keeps one."""
        if self.class_weight is not None:
            raise ParameterError(
                "class_weight belongs to one class per row, and the target has "
                "several columns; pass sample_weight"
            )
        loss, k = default_of(2) if self.loss is None else self.loss, labels.shape[1]
        check_labels(as_objective(loss).bundle, k)
        pairs = evaluation_sets(options)
        targets = [labels, *(labels if other is y else other for _, other in pairs)]
        decode, codes = tabled([np.asarray(t, dtype=np.float64) for t in targets])
        # LightGBM takes a set for the training set itself if it is the same objects.
        others = [
            (features, codes[0] if other is y else code)
            for (features, other), code in zip(pairs, codes[1:], strict=True)
        ]
        self._classes, self._n_classes, self._class_weight = np.arange(k), k, None
        how = {"loss": loss, "columns": k, "decode": decode}
        return how, codes[0], with_targets(options, others)

    def _spelt(self, metric: str) -> str:
        two = self._n_classes == 2
        return next(
            (both[not two] for known, both in METRICS.items()
             if metric in (known, *both)), metric,
        )  # fmt: skip

    @called_as(lightgbm.LGBMClassifier.predict)
    def predict(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict the likeliest class; arguments are those of LightGBM's."""
        options = named(_PREDICT, 2, self, X, *given, **options)
        found = self._scores(X, **options)
        if _as_asked(options):
            return found
        bundle = Bundle(self.loss_)
        p = probabilities(bundle, found)
        if bundle.task == "multiclass":
            return self.classes_[p.argmax(axis=1)]
        chosen = (p > 0.5).astype(int)
        return chosen if chosen.ndim == 2 else self.classes_[chosen]

    @for_probabilities
    @called_as(lightgbm.LGBMClassifier.predict_proba)
    def predict_proba(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict probabilities, shape (n, k)."""
        options = named(_PREDICT, 2, self, X, *given, **options)
        found = self._scores(X, **options)
        if _as_asked(options):
            return found
        p = probabilities(Bundle(self.loss_), found)
        return p if p.ndim == 2 else np.column_stack([1 - p, p])

    @for_decisions
    def decision_function(self, X: Any) -> Any:
        """Return raw scores, shape (n,) or (n, k), of a loss that only decides."""
        return self._scores(X)


class LGBMRanker(_WithLoss, lightgbm.LGBMRanker):
    """LightGBM's ranker, trained on a loss of a distribution over documents.

    The documents of a query are its classes, and their relevance, divided by its sum,
    the distribution to predict: ListNet's top-one loss for "cross_entropy".
    Predictions are scores; the higher, the earlier.

    Parameters
    ----------
    loss : str, Loss or Objective, default "cross_entropy"
        A loss of a distribution over classes.
    **options
        Those of `lightgbm.LGBMRanker`, but for ``objective``.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside LightGBM's own attributes.

    Raises
    ------
    ParameterError
        For another kind of loss.
    DataError
        For weights that change within a query.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 5, size=(200, 2))
    >>> relevance = (X[:, 0] > 2).astype(int)
    >>> model = LGBMRanker(n_estimators=20, verbosity=-1, n_jobs=1)
    >>> scores = model.fit(X, relevance, group=[10] * 20).predict(X)
    >>> bool(scores[relevance == 1].min() > scores[relevance == 0].max())
    True
    """

    parent = lightgbm.LGBMRanker

    @with_loss(lightgbm.LGBMRanker)
    def __init__(self, loss: Any = "cross_entropy", **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @called_as(lightgbm.LGBMRanker.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> LGBMRanker:
        """Fit the trees; arguments are those of LightGBM's."""
        listwise(as_objective(self.loss).loss)
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        self._train(self.parent.fit, X, y, self.loss, options, ranks=True)
        return self
