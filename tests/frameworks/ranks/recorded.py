"""Where cases are recorded: functions of (rank, world), by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

CASES: dict[str, Callable[[int, int], Any]] = {}


def case(*arguments: Any) -> Callable[..., Any]:
    """Record a function as a case; or several, one for each set of arguments."""

    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        label = ", ".join([function.__name__, *map(str, arguments)])
        CASES[label] = partial(function, *arguments)
        return function

    return record
