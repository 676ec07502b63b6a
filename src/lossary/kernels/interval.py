"""Which values are legal: what a kernel checks on its way over them."""

from __future__ import annotations

import math
from typing import NamedTuple


class Interval(NamedTuple):
    """A closed interval, or its two ends alone; NaN lies in every one.

    Attributes
    ----------
    low, high
        The ends.
    ends_only
        Whether nothing between the ends is legal.
    excluded
        One value that is not legal.
    """

    low: float = -math.inf
    high: float = math.inf
    ends_only: bool = False
    excluded: float | None = None


Ranges = tuple[Interval | None, Interval | None]
"""The legal targets and predictions; None where nothing is checked."""


def sum_limit(itemsize: int) -> float:
    """Return how far from 1 the sum of a distribution may be.

    Parameters
    ----------
    itemsize
        The bytes of a number: in half precision shares themselves are rounded.
    """
    return 1e-2 if itemsize < 4 else 1e-3
