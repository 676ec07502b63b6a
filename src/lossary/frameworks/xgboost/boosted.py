"""One call that trains: the counterpart of `xgboost.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossary.frameworks.boosting.targets import labels_of, weights_of
from lossary.frameworks.bundle import Array
from lossary.frameworks.xgboost.objective import Objective
from lossary.frameworks.xgboost.stored import Trained
from lossary.frameworks.xgboost.training import Run, Watch, xgboost


@dataclass(frozen=True)
class Boosted:
    """A trained booster that predicts on the response scale.

    Attributes
    ----------
    booster : xgboost.Booster
        The trees and the start score.
    trained : Trained
        What is stored with them: the loss, and its link.
    evals_result : mapping
        The values of the metrics, by data set and name.
    """

    booster: Any
    trained: Trained
    evals_result: Mapping[str, Mapping[str, Sequence[float]]]

    def scores(self, X: Any) -> Array:
        """Return raw scores, shape (n,) or (n, k), of the best iteration."""
        data = X if isinstance(X, xgboost.DMatrix) else _matrix(X)
        margin = self.trained.margin(data.num_row())
        if margin is not None:
            data.set_base_margin(margin)
        best = self.booster.attr("best_iteration")
        rounds = (0, 0 if best is None else int(best) + 1)
        found = self.booster.predict(data, output_margin=True, iteration_range=rounds)
        return np.asarray(found, dtype=np.float64)

    def predict(self, X: Any) -> Array:
        """Return predictions on the response scale, such as means or probabilities."""
        return self.trained.response(self.scores(X))


def train(
    loss: Any,
    X: Any,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    params: Mapping[str, Any] | None = None,
    num_boost_round: int = 100,
    n_classes: int | None = None,
    valid: Sequence[tuple[Any, ArrayLike]] = (),
    early_stopping_rounds: int | None = None,
    callbacks: Sequence[Any] = (),
    custom_metric: Callable[..., Any] | None = None,
) -> Boosted:
    """Train XGBoost on any loss: the counterpart of ``xgboost.train``.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective
        Where XGBoost has the loss itself, XGBoost's own objective trains; an
        `Objective` is trained by its gradient and curvature in any case.
    X : array, sparse matrix or data frame, shape (n, d)
    y : array-like, shape (n,) or (n, k)
        Numbers; 0 and 1, in several columns for several labels at once; class
        numbers from 0, or one probability per class.
    sample_weight : array-like, shape (n,), optional
    params : mapping, optional
        XGBoost's parameters. Its metrics see predictions on the response scale.
    n_classes : int, optional
        The number of classes, where `y` may lack one.
    valid : sequence of (X, y)
        Data to evaluate on while training, named ``valid_0``, …: the mean loss, or
        XGBoost's metrics in `params`.
    early_stopping_rounds : int, optional
        Stop once the last metric of the last data set is no better for so long.
    custom_metric : callable, optional
        Called with predictions on the response scale and the ``DMatrix``, returns a
        name and a value, as beside an objective of XGBoost's own.

    Returns
    -------
    Boosted
        Whose ``predict`` is on the response scale.

    Raises
    ------
    DomainError
        For a target that the loss is not defined on, naming rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = rng.poisson(np.exp(X[:, 0]))
    >>> model = train("poisson", X, y, params={"nthread": 1})
    >>> bool((model.predict(X) > 0).all())
    True
    """
    given = loss if isinstance(loss, Objective) else Objective(loss)
    options, task = dict(params or {}), given.bundle.task
    weight = weights_of(sample_weight, np.shape(y)[0])
    labels = labels_of(X, y, weight)
    columns = None if task == "regression" else n_classes
    if labels.ndim == 2:
        columns = labels.shape[1]
    elif task == "multiclass" and columns is None:
        columns = int(labels.max()) + 1
    run = Run(given, labels, weight, options, columns=columns, direct=given is not loss)
    data = run.data = _matrix(X, labels, run.train_weight, run.trained)
    others = []
    for i, (features, other) in enumerate(valid):
        codes = labels_of(features, other)
        given.bundle.target(codes, columns)
        others.append((_matrix(features, codes, None, run.trained), f"valid_{i}"))
    seen: dict[str, Any] = {}
    configured = run.configured(options)
    booster = xgboost.train(
        configured,
        data,
        num_boost_round,
        evals=others,
        obj=None if run.own is not None else run.pull,
        custom_metric=run.metric(custom_metric, "eval_metric" in configured),
        early_stopping_rounds=early_stopping_rounds,
        evals_result=seen,
        verbose_eval=False,
        callbacks=[Watch(run), *callbacks],
    )
    return Boosted(booster, run.finish(booster), seen)


def _matrix(
    X: Any, labels: Any = None, weight: Any = None, trained: Trained | None = None
) -> Any:
    """Give XGBoost features and labels, and the start score where it takes it here."""
    data = xgboost.DMatrix(X, labels, weight=weight, enable_categorical=True)
    margin = None if trained is None else trained.margin(data.num_row())
    if margin is not None:
        data.set_base_margin(margin)
    return data
