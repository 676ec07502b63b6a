"""What people write where their library lacks a loss: once, in any library's words.

`m` is a library's `Words`. These are the expressions of the papers and of tutorials,
stable where people know how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from speed.cases import Case

Mean = Callable[[Any, Any], Any]
"""A mean, of target and prediction."""


class Words(NamedTuple):
    """How a library says a few operations."""

    exp: Any
    log1p: Any
    sqrt: Any
    maximum: Any
    where: Any
    sigmoid: Any
    softplus: Any
    log_softmax: Any
    mean: Any
    pick: Any
    """The number of each row that a label names."""


def _log_cosh(m: Words, y: Any, z: Any) -> Any:
    r = z - y
    return r + m.softplus(-2 * r) - 0.6931471805599453


def _binary_focal(m: Words, y: Any, z: Any) -> Any:
    p = m.sigmoid(z)
    missed = p * (1 - y) + (1 - p) * y
    return missed**2 * (m.softplus(z) - y * z)


def _pinball(m: Words, y: Any, z: Any) -> Any:
    r = y - z
    return m.where(r >= 0, 0.5 * r, -0.5 * r)


def _tweedie(m: Words, y: Any, z: Any) -> Any:
    return 2 * y * m.exp(-0.5 * z) + 2 * m.exp(0.5 * z)


ITEMS: dict[str, Callable[[Words, Any, Any], Any]] = {
    "squared_error": lambda m, y, z: (z - y) ** 2,
    "absolute_error": lambda m, y, z: abs(z - y),
    "absolute_percentage_error": lambda m, y, z: abs(z - y) / abs(y),
    "squared_log_error": lambda m, y, z: (m.log1p(z) - m.log1p(y)) ** 2,
    "pinball": _pinball,
    "log_cosh": _log_cosh,
    "general_robust": lambda m, y, z: m.sqrt((z - y) ** 2 + 1) - 1,
    "poisson": lambda m, y, z: m.exp(z) - y * z,
    "tweedie": _tweedie,
    "binary_cross_entropy": lambda m, y, z: m.softplus(z) - y * z,
    "binary_focal": _binary_focal,
    "hinge": lambda m, y, z: m.maximum(1 - (2 * y - 1) * z, 0 * z),
    "squared_hinge": lambda m, y, z: m.maximum(1 - (2 * y - 1) * z, 0 * z) ** 2,
    "exponential": lambda m, y, z: m.exp((1 - 2 * y) * z),
}
"""The loss of each item, at the parameters that are the defaults."""


def _overlap(top: Callable[..., Any], bottom: Callable[..., Any]) -> Any:
    def mean(m: Words, y: Any, z: Any) -> Any:
        p = m.sigmoid(z)
        counts = [x.sum((1, 2)) for x in (y * p, y, p)]
        return (1 - top(*counts) / bottom(*counts)).mean()

    return mean


def _unit(x: Any) -> Any:
    return x / (x * x).sum(-1)[:, None] ** 0.5


def _info_nce(m: Words, y: Any, z: Any) -> Any:
    near = _unit(z) @ _unit(y).T / 0.07
    return -m.log_softmax(near).diagonal().mean()


MEANS: dict[str, Callable[[Words, Any, Any], Any]] = {
    "dice": _overlap(lambda tp, y, p: 2 * tp, lambda tp, y, p: y + p),
    "jaccard": _overlap(lambda tp, y, p: tp, lambda tp, y, p: y + p - tp),
    "info_nce": _info_nce,
}
"""The mean over images, or over rows; with the methods of arrays."""

OF_LABELS: dict[str, Callable[[Words, Any], Any]] = {
    "cross_entropy": lambda m, log_p: -log_p,
    "focal": lambda m, log_p: -((1 - m.exp(log_p)) ** 2) * log_p,
}
"""The loss of a row, given the logarithm of the probability of its class."""


def mean_of(
    case: Case, own: Mapping[tuple[str, str], Mean], words: Words, methods: bool = True
) -> tuple[Mean, bool] | None:
    """Return a library's mean of a loss, and whether it had to be written.

    Parameters
    ----------
    case
        What is measured.
    own
        What the library has, by loss and sort of target.
    words
        How it says the rest.
    methods
        Whether its arrays have NumPy's methods.
    """
    name, target = case.key
    if case.key in own:
        return own[case.key], False
    if target == "labels" and name in OF_LABELS:
        items = OF_LABELS[name]
        return lambda y, z: words.mean(
            items(words, words.pick(words.log_softmax(z), y))
        ), True
    if target == "like" and name in ITEMS:
        return lambda y, z: words.mean(ITEMS[name](words, y, z)), True
    if methods and name in MEANS:
        return lambda y, z: MEANS[name](words, y, z), True
    return None
