"""Random data for every name of another library, and that library's object."""

from __future__ import annotations

import importlib
import types
from typing import Any

import numpy as np

import lossary as ls
from lossary.aliases.table import Row

RNG = np.random.default_rng(7)
N, CLASSES = 48, 4
Case = tuple[str, Row, dict[str, Any]]


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


NORMAL = RNG.normal(size=N)
SCORES = RNG.normal(size=(N, CLASSES))
CLASS = RNG.integers(0, CLASSES, N)
TARGETS = {
    "real": RNG.normal(size=N),
    "nonzero": np.sign(RNG.normal(size=N)) * RNG.uniform(1, 3, N),
    "above_minus_one": RNG.uniform(0.1, 3, N),
    "count": RNG.poisson(2.0, N).astype(float),
    "label": RNG.integers(0, 2, N).astype(float),
    "fraction": RNG.integers(0, 2, N).astype(float),
    "class_index": CLASS,
    "distribution": softmax(RNG.normal(size=(N, CLASSES))),
}
PREDICTIONS = {
    "real": 1.5 * NORMAL,
    "log": NORMAL,
    "logit": NORMAL,
    "positive": np.exp(NORMAL),
    "above_minus_one": np.exp(NORMAL),
    "probability": RNG.uniform(0.05, 0.95, N),
    "class_logits": SCORES,
    "class_probability": softmax(SCORES),
}


# Names that take one probability per class where the loss takes class numbers too.
ONE_HOT = (".Categorical", ".categorical", ".softmax_cross_entropy")


def single(loss: Any) -> Any:
    return loss if isinstance(loss, ls.Loss) else loss.terms[0][1]


def data(name: str, row: Row, loss: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a target and a prediction of the kinds that a name takes."""
    y = TARGETS[single(loss).target.name]
    z = PREDICTIONS[single(loss).form]
    if "log-probabilities" in row.note:
        z = np.log(softmax(z))
    if "multilabel" in name.lower():
        y, z = y.reshape(-1, 4), z.reshape(-1, 4)
    if any(part in name for part in ONE_HOT) and "integer" not in name:
        y = np.eye(CLASSES)[CLASS]
    return y, z


OTHER = {
    **{"delta": 2.5, "beta": 2.5, "alpha": 0.3, "quantile": 0.3, "gamma": 1.5},
    **{"from_logits": True, "log_input": False, "epsilon": 0.4},
    "label_smoothing": 0.1,
}


def resolved(name: str) -> Any:
    """Import the object that a dotted name means."""
    names = name.replace("tf.nn", "tensorflow.nn").split(".")
    found = importlib.import_module(names[0])
    if name.startswith("keras.losses.") and names[-1].islower():
        return found.losses.get(names[-1])  # Keras knows short names as strings alone
    for i, part in enumerate(names[1:], start=2):
        if isinstance(found, types.ModuleType) and not hasattr(found, part):
            importlib.import_module(".".join(names[:i]))
        found = getattr(found, part)
    return found


def label(case: Case) -> str:
    name, _, options = case
    return name + "".join(f"-{k}={v}" for k, v in options.items())
