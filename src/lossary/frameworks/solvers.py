"""Solvers for linear models on any loss.

Every solver sees the same dimensionless problem: columns of unit size, scores in
units of their spread, the loss divided by its mean gradient at the best constant.
Rates and tolerances so mean the same for every loss, target and unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.combination import combine
from lossary.errors import DomainError
from lossary.frameworks.objective import Array, Bundle
from lossary.frameworks.smoothing import smoothed


@dataclass(frozen=True)
class Problem:
    """Mean loss of ``start + spread · A θ``, times a factor, plus a penalty on θ.

    Attributes
    ----------
    A : array, shape (n, p)
        Scaled columns, with one of ones where there is an intercept.
    l1, l2 : array, shape (p, 1)
        The penalty is ``Σ l1·|θ| + l2·θ²/2``.
    outputs : int
        Scores per row; θ has shape (p, outputs).
    """

    bundle: Bundle
    A: Array
    y: NDArray[Any]
    weight: Array | None
    start: Any
    spread: float
    factor: float
    l1: Array
    l2: Array
    outputs: int = 1

    def smooth_part(
        self, theta: Array, rows: Any = slice(None), bundle: Bundle | None = None
    ) -> tuple[float, Array]:
        """Return value and gradient of everything but the L1 penalty."""
        A, y = self.A[rows], self.y[rows]
        weight = None if self.weight is None else self.weight[rows]
        share = 1.0
        if weight is not None and self.weight is not None:
            share = float(weight.mean() / self.weight.mean())
        ridge = self.l2 * theta
        value, gradient = 0.5 * float(np.sum(ridge * theta)), ridge
        if share > 0:
            z = self.start + self.spread * (A @ theta)
            z = z[:, 0] if self.bundle.task != "multiclass" else z
            loss, slope = (bundle or self.bundle).value_and_grad(y, z, weight)
            pull = A.T @ slope.reshape(len(A), -1)
            value += self.factor * share * loss
            gradient = gradient + self.factor * share * self.spread * pull
        return value, gradient

    def value(self, theta: Array) -> float:
        """Return the whole objective."""
        return self.smooth_part(theta)[0] + float(np.sum(self.l1 * abs(theta)))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of θ."""
        return self.A.shape[1], self.outputs


@dataclass(frozen=True)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    theta : array, shape (p, outputs)
    iterations : int
        Steps of L-BFGS, or passes over the rows.
    converged : bool
    """

    theta: Array
    iterations: int
    converged: bool


# -- L-BFGS ---------------------------------------------------------------------------

_WIDTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # of the spread of scores
_SETTLED = 1e-4  # relative change of the objective from one width to the next


def lbfgs(problem: Problem, max_iter: int, tol: float) -> Solution:
    """Minimise with SciPy's L-BFGS-B; kinks are approached through smooth losses.

    Where the plain run stalls although the gradient is not small, the loss has a kink
    at the optimum. It is then rounded off, less and less, each run starting from the
    one before.
    """
    plain = _lbfgs(problem, None, np.zeros(problem.shape), max_iter, tol)
    if plain.converged:
        return plain
    best, last = plain, plain.theta
    lowest, steps, converged = problem.value(plain.theta), plain.iterations, False
    for width in _WIDTHS:
        loss = smoothed(combine(problem.bundle.terms), width * problem.spread)
        if loss is None:
            break
        found = _lbfgs(problem, Bundle(loss), last, max_iter, tol)
        steps, last = steps + found.iterations, found.theta
        value = problem.value(last)
        converged = abs(value - lowest) <= _SETTLED * abs(lowest)
        if value < lowest:
            best, lowest = found, value
    return Solution(best.theta, steps, converged)


def _lbfgs(
    problem: Problem, bundle: Bundle | None, theta: Array, max_iter: int, tol: float
) -> Solution:
    from scipy.optimize import minimize

    shape, split = problem.shape, bool(problem.l1.any())
    l1 = np.broadcast_to(problem.l1, shape).ravel()

    # |θ| is smooth in θ = a - b with a, b at least 0; free coordinates keep a alone.
    def objective(x: Array) -> tuple[float, Array]:
        a, b = (x[: l1.size], x[l1.size :]) if split else (x, 0.0)
        value, gradient = problem.smooth_part((a - b).reshape(shape), bundle=bundle)
        g = gradient.ravel()
        if not split:
            return value, g
        both = np.concatenate([g + l1, l1 - g])
        return value + float(np.dot(l1, a + b)), both

    x = theta.ravel()
    bounds: list[tuple[float | None, float | None]] | None = None
    if split:
        free = l1 == 0
        x = np.concatenate([np.where(free, x, np.maximum(x, 0)),
                            np.where(free, 0, np.maximum(-x, 0))])  # fmt: skip
        bounds = [(None if f else 0.0, None) for f in free]
        bounds += [(0.0, 0.0 if f else None) for f in free]
    found = minimize(
        objective, x, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": max_iter, "maxfun": 20 * max_iter, "maxcor": 20,
                 "gtol": tol, "ftol": 0.0},
    )  # fmt: skip
    gradient = found.jac
    if split:
        free_or_inside = np.concatenate([free, np.zeros_like(free)]) | (found.x > 0)
        gradient = np.where(free_or_inside, gradient, np.minimum(gradient, 0))
        gradient[l1.size :][free] = 0.0
        theta = found.x[: l1.size] - found.x[l1.size :]
    else:
        theta = found.x
    steep = float(abs(gradient).max(initial=0.0))
    return Solution(theta.reshape(shape), int(found.nit), steep <= tol)


# -- descent --------------------------------------------------------------------------

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

SOLVERS = ("lbfgs", *DESCENTS)


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
    """Take steps along the gradient, with a proximal step for the L1 penalty.

    Raises
    ------
    DomainError
        Where the steps diverge.
    """
    first = rate = solver.rate if learning_rate is None else learning_rate
    if solver.per_curvature:
        rate /= _size(problem.A, solver.batched) + float(problem.l2.max())
    theta, memory = np.zeros(problem.shape), {}  # type: tuple[Array, Memory]
    n = len(problem.A)
    before = np.inf
    for epoch in range(max_iter):
        if epoch == max_iter - max(max_iter // 10, 1):
            before = problem.value(theta)
        now = rate * (1 - epoch / max_iter)
        for rows in _batches(n, batch_size, rng) if solver.batched else [slice(None)]:
            _, gradient = problem.smooth_part(theta, rows)
            direction, size = solver.rule(memory, gradient)
            moved = theta - now * size * direction
            theta = np.sign(moved) * np.maximum(abs(moved) - now * size * problem.l1, 0)
        if not np.isfinite(theta).all():
            raise DomainError(
                f"{problem.bundle.loss!r} diverged in pass {epoch + 1}; pass a "
                f"learning_rate below {first:g}, or solver='lbfgs'"
            )
        if not solver.batched and float(abs(gradient).max()) <= tol:
            return Solution(theta, epoch + 1, True)
    after = problem.value(theta)
    return Solution(theta, max_iter, abs(before - after) <= 1e-3 * abs(after))


def _size(A: Array, batched: bool) -> float:
    """Return the largest curvature of a squared loss: over all rows, or one row."""
    if batched:
        return float(np.mean(np.sum(A * A, axis=1)))
    return float(np.linalg.norm(A, 2) ** 2 / len(A))


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Any]:
    order = rng.permutation(n)
    for first in range(0, n, size):
        yield order[first : first + size]
