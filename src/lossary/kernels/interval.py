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
