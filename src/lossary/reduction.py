"""From losses per item to one number: a pair of sums, and named policies.

Every mean is a numerator over a named denominator. Pairs add, so any split of the
rows into micro-batches, files or machines gives the value of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.arrays import Library, library_of, record
from lossary.errors import DomainError, ParameterError, nearest

POLICIES = {
    "mean": "Σ w·l / Σ w",
    "mean_over_items": "Σ w·l / number of items that count",
    "mean_over_rows": "mean over rows of Σ w·l / Σ w within the row",
    "sum": "Σ w·l",
    "none": "w·l, one number per item",
}
IN_ONE_PASS = ("mean", "mean_over_items", "sum")
"""The policies whose sums one pass over the items can take."""
EMPTY = ("nan", "zero", "raise")


@record("numerator", "denominator")
@dataclass(frozen=True)
class Sums:
    """A numerator and a denominator; they merge by addition.

    Attributes
    ----------
    numerator, denominator
        Numbers of the array library that the loss was called with.

    Examples
    --------
    >>> import lossary as ls, numpy as np
    >>> y, p = np.zeros(4), np.array([2.0, 1.0, 1.0, 1.0])
    >>> first = ls.squared_error.sums(y[:1], p[:1])
    >>> both = first + ls.squared_error.sums(y[1:], p[1:])
    >>> float(both.mean())
    1.75
    """

    numerator: Any
    denominator: Any

    def __add__(self, other: Sums) -> Sums:
        """Merge the sums of two parts of the data."""
        if not isinstance(other, Sums):
            return NotImplemented
        return Sums(
            self.numerator + other.numerator, self.denominator + other.denominator
        )

    def mean(self, empty: str = "nan") -> Any:
        """Return numerator / denominator.

        Parameters
        ----------
        empty : {"nan", "zero", "raise"}
            What a denominator of 0 means: NaN, 0, or an error.
        """
        return quotient(self.numerator, self.denominator, empty)


def quotient(numerator: Any, denominator: Any, empty: str) -> Any:
    """Divide two sums under a policy for an empty denominator."""
    if isinstance(denominator, (int, float)):
        if denominator:
            return numerator / denominator
        return nothing_left(empty) + 0 * numerator
    if empty == "nan":
        return numerator / denominator
    lib = library_of(denominator)
    is_empty = denominator == 0
    if empty == "raise":
        seen = lib.concrete(is_empty)
        if seen is not None and bool(seen):
            nothing_left(empty)
        return numerator / denominator  # NaN in compiled code, which cannot raise
    xp = lib.namespace(denominator)
    one = xp.ones_like(denominator)
    return xp.where(
        is_empty, 0 * numerator, numerator / xp.where(is_empty, one, denominator)
    )


def nothing_left(empty: str) -> float:
    """Return the value of a mean over nothing, by policy."""
    if empty == "raise":
        raise DomainError(
            "nothing is left to average: every row has weight 0 or is masked; pass "
            'rows that count, or empty="zero" or empty="nan"'
        )
    return 0.0 if empty == "zero" else float("nan")


def checked_policy(reduction: str, empty: str) -> None:
    """Refuse an unknown policy, with the nearest names."""
    if reduction not in POLICIES:
        raise ParameterError(
            f"reduction={reduction!r} is not known; {nearest(str(reduction), POLICIES)}"
        )
    if empty not in EMPTY:
        raise ParameterError(f"empty must be one of {EMPTY}, got {empty!r}")


@dataclass(slots=True)
class Counting:
    """Which items count, and how much: weights, kept rows, and what divides them.

    `weight` and `keep` have the items' shape, or are None where all count
    alike; `weight_axes` is the number of axes that the caller's weights had, `total`
    their sum over all items, where that is known.
    """

    lib: Library
    shape: tuple[int, ...]
    weight: Any = None
    keep: Any = None
    weight_axes: int = 0
    total: float | None = None

    def counted(self, items: Any) -> Any:
        """Return w·l per item; a removed item is 0, whatever it held."""
        xp = self.lib.namespace(items)
        if self.weight is not None:
            items = items * self.lib.cast(self.weight, items.dtype)
        if self.keep is not None:
            items = xp.where(self.keep, items, xp.zeros_like(items))
        return items

    def weights(self, like: Any) -> Any:
        """Return the weight of every item: 0 where it is removed."""
        if self.weight is None and self.keep is None:
            return self.lib.namespace(like).ones_like(like)
        if self.weight is None:
            return self.lib.cast(self.keep, like.dtype)
        weight = self.lib.cast(self.weight, like.dtype)
        if self.keep is None:
            return weight
        xp = self.lib.namespace(like)
        return xp.where(self.keep, weight, xp.zeros_like(weight))

    def denominator(self, reduction: str, like: Any) -> Any:
        """Return what a policy divides by, as a number of the items' dtype."""
        if reduction == "mean_over_rows":
            rows = self._row_weights(like)
            return self.lib.total(self.lib.cast(rows != 0, like.dtype))
        if self.keep is None and (self.weight is None or reduction != "mean"):
            return self.lib.count(like)
        if reduction == "mean" and self.weight is not None:
            if self.total is not None:
                return np.float64(self.total)
            return self.lib.total(self.weights(like))
        if isinstance(self.keep, np.ndarray):  # a tenth of the time of the sum
            return np.float64(np.count_nonzero(self.keep))
        return self.lib.total(self.lib.cast(self.keep, like.dtype))

    def _row_weights(self, like: Any) -> Any:
        axes = tuple(range(1, len(self.shape)))
        weights = self.weights(like)
        return self.lib.total(weights, axis=axes) if axes else weights

    def row_scale(self, reduction: str, like: Any) -> Any:
        """Return what multiplies each item before the sum, or None."""
        if reduction != "mean_over_rows":
            return None
        xp = self.lib.namespace(like)
        rows = self._row_weights(like)
        safe = xp.where(rows != 0, rows, xp.ones_like(rows))
        return xp.reshape(
            1 / safe, (*self.lib.sizes(rows), *(1 for _ in self.shape[1:]))
        )
