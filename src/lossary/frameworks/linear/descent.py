"""Steps along the gradient: on all rows, or on batches, with a rate that falls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lossary.errors import DomainError
from lossary.frameworks.bundle import Array
from lossary.frameworks.linear.design import Design
from lossary.frameworks.linear.problem import Problem, Solution

Memory = dict[str, Any]
_TINY = 1e-8


def _plain(memory: Memory, gradient: Array) -> tuple[Array, Any]:
    return gradient, 1.0


def _rmsprop(memory: Memory, gradient: Array) -> tuple[Array, Any]:
    memory["v"] = 0.9 * memory.get("v", gradient**2) + 0.1 * gradient**2
    return gradient, 1 / (np.sqrt(memory["v"]) + _TINY)


def _adam(memory: Memory, gradient: Array) -> tuple[Array, Any]:
    t = memory["t"] = memory.get("t", 0) + 1
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * gradient
    memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * gradient**2
    v = memory["v"] / (1 - 0.999**t)
    return memory["m"] / (1 - 0.9**t), 1 / (np.sqrt(v) + _TINY)


@dataclass(frozen=True)
class Descent:
    """A rule for steps, and the rate and number of passes that suit it.

    Attributes
    ----------
    rule
        From memory and gradient to a direction and a size per coordinate.
    rate : float
        The default learning rate; it falls linearly to 0 over the passes.
    max_iter : int
        The default number of passes over the rows.
    batched : bool
        Whether rows come in batches, in random order.
    per_curvature : bool
        Whether the rate is in units of one over the size of the columns.
    """

    rule: Callable[[Memory, Array], tuple[Array, Any]]
    rate: float
    max_iter: int
    batched: bool = True
    per_curvature: bool = False


DESCENTS = {
    "gd": Descent(_plain, 1.0, 1000, batched=False, per_curvature=True),
    "sgd": Descent(_plain, 0.5, 200, per_curvature=True),
    "rmsprop": Descent(_rmsprop, 0.02, 200),
    "adam": Descent(_adam, 0.05, 200),
}
"""The solvers that take steps along the gradient, by name."""


@dataclass
class State:
    """What one pass hands on to the next.

    Attributes
    ----------
    theta : array, shape (p, outputs)
    memory : dict
        What the rule for steps remembers.
    """

    theta: Array
    memory: Memory = field(default_factory=dict)


def descend(
    problem: Problem,
    solver: Descent,
    *,
    max_iter: int,
    tol: float,
    learning_rate: float | None,
    batch_size: int,
    rng: np.random.Generator,
) -> Solution:
    """Pass over the rows with a rate that falls linearly to 0.

    Raises
    ------
    DomainError
        Where the steps diverge.
    """
    state, before = State(np.zeros(problem.shape)), np.inf
    rate = rate_of(problem, solver, learning_rate)
    for epoch in range(max_iter):
        if epoch == max_iter - max(max_iter // 10, 1):
            before = problem.value(state.theta)
        gradient = one_pass(
            problem, solver, state, rate * (1 - epoch / max_iter), batch_size, rng
        )
        if not solver.batched and problem.steepness(gradient, state.theta) <= tol:
            return Solution(state.theta, epoch + 1, True, problem.value(state.theta))
    after = problem.value(state.theta)
    settled = abs(before - after) <= 1e-3 * abs(after)
    return Solution(state.theta, max_iter, settled, after)


def one_pass(
    problem: Problem,
    solver: Descent,
    state: State,
    rate: float,
    batch_size: int,
    rng: np.random.Generator,
) -> Array:
    """Pass over the rows once, with a proximal step for the L1 penalty.

    Returns
    -------
    array
        The last gradient; the state is changed in place.
    """
    batches = _batches(problem, batch_size, rng) if solver.batched else [problem]
    for batch in batches:
        _, gradient = batch.smooth_part(state.theta)
        direction, size = solver.rule(state.memory, gradient)
        moved = state.theta - rate * size * direction
        shrunk = np.maximum(abs(moved) - rate * size * problem.l1, 0)
        state.theta = np.sign(moved) * shrunk
    if not np.isfinite(state.theta).all():
        raise DomainError(
            f"{problem.bundle.loss!r} diverged; pass a learning_rate below the one "
            f"given, {solver.rate:g} where none was, or solver='auto'"
        )
    return gradient


def rate_of(problem: Problem, solver: Descent, learning_rate: float | None) -> float:
    """Return the first rate, in the units of the problem."""
    rate = solver.rate if learning_rate is None else learning_rate
    if not solver.per_curvature:
        return rate
    largest = problem.design.width if solver.batched else _stretch(problem.design)
    return rate / (largest + float(problem.l2.max()))


def _stretch(design: Design) -> float:
    """Return the largest curvature of half a squared loss, by power iteration."""
    direction = np.random.default_rng(0).normal(size=design.width)
    largest = 1.0
    for _ in range(30):
        direction /= np.linalg.norm(direction)
        direction = design.pull(design.scores(direction)) / design.rows
        largest = float(np.linalg.norm(direction))
    return largest or 1.0


def _batches(
    problem: Problem, size: int, rng: np.random.Generator
) -> Iterator[Problem]:
    order = rng.permutation(problem.design.rows)
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        factor, weight = problem.factor, problem.weight
        if weight is not None:
            factor *= float(weight[rows].mean() / weight.mean())
            weight = weight[rows]
        yield replace(
            problem, design=problem.design.part(rows), y=problem.y[rows],
            weight=weight, factor=factor,
        )  # fmt: skip
