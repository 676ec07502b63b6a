"""The parameters of LightGBM that mean something to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import ParameterError
from lossary.frameworks.bundle import Array, Bundle

NAMES = {
    "boost_from_average": ("boost_from_average",),
    "boosting": ("boosting", "boosting_type", "boost"),
    "is_unbalance": ("is_unbalance", "unbalance", "unbalanced_sets"),
    "linear_tree": ("linear_tree", "linear_trees"),
    "metric": ("metric", "metrics", "metric_types"),
    "num_threads": ("num_threads", "n_jobs", "nthread", "nthreads", "num_thread"),
    "objective": ("objective", "objective_type", "app", "application", "loss"),
    "poisson_max_delta_step": ("poisson_max_delta_step",),
    "reg_sqrt": ("reg_sqrt",),
    "scale_pos_weight": ("scale_pos_weight",),
    "sigmoid": ("sigmoid",),
}
"""What LightGBM calls the parameters that are looked at here."""

METRICS = {
    "logloss": ("binary_logloss", "multi_logloss"),
    "error": ("binary_error", "multi_error"),
}
"""What LightGBM's classifier calls metrics, of two classes and of several."""

METRIC_SETTINGS = (
    "alpha", "auc_mu_weights", "eval_at", "label_gain", "multi_error_top_k",
    "ndcg_at", "ndcg_eval_at", "num_class", "num_threads", "tweedie_variance_power",
)  # fmt: skip
"""The parameters that LightGBM's metrics read."""

ORDERED = ("auc", "auc_mu", "average_precision")
"""Metrics that take raw scores: nothing but their order counts, and no tie is new."""


def setting(params: Mapping[str, Any], name: str) -> Any:
    """Return a parameter by any of LightGBM's names for it, or None."""
    found = [params[alias] for alias in NAMES[name] if params.get(alias) is not None]
    return found[0] if found else None


def check_settings(loss: str, params: Mapping[str, Any], native: bool) -> None:
    """Refuse what LightGBM's own objectives can do alone, or nothing but they mean."""
    boosting = setting(params, "boosting")
    if not native and setting(params, "linear_tree"):
        raise ParameterError(
            f"{loss} cannot be trained with linear_tree=True, whose leaves cannot "
            "take a start score; leave linear_tree out"
        )
    if not native and boosting in ("rf", "random_forest"):
        raise ParameterError(
            f"{loss} cannot be trained with boosting={boosting!r}, for which "
            "LightGBM allows its own objectives only; use 'gbdt' or 'dart'"
        )
    for name, usual in (("reg_sqrt", False), ("sigmoid", 1)):
        value = setting(params, name)
        if value not in (None, usual):
            raise ParameterError(
                f"{loss} cannot be trained with {name}={value!r}, by which LightGBM's "
                f"own objectives change the scores; leave {name} out"
            )


def balanced(
    bundle: Bundle, y: NDArray[Any], weight: Array | None, params: Mapping[str, Any]
) -> Array | None:
    """Weigh the two classes as LightGBM's own objective does.

    Examples
    --------
    >>> y, params = np.array([0.0, 0.0, 1.0]), {"is_unbalance": True}
    >>> balanced(Bundle("hinge"), y, None, params).tolist()
    [1.0, 1.0, 2.0]
    """
    factor, uneven = (
        setting(params, "scale_pos_weight"),
        setting(params, "is_unbalance"),
    )
    factor = 1.0 if factor is None else float(factor)
    if bundle.task != "binary" or not (uneven or factor != 1):
        return weight
    asked = "is_unbalance=True" if uneven else f"scale_pos_weight={factor:g}"
    if y.ndim == 2:
        raise ParameterError(
            f"{bundle.loss!r} cannot be trained on several labels with {asked}, which "
            "belongs to one; pass sample_weight"
        )
    if uneven and factor != 1:
        raise ParameterError(
            f"{asked} and scale_pos_weight={factor:g} cannot go together; leave one out"
        )
    ones = int((y > 0).sum())
    share = ones / max(len(y) - ones, 1)
    up, down = (max(1 / share, 1), max(share, 1)) if uneven and ones else (factor, 1)
    balance = np.where(y > 0, up, down).astype(np.float64)
    return balance if weight is None else weight * balance
