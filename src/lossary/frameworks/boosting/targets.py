"""Targets and weights as they are given to an estimator, checked in one wording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError, ShapeError
from lossary.frameworks.boosting.signatures import evaluation_sets, with_targets
from lossary.frameworks.boosting.tasks import Code
from lossary.frameworks.bundle import Array, checked_weight, refuse_no_weight


def weights_of(weight: Any, rows: int) -> Array | None:
    """Return weights as floats, or say what is wrong with them."""
    refuse_no_weight(weight)
    return checked_weight(weight, rows)


def labels_of(X: Any, y: Any, weight: Any = None) -> NDArray[Any]:
    """Return labels as an array of one column or several, those that count.

    Examples
    --------
    >>> labels_of(np.zeros((2, 3)), [[1.0], [np.nan]], [1.0, 0.0]).tolist()
    [1.0, 1.0]
    """
    if y is None:
        raise DataError("fit requires y to be passed, but the target y is None")
    labels = np.asarray(y)
    rows = _rows(X)
    if labels.ndim and rows not in (None, len(labels)):
        raise ShapeError(
            f"y must have one target per row of X, but there are {len(labels)} "
            f"targets and {rows} rows"
        )
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return kept(labels, weights_of(weight, len(labels)))


def _rows(X: Any) -> int | None:
    """Return the number of rows, if the features tell it."""
    if hasattr(X, "shape"):
        return int(X.shape[0])
    return len(X) if hasattr(X, "__len__") else None


def kept(labels: NDArray[Any], weight: Array | None) -> NDArray[Any]:
    """Put a label that counts in place of those of weight 0, which may be anything.

    Examples
    --------
    >>> kept(np.array([2.0, np.nan]), np.array([1.0, 0.0])).tolist()
    [2.0, 2.0]
    """
    if weight is None or weight.all():
        return labels
    counted = weight > 0
    return np.where(counted if labels.ndim == 1 else counted[:, None], labels,
                    labels[counted][0])  # fmt: skip


def coded(
    X: Any,
    labels: NDArray[Any],
    y: Any,
    options: dict[str, Any],
    code: Code,
    weights: str,
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Encode the labels to train on, and those to evaluate on in the options.

    Parameters
    ----------
    X, y
        As they were given.
    labels : array
        Those of `labels_of`.
    options : dict
        The other arguments of ``fit``, with the sets to evaluate on.
    code : callable
        From labels to what the booster is given.
    weights : str
        What the library calls the weights of the sets to evaluate on.
    """
    pairs, own = evaluation_sets(options), code(labels)
    given = options.get(weights)
    given = [None] * len(pairs) if given is None else _listed(given)
    # Boosters take a set for the training set itself if it is the same objects.
    others = [
        (features, own if other is y else code(labels_of(features, other, weight)))
        for (features, other), weight in zip(pairs, given, strict=True)
    ]
    return own, with_targets(options, others)


def _listed(given: Any) -> list[Any]:
    """Return weights set by set; those of one set may come as they are."""
    alone = isinstance(given, np.ndarray) or not isinstance(given, (list, tuple))
    return [given] if alone else list(given)
