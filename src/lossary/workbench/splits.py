"""Repeated K-fold: one set of splits that every candidate is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DataError, ParameterError

Index = NDArray[np.intp]

_SEEDS = 2**31  # LightGBM and scikit-learn take seeds below this


@dataclass(frozen=True, eq=False)
class Split:
    """One training part and the rows held out from it.

    Attributes
    ----------
    repeat, fold : int
        Counted from 0.
    train, test : array of int
        Row numbers, in rising order; together they are all rows.
    seed : int
        For everything random inside this training part, the same for every loss.
    """

    repeat: int
    fold: int
    train: Index
    test: Index
    seed: int


def repeated_splits(
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    stratify: bool = False,
) -> tuple[Split, ...]:
    """Cut the rows into `folds` parts, `repeats` times over.

    More repeats keep the splits of fewer: a stored study can be continued.

    Parameters
    ----------
    y : array-like, shape (n,)
        The target; its values matter only where the splits are stratified.
    folds : int, default 5
        At least 2, and at most one per row (per row of the rarest class).
    repeats : int, default 5
        At least 1; with one repeat intervals are wide (Bouckaert and Frank 2004).
    seed : int, default 0
    stratify : bool, default False
        Whether every part gets its share of each class in `y`.

    Raises
    ------
    ParameterError
        A number of folds or repeats that is out of range.
    DataError
        A class with fewer rows than there are folds.

    Examples
    --------
    >>> splits = repeated_splits([0, 1] * 5, folds=5, repeats=2, stratify=True)
    >>> len(splits), splits[0].test.tolist(), len(splits[0].train)
    (10, [1, 2], 8)
    """
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    labels = np.asarray(y)
    _check(labels, folds, repeats, seed, stratify)
    splitter = (RepeatedStratifiedKFold if stratify else RepeatedKFold)(
        n_splits=folds, n_repeats=repeats, random_state=seed
    )
    cuts = splitter.split(np.empty((len(labels), 0)), labels)
    return tuple(
        Split(i // folds, i % folds, train, test, _seed(seed, i))
        for i, (train, test) in enumerate(cuts)
    )


def digest(splits: Sequence[Split]) -> str:
    """Hash which rows are held out when: equal digests mean equal splits.

    Examples
    --------
    >>> one, other = (repeated_splits(range(9), folds=3, seed=s) for s in (0, 1))
    >>> digest(one) == digest(other), len(digest(one))
    (False, 64)
    """
    found = sha256()
    for split in splits:
        found.update(f"{split.repeat},{split.fold},{split.seed};".encode())
        found.update(np.ascontiguousarray(split.test, dtype="<i8").tobytes())
    return found.hexdigest()


def _seed(seed: int, i: int) -> int:
    return int(np.random.SeedSequence((seed, i)).generate_state(1)[0]) % _SEEDS


def _check(
    y: NDArray[np.generic], folds: int, repeats: int, seed: int, by_class: bool
) -> None:
    for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if value < least:
            raise ParameterError(
                f"{name} must be at least {least}; got {value} (5 is usual)"
            )
    if not 0 <= seed < _SEEDS:
        raise ParameterError(f"seed must be between 0 and {_SEEDS - 1}; got {seed}")
    if folds > len(y):
        raise ParameterError(
            f"{len(y)} rows cannot be cut into {folds} folds; ask for fewer folds"
        )
    if not by_class:
        return
    labels, counts = np.unique(y, return_counts=True)
    if counts.min() < folds:
        raise DataError(
            f"class {labels[counts.argmin()]} has {counts.min()} rows, too few to be "
            f"in each of {folds} folds; ask for fewer folds, or merge rare classes"
        )
