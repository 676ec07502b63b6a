"""What is timed: a call, and how its result reads in lossary's units."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

PAUSE = 0.005
"""Seconds between tasks: OpenMP's threads spin on the cores for a while after work.

They are spent awake: a core that has slept is several times slower for a while.
"""

ENOUGH = 1e-3
"""Seconds that one measurement takes at least: quick calls are repeated in it."""

QUICK = 0.01
"""Seconds below which a call is timed more than once to know how often to call."""

SLOW = 0.03
"""Seconds from which a task leaves when the budget is spent."""

LEAST, MOST = 3, 15
"""Turns."""

Answer = tuple[Any, Any]


@dataclass(frozen=True)
class Task:
    """A competitor at work.

    Attributes
    ----------
    run
        Computes; this is timed.
    answer
        Turns what `run` returned into value and gradient, or gradient and curvature:
        of the mean, as NumPy arrays. A floor has none.
    written
        Whether a peer lacks the loss, and its formula was written out.
    """

    run: Callable[[], Any]
    answer: Callable[[Any], Answer] | None = None
    written: bool = False


def measured(tasks: dict[str, Task], budget: float) -> dict[str, float]:
    """Return the median time of each task, measured in turns.

    Parameters
    ----------
    tasks
        Those that have answered already, so that nothing is compiled here.
    budget
        Seconds that all this may take; there are at least 3 turns, and at most 15.
        What is slow leaves after the turns that the budget is good for: the others,
        the floor among them, take all.
    """
    calls, long, turn = {}, set(), 0.0
    for name, task in tasks.items():
        once = _seconds(task, 1)
        if once < QUICK:  # that was slower than the next ones are
            once = min(_seconds(task, 1) for _ in range(5))
        if once > SLOW:
            long.add(name)
        calls[name] = max(1, min(1000, round(ENOUGH / max(once, 1e-7))))
        turn += PAUSE + max(once, ENOUGH)
    turns = max(LEAST, min(MOST, int(budget / turn)))
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(MOST):
        for name, task in tasks.items():
            if number < turns or name not in long:
                _wait(PAUSE)
                if name not in long:  # its caches and threads are to be its own
                    task.run()
                found[name].append(_seconds(task, calls[name]))
    return {name: median(seconds) for name, seconds in found.items()}


def _wait(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _seconds(task: Task, calls: int) -> float:
    run = task.run
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def first_answer(task: Task) -> tuple[float, Answer]:
    """Call a task once: return its seconds, compilation included, and its answer."""
    start = time.perf_counter()
    result = task.run()
    seconds = time.perf_counter() - start
    assert task.answer is not None
    return seconds, task.answer(result)


TOLERANCE = {"float32": 3e-4, "float64": 1e-8}
"""Of the largest element. Keras keeps a constant in float32, which shows at 3e-9."""
COMPARED = 100_000
"""Elements of an array that are compared, spread over the whole."""


def agree(ours: Answer, theirs: Answer, dtype: str) -> bool:
    """Say whether two answers are the same but for rounding.

    A gradient is compared with its largest element: peers round what nearly cancels.
    """
    return all(_near(a, b, TOLERANCE[dtype]) for a, b in zip(ours, theirs, strict=True))


def _near(a: Any, b: Any, tolerance: float) -> bool:
    if np.shape(a) != np.shape(b):
        return False
    every = max(1, np.size(a) // COMPARED) | 1  # odd: not one column of many
    a, b = (np.asarray(x).reshape(-1)[::every].astype(np.float64) for x in (a, b))
    size = max(float(np.abs(a).max(initial=0.0)), 1e-30)
    return bool(np.all(np.abs(a - b) <= tolerance * size))
