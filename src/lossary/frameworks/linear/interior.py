"""The interior-point method for losses of two straight lines, and for L1 penalties.

A loss such as the absolute error, the pinball or the hinge is, per row, a slope below
a kink and another one above it; so is the penalty |θ|. With a quadratic beside them,
one method minimises all: the exact optimum in some 10 to 20 steps, whatever the number
of rows, each step a pass over the products of columns.

Portnoy and Koenker (1997), The Gaussian hare and the Laplacian tortoise, Statist. Sci.
12(4). Mehrotra (1992), On the implementation of a primal-dual interior point method,
SIAM J. Optim. 2(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lossary.frameworks.bundle import Array
from lossary.frameworks.linear.algebra import solver_of
from lossary.frameworks.linear.problem import Problem, Solution

_LEAST = 1e-20  # distances from a bound that rounding must not make 0
_INSIDE = 0.9995  # of the way to the boundary
Mask = NDArray[np.bool_]

_MAX_STEPS = 100
_GUESSES = 20
_ROUNDING = 1e-9


class Rows(Protocol):
    """What is compared with the kinks: linear functions of θ."""

    def along(self, theta: Array) -> Array:
        """Return their values."""

    def pull(self, slope: Array) -> Array:
        """Return the gradient in θ of given gradients in the values."""

    def gram(self, weight: Array) -> Array:
        """Return the Hessian in θ of given curvatures in the values."""


@dataclass(frozen=True)
class Lines:
    """Losses of two straight lines, one per row.

    Attributes
    ----------
    kink, low, high : array, shape (n,)
        Where each bends, and its slopes below and above.
    """

    kink: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class _Scores:
    """The scores of a problem, in units of their spread, and its penalised θ."""

    problem: Problem
    penalised: Mask

    def along(self, theta: Array) -> Array:
        z = self.problem.design.scores(theta)
        return np.concatenate([z, theta[self.penalised]])

    def pull(self, slope: Array) -> Array:
        pulled = self.problem.design.pull(slope[: self.problem.design.rows])
        pulled[self.penalised] += slope[self.problem.design.rows :]
        return pulled

    def gram(self, weight: Array) -> Array:
        product = self.problem.design.gram(weight[: self.problem.design.rows])
        at = np.flatnonzero(self.penalised)
        product[at, at] += weight[self.problem.design.rows :]
        return product


@dataclass(frozen=True)
class _Coefficients:
    """The penalised coefficients alone."""

    penalised: Mask

    def along(self, theta: Array) -> Array:
        return theta[self.penalised]

    def pull(self, slope: Array) -> Array:
        pulled = np.zeros(len(self.penalised))
        pulled[self.penalised] = slope
        return pulled

    def gram(self, weight: Array) -> Array:
        return np.diag(self.pull(weight))


def interior_point(
    problem: Problem, lines: Lines, max_iter: int, tol: float
) -> Solution:
    """Minimise a loss of two lines per row, with its penalty.

    It ends where the objective is within ``tol`` / 1000 of its bound from below.
    """
    l1, l2 = problem.l1[:, 0], problem.l2[:, 0]
    penalised = l1 > 0
    none = np.zeros(int(penalised.sum()))
    rows = _Scores(problem, penalised)
    scale = problem.spread * problem.share
    both = Lines(
        np.concatenate([(lines.kink - problem.start) / problem.spread, none]),
        np.concatenate([scale * lines.low, -l1[penalised]]),
        np.concatenate([scale * lines.high, l1[penalised]]),
    )
    # The fit to the kinks by least squares is near, and costs one step.
    even = np.full(problem.design.rows, 1 / problem.design.rows)
    theta = solver_of(problem.design.gram(even[0]) + np.diag(l2))(
        problem.design.pull(even * both.kink[: problem.design.rows])
    )
    theta, slopes, steps, converged = _minimum(
        rows, np.diag(l2), np.zeros(len(l2)), both, theta, 1e-3 * tol, max_iter
    )
    kinks = slopes[problem.design.rows :]
    theta[_zeros(theta, penalised, kinks, l1)] = 0.0
    found = theta[:, None]
    return Solution(found, steps, converged, problem.value(found))


def penalised_minimum(quadratic: Array, linear: Array, l1: Array) -> Array:
    """Minimise ``θᵀHθ/2 + gᵀθ + Σ l1·|θ|``, with exact zeros.

    Examples
    --------
    >>> penalised_minimum(np.eye(2), np.array([-3.0, 0.5]), np.array([1.0, 1.0]))
    array([2., 0.])
    """
    found = _by_signs(quadratic, linear, l1)
    if found is not None:
        return found
    penalised = l1 > 0
    strength = l1[penalised]
    lines = Lines(np.zeros(len(strength)), -strength, strength)
    theta = solver_of(quadratic + np.diag(l1))(-linear)
    theta, slopes, _, _ = _minimum(
        _Coefficients(penalised), quadratic, linear, lines, theta, 1e-12, _MAX_STEPS
    )
    kept = ~_zeros(theta, penalised, slopes, l1)
    # Given the signs, the rest is a linear system: no trace of the barrier is left.
    exact = _given_signs(quadratic, linear + l1 * np.sign(theta), kept)
    rough = np.where(kept, theta, 0.0)

    def value(theta: Array) -> float:
        smooth = theta @ (quadratic @ theta / 2 + linear)
        return float(smooth + l1 @ abs(theta))

    return exact if value(exact) <= value(rough) else rough


def _by_signs(quadratic: Array, linear: Array, l1: Array) -> Array | None:
    """Guess which coefficients are zero and the signs of the rest, and mend the guess.

    A few small systems mostly suffice; None where the guesses go round in circles.
    """
    whole, kept = solver_of(quadratic), np.ones(len(l1), dtype=bool)
    sign = np.sign(whole(-linear))
    theta = whole(-linear - l1 * sign)
    for _ in range(_GUESSES):
        wrong = kept & (l1 > 0) & (np.sign(theta) != sign)
        kept = kept & ~wrong
        if not wrong.any():
            slope = quadratic @ theta + linear
            missing = ~kept & (abs(slope) > l1 * (1 + _ROUNDING))
            if not missing.any():
                # Of a singular system, what was solved may be no solution.
                off = abs(slope + l1 * sign)[kept].max(initial=0.0)
                return theta if off <= _ROUNDING * abs(linear).max() else None
            kept, sign = kept | missing, np.where(missing, -np.sign(slope), sign)
        theta = _given_signs(quadratic, linear + l1 * sign, kept)
    return None


def _given_signs(quadratic: Array, linear: Array, kept: Mask) -> Array:
    theta = np.zeros(len(linear))
    theta[kept] = solver_of(quadratic[np.ix_(kept, kept)])(-linear[kept])
    return theta


def _zeros(theta: Array, penalised: Mask, slopes: Array, l1: Array) -> Mask:
    """Mark coefficients at their kink: the slope there is strictly inside ±l1."""
    inside = np.zeros(len(theta))
    inside[penalised] = 1 - abs(slopes) / l1[penalised]
    largest = max(float(abs(theta).max(initial=0.0)), 1e-3)  # θ has no units
    return np.asarray(penalised & (abs(theta) < inside * largest))


@dataclass
class _Iterate:
    """A point inside all bounds, and how far it is from optimal.

    The distance of a row from its kink is ``above - below``, both positive; its slope
    stays inside (low, high). At the optimum ``above·(high - slope)`` and
    ``below·(slope - low)`` are zero; the method follows the path on which they are
    equal, and shrink together.
    """

    theta: Array
    slope: Array
    above: Array
    below: Array
    distance: Array

    def gap(self, lines: Lines) -> float:
        """Return Σ above·(high - slope) + below·(slope - low)."""
        rest = self.above @ (lines.high - self.slope)
        return float(rest + self.below @ (self.slope - lines.low))

    def moved(self, move: _Iterate, ahead: float, tilted: float) -> _Iterate:
        """Move coefficients by one length, slopes by another."""
        return _Iterate(
            self.theta + ahead * move.theta,
            self.slope + tilted * move.slope,
            np.maximum(self.above + ahead * move.above, _LEAST),
            np.maximum(self.below + ahead * move.below, _LEAST),
            self.distance + ahead * move.distance,
        )

    def reach(self, move: _Iterate, lines: Lines) -> tuple[float, float]:
        """Return how far coefficients and slopes can move inside their bounds."""
        return (
            _reach((self.above, move.above), (self.below, move.below)),
            _reach(
                (np.maximum(lines.high - self.slope, _LEAST), -move.slope),
                (np.maximum(self.slope - lines.low, _LEAST), move.slope),
            ),
        )


def _minimum(
    rows: Rows,
    quadratic: Array,
    linear: Array,
    lines: Lines,
    theta: Array,
    gap: float,
    max_iter: int,
) -> tuple[Array, Array, int, bool]:
    """Return θ, the slope of each line at the minimum, steps, and whether it is one."""
    low, high = lines.low, lines.high
    distance = rows.along(theta) - lines.kink
    margin = 0.1 * float(abs(distance).mean()) or 1.0
    at = _Iterate(
        theta,
        np.where((low < 0) & (high > 0), 0.0, (low + high) / 2),
        np.maximum(distance, 0) + margin,
        np.maximum(-distance, 0) + margin,
        distance,
    )
    together = bool(quadratic.any())  # θ and slopes must then take the same step
    for step in range(max_iter):
        pull = -(quadratic @ at.theta + linear + rows.pull(at.slope))
        if at.gap(lines) <= gap and abs(pull).max() <= gap**0.5:
            return at.theta, at.slope, step, True
        at = _next(rows, quadratic, lines, at, pull, together)
    return at.theta, at.slope, max_iter, False


def _next(
    rows: Rows,
    quadratic: Array,
    lines: Lines,
    at: _Iterate,
    pull: Array,
    together: bool,
) -> _Iterate:
    """Take Mehrotra's step: see how far the plain one gets, then correct its course."""
    least = _LEAST * (lines.high - lines.low)  # rounding may put a slope on its bound
    up = np.maximum(lines.high - at.slope, least)
    down = np.maximum(at.slope - lines.low, least)
    far, near = at.above / up, at.below / down
    off = at.above - at.below - at.distance
    stiff = 1 / (far + near)
    solve = solver_of(quadratic + rows.gram(stiff))

    def towards(rise: Array, fall: Array) -> _Iterate:
        wanted = off + rise - fall
        turn = solve(pull + rows.pull(stiff * wanted))
        shift = rows.along(turn)
        tilt = stiff * (shift - wanted)
        return _Iterate(turn, tilt, rise + far * tilt, fall - near * tilt, shift)

    plain = towards(-at.above, -at.below)
    gap = at.gap(lines)
    left = at.moved(plain, *at.reach(plain, lines)).gap(lines)
    level = gap * (left / gap) ** 3 / (2 * len(at.slope))
    move = towards(
        (level + plain.above * plain.slope) / up - at.above,
        (level - plain.below * plain.slope) / down - at.below,
    )
    ahead, tilted = at.reach(move, lines)
    if together:
        ahead = tilted = min(ahead, tilted)
    return at.moved(move, ahead, tilted)


def _reach(*pairs: tuple[Array, Array]) -> float:
    """Return how far positive numbers can move before one of them is zero."""
    fastest = max(float((-change / now).max(initial=0.0)) for now, change in pairs)
    return min(1.0, _INSIDE / fastest) if fastest > 0 else 1.0
