"""Value, slope and Hessian of a linear model's loss at given scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.arrays import fused, library_of
from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.curvature import curved, mode_of
from lossary.frameworks.linear.problem import Problem
from lossary.loss import Loss

_BLOCK = 1 << 14  # rows at a time: a few temporaries of this size fit in the cache


@dataclass(frozen=True)
class Local:
    """The loss around some scores.

    Attributes
    ----------
    value : float
        The scaled mean loss.
    slope : array, shape (n,) or (n, k)
        Its gradient in the scores.
    hessian : callable
        From the share of a bounding curvature to the Hessian in θ, flat by class.
    """

    value: float
    slope: Array
    hessian: Callable[[float], Array]


def local(problem: Problem, bundle: Bundle, z: Array) -> Local:
    """Evaluate a loss of items, and prepare its Hessian."""
    return (_of_classes if problem.several else _of_scores)(problem, bundle, z)


# -- one score per row ----------------------------------------------------------------


def _of_scores(problem: Problem, bundle: Bundle, z: Array) -> Local:
    items, slope, curvature = np.zeros((3, len(z)))
    for factor, term in bundle.terms:
        for total, part in zip(
            (items, slope, curvature), _rows(term, problem.y, z), strict=True
        ):
            total += factor * part
    share = problem.share
    value = float(share * items.sum() if problem.weight is None else share @ items)

    def hessian(bounded: float) -> Array:
        bent = _bent(problem, bundle, z, curvature, bounded)
        weight: Any = problem.spread**2 * share * bent
        if problem.weight is None and (bent == bent[0]).all():
            weight = weight[0]  # one product of the columns as they are
        result = problem.design.gram(weight)
        result[np.diag_indices_from(result)] += problem.l2[:, 0]
        return result

    return Local(value, share * slope, hessian)


def _rows(term: Loss, y: NDArray[Any], z: Array) -> tuple[Array, ...]:
    """Return value, gradient and curvature of each row, what they share only once."""
    formula = term.formula
    if fused.serves("pointwise", z):
        items = term(y, z, reduction="none", check="off")
        return (items, *term.grad_and_hess(y, z, check="off"))
    lib = library_of(z)
    nodes = (formula.value, formula.gradient, formula.curvature)
    run = lib.run_all(nodes, (*formula.inputs, *formula.params))
    y = y.astype(z.dtype, copy=False)
    with lib.quiet():
        if len(z) <= _BLOCK:
            return tuple(run(y, z, *term.params))
        found = np.empty((3, len(z)))
        for first in range(0, len(z), _BLOCK):
            part = slice(first, first + _BLOCK)
            for out, rows in zip(
                found, run(y[part], z[part], *term.params), strict=True
            ):
                out[part] = rows
        return tuple(found)


def _bent(
    problem: Problem, bundle: Bundle, z: Array, curvature: Array, bounded: float
) -> Array:
    """Return the curvature of each row, nowhere negative.

    A share of a bounding curvature is mixed in where the loss's own vanishes: the
    second derivative of a Huber loss is zero on every row that is far.
    """
    if not all(term.facts.convex for _, term in bundle.terms):
        _, curvature = bundle.grad_and_hess(problem.y, z, problem.weight)
        return curvature
    for factor, term in bundle.terms:
        if mode_of(term) == "majorised":
            _, bound = curved(term, problem.y, z, problem.weight)
            curvature = np.maximum(curvature, bounded * factor * bound)
    return curvature


# -- one score per class --------------------------------------------------------------


def _of_classes(problem: Problem, bundle: Bundle, z: Array) -> Local:
    """Evaluate losses of class numbers.

    A row's loss is φ(u) of the log-odds u of its class against the others. With q the
    shares of the others, u has the gradient e - q and the Hessian q qᵀ - diag(q).
    """
    n = np.arange(len(z))
    own, others = z[n, problem.y], z.copy()
    others[n, problem.y] = -np.inf
    top = others.max(axis=1)
    others -= top[:, None]
    q = np.exp(others, out=others)
    total = q.sum(axis=1)
    q /= total[:, None]
    items, first, second = _in_odds(bundle, own - top - np.log(total))
    share = problem.share
    value = float(share * items.sum() if problem.weight is None else share @ items)
    turn = -q
    turn[n, problem.y] = 1.0
    first, second = share * first, share * second

    def hessian(_: float) -> Array:
        return _class_hessian(problem, q, turn, first, second)

    return Local(value, first[:, None] * turn, hessian)


_OF_TRUE_CLASS: Table[Formula] = Table(lambda formula: formula.at(y=1.0))


def _in_odds(bundle: Bundle, u: Array) -> tuple[Array, Array, Array]:
    """Return the loss and its derivatives in the log-odds of the true class."""
    items, first, second = np.zeros((3, len(u)))
    for factor, term in bundle.terms:
        formula = _OF_TRUE_CLASS.of(term.formula)
        lib = library_of(u)
        nodes = (formula.value, formula.gradient, formula.curvature)
        run = lib.run_all(nodes, (*formula.inputs, *formula.params))
        with lib.quiet():
            parts = run(u, u, *term.params)
        for found, part in zip((items, first, second), parts, strict=True):
            found += factor * part
    return items, first, second


def _class_hessian(
    problem: Problem, q: Array, turn: Array, first: Array, second: Array
) -> Array:
    """Return one block per pair of classes.

    Moving all classes alike changes no loss, so that each row of blocks adds up to 0:
    those of a class with itself follow from the others.
    """
    p, k = problem.shape
    bent, shared = second[:, None] * turn, first[:, None] * q
    hessian = np.zeros((k, p, k, p))
    for a in range(k):
        for b in range(a + 1, k):
            weight = bent[:, a] * turn[:, b] + shared[:, a] * q[:, b]
            block = problem.design.gram(problem.spread**2 * weight)
            hessian[a, :, b, :] = hessian[b, :, a, :] = block
            hessian[a, :, a, :] -= block
            hessian[b, :, b, :] -= block
    typical = np.trace(hessian[0, :, 0, :]) / p
    for a in range(k):
        hessian[a, range(p), a, range(p)] += problem.l2[:, 0]
    # A step has no part in the direction that changes nothing; make it definite there.
    free = np.flatnonzero(problem.l1[:, 0] == 0)
    for at in free:
        hessian[:, at, :, at] += typical
    return hessian.reshape(k * p, k * p)
