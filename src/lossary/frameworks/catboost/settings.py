"""How CatBoost is asked to train on a loss: objective, defaults, start score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import catboost as cb
import numpy as np
from catboost.utils import DataMetaInfo, TargetStats, compute_training_options
from numpy.typing import NDArray

from lossary.errors import DataError, ParameterError
from lossary.frameworks.boosting.targets import kept
from lossary.frameworks.bundle import Array, Bundle, scale_of
from lossary.frameworks.catboost.objective import (
    Metric,
    MultiTargetMetric,
    MultiTargetObjective,
    Objective,
    builtin,
)

# A leaf of a loss with kinks is found by repeated steps of the majorised curvature:
# after ten the training loss is within 1 % of that of exact leaves, or below it.
_STEPS = 10

# The mean curvature that they start from: so much above l2_leaf_reg that leaves are
# not drawn to 0, which would depend on the unit of the target. Exact ones are not.
_UNSHRUNK = 1e3

# The objectives that CatBoost starts from their best constant when asked to.
_AVERAGED = frozenset(
    {"CrossEntropy", "Logloss", "MAE", "MAPE", "MultiRMSE", "Quantile", "RMSE"}
)

# CatBoost's metrics that take scores for logarithms, by link.
_OF_LOGARITHMS = {"log": ("Poisson", "Tweedie"), "log1p": ()}

# What CatBoost's defaults of an objective depend on.
_ASKED = (
    "iterations", "learning_rate", "l2_leaf_reg", "leaf_estimation_method",
    "leaf_estimation_iterations", "boost_from_average", "use_best_model",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How to train on one loss and one target.

    Attributes
    ----------
    given : Objective or None
        The objective, where the user asked for it and not for CatBoost's own.
    bundle : Bundle
        The loss.
    target : array, shape (n,) or (n, k)
        As the loss takes it: numbers, 0 and 1, or class numbers.
    classes : list or None
        The labels behind 0, 1, …
    weight : array, shape (n,), or None
    params : mapping
        The parameters that the user gave, by CatBoost's canonical names.
    """

    given: Objective | None
    bundle: Bundle
    target: NDArray[Any]
    classes: list[Any] | None
    weight: Array | None
    params: dict[str, Any]

    @property
    def n_classes(self) -> int | None:
        """The number of scores per row, of a loss of classes."""
        several = self.bundle.task == "multiclass" and self.classes is not None
        return len(self.classes or ()) if several else None

    @cached_property
    def own(self) -> str | None:
        """CatBoost's own objective that is the loss, where there is one."""
        return builtin(self.bundle, self.target)

    @property
    def callback(self) -> bool:
        """Whether CatBoost calls back for derivatives."""
        return self.given is not None or self.own is None

    @property
    def dropped(self) -> set[str]:
        """Parameters that are not CatBoost's business."""
        found = set() if self._averaged else {"boost_from_average"}
        return found | {"scale_pos_weight"} if self.callback else found

    @property
    def _averaged(self) -> bool:
        name = (self.own or "").partition(":")[0]
        return not self.callback and name in _AVERAGED

    # -- start score ------------------------------------------------------------------

    def has_baseline(self, X: Any) -> bool:
        """Say whether a pool brings the scores to start from."""
        return isinstance(X, cb.Pool) and np.size(X.get_baseline()) > 0

    def start(self) -> Any:
        """Return the score to start from, or None where CatBoost sees to it."""
        wanted = self.params.get("boost_from_average")
        if self._averaged or self.target.ndim == 2:  # no baseline of several targets
            return None
        if wanted is None:
            wanted = self.own is None or self._defaults(1, 1, None)["averaged"]
        if not wanted:
            return None
        y, w = self._counted(), self._counted_weight
        return np.asarray(self.bundle.start(y, w, self.n_classes)).tolist()

    def _counted(self) -> NDArray[Any]:
        return self.target if self.weight is None else self.target[self.weight > 0]

    @property
    def _counted_weight(self) -> Array | None:
        return None if self.weight is None else self.weight[self.weight > 0]

    def started(
        self, X: Any, eval_set: Any, start: Any, options: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Give training and validation data the start score, as a baseline."""
        features = self._features(X, options)

        def pool(data: Any) -> Any:
            if data is None:
                return None
            if isinstance(data, tuple):
                rows, y = data
                return cb.Pool(rows, y, baseline=_tiled(start, len(y)), **features)
            copy = cb.Pool(data) if not isinstance(data, cb.Pool) else data
            if np.size(copy.get_baseline()):
                return copy
            if copy is data:  # the user's own is left as it is
                copy = data.slice(np.arange(data.num_row()))
            copy.set_baseline(_tiled(start, copy.num_row()))
            return copy

        several = isinstance(eval_set, list)
        sets = [pool(data) for data in (eval_set if several else [eval_set])]
        if isinstance(X, cb.Pool):
            X = pool(X)
        else:
            options["baseline"] = _tiled(start, len(self.target))
        return X, sets if several else sets[0]

    def _features(self, X: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Say which columns are no numbers, as the training data say it."""
        if isinstance(X, cb.Pool):
            return {
                "cat_features": X.get_cat_feature_indices(),
                "text_features": X.get_text_feature_indices(),
                "embedding_features": X.get_embedding_feature_indices(),
            }
        names = ("cat_features", "text_features", "embedding_features")
        given = {**self.params, **options}
        return {name: given[name] for name in names if given.get(name) is not None}

    # -- parameters -------------------------------------------------------------------

    def settings(self, X: Any, eval_set: Any) -> dict[str, Any]:
        """Return the parameters that make CatBoost train on the loss."""
        quiet = {} if _writes(self.params) else {"allow_writing_files": False}
        if not self.callback:
            return {"loss_function": self.own, **quiet}
        if self.params.get("task_type") == "GPU":
            raise ParameterError(
                f"{self.bundle.loss!r} is computed by a callback, which CatBoost calls "
                "on the CPU only; leave task_type='GPU' away, or use a loss of "
                "CatBoost's own"
            )
        several = self.target.ndim == 2
        objective, metric = (
            (MultiTargetObjective, MultiTargetMetric)
            if several
            else (Objective, Metric)
        )
        scale = self.given.scale if self.given else None
        if scale is None and self._stepwise:
            scale = _UNSHRUNK / self._curvature()
        settings = {
            "loss_function": objective(self.bundle.loss, scale),
            "eval_metric": metric(self.bundle.loss),
            **quiet,
            **self._leaves(X, eval_set),
        }
        if self.n_classes:  # threads would wait for Python's lock at every row
            settings["thread_count"] = 1
        if self.classes is not None:  # else CatBoost takes labels for numbers
            settings["class_names"] = self.classes
        self._check_metric(self.params.get("eval_metric"))
        settings = {k: v for k, v in settings.items() if k not in self.params}
        if "class_weights" in self.params:  # also of scale_pos_weight, which is dropped
            settings["class_weights"] = self.params["class_weights"]
        return settings

    def _check_metric(self, metric: Any) -> None:
        name = metric.partition(":")[0] if isinstance(metric, str) else None
        known = _OF_LOGARITHMS.get(self.bundle.link)
        if name is not None and known is not None and name not in known:
            raise ParameterError(
                f"CatBoost's metric {name!r} would see raw scores of "
                f"{self.bundle.loss!r}, which are logarithms; leave eval_metric out to "
                "see the loss, or pass an object as eval_metric"
            )

    def _curvature(self) -> float:
        y, w = self._counted(), self._counted_weight
        return scale_of(self.bundle, y, w, self.n_classes).curvature

    @property
    def _stepwise(self) -> bool:
        """Whether leaves are found by repeated steps of the majorised curvature."""
        chosen = "leaf_estimation_method" in self.params
        return self.bundle.mode == "majorised" and not chosen

    def _leaves(self, X: Any, eval_set: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if self.own is not None:
            n, d = (X.num_row(), X.num_col()) if isinstance(X, cb.Pool) else np.shape(X)
            settings = self._defaults(n, d, eval_set)
            del settings["averaged"]
        if self._stepwise:
            settings["leaf_estimation_method"] = "Newton"
            settings["leaf_estimation_iterations"] = _STEPS
        return settings

    def _defaults(self, n: int, d: int, eval_set: Any) -> dict[str, Any]:
        """Ask CatBoost for the defaults of its own objective that is the loss."""
        asked = {name: self.params[name] for name in _ASKED if name in self.params}
        if not self.own or self.own.partition(":")[0] not in _AVERAGED:
            asked.pop("boost_from_average", None)
        stats = TargetStats(0.0, 1.0)
        test = None if eval_set is None else DataMetaInfo(n, d, 0, stats, False)
        found = compute_training_options(
            {"loss_function": self.own, "logging_level": "Silent", **asked},
            DataMetaInfo(n, d, 0, stats, False),
            test,
        )
        trees, boosting = found["tree_learner_options"], found["boosting_options"]
        settings = {
            "averaged": boosting["boost_from_average"],
            "learning_rate": boosting["learning_rate"],
            "leaf_estimation_method": trees["leaf_estimation_method"],
            "leaf_estimation_iterations": trees["leaf_estimation_iterations"],
        }
        if not {"bootstrap_type", "subsample"} & self.params.keys():
            settings["bootstrap_type"] = trees["bootstrap"]["type"]
        return settings


def _tiled(start: Any, n: int) -> Array:
    return np.tile(np.atleast_1d(np.asarray(start, dtype=np.float64)), (n, 1))


def _writes(params: dict[str, Any]) -> bool:
    return bool(
        {"allow_writing_files", "save_snapshot", "snapshot_file", "train_dir"}
        & params.keys()
    )


# -- what the data say ----------------------------------------------------------------


def target_of(X: Any, y: Any) -> Any:
    """Return the target, which a pool may hold, or say that there is none."""
    if y is not None:
        return y
    found = X.get_label() if isinstance(X, cb.Pool) else None
    if found is None or np.size(found) == 0:
        raise DataError(
            f"there is no target: y is None and X is a {type(X).__name__} without "
            "labels; pass y, or a Pool with a label"
        )
    return found


def weight_of(X: Any, sample_weight: Any) -> Any:
    """Return the weights of the rows, wherever they were given."""
    given = X.get_weight() if isinstance(X, cb.Pool) else sample_weight
    return None if given is None or np.size(given) == 0 else given


def finite(target: NDArray[Any], weight: Array | None) -> NDArray[Any]:
    """Put a number in place of targets of weight 0 that are none.

    CatBoost refuses such a target even where it does not count. Other targets of
    weight 0 stay as they are: the trees of its own objectives depend on them.
    """
    if weight is None or target.dtype.kind != "f":
        return target
    rows = np.isfinite(target.reshape(len(target), -1)).all(axis=1)
    return kept(target, np.where(rows, 1.0, weight))
