"""The law of exact aliases: a name means the value that its library computes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary as ls
from aliases.cases import CLASS, OTHER, SCORES, Case, N, data, label, resolved
from lossary.aliases.table import ROWS, Row


def by_torch(
    there: Any, y: Any, z: Any, options: dict[str, Any], signs: bool, weight: Any
) -> Any:
    import torch

    target = torch.as_tensor(2 * y - 1 if signs else y)
    arguments = torch.as_tensor(z), target
    if inspect.isclass(there):
        return there(**options)(*arguments)
    given = {} if weight is None else {"weight": torch.as_tensor(weight)}
    return there(*arguments, **options, **given)


def by_keras(
    there: Any, y: Any, z: Any, options: dict[str, Any], signs: bool, weight: Any
) -> Any:
    if inspect.isclass(there):
        return np.asarray(there(**options, dtype="float64")(y, z, weight))
    return np.mean(np.asarray(there(y, z, **options)))


def by_tensorflow(
    there: Any, y: Any, z: Any, options: dict[str, Any], signs: bool, weight: Any
) -> Any:
    first, second = list(inspect.signature(there).parameters)[:2]
    values = there(**{first: y, second: z}, **options)
    return np.mean(np.asarray(values))


def by_optax(
    there: Any, y: Any, z: Any, options: dict[str, Any], signs: bool, weight: Any
) -> Any:
    z, y = (x.astype(np.float32) if x.dtype.kind == "f" else x for x in (z, y))
    return np.mean(np.asarray(there(z, 2 * y - 1 if signs else y, **options)))


def by_sklearn(
    there: Any, y: Any, z: Any, options: dict[str, Any], signs: bool, weight: Any
) -> Any:
    return there(y, z, **options, sample_weight=weight)


PEERS: dict[str, Callable[..., Any]] = {
    "torch.": by_torch,
    "keras.": by_keras,
    "tf.nn.": by_tensorflow,
    "optax.": by_optax,
    "sklearn.metrics.": by_sklearn,
}
# Float32 arithmetic, or an epsilon that the row's note states.
TOLERANCE = {"torch.": 1e-12, "tf.nn.": 1e-12, "sklearn.metrics.": 1e-12}


def peer(name: str) -> str:
    return next((prefix for prefix in PEERS if name.startswith(prefix)), "")


def option_sets(row: Row) -> list[dict[str, Any]]:
    """Return options to try: the defaults, and another value for each."""
    batchmean = row.loss == "kl_divergence" and row.library == "PyTorch"
    base = {"reduction": "batchmean"} if batchmean else {}
    movable = [k for k, o in row.options.items() if o.ours or o.power]
    return [base, *({**base, key: OTHER[key]} for key in movable)]


VALUES = [
    (name, row, options)
    for row in ROWS
    for name in row.names
    if peer(name)
    for options in option_sets(row)
]


def disagreement(case: Case, loss: Any, weight: Any = None) -> float:
    """Return |theirs - ours| / |theirs| on random data."""
    name, row, options = case
    there = resolved(name)
    y, z = data(name, row, loss)
    if weight is not None and row.library == "Keras" and z.ndim == 1:
        y, z = y[:, None], z[:, None]  # one weight per row, and its mean over columns
    theirs = PEERS[peer(name)](there, y, z, options, "-1 and 1" in row.note, weight)
    reduction = "mean" if weight is None else row.reduction
    ours = loss(y, z, sample_weight=weight, reduction=reduction)
    return abs(float(theirs) - float(ours)) / abs(float(theirs))


def tolerance(name: str, options: dict[str, Any]) -> float:
    loose = options.get("log_input") is False
    return 1e-6 if loose else TOLERANCE.get(peer(name), 2e-6)


@pytest.mark.parametrize("case", VALUES, ids=label)
def test_a_name_has_the_value_of_its_library(case: Case) -> None:
    name, _, options = case
    loss = ls.get(name, **options)
    assert disagreement(case, loss) <= tolerance(name, options)


@pytest.mark.parametrize("case", VALUES[::7], ids=label)
def test_a_wrong_factor_is_noticed(case: Case) -> None:
    name, _, options = case
    twin = 1.0001 * ls.get(name, **options)
    assert disagreement(case, twin) > tolerance(name, options)


WEIGHTED = [
    (name, row, options)
    for name, row, options in VALUES
    if (row.library == "Keras" and name.rpartition(".")[2][0].isupper())
    or peer(name) == "sklearn.metrics."
    or (".functional." in name and "weight" in row.options)
    # Torch weights classes there, not rows; Keras weights the one overlap of a batch.
    if (row.library, row.loss) != ("PyTorch", "cross_entropy")
    if (row.library, row.loss) not in (("Keras", "dice"), ("Keras", "tversky"))
    if "multilabel" not in name
]


@pytest.mark.parametrize("case", WEIGHTED, ids=label)
def test_a_row_names_the_reduction_of_its_library(case: Case) -> None:
    name, _, options = case
    weight = np.linspace(0.5, 2.5, N)
    loss = ls.get(name, **options)
    assert disagreement(case, loss, weight) <= tolerance(name, options)


def test_class_weights_of_torch_are_a_weighted_mean() -> None:
    torch = pytest.importorskip("torch")
    weight = np.array([0.5, 1.0, 2.0, 4.0])
    y, z = CLASS, SCORES
    theirs = torch.nn.CrossEntropyLoss(weight=torch.as_tensor(weight))(
        torch.as_tensor(z), torch.as_tensor(y)
    )
    loss = ls.get("torch.nn.CrossEntropyLoss")
    row = next(r for r in ROWS if "torch.nn.CrossEntropyLoss" in r.names)
    ours = loss(y, z, sample_weight=weight[y], reduction=row.reduction)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-12)
