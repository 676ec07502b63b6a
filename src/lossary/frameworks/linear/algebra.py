"""Symmetric systems that may be singular: collinear columns, a class too many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import linalg

from lossary.frameworks.bundle import Array

_SINGULAR = 1e-12  # a pivot this small beside its diagonal is mostly rounding


def solver_of(matrix: Array) -> Callable[[Array], Array]:
    """Return what solves ``matrix @ x = b``, for a matrix without negative curvature.

    Where the solution is not unique, or the matrix is so nearly singular that its
    digits are lost, x is the shortest one.

    Examples
    --------
    >>> solve = solver_of(np.array([[2.0, 2.0], [2.0, 2.0]]))
    >>> solve(np.array([4.0, 4.0])).round(6)
    array([1., 1.])
    """
    if not len(matrix):
        return lambda b: b
    diagonal = matrix.diagonal()
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = matrix / size
    scaled /= size[:, None]
    factor, info = linalg.lapack.dpotrf(scaled, lower=1, clean=0)
    if info == 0 and (factor.diagonal() ** 2).min(initial=1.0) > _SINGULAR:
        return lambda b: linalg.lapack.dpotrs(factor, b / size, lower=1)[0] / size
    values, vectors = linalg.eigh(matrix)
    kept = values > _SINGULAR * values[-1]
    basis, inverse = vectors[:, kept], 1 / values[kept]
    return lambda b: np.asarray(basis @ (inverse * (basis.T @ b)))
