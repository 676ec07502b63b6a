"""What people write where their library lacks a loss: once, in any library's words.

`m` is a library's `Words`. These are the expressions of papers and tutorials, in the
quickest of their usual stable forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from speed.cases import Case

Mean = Callable[[Any, Any], Any]
"""A mean, of target and prediction; the target may be a pair, see `cases.drawn`."""


class Words(NamedTuple):
    """How a library says a few operations."""

    exp: Any
    log: Any
    log1p: Any
    sqrt: Any
    relu: Any
    where: Any
    sigmoid: Any
    softplus: Any
    logistic: Any
    """Binary cross-entropy of each item, of target and logit."""
    log_softmax: Any
    mean: Any
    sum: Any
    """Of an array, over axes if they are given."""
    count: Any
    """How many are true, in the dtype of another array."""
    pick: Any
    """The number of each row that a label names."""
    transpose: Any
    diagonal: Any


def _log_cosh(m: Words, y: Any, z: Any) -> Any:
    r = z - y
    return r + m.softplus(-2 * r) - 0.6931471805599453


def _binary_focal(m: Words, y: Any, z: Any) -> Any:
    cost = m.logistic(y, z)
    return (1 - m.exp(-cost)) ** 2 * cost


def _tweedie(m: Words, y: Any, z: Any) -> Any:
    return 2 * y * m.exp(-0.5 * z) + 2 * m.exp(0.5 * z)


ITEMS: dict[str, Callable[[Words, Any, Any], Any]] = {
    "squared_error": lambda m, y, z: (z - y) ** 2,
    "absolute_error": lambda m, y, z: abs(z - y),
    "absolute_percentage_error": lambda m, y, z: abs((z - y) / y),
    "squared_log_error": lambda m, y, z: (m.log1p(z) - m.log1p(y)) ** 2,
    "pinball": lambda m, y, z: m.where(y >= z, 0.5 * (y - z), -0.5 * (y - z)),
    "log_cosh": _log_cosh,
    "general_robust": lambda m, y, z: m.sqrt((z - y) ** 2 + 1) - 1,
    "poisson": lambda m, y, z: m.exp(z) - y * z,
    "tweedie": _tweedie,
    "binary_cross_entropy": lambda m, y, z: m.logistic(y, z),
    "binary_focal": _binary_focal,
    "hinge": lambda m, y, z: m.relu(1 - (2 * y - 1) * z),
    "squared_hinge": lambda m, y, z: m.relu(1 - (2 * y - 1) * z) ** 2,
    "exponential": lambda m, y, z: m.exp((1 - 2 * y) * z),
}
"""The loss of each item, at the parameters that are the defaults."""


def _weighted(m: Words, losses: Any, weights: Any) -> Any:
    return m.sum(weights * losses) / m.sum(weights)


def _masked(m: Words, losses: Any, mask: Any) -> Any:
    return m.sum(m.where(mask, losses, 0.0)) / m.count(mask, losses)


BESIDE = {"weights": _weighted, "mask": _masked}
"""Means of the losses of items, by what is given beside them."""


def _overlap(alpha: float, beta: float, power: float = 1.0) -> Any:
    """Return a Tversky loss, of which Dice and Jaccard are two cases."""

    def mean(m: Words, y: Any, z: Any) -> Any:
        p = m.sigmoid(z)
        tp, all_y, all_p = (m.sum(x, (1, 2)) for x in (y * p, y, p))
        missed = alpha * (all_p - tp) + beta * (all_y - tp)
        share = missed / (tp + missed)
        return m.mean(share if power == 1 else share**power)

    return mean


def _scores(m: Words, y: Any, z: Any, temperature: float) -> Any:
    y, z = (x / m.sqrt(m.sum(x * x, (1,)))[:, None] for x in (y, z))
    return z @ m.transpose(y) / temperature


def _info_nce(m: Words, y: Any, z: Any) -> Any:
    return -m.mean(m.diagonal(m.log_softmax(_scores(m, y, z, 0.07))))


def _siglip(m: Words, y: Any, z: Any) -> Any:
    scores = _scores(m, y, z, 0.1) - 10.0
    return (m.sum(m.softplus(scores)) - m.sum(m.diagonal(scores))) / z.shape[0]


def _kl_divergence(m: Words, y: Any, z: Any) -> Any:
    return m.sum(y * (m.log(y) - m.log_softmax(z))) / z.shape[0]


MEANS: dict[str, Callable[[Words, Any, Any], Any]] = {
    "dice": _overlap(0.5, 0.5),
    "jaccard": _overlap(1.0, 1.0),
    "tversky": _overlap(0.5, 0.5),
    "focal_tversky": _overlap(0.3, 0.7, 0.75),
    "info_nce": _info_nce,
    "siglip": _siglip,
    "kl_divergence": _kl_divergence,
}
"""The mean over images, or over rows."""

OF_LABELS: dict[str, Callable[[Words, Any], Any]] = {
    "cross_entropy": lambda m, log_p: -log_p,
    "focal": lambda m, log_p: -((1 - m.exp(log_p)) ** 2) * log_p,
}
"""The loss of a row, given the logarithm of the probability of its class."""


def mean_of(
    case: Case, own: Mapping[tuple[str, str], Mean], words: Words
) -> tuple[Mean, bool] | None:
    """Return a library's mean of a loss, and whether it had to be written.

    Parameters
    ----------
    case
        What is measured.
    own
        What the library has, by loss and sort of target, or what stands beside it.
    words
        How it says the rest.
    """
    name, target = case.key
    key = name, case.beside or target
    if key in own:
        return own[key], False
    if case.beside:
        mean = BESIDE[case.beside]
        return lambda y, z: mean(words, ITEMS[name](words, y[0], z), y[1]), True
    if target == "labels" and name in OF_LABELS:
        items = OF_LABELS[name]
        return lambda y, z: words.mean(
            items(words, words.pick(words.log_softmax(z), y))
        ), True
    if target == "like" and name in ITEMS:
        return lambda y, z: words.mean(ITEMS[name](words, y, z)), True
    if name in MEANS:
        return lambda y, z: MEANS[name](words, y, z), True
    return None
