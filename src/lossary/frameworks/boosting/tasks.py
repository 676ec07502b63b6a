"""Which losses an estimator takes, said in one wording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError, ParameterError
from lossary.frameworks.bundle import Bundle
from lossary.loss import Loss

Code = Callable[[NDArray[Any]], NDArray[Any]]


def check_regression(bundle: Bundle, classifier: str, fractions: bool = True) -> None:
    """Refuse a loss of classes, but those of fractions where these are taken."""
    targets = {term.definition.target for _, term in bundle.terms}
    taken = fractions and targets == {"fraction"}
    if bundle.task != "regression" and not taken:
        raise ParameterError(
            f"{bundle.loss!r} is a loss of classes; use {classifier}, or a loss of a "
            "real target such as 'squared_error'"
        )


def check_classes(bundle: Bundle, k: int) -> None:
    """Refuse a loss that is none of `k` classes."""
    if bundle.task == "regression" or (k > 2 and bundle.task == "binary"):
        raise ParameterError(
            f"{bundle.loss!r} is not a loss of {k} classes; use a loss such as "
            f"{default_of(k)!r}"
        )


def check_labels(bundle: Bundle, k: int) -> None:
    """Refuse a loss that is none of `k` labels at once."""
    if bundle.task == "regression":
        raise ParameterError(
            f"{bundle.loss!r} is not a loss of {k} labels; use a loss such as "
            f"{default_of(2)!r}"
        )


def default_of(k: int) -> str:
    """Name the loss of a classifier of `k` classes that is not given one."""
    return "binary_cross_entropy" if k == 2 else "cross_entropy"


def check_several(classes: Any) -> None:
    """Refuse one class alone, or none."""
    found = np.asarray(classes).tolist()
    if len(found) < 2:
        raise DataError(
            "a classifier needs at least 2 classes, but the target holds "
            f"{len(found)} class: {found}; pass rows of another one too"
        )


def encoder(classes: NDArray[Any]) -> Code:
    """Return what numbers labels by their place among sorted classes.

    Examples
    --------
    >>> encoder(np.array(["no", "yes"]))(np.array(["yes", "no", "yes"])).tolist()
    [1, 0, 1]
    """

    def code(labels: NDArray[Any]) -> NDArray[Any]:
        places = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
        new = labels[classes[places] != labels].tolist()
        if new:
            raise DataError(
                f"eval_set holds the class {new[0]!r}, which the target lacks; its "
                f"classes are {classes.tolist()}"
            )
        return places

    return code


def check_rivals(
    loss: Any, options: Mapping[str, str], given: Mapping[str, Any]
) -> None:
    """Refuse a booster's parameter that contradicts one of the loss.

    Parameters
    ----------
    loss : Loss or a weighted sum of losses
    options : mapping
        From the loss's names to the booster's.
    given : mapping
        The booster's parameters, as the user gave them.

    Examples
    --------
    >>> from lossary.registry import get
    >>> check_rivals(get("huber"), {"delta": "alpha"}, {"alpha": 0.5})
    Traceback (most recent call last):
    lossary.errors.ParameterError: huber has delta=1.0, but alpha=0.5 is given beside \
it; give delta=0.5 to the loss, and leave alpha out
    """
    for ours, theirs in options.items() if isinstance(loss, Loss) else ():
        value, own = given.get(theirs), loss.parameters[ours]
        if value is not None and not np.all(np.isclose(value, own, rtol=1e-6)):
            raise ParameterError(
                f"{loss!r} has {ours}={own!r}, but {theirs}={value!r} is given beside "
                f"it; give {ours}={value!r} to the loss, and leave {theirs} out"
            )
