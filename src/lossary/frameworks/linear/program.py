"""Losses of two straight lines and an L1 penalty, or none, as a linear program.

For more columns than rows, where the interior point's products of columns cost more
than the simplex method of HiGHS, which looks at few columns at a time.

Koenker and Bassett (1978), Regression quantiles, Econometrica 46(1). Huangfu and Hall
(2018), Parallelizing the dual revised simplex method, Math. Program. Comput. 10.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from lossary.frameworks.linear.interior import Lines
from lossary.frameworks.linear.problem import Problem, Solution


def linear_program(problem: Problem, lines: Lines, max_iter: int | None) -> Solution:
    """Minimise a loss of two lines per row under an L1 penalty.

    A score is its kink plus ``above - below``, and a penalised coefficient
    ``right - left``, all of them at least 0, at most one of each pair positive. With
    an intercept the columns need not be centred, so that sparse ones stay sparse.
    """
    design, d = problem.design, len(problem.design.size)
    columns = problem.spread * (sparse.csr_array(design.X) / design.size)
    ones = np.full((design.rows, int(design.intercept)), problem.spread)
    apart = sparse.eye_array(design.rows)
    l1, share = problem.l1[:d, 0], problem.share
    cost = [l1, l1, 0 * ones[0], share * lines.high, -share * lines.low]
    free = [(None, None)] * ones.shape[1]
    found = linprog(
        np.concatenate(cost),
        A_eq=sparse.hstack([columns, -columns, ones, -apart, apart], format="csc"),
        b_eq=lines.kink - problem.start,
        bounds=[(0, None)] * (2 * d) + free + [(0, None)] * (2 * design.rows),
        method="highs",
        options={} if max_iter is None else {"maxiter": max_iter},
    )
    theta = np.zeros(design.width)
    if found.x is not None:
        theta[:d] = found.x[:d] - found.x[d : 2 * d]
        if design.intercept:
            theta[d] = found.x[2 * d] + design.centre @ (theta[:d] / design.size)
    at = theta[:, None]
    return Solution(at, int(found.nit), bool(found.success), problem.value(at))
