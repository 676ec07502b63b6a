"""Newton's method for linear models: few steps, each a pass over the products.

The curvature of a loss in its scores is read off the formula, so that the Hessian of
a pointwise loss is ``Aᵀ diag(curvature) A``, and of a loss of classes a grid of such
products. A step is exact for squared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossary.expr.graph import Node, symbol, topological
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.linear.algebra import solver_of
from lossary.frameworks.linear.derivatives import Local, local
from lossary.frameworks.linear.interior import penalised_minimum
from lossary.frameworks.linear.problem import Problem, Solution
from lossary.frameworks.linear.smoothing import bends

_SUFFICIENT = 1e-4  # the share of the promised decrease that a step has to deliver
_HALVINGS = 40
_BOUNDED = 1e-2  # the first share of a bounding curvature, where the loss's vanishes
_NOISE = 1e-14  # relative changes of the objective below this are rounding


@dataclass(frozen=True)
class _Point:
    """Coefficients, their scores, and the loss around them."""

    theta: Array
    z: Array
    loss: Local
    value: float
    length: float = 1.0
    """Of the step that led here, as a share of Newton's."""


def newton(
    problem: Problem,
    max_iter: int,
    tol: float,
    theta: Array | None = None,
    bundle: Bundle | None = None,
) -> Solution:
    """Minimise with Newton steps, shortened until the objective falls.

    An L1 penalty stays in the model that each step minimises exactly.
    """
    bundle = bundle or problem.bundle
    theta = np.zeros(problem.shape) if theta is None else theta
    at = _at(problem, bundle, theta, problem.scores(theta))
    one_step, bounded = _is_quadratic(bundle), _BOUNDED
    for step in range(max_iter):
        gradient = problem.pull(at.loss.slope) + problem.l2 * at.theta
        if problem.steepness(gradient, at.theta) <= tol:
            return Solution(at.theta, step, True, at.value)
        direction = _direction(problem, at, gradient, at.loss.hessian(bounded))
        promised = float(np.sum(gradient * direction)) + float(
            np.sum(problem.l1 * (abs(at.theta + direction) - abs(at.theta)))
        )
        settled = -promised <= _NOISE * abs(at.value)
        found = _shortened(problem, bundle, at, direction, promised)
        if found is None:
            return Solution(at.theta, step, settled, at.value)
        if settled or one_step:
            return Solution(found.theta, step + 1, True, found.value)
        # A share that is small makes steps of Newton's, one that is large safe ones.
        bounded = bounded / 10 if found.length == 1 else min(1.0, 30 * bounded)
        at = found
    return Solution(at.theta, max_iter, False, at.value)


def _at(
    problem: Problem, bundle: Bundle, theta: Array, z: Array, length: float = 1.0
) -> _Point:
    loss = local(problem, bundle, z)
    return _Point(theta, z, loss, loss.value + problem.penalty(theta), length)


def _shortened(
    problem: Problem, bundle: Bundle, at: _Point, direction: Array, promised: float
) -> _Point | None:
    """Halve a step until it delivers; None where no step does."""
    along, length = problem.along(direction), 1.0
    noise = _NOISE * abs(at.value)
    for _ in range(_HALVINGS):
        theta, z = at.theta + length * direction, at.z + length * along
        found = _at(problem, bundle, theta, z, length)
        if found.value <= at.value + _SUFFICIENT * length * promised + noise:
            return found
        length /= 2
    return None


def _direction(problem: Problem, at: _Point, gradient: Array, hessian: Array) -> Array:
    """Return the step to the minimum of the quadratic model and the L1 penalty."""
    flat, shape = gradient.T.ravel(), gradient.T.shape
    if not problem.l1.any():
        return solver_of(hessian)(-flat).reshape(shape).T
    here = at.theta.T.ravel()
    l1 = np.broadcast_to(problem.l1, problem.shape).T.ravel()
    step = penalised_minimum(hessian, flat - hessian @ here, l1) - here
    return step.reshape(shape).T


def _is_quadratic(bundle: Bundle) -> bool:
    """Say whether the loss is a parabola in the score: one step is exact then."""
    return all(
        term.structure.name == "pointwise"
        and not bends(term)
        and _is_constant(term.formula.curvature, term.formula.inputs[-1])
        for _, term in bundle.terms
    )


def _is_constant(node: Node, name: str) -> bool:
    return symbol(name) not in topological([node])
