"""The best constant prediction: a booster's start score, a report's baseline."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lossary.arrays import library_of
from lossary.batch import prepare
from lossary.errors import DomainError
from lossary.expr.graph import apply, symbol
from lossary.loss import Loss

_PLACES = 33
"""Quantiles that are tried where a sum may have several minima."""


def weighted_mean(y: np.ndarray, w: np.ndarray) -> float:
    """Return Σ w·y / Σ w."""
    return float(np.dot(w, y) / w.sum())


def weighted_quantile(y: np.ndarray, w: np.ndarray, tau: float) -> float:
    """Return a minimiser of the pinball loss: the middle of the flat part."""
    order = np.argsort(y)
    y, cumulated = y[order], np.cumsum(w[order])
    wanted = tau * cumulated[-1]
    # Exactly on a step every value up to the next one is a minimiser.
    slack = 1e-12 * cumulated[-1]
    low = y[np.searchsorted(cumulated, wanted - slack)]
    high = y[min(np.searchsorted(cumulated, wanted + slack), len(y) - 1)]
    return float((low + high) / 2)


def _logit(p: float) -> float:
    return math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)


LINKS: dict[str, Callable[[float], float]] = {
    "identity": lambda m: m,
    "log": lambda m: math.log(m) if m > 0 else -math.inf,
    "logit": _logit,
    "half_logit": lambda m: _logit(m) / 2,
    "log1p": math.log1p,
}
"""From the response scale to the raw prediction."""

# The link between the mean of the target and a prediction of this kind.
_KIND_LINKS = {
    "logit": "logit",
    "log": "log",
    "real": "identity",
    "positive": "identity",
    "probability": "identity",
}


def counted(loss: Loss, y_true: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
    """Return the targets that count, flat, and their weights, as NumPy."""
    lib = library_of(y_true)
    values = lib.concrete(lib.asarray(y_true))
    y = np.asarray(values, dtype=np.float64)
    neutral = {"above_minus_one": 0.0, "real": 0.0, "logit": 0.0, "log": 0.0}
    z = np.full_like(y, neutral.get(loss.form, 0.5))
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    batch = prepare(loss, y, z, weight)
    w = batch.counting.counted(np.ones_like(y)).ravel()
    y, w = y.ravel()[w > 0], w[w > 0]
    if not len(y):
        raise DomainError(
            f"{loss.name}: the best constant of no rows does not exist; pass rows "
            "with a weight above 0"
        )
    return y, w


def best_scalar(loss: Loss, y_true: Any, sample_weight: Any) -> float:
    """Minimise Σ w·loss(y, c) over a constant c.

    Means and quantiles are closed forms; anything else is found by bisection on the
    sign of the summed gradient, which is right for every sum that falls and then
    rises. That of a loss that is not convex has a minimum at every far group of rows:
    there the deepest one is looked for first.
    """
    y, w = counted(loss, y_true, sample_weight)
    if np.isnan(y).any():
        return math.nan
    elicits = loss.definition.elicits
    if elicits == "mean":
        return LINKS[_KIND_LINKS[loss.form]](weighted_mean(y, w))
    if elicits == "median":
        return weighted_quantile(y, w, 0.5)
    if elicits == "tau-quantile" and "tau" in loss.parameters:
        return weighted_quantile(y, w, loss.parameters["tau"])
    ends = _bracket(loss, y)
    if loss.form == "real" and not loss.facts.convex:
        ends = _valley(loss, y, w)
    return _bisected(_slope(loss, y, w), *ends)


def _slope(loss: Loss, y: np.ndarray, w: np.ndarray) -> Callable[[float], float]:
    formula, params = loss.formula, loss.params
    gradient = library_of(y).run(formula.gradient, (*formula.inputs, *formula.params))

    def slope(c: float) -> float:
        return float(np.dot(w, gradient(y, np.full_like(y, c), *params)))

    return slope


def _bracket(loss: Loss, y: np.ndarray) -> tuple[float, float]:
    """Return an interval that holds the minimiser."""
    if loss.form == "probability":
        return 0.0, 1.0
    if loss.form in ("logit", "log") or loss.target.name in ("label", "fraction"):
        return -50.0, 50.0
    z = _aimed_at(loss, y)
    low, high = float(z.min()), float(z.max())
    return (low, high) if low < high else (low - 1.0, high + 1.0)


def _aimed_at(loss: Loss, y: np.ndarray) -> np.ndarray:
    """Return the prediction of each target; that of a linked score is another."""
    linked = loss.form == "real" and loss.definition.link == "log1p"
    return np.log1p(y) if linked else y


def _valley(loss: Loss, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Return the neighbours of the best of some quantiles of the target."""
    places = np.quantile(_aimed_at(loss, y), np.linspace(0, 1, _PLACES))
    costs = [np.dot(w, loss(y, np.full_like(y, c), reduction="none")) for c in places]
    best = int(np.argmin(costs))
    return float(places[max(best - 1, 0)]), float(places[min(best + 1, _PLACES - 1)])


