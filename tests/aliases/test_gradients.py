"""A name of a booster or a linear model means the gradient that it adds up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary as ls
from aliases.cases import CLASSES, OTHER, Case, data, label, resolved, softmax
from lossary.aliases.table import ROWS


def gradient(loss: Any, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.asarray(loss.grad_and_hess(y, z)[0])


def sklearn_gradient(
    name: str, options: dict[str, Any], y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Return the gradient of the loss object that an estimator trains with."""
    path, _, last = name.rpartition(".")
    by_value = last[0].islower()
    estimator = resolved(path if by_value else name)(
        **({"loss": last} if by_value else {}), **options
    )
    if hasattr(estimator, "_get_loss_function"):
        there = estimator._get_loss_function(last)
        if hasattr(there, "py_dloss"):
            signs = 2 * y - 1
            return np.array(
                [there.py_dloss(*pair) for pair in zip(z, signs, strict=True)]
            )
        out = np.empty_like(z)
        there.gradient(y, z, None, out, 1)
        return out
    estimator.n_classes_, estimator.n_trees_per_iteration_ = 2, 1
    linear = path == "sklearn.linear_model"
    there = estimator._get_loss() if linear else estimator._get_loss(None)
    return np.asarray(there.gradient(y, z))


LOSS_OBJECTS = [
    (name, row, options)
    for row in ROWS
    for name in row.names
    if name.startswith(("sklearn.ensemble", "sklearn.linear_model"))
    if not name.endswith(("QuantileRegressor", "LogisticRegression"))
    for options in [
        {k: OTHER.get(k, 1.3) for k in row.options},
        *([] if any(o.required for o in row.options.values()) else [{}]),
    ]
]


@pytest.mark.parametrize("case", LOSS_OBJECTS, ids=label)
def test_a_name_has_the_gradient_of_its_estimator(case: Case) -> None:
    name, row, options = case
    loss = ls.get(name, **options)
    y, z = data(name, row, loss)
    theirs = sklearn_gradient(name, options, y, z)
    np.testing.assert_allclose(gradient(loss, y, z), theirs, rtol=1e-12, atol=1e-15)
    assert not np.allclose(gradient(1.001 * loss, y, z), theirs, rtol=1e-5, atol=0)


# The boosters' documented gradients, typed from their sources.
def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def log1p_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return (np.log1p(z) - np.log1p(y)) / (1 + z)


def softmax_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return softmax(z) - np.eye(CLASSES)[y]


def hinge_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    s = 2 * y - 1
    return np.where(s * z < 1, -s, 0.0)


def quantile_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.where(z > y, 1 - 0.3, -0.3)


def huber_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.clip(z - y, -0.9, 0.9)


def poisson_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.exp(z) - y


def tweedie_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.exp(0.7 * z) - y * np.exp(-0.3 * z)


def focal_gradient(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    s = 2 * y - 1
    p = sigmoid(s * z)  # of the true class
    return -0.5 * s * (1 - p) ** 2 * ((1 - p) - 2 * p * np.log(p))


DOCUMENTED = {
    "squared_error": (lambda y, z: z - y, {}),
    "absolute_error": (lambda y, z: np.sign(z - y), {}),
    "absolute_percentage_error": (
        lambda y, z: np.sign(z - y) / np.maximum(1, abs(y)),
        {},
    ),
    "squared_log_error": (log1p_gradient, {}),
    "huber": (huber_gradient, {"alpha": 0.9, "delta": 0.9}),
    "general_robust": (
        lambda y, z: (z - y) / np.sqrt(1 + ((z - y) / 1.5) ** 2),
        {"huber_slope": 1.5},
    ),
    "log_cosh": (lambda y, z: np.tanh(z - y), {}),
    "pinball": (
        quantile_gradient,
        {"alpha": 0.3, "quantile_alpha": 0.3, "quantile": 0.3},
    ),
    "poisson": (poisson_gradient, {}),
    "tweedie": (
        tweedie_gradient,
        {"tweedie_variance_power": 1.3, "variance_power": 1.3},
    ),
    "binary_cross_entropy": (lambda y, z: sigmoid(z) - y, {}),
    "binary_focal": (focal_gradient, {"focal_alpha": 0.5, "focal_gamma": 2.0}),
    "hinge": (hinge_gradient, {}),
    "squared_hinge": (
        lambda y, z: -2 * (2 * y - 1) * np.maximum(0, 1 - (2 * y - 1) * z),
        {},
    ),
    "cross_entropy": (softmax_gradient, {}),
}
TRAINED = {name for name, *_ in LOSS_OBJECTS}
OBJECTIVES = [
    (name, row, {k: v for k, v in DOCUMENTED[row.loss][1].items() if k in row.options})
    for row in ROWS
    if row.reduction == "sum"
    for name in row.names
    if name not in TRAINED
]


@pytest.mark.parametrize("case", OBJECTIVES, ids=label)
def test_a_name_has_the_documented_gradient_of_its_objective(case: Case) -> None:
    name, row, options = case
    loss = ls.get(name, **options)
    y, z = data(name, row, loss)
    theirs = DOCUMENTED[row.loss][0](y, z)
    np.testing.assert_allclose(gradient(loss, y, z), theirs, rtol=1e-12, atol=1e-14)
    assert not np.allclose(gradient(1.001 * loss, y, z), theirs, rtol=1e-5, atol=0)


# Two leaves hold rows whose gradients have opposite signs; with so large a penalty Λ
# a leaf is -ΣG/Λ, and LightGBM shows the gradient of its objective.
PENALTY = 1e9
RENEWED = {"absolute_error", "pinball", "absolute_percentage_error", "cross_entropy"}
SMOOTH = [
    case
    for case in OBJECTIVES
    if case[0].startswith("lightgbm.") and case[1].loss not in RENEWED
]


@pytest.mark.parametrize("case", SMOOTH, ids=label)
def test_lightgbm_itself_has_the_gradient(case: Case) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    name, _, options = case
    half = np.repeat([0.0, 1.0], 30)
    y, z = np.where(half, 0.0, 1.0), np.where(half, 0.4, -0.3)
    parameters = {
        "objective": name.removeprefix("lightgbm."), "lambda_l2": PENALTY,
        "learning_rate": 1.0, "num_leaves": 2, "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 0.0, "boost_from_average": False, "verbose": -1,
        "num_threads": 1, "min_data_in_bin": 1, **options,
    }  # fmt: skip
    rows = lightgbm.Dataset(half[:, None], y, init_score=z)
    booster = lightgbm.train(parameters, rows, num_boost_round=1)
    theirs = -PENALTY / 30 * booster.predict(half[:, None], raw_score=True)
    ours = gradient(ls.get(name, **options), y, z)
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
