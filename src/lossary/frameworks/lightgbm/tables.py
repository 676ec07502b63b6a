"""Targets of several columns, for a library that keeps one number per row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def tabled(
    targets: Sequence[NDArray[Any]],
) -> tuple[Callable[[Any], NDArray[Any]], list[NDArray[Any]]]:
    """Code the distinct rows of targets as numbers, and say how to decode them.

    Targets of one column stay as they are.

    Parameters
    ----------
    targets : sequence of array, shape (n,) or (n, k)
        Of several data sets, with the same columns.

    Returns
    -------
    decode : callable
        From an array of numbers, also in single precision, to rows.
    labels : list of array, shape (n,)

    Examples
    --------
    >>> decode, [labels] = tabled([np.array([[1, 0], [0, 1], [1, 0]])])
    >>> labels.tolist(), decode([1.0, 0.0]).tolist()
    ([1, 0, 1], [[1, 0], [0, 1]])
    """
    if targets[0].ndim != 2:
        return np.asarray, list(targets)
    table, numbers = np.unique(np.concatenate(targets), axis=0, return_inverse=True)
    ends = np.cumsum([len(target) for target in targets])[:-1]

    def decode(labels: Any) -> NDArray[Any]:
        rows: NDArray[Any] = table[np.asarray(labels).astype(np.int64)]
        return rows

    return decode, np.split(numbers.reshape(-1), ends)
