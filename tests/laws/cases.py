"""Inputs of the laws: made from what each loss declares, edges planted."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

import lossary as ls
from lossary.loss import Loss
from lossary.parameters import Choice, Param
from lossary.registry import registry


def variants() -> list[Loss]:
    """Every loss with its defaults, its other forms, and other parameter values."""
    found = []
    for loss in registry().values():
        found.append(loss)
        for form in list(loss.definition.forms)[1:]:
            option = "from_log" if form == "positive" else "from_logits"
            found.append(loss(**{option: False}))
        for name, param in loss.definition.params.items():
            others = [v for v in _others(param) if v != param.default]
            found.extend(loss(**{name: value}) for value in others)
    return found


def _others(param: Param | Choice) -> list[Any]:
    if isinstance(param, Choice):
        return list(param.options[1:])
    if param.lt is not None and param.gt is not None:
        return [param.gt + 0.75 * (param.lt - param.gt)]
    return [0.5] if param.gt is not None else [0.0, 0.5]


VARIANTS = variants()
POINTWISE = [v for v in VARIANTS if v.structure.name == "pointwise"]
ROWWISE = [v for v in VARIANTS if v.structure.name == "rowwise"]
PAIRWISE = [v for v in VARIANTS if v.structure.name == "pairwise"]
OVERLAP = [v for v in VARIANTS if v.structure.name == "overlap"]


def separable(loss: Loss) -> bool:
    """Say whether a batch is its rows, one by one, so that each could stand alone."""
    return loss.structure.name != "pairwise" and loss.parameters.get("over") != "batch"


@dataclass(frozen=True)
class Inputs:
    """Targets and predictions of one loss, first axis = rows."""

    y: np.ndarray
    z: np.ndarray


# -- the edge grid --------------------------------------------------------------------

_TARGETS = {
    "real": [0.0, 1.0, -1.0, 100.0, -1e4],
    "nonzero": [1.0, -1.0, 0.5, 100.0, -1e4],
    "count": [0.0, 1.0, 3.0, 100.0],
    "fraction": [0.0, 1.0, 0.25],
    "probability": [0.0, 1.0, 0.25],
    "label": [0.0, 1.0],
    "above_minus_one": [0.0, 1.0, -0.5, 100.0],
}


def _predictions(form: str, dtype: Any) -> list[float]:
    tiny, eps = float(np.finfo(dtype).tiny), float(np.finfo(dtype).eps)
    if form == "probability":
        return [tiny, 1e-4, 0.25, 0.5, 0.75, 1 - eps, 0.0, 1.0]
    if form == "positive":
        return [tiny, 0.5, 1.0, 100.0, 1e4]
    if form == "above_minus_one":
        return [0.0, tiny, -tiny, 1.0, 100.0, 1e4, -0.5, -1 + 2 * eps]
    if form == "log":  # the logarithm of a mean: -inf is a mean of 0
        return [0.0, 0.5, tiny, -tiny, 1.0, -1.0, 100.0, -100.0, 1e4, -1e4, -np.inf]
    signed = [tiny, 1.0, 100.0, 1e4, np.inf]
    return [0.0, 0.5, *signed, *[-x for x in signed]]


@lru_cache(maxsize=1024)
def edges(loss: Loss, dtype: str) -> Inputs:
    """Return the edge grid of a loss, in a dtype."""
    kind = np.dtype(dtype)
    if loss.structure.name == "pointwise":
        pairs = itertools.product(
            _TARGETS[loss.target.name], _predictions(loss.form, kind)
        )
        y, z = np.array(list(pairs), dtype=kind).T
        return Inputs(np.ascontiguousarray(y), np.ascontiguousarray(z))
    if loss.structure.name == "rowwise":
        return _rows(loss, kind)
    if loss.structure.name == "pairwise":
        return _vectors(loss, kind)
    return _masks(loss, kind)


_LOGITS = [
    [0.0, 0.0, 0.0],
    [1.0, -1.0, 0.5],
    [100.0, 0.0, -100.0],
    [1e4, 0.0, -1e4],
    [100.0, 100.0, 99.0],
    [30.0, -30.0, 0.0],
    [-np.inf, 0.0, 1.0],
    [1e-30, -1e-30, 0.0],
]
_SHARES = [[0.25, 0.25, 0.5], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.9375, 0.0625, 0.0]]
_DISTRIBUTIONS = [[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 1.0]]


def by_labels(loss: Loss) -> bool:
    """Say whether a rowwise loss takes class numbers."""
    return loss.structure.indexed(loss.structure.signatures[0])


def _rows(loss: Loss, kind: Any) -> Inputs:
    scores = _LOGITS if loss.form == "class_logits" else _SHARES
    if by_labels(loss):
        pairs = list(itertools.product(scores, range(3)))
        return Inputs(
            np.array([k for _, k in pairs]), np.array([s for s, _ in pairs], kind)
        )
    pairs = [
        (s, d)
        for s, d in itertools.product(scores, _DISTRIBUTIONS)
        if not any(a == -np.inf and b > 0 for a, b in zip(s, d, strict=True))
    ]
    return Inputs(
        np.array([d for _, d in pairs], kind), np.array([s for s, _ in pairs], kind)
    )


def _vectors(loss: Loss, kind: Any) -> Inputs:
    """Give lengths from tiny to huge, a vector of zeros, equal and opposite ones."""
    y = np.array([[3, 4], [-4, 3], [1, 0], [0, -5], [0, 0]], kind)
    z = np.array([[4, 3], [-4, 3], [0, 0], [0, 5], [1, 1]], kind)
    if loss.parameters["similarity"] == "cosine":
        sizes = np.array([[1e-30], [1e15], [1], [1], [1e-3]], kind)
        y, z = sizes * y, sizes[::-1] * z
    return Inputs(y, z)


def _masks(loss: Loss, kind: Any) -> Inputs:
    y = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0.5, 0, 1, 0]], kind)
    z = np.array(
        [[100, -100, 0, 1], [-1, -2, 0, 1], [1, 2, 3, 1e4], [0, 0, 0.5, -30]], kind
    )
    if loss.form == "probability":
        z = np.array(
            [[1, 0, 0.5, 1], [0.25, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0.5, 1]], kind
        )
    return Inputs(y, z)


# -- ordinary values ------------------------------------------------------------------


def random(loss: Loss, n: int = 24, dtype: str = "float64", seed: int = 0) -> Inputs:
    """Draw ordinary inputs from what a loss declares."""
    rng = np.random.default_rng(seed)
    if loss.structure.name == "pointwise":
        y, z = _draw(rng, loss.target.name, n), _draw(rng, loss.form, n)
    elif loss.structure.name == "rowwise":
        z = rng.normal(size=(n, 4)) * 2
        if loss.form == "class_probability":
            z = rng.dirichlet(np.ones(4), n)
        y = rng.integers(0, 4, n) if by_labels(loss) else rng.dirichlet(np.ones(4), n)
        if by_labels(loss):
            return Inputs(y, z.astype(dtype))
    elif loss.structure.name == "pairwise":
        y, z = rng.normal(size=(2, n, 3))
    else:
        y = rng.integers(0, 2, (n, 5)).astype(float)
        y[:, 0] = 1.0
        z = _draw(rng, loss.form, n * 5).reshape(n, 5)
    return Inputs(y.astype(dtype), z.astype(dtype))


def _draw(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    if kind in ("probability", "fraction"):
        return rng.uniform(0.02, 0.98, n)
    if kind == "label":
        return rng.integers(0, 2, n).astype(float)
    if kind == "count":
        return rng.poisson(2.0, n).astype(float)
    if kind in ("positive", "above_minus_one", "nonzero"):
        return rng.gamma(2.0, 1.0, n) + 0.05
    return rng.normal(size=n) * 2


__all__ = [
    "OVERLAP",
    "PAIRWISE",
    "POINTWISE",
    "ROWWISE",
    "VARIANTS",
    "Inputs",
    "edges",
    "ls",
    "random",
    "separable",
]
