"""Where a loss bends: found by walking along the scores, not declared."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.linear.interior import Lines
from lossary.frameworks.linear.problem import Problem
from lossary.frameworks.linear.smoothing import bends

_REACH = 1e4  # spreads to either side, where the slopes of lines are read off
_EXACT = 1e-8  # relative
_WALKS = 6  # each 16 times closer

_LINES: WeakKeyDictionary[Problem, Lines | None] = WeakKeyDictionary()


def lines_of(problem: Problem) -> Lines | None:
    """Return the lines of a loss that is two of them per row, else None.

    They are looked for once per problem: who chooses a solver asks, and the solver.
    """
    if problem not in _LINES:
        _LINES[problem] = _found_lines(problem)
    return _LINES[problem]


def _found_lines(problem: Problem) -> Lines | None:
    bundle, y = problem.bundle, problem.y
    if bundle.task == "multiclass" or not _bends(bundle):
        return None
    if any(term.structure.name != "pointwise" for _, term in bundle.terms):
        return None
    reach = _REACH * (problem.spread + abs(y - problem.start).max())
    left = _slopes(bundle, y, np.full(len(y), problem.start - reach))
    right = _slopes(bundle, y, np.full(len(y), problem.start + reach))
    (below, low, bent), (above, high, bent_too) = left, right
    if bent.any() or bent_too.any() or not (low < high).all():
        return None
    kink = problem.start + ((low + high) * reach - (above - below)) / (high - low)
    base = below + low * (kink - problem.start + reach)
    scale = np.maximum(high, -low) * problem.spread
    for shift in (0.0, -0.1, 0.1, -3.0, 3.0):
        z = kink + shift * problem.spread
        value, _, bend = _slopes(bundle, y, z)
        line = base + np.where(z < kink, low, high) * (z - kink)
        if bend.any() or (abs(value - line) > _EXACT * scale).any():
            return None
    return Lines(kink, low, high)


def has_kink(problem: Problem) -> bool:
    """Say whether the slope of a loss jumps somewhere near the data.

    The steepest piece of a row's walk is walked again ever more closely: a slope that
    is continuous changes less and less.
    """
    bundle = problem.bundle
    if not _bends(bundle):
        return False
    picked = np.unique(np.quantile(problem.y, np.linspace(0, 1, 9), method="nearest"))
    reach = 10 * problem.spread + abs(problem.y - problem.start).max()
    low = np.full(len(picked), problem.start - reach)
    width, first = np.full(len(picked), 2 * reach), np.zeros(len(picked))
    largest = first
    for walk in range(_WALKS):
        grid = low[:, None] + width[:, None] * np.linspace(0, 1, 17)
        y = np.repeat(picked, 17)
        _, slope, _ = _slopes(bundle, y, grid.ravel())
        change = abs(np.diff(slope.reshape(grid.shape), axis=1))
        at = change.argmax(axis=1)
        largest = change[range(len(at)), at]
        first = first if walk else largest
        low, width = grid[range(len(at)), at], width / 16
    return bool((largest > 1e-3 * first).any())


def _bends(bundle: Bundle) -> bool:
    return any(bends(term) for _, term in bundle.terms)


def _slopes(bundle: Bundle, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Return value, gradient and curvature of each row."""
    value, slope, bend = np.zeros_like(z), np.zeros_like(z), np.zeros_like(z)
    for factor, term in bundle.terms:
        value += factor * term(y, z, reduction="none", check="off")
        g, h = term.grad_and_hess(y, z, check="off")
        slope, bend = slope + factor * g, bend + factor * h
    return value, slope, bend
