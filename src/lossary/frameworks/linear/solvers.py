"""The solvers of linear models by name, and which one suits a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from lossary.combination import combine
from lossary.errors import ParameterError
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.linear.interior import interior_point
from lossary.frameworks.linear.kinks import has_kink, lines_of
from lossary.frameworks.linear.newton import newton
from lossary.frameworks.linear.problem import Problem, Solution
from lossary.frameworks.linear.program import linear_program
from lossary.frameworks.linear.smoothing import smoothed
from lossary.structures.rowwise import smoothing

_WIDTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # of the spread of scores
_NEAR = 1e-5  # narrow enough, where the objective has settled
_SETTLED = 1e-4  # relative change of the objective from one width to the next

_MOST_COEFFICIENTS = 1000  # beyond, products of columns cost more than plain steps

Smooth = Callable[[Problem, int, float, Array, Bundle | None], Solution]


def choose(problem: Problem) -> str:
    """Name the solver that is fastest and exact for a loss.

    For two lines per row the interior point or, under an L1 penalty on more columns
    than rows, a linear program; Newton's method for other convex losses of moderately
    many columns; L-BFGS for the rest.
    """
    convex = all(term.facts.convex for _, term in problem.bundle.terms)
    small = problem.design.width * problem.outputs <= _MOST_COEFFICIENTS
    if not (convex and _has_hessian(problem)):
        return "lbfgs"
    wide = problem.design.width > problem.design.rows
    if not (small or wide):
        return "lbfgs"
    if lines_of(problem) is None:
        return "newton-cholesky" if small else "lbfgs"
    if wide and problem.l1.any():
        return "highs"
    return "interior-point" if small else "lbfgs"


def _has_hessian(problem: Problem) -> bool:
    """Say whether the Hessian follows from the curvature of rows."""
    structures = {term.structure.name for _, term in problem.bundle.terms}
    if problem.several:
        terms = [term for _, term in problem.bundle.terms]
        convex = all(term.facts.convex for term in terms)
        single = problem.y.ndim == 1 and not any(map(smoothing, terms))
        return structures == {"rowwise"} and single and convex
    return structures == {"pointwise"}


# -- losses with and without kinks ----------------------------------------------------


def _by_lbfgs(problem: Problem, max_iter: int | None, tol: float) -> Solution:
    steps = max_iter or 1000
    plain = _lbfgs(problem, steps, tol, np.zeros(problem.shape))
    return plain if plain.converged else _sharpened(problem, _lbfgs, steps, tol, plain)


def _by_newton(problem: Problem, max_iter: int | None, tol: float) -> Solution:
    if not _has_hessian(problem):
        raise ParameterError(
            f"solver='newton-cholesky' needs the curvature of each row's loss, and "
            f"{problem.bundle.loss!r} has none for it; use solver='lbfgs' or 'auto'"
        )
    steps, start = max_iter or 100, np.zeros(problem.shape)
    if has_kink(problem):
        flat = Solution(start, 0, False, problem.value(start))
        return _sharpened(problem, newton, steps, tol, flat)
    found = newton(problem, steps, tol, start)
    if found.converged:
        return found
    # A curvature that vanishes almost everywhere says little; slopes say enough.
    rest = _lbfgs(problem, 10 * steps, tol, found.theta)
    rest = replace(rest, iterations=found.iterations + rest.iterations)
    return rest if rest.converged else _sharpened(problem, newton, steps, tol, rest)


def _by_interior_point(problem: Problem, max_iter: int | None, tol: float) -> Solution:
    lines = lines_of(problem)
    if lines is None:
        raise ParameterError(
            f"solver='interior-point' is for losses of two straight lines per row, and "
            f"{problem.bundle.loss!r} is none; use solver='auto'"
        )
    return interior_point(problem, lines, max_iter or 100, tol)


def _by_linear_program(problem: Problem, max_iter: int | None, tol: float) -> Solution:
    lines = lines_of(problem)
    if lines is None or problem.l2.any():
        raise ParameterError(
            "solver='highs' is for losses of two straight lines per row without an L2 "
            f"penalty, and {problem.bundle.loss!r} is none; use solver='auto'"
        )
    return linear_program(problem, lines, max_iter)


def _sharpened(
    problem: Problem, smooth: Smooth, max_iter: int, tol: float, plain: Solution
) -> Solution:
    """Approach kinks: the loss rounded off less and less, each from the one before.

    A solver that follows slopes stalls at a kink although the gradient is not small.
    """
    best, last, steps, converged = plain, plain.theta, plain.iterations, False
    for width in _WIDTHS:
        loss = smoothed(combine(problem.bundle.terms), width * problem.spread)
        if loss is None:
            break
        found = smooth(problem, max_iter, tol, last, Bundle(loss))
        steps, last = steps + found.iterations, found.theta
        value = problem.value(last)
        settled = abs(value - best.value) <= _SETTLED * abs(best.value)
        ended = found.converged or 0 < found.iterations < max_iter
        converged = settled and ended
        if value < best.value:
            best = replace(found, value=value)
        if converged and width <= _NEAR:
            break
    return replace(best, iterations=steps, converged=converged)


def _lbfgs(
    problem: Problem,
    max_iter: int,
    tol: float,
    theta: Array,
    bundle: Bundle | None = None,
) -> Solution:
    shape, split = problem.shape, bool(problem.l1.any())
    l1 = np.broadcast_to(problem.l1, shape).ravel()

    # |θ| is smooth in θ = a - b with a, b at least 0; free coordinates keep a alone.
    def objective(x: Array) -> tuple[float, Array]:
        a, b = (x[: l1.size], x[l1.size :]) if split else (x, 0.0)
        value, gradient = problem.smooth_part((a - b).reshape(shape), bundle)
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
    return Solution(
        theta.reshape(shape), int(found.nit), steep <= tol, float(found.fun)
    )


BATCH_SOLVERS: dict[str, Callable[[Problem, int | None, float], Solution]] = {
    "newton-cholesky": _by_newton,
    "interior-point": _by_interior_point,
    "highs": _by_linear_program,
    "lbfgs": _by_lbfgs,
}
"""The solvers that see all rows at once, by name."""
