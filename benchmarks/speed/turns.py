"""Competitors on large arrays: they take turns, and show their memory one by one.

A program of such a kind has a table of them. Each is given the same arrays, and
returns the value of a loss and its gradients.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from speed import resident

PAUSE = 0.05
"""Seconds in which the threads of one competitor stop spinning before the next."""

Run = Callable[[Any], tuple[Any, ...]]


def pulled(loss: Callable[..., Any], leaves: Sequence[Any], *others: Any) -> Any:
    """Return value and gradients of a loss, by PyTorch's autograd."""
    leaves = [x.detach().requires_grad_() for x in leaves]
    value = loss(*leaves, *others)
    value.backward()
    return value.detach(), *(x.grad for x in leaves)


def products(multiply: Callable[..., Any], a: Any, b: Any) -> tuple[Any, ...]:
    """Multiply each row of one matrix with each of the other, and pull that back."""
    scores = multiply(a, b.T)
    return scores, multiply(scores, b), multiply(scores.T, a)


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what a program was asked for, and use as many threads."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    return asked


def agree(runs: Mapping[str, Run], data: Any, reference: str, tolerance: float) -> None:
    """Hold value and gradients of all to those of one, in units of the largest."""
    expected = runs[reference](data)
    for name, run in runs.items():
        for mine, theirs in zip(run(data), expected, strict=False):
            mine, theirs = np.asarray(mine), np.asarray(theirs)
            apart = abs(mine - theirs).max() / abs(theirs).max()
            if not apart <= tolerance:
                raise SystemExit(f"{name} differs from {reference} by {apart:.1e}")


def times(runs: Mapping[str, Run], data: Any, turns: int) -> dict[str, list[float]]:
    """Return seconds, of all in turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):  # the first is not counted
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run(data)
            if turn:
                found[name].append(time.perf_counter() - start)
    return found


def ratio(seconds: list[float], floor: list[float]) -> float:
    """Return the median of the ratios within a turn."""
    return median(s / f for s, f in zip(seconds, floor, strict=True))


def peak(run: Run, warm: Any, data: Any) -> int:
    """Return the bytes that a call took at its peak, beyond inputs and gradients.

    `warm` is computed before: threads are started, and code is loaded.
    """
    run(warm)
    ctypes.CDLL(None).malloc_trim(0)
    resident.forget_peak()
    before = resident.now()
    kept = run(data)
    gradients: int = sum(g.nbytes for g in kept[1:])
    return resident.peak() - before - gradients


def peak_alone(name: str) -> float:
    """Return what this program prints of one competitor, in a process of its own."""
    command = [sys.executable, *sys.argv, "--peak", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)
