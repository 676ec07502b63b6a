"""The columns of a linear model: centred and scaled in the algebra, not in a copy.

A solver sees columns of mean 0 and size 1 and, last, one of ones for the intercept.
It needs three things of them: scores, the pull of slopes on the coefficients, and
weighted products of columns. All follow from the same three of the columns as they
came, so that dense columns are not copied and sparse ones stay sparse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FAR = 1e3  # a mean this many sizes away from 0 costs the algebra half its digits
_ROUNDING = 1e-12
_CACHED = 1 << 16  # numbers per block of rows: they fit in the second cache


@dataclass(frozen=True)
class Design:
    """Columns ``(X - centre) / size`` and, with an intercept, a column of ones.

    Attributes
    ----------
    X : array or CSR matrix, shape (n, d)
    centre, size : array, shape (d,)
    intercept : bool
    moved : array, shape (d,)
        What X itself was moved by, where the means of columns are far from 0.
    """

    X: Any
    centre: Array
    size: Array
    intercept: bool
    moved: Array

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    @property
    def width(self) -> int:
        """The number of columns, the one of ones included."""
        return len(self.size) + self.intercept

    def part(self, rows: Any) -> Design:
        """Return some of the rows."""
        return replace(self, X=self.X[rows])

    def bare(self) -> Design:
        """Return the scale alone, without rows to keep alive."""
        return replace(self, X=self.X[:0].copy())

    def of(self, X: Any) -> Design:
        """Return other rows on the same scale."""
        return replace(self, X=X - self.moved if self.moved.any() else X)

    def unscaled(self, theta: Array) -> tuple[Array, Array]:
        """Return coefficients of the columns as they came, and what they add.

        They have shapes (k, d) and (k,) for θ of shape (p, k).
        """
        coef = (theta[: len(self.size)] / self.size[:, None]).T
        offset = theta[-1] if self.intercept else np.zeros(len(coef))
        return coef, offset - coef @ (self.centre + self.moved)

    def scores(self, theta: Array) -> Array:
        """Multiply by coefficients, shape (p,) or (p, k)."""
        coef = (theta[: len(self.size)].T / self.size).T
        z = self.X @ coef
        z += (theta[-1] if self.intercept else 0.0) - self.centre @ coef
        return np.asarray(z)

    def pull(self, slope: Array) -> Array:
        """Return ``Aᵀ slope``: shape (p,), or (p, k) of slopes of shape (n, k)."""
        total = slope.sum(axis=0)
        pulled = self.X.T @ slope
        pulled = ((pulled - np.multiply.outer(self.centre, total)).T / self.size).T
        return np.concatenate([pulled, [total]]) if self.intercept else pulled

    def gram(self, weight: Any) -> Array:
        """Return ``Aᵀ diag(weight) A``, shape (p, p); a number weighs all alike."""
        raw, pulled, total = self._raw_gram(weight)
        shifted = np.outer(pulled - total * self.centre, self.centre)
        raw -= shifted + np.outer(self.centre, pulled)
        raw /= np.multiply.outer(self.size, self.size)
        if not self.intercept:
            return raw
        whole = np.empty((self.width, self.width))
        whole[:-1, :-1] = raw
        whole[-1, :-1] = whole[:-1, -1] = (pulled - total * self.centre) / self.size
        whole[-1, -1] = total
        return whole

    def outer(self, share: Array) -> Array:
        """Return ``A diag(share) Aᵀ``, (n, n), without the column of ones."""
        scale = share / self.size**2
        if isinstance(self.X, np.ndarray):
            rows = (self.X - self.centre) * np.sqrt(scale)
            return np.asarray(rows @ rows.T)
        scaled = self.X.copy()
        scaled.data *= scale[scaled.indices]
        product, pulled = (scaled @ self.X.T).toarray(), scaled @ self.centre
        product -= np.add.outer(pulled, pulled) - self.centre @ (scale * self.centre)
        return np.asarray(product)

    def _raw_gram(self, weight: Any) -> tuple[Array, Array, float]:
        if np.ndim(weight) == 0:
            product = self.X.T @ self.X
            product = product if isinstance(product, np.ndarray) else product.toarray()
            sums = np.asarray(self.X.sum(axis=0)).ravel()
            return weight * product, weight * sums, float(weight * self.rows)
        total, pulled = float(weight.sum()), self.X.T @ weight
        if isinstance(self.X, np.ndarray):
            return _weighted_product(self.X, weight), pulled, total
        scaled = self.X.copy()
        scaled.data *= np.repeat(weight, np.diff(self.X.indptr))
        return (self.X.T @ scaled).toarray(), pulled, total


def _weighted_product(X: Array, weight: Array) -> Array:
    """Return ``Xᵀ diag(weight) X`` block by block, each product in the cache."""
    d = X.shape[1]
    step = max(_CACHED // max(d, 1), 256)
    product, buffer = np.zeros((d, d)), np.empty((min(step, len(X)), d))
    # A product with itself takes half the work; weights of both signs have no root.
    sign = -1.0 if weight.max(initial=0.0) <= 0 else 1.0
    signed = sign * weight
    rooted = bool(signed.min(initial=0.0) >= 0)
    share = np.sqrt(signed) if rooted else signed
    for first in range(0, len(X), step):
        rows = X[first : first + step]
        scaled = buffer[: len(rows)]
        np.multiply(rows, share[first : first + step, None], out=scaled)
        product += (scaled if rooted else rows).T @ scaled
    return sign * product


def design_of(X: Any, weight: Array | None, intercept: bool) -> Design:
    """Measure columns, and return them centred (with an intercept) and scaled.

    It conditions a problem and does not change it: the intercept is free, and a
    penalty is stated on the coefficients of the columns as they came.

    Examples
    --------
    >>> X = np.array([[1.0, 10.0], [3.0, 10.0]])
    >>> design = design_of(X, None, intercept=True)
    >>> design.scores(np.array([1.0, 0.0, 5.0]))
    array([4., 6.])
    """
    mean, square = _moments(X, weight)
    moved = np.zeros_like(mean)
    far = (mean**2 > (1 - _FAR**-2) * square).any()
    if far and intercept and isinstance(X, np.ndarray):
        X, moved = X - mean, mean
        mean, square = _moments(X, weight)
    centre = mean if intercept else np.zeros_like(mean)
    size = np.sqrt(np.maximum(square - centre**2, 0))
    # A constant column is zero up to rounding once it is centred.
    size[size <= _ROUNDING * abs(moved + centre)] = 1.0
    return Design(X, centre, np.where(size > 0, size, 1.0), intercept, moved)


def _moments(X: Any, weight: Array | None) -> tuple[Array, Array]:
    """Return the means of columns and of their squares."""
    if not isinstance(X, np.ndarray):
        squared = X.copy()
        squared.data **= 2
        share = np.full(X.shape[0], 1 / X.shape[0]) if weight is None else weight
        share = share / share.sum()
        return X.T @ share, squared.T @ share
    n, d = X.shape
    step, sums, squares = max(_CACHED // max(d, 1), 256), np.zeros(d), np.zeros(d)
    ones = np.ones(min(step, n))
    for first in range(0, n, step):
        rows = X[first : first + step]
        share = ones[: len(rows)] if weight is None else weight[first : first + step]
        sums += share @ rows
        squares += share @ (rows * rows)
    total = n if weight is None else weight.sum()
    return sums / total, squares / total