def _bisected(slope: Callable[[float], float], low: float, high: float) -> float:
    """Find where an increasing-through-zero slope changes its sign."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if slope(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def best_log_odds(loss: Loss, y_true: Any, sample_weight: Any) -> np.ndarray:
    """Minimise Σ_k π_k·loss(class k, scores) over one constant score per class.

    With p the softmax of the scores, the minimum satisfies π_k·dl/dlog p(p_k) = λ·p_k
    for all classes: each p_k follows from λ, and λ from Σ p = 1.
    """
    shares = _class_shares(loss, y_true, sample_weight)
    rate = loss.parameters.get("label_smoothing", 0.0)
    shares = np.asarray((1 - rate) * shares + rate / len(shares))
    if loss.definition.elicits == "class probabilities":
        p = shares
    else:
        p = _balanced(loss, shares)
    with np.errstate(divide="ignore"):
        scores = np.log(p)
    return scores if loss.form == "class_logits" else p


def _class_shares(loss: Loss, y_true: Any, sample_weight: Any) -> np.ndarray:
    lib = library_of(y_true)
    y = np.asarray(lib.concrete(lib.asarray(y_true)))
    if y.ndim == 1 and loss.structure.indexed(loss.structure.signatures[0]):
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        shares = np.bincount(y[weight > 0].astype(int), weight[weight > 0])
    else:
        weight = (
            np.ones(y.shape[:-1])
            if sample_weight is None
            else np.asarray(sample_weight)
        )
        shares = (y * weight[..., None]).reshape(-1, y.shape[-1]).sum(axis=0)
    result: np.ndarray = shares / shares.sum()
    return result


def _balanced(loss: Loss, shares: np.ndarray) -> np.ndarray:
    formula = loss.formula.at(y=1.0)
    numpy = library_of(shares)
    gradient = numpy.run(formula.gradient, (*formula.inputs, *formula.params))
    sigmoid = numpy.run(apply("sigmoid", symbol("z")), ("y", "z"))
    in_odds = loss.form == "class_logits"

    def pull(u: np.ndarray) -> np.ndarray:
        """Return π_k·|dl/dp| of every class at its log-odds."""
        p, q = sigmoid(u, u), sigmoid(-u, -u)
        slope = (
            gradient(u, u, *loss.params) / (p * q)
            if in_odds
            else gradient(p, p, *loss.params)
        )
        return np.asarray(-shares * slope)

    def odds(multiplier: float) -> np.ndarray:
        return _crossing(lambda u: pull(u) - multiplier, np.full_like(shares, 40.0))

    def excess(log_multiplier: np.ndarray) -> np.ndarray:
        u = odds(math.exp(log_multiplier[0]))
        return np.array([sigmoid(u, u).sum() - 1])

    u = odds(math.exp(_crossing(excess, np.array([30.0]))[0]))
    p = np.asarray(sigmoid(u, u))
    return np.asarray(p / p.sum())


def _crossing(
    falling: Callable[[np.ndarray], np.ndarray], reach: np.ndarray
) -> np.ndarray:
    """Find, element by element, where a falling function crosses zero."""
    low, high = -reach, reach
    for _ in range(64):
        middle = (low + high) / 2
        above = falling(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)
