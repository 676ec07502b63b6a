"""Fewer rows than columns under an L2 penalty: the same problem with fewer columns.

The optimum lies in the span of the rows. With ``B = A Λ^(-1/2)`` of the penalty
``θᵀΛθ/2`` and a factor ``B Bᵀ = L Lᵀ``, scores are ``L β`` and the penalty is
``βᵀβ/2``: a column per row, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import linalg

from lossary.frameworks.bundle import Array
from lossary.frameworks.linear.design import Design
from lossary.frameworks.linear.problem import Problem

_MOST_ROWS = 2000  # beyond, products of rows cost more than many plain steps


def narrowed(problem: Problem) -> tuple[Problem, Callable[[Array], Array]]:
    """Return a problem of at most a column per row, and the way back from its θ.

    A problem that it does not suit is returned as it is.

    Examples
    --------
    >>> from lossary.frameworks.bundle import Bundle, scale_of
    >>> from lossary.frameworks.linear.design import design_of
    >>> from lossary.frameworks.linear.problem import problem_of
    >>> X, y = np.eye(3, 50), np.array([1.0, 2.0, 4.0])
    >>> bundle = Bundle("squared_error")
    >>> design, scale = design_of(X, None, intercept=True), scale_of(bundle, y)
    >>> problem = problem_of(design, y, None, bundle, scale, "l2", 1.0)
    >>> narrow, widened = narrowed(problem)
    >>> problem.shape, narrow.shape, widened(np.zeros(narrow.shape)).shape
    ((51, 1), (3, 1), (51, 1))
    """
    design, d = problem.design, len(problem.design.size)
    strength = problem.l2[:d, 0]
    few = design.rows < min(d, _MOST_ROWS)
    if not few or problem.l1.any() or not (strength > 0).all():
        return problem, lambda theta: theta
    unit = float(strength.min())  # keeps the gradient in β of the size of that in θ
    share = unit / strength
    factor, pivots = _factor(design.outer(share))
    rank = factor.shape[1]
    l2 = np.zeros((rank + int(design.intercept), 1))
    l2[:rank] = unit
    narrow = replace(
        problem,
        design=Design(
            factor, np.zeros(rank), np.ones(rank), design.intercept, np.zeros(rank)
        ),
        l1=np.zeros_like(l2),
        l2=l2,
    )

    def widened(beta: Array) -> Array:
        pull = np.zeros((design.rows, beta.shape[1]))
        pull[pivots] = linalg.solve_triangular(
            factor[pivots], beta[:rank], lower=True, trans="T"
        )
        theta = share[:, None] * design.pull(pull)[:d]
        return np.concatenate([theta, beta[rank:]])

    return narrow, widened


def _factor(product: Array) -> tuple[Array, Array]:
    """Return L of ``product = L Lᵀ``, and rows on which it is lower triangular."""
    least = len(product) * np.finfo(float).eps * float(product.diagonal().max())
    packed, order, rank, _ = linalg.lapack.dpstrf(product, tol=least, lower=1)
    factor = np.empty((len(product), rank))
    factor[order - 1] = np.tril(packed)[:, :rank]
    return factor, order[:rank] - 1
