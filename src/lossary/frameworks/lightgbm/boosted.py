"""One call that trains: the counterpart of `lightgbm.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossary.errors import ShapeError
from lossary.frameworks.bundle import Array, checked_weight
from lossary.frameworks.lightgbm.objective import Objective, as_objective
from lossary.frameworks.lightgbm.settings import setting
from lossary.frameworks.lightgbm.tables import tabled
from lossary.frameworks.lightgbm.training import Run, explained, lightgbm


@dataclass(frozen=True)
class Boosted:
    """A trained booster that predicts on the response scale.

    Attributes
    ----------
    booster : lightgbm.Booster
        The trees; the first of them hold the start score.
    objective : Objective
        What it was trained with.
    start : float or array, shape (k,)
        The score before the first tree: the best constant, or 0 where LightGBM
        found the start by itself.
    """

    booster: Any
    objective: Objective
    start: Any

    def scores(self, X: Any) -> Array:
        """Return raw scores, shape (n,) or (n, k)."""
        return np.asarray(self.booster.predict(X, raw_score=True), dtype=np.float64)

    def predict(self, X: Any) -> Array:
        """Return predictions on the response scale, such as means or probabilities."""
        return self.objective.response(self.scores(X))


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
    callbacks: Sequence[Callable[..., Any]] = (),
) -> Boosted:
    """Train LightGBM on any loss: the counterpart of ``lightgbm.train``.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective
        An objective is used as it is. Losses in `NATIVE`, see
        `lossary.frameworks.lightgbm.objective`, LightGBM trains by its own
        objective, to the same trees.
    X : array, sparse matrix or data frame, shape (n, d)
    y : array-like, shape (n,) or (n, k)
        Numbers; 0 and 1, in several columns for several labels at once; class
        numbers from 0, or one probability per class.
    sample_weight : array-like, shape (n,), optional
    params : mapping, optional
        LightGBM's parameters. Its metrics see predictions on the response scale.
    n_classes : int, optional
        The number of classes, where `y` may lack one.
    valid : sequence of (X, y)
        Data to evaluate on while training, named ``valid_0``, …: the mean loss, and
        LightGBM's metrics in `params`. With ``callbacks=[lightgbm.early_stopping(10)]``
        training stops on them.

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
    >>> model = train("poisson", X, y, params={"verbosity": -1, "num_threads": 1})
    >>> bool((model.predict(X) > 0).all())
    True
    """
    objective = as_objective(loss)
    bundle, options = objective.bundle, dict(params or {})
    targets = [np.asarray(target) for target in (y, *(labels for _, labels in valid))]
    one = bundle.task == "regression" or targets[0].shape[-1] == 1
    if targets[0].ndim == 2 and one:
        raise ShapeError(
            f"y must have shape (n,) to train on {objective.loss!r}, got "
            f"{targets[0].shape}; pass one column, such as y.reshape(-1)"
        )
    decode, labels = tabled(targets)
    columns = n_classes if targets[0].ndim == 1 else targets[0].shape[1]
    if bundle.task == "multiclass" and columns is None:
        columns = int(labels[0].max()) + 1
    bundle.target(targets[0], columns)
    weight = checked_weight(sample_weight, len(labels[0]))
    names = setting(options, "metric") or []
    run = Run(
        loss,
        options,
        X,
        [features for features, _ in valid],
        columns=columns if bundle.task != "regression" else None,
        decode=decode,
        metrics=[names] if isinstance(names, str) else names,
    )
    data = lightgbm.Dataset(X, labels[0], weight=weight, free_raw_data=False)
    others = [
        lightgbm.Dataset(features, codes, reference=data)
        for (features, _), codes in zip(valid, labels[1:], strict=True)
    ]
    with explained():
        booster = lightgbm.train(
            run.params,
            data,
            num_boost_round,
            valid_sets=others,
            feval=run.feval if valid else None,
            callbacks=[*callbacks, *run.callbacks],
        )
    run.finish(booster)
    return Boosted(booster, run.objective, run.start)
