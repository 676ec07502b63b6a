"""What the estimators of `lossary.frameworks.catboost` add to those of CatBoost."""

from __future__ import annotations

import os
from typing import Any

import catboost as cb
import numpy as np
from catboost.core import _process_synonyms
from numpy.typing import NDArray

from lossary.errors import LossaryError, ParameterError
from lossary.frameworks.boosting.targets import labels_of, weights_of
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.catboost.objective import Objective
from lossary.frameworks.catboost.settings import Plan, finite, target_of, weight_of
from lossary.registry import get

LOSS, LINK = "lossary_loss", "lossary_link"  # what a saved model remembers


def _elsewhere(name: str, instead: str) -> Any:
    """Close a method of CatBoost that would train without the loss, silently."""

    def method(self: Any, *args: Any, **options: Any) -> Any:
        raise ParameterError(
            f"{name} would train without loss={self.loss!r}, since it asks CatBoost "
            f"for a model of its own; use {instead}, which takes this estimator"
        )

    method.__name__ = name
    method.__doc__ = f"Refuse: use {instead}."
    return method


class WithLoss:
    """What the estimators here add to those of CatBoost."""

    loss: Any
    _init_params: dict[str, Any]

    def __init__(self, *args: Any, loss: Any = None, **params: Any) -> None:
        self._refuse_names(params)
        super().__init__(*args, **params)
        self._init_params.pop("loss_function", None)
        self.loss = loss

    def _refuse_names(self, params: dict[str, Any]) -> None:
        for name in {"loss_function", "objective"} & params.keys():
            raise ParameterError(
                f"{type(self).__name__} takes its loss as loss=, by any name that "
                f"lossary.get knows, and got {name}={params[name]!r}; write "
                "loss='catboost.…' for a name of CatBoost"
            )

    # -- an estimator -----------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the loss, and the parameters of CatBoost that were given."""
        return {"loss": self.loss, **self._init_params}

    def set_params(self, **params: Any) -> Any:
        """Set the loss or parameters of CatBoost, before training."""
        self._refuse_names(params)
        loss = params.pop("loss", self.loss)
        super().set_params(**params)  # type: ignore[misc]
        self.loss = loss
        return self

    def __repr__(self) -> str:
        given = self.get_params()
        text = ", ".join(f"{key}={given[key]!r}" for key in sorted(given))
        return f"{type(self).__name__}({text})"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "loss": self.loss}  # type: ignore[dict-item]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.loss = state.pop("loss")
        super().__setstate__(state)  # type: ignore[misc]

    def load_model(self, *args: Any, **options: Any) -> Any:
        """Load a model, and the loss that it was trained on."""
        super().load_model(*args, **options)  # type: ignore[misc]
        self._init_params = {  # but the objects, of which CatBoost keeps no more
            key: value
            for key, value in self._init_params.items()
            if key != "loss_function" and not str(value).startswith("PythonUserDef")
        }
        self._canonized_params = None
        text = self._remembered(LOSS)
        try:
            self.loss = get(text) if text else None
        except LossaryError:  # a loss of one's own that is not imported here
            self.loss = text
        return self

    def _remembered(self, key: str) -> str | None:
        data = self.get_metadata() if self.is_fitted() else {}  # type: ignore[attr-defined]
        return str(data[key]) if key in data.keys() else None  # noqa: SIM118

    grid_search = _elsewhere("grid_search", "sklearn.model_selection.GridSearchCV")
    randomized_search = _elsewhere(
        "randomized_search", "sklearn.model_selection.RandomizedSearchCV"
    )
    select_features = _elsewhere("select_features", "sklearn.feature_selection.RFECV")

    def _link(self) -> str | None:
        """Return the link of the loss that was trained on, if it is one of ours."""
        return self._remembered(LINK)

    # -- training ---------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        cat_features: Any = None,
        *,
        sample_weight: Any = None,
        baseline: Any = None,
        eval_set: Any = None,
        **options: Any,
    ) -> Any:
        """Train, as CatBoost's own class does.

        Parameters
        ----------
        X : array, data frame, sparse matrix, Pool or path, shape (n, d)
        y : array-like, shape (n,) or, of several targets, (n, k)
            Checked against the domain of the loss.
        cat_features : list, optional
        sample_weight : array-like, shape (n,), optional
            A weight of 0 removes the row's target, whatever it is.
        baseline : array-like, optional
            Scores to start from, in place of the best constant; as in CatBoost,
            predictions do not contain them.
        eval_set : Pool, (X, y) or a list of them, optional
            The loss on it is what ``early_stopping_rounds`` and ``use_best_model``
            look at, unless there is an ``eval_metric``.
        **options
            As for CatBoost.

        Raises
        ------
        ParameterError
            For a loss of another task, or a callback on a GPU.
        DataError
            Without a target, or with weights that are none.
        DomainError
            For a target that the loss is not defined on, naming the rows.
        """
        if isinstance(X, (str, os.PathLike)):
            description = options.pop("column_description", None)
            X = cb.Pool(X, column_description=description)
        given = weight_of(X, sample_weight)
        labels = labels_of(X, target_of(X, y))
        weight = weights_of(given, len(labels))
        labels = finite(labels, weight)
        bundle, target, classes = self._problem(labels, weight)
        if bundle.link == "half_logit" and options.get("init_model") is not None:
            raise ParameterError(
                f"{bundle.loss!r} cannot continue from init_model, since a saved model "
                "of it holds log-odds, twice its scores; train anew, or use "
                "'binary_cross_entropy'"
            )
        plan = Plan(
            self.loss if isinstance(self.loss, Objective) else None,
            bundle,
            target,
            classes,
            weight,
            self._canonical(),
        )
        fresh = options.get("init_model") is None and baseline is None
        start = plan.start() if fresh and not plan.has_baseline(X) else None
        settings = plan.settings(X, eval_set)
        named = {
            "y": y if y is None else labels,
            "cat_features": cat_features,
            "sample_weight": sample_weight,
            "baseline": baseline,
        }
        options |= {name: value for name, value in named.items() if value is not None}
        if start is not None:
            X, eval_set = plan.started(X, eval_set, start, options)
        self._train_with(settings, plan.dropped, X, eval_set, options)
        first = options.get("init_model")
        self._remember(bundle, _bias_of(first) if start is None and first else start)
        return self

    def _canonical(self) -> dict[str, Any]:
        """Return the parameters that were given, each by one of its names."""
        params = dict(self._init_params)
        _process_synonyms(params)
        return params

    def _train_with(
        self,
        settings: dict[str, Any],
        dropped: set[str],
        X: Any,
        eval_set: Any,
        options: dict[str, Any],
    ) -> None:
        given = self._init_params
        left = {key: v for key, v in given.items() if key not in dropped}
        self._init_params, self._canonized_params = {**left, **settings}, None
        try:
            super().fit(X, eval_set=eval_set, **options)  # type: ignore[misc]
        finally:
            self._init_params, self._canonized_params = given, None

    def _remember(self, bundle: Bundle, start: Any) -> None:
        # CatBoost's probabilities are those of log-odds, of which some scores are half.
        scale = 2.0 if bundle.link == "half_logit" else 1.0
        if start is not None or scale != 1:
            bias = scale * np.asarray(0.0 if start is None else start)
            self.set_scale_and_bias(scale, bias.tolist())  # type: ignore[attr-defined]
        metadata = self.get_metadata()  # type: ignore[attr-defined]
        metadata[LOSS], metadata[LINK] = repr(bundle.loss), bundle.link

    def _problem(
        self, labels: NDArray[Any], weight: Array | None
    ) -> tuple[Bundle, NDArray[Any], list[Any] | None]:
        raise NotImplementedError

    def _bundle(self, default: str) -> Bundle:
        loss = default if self.loss is None else self.loss
        return loss.bundle if isinstance(loss, Objective) else Bundle(loss)


def _bias_of(model: Any) -> Any:
    """Return where a model that is trained further started from; CatBoost drops it."""
    if isinstance(model, (str, os.PathLike)):
        model = cb.CatBoost().load_model(model)
    return model.get_scale_and_bias()[1]
