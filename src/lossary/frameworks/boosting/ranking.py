"""Ranking: a loss of classes, where the classes are the documents of a query.

Every query is a row of class scores, one per document, and its relevance is a
distribution over them. Cross-entropy is then ListNet's top-one loss (Cao et al.
(2007), Learning to rank: from pairwise approach to listwise approach, ICML), which
CatBoost calls QuerySoftMax.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DataError, DomainError, ParameterError, ShapeError, some_rows
from lossary.frameworks.curvature import curved
from lossary.loss import Loss
from lossary.registry import get

Array = NDArray[np.float64]


class Queries:
    """The queries of a ranking data set, whose documents follow one another.

    Parameters
    ----------
    sizes : array-like of int, shape (q,)
        How many documents each query has, at least 1; they add up to n.

    Raises
    ------
    DataError
        For a size below 1.

    Examples
    --------
    >>> queries = Queries([2, 3])
    >>> queries.n, queries.number.tolist()
    (5, [0, 0, 1, 1, 1])
    >>> relevance, scores = [1, 0, 0, 3, 1], np.zeros(5)
    >>> gradient, _ = queries.grad_and_hess("cross_entropy", relevance, scores)
    >>> gradient.round(2).tolist()
    [-0.5, 0.5, 0.33, -0.42, 0.08]
    """

    def __init__(self, sizes: ArrayLike) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64).reshape(-1)
        empty = np.flatnonzero(self.sizes < 1)
        if empty.size:
            raise DataError(
                "the groups of a ranking must have at least 1 document each, but there "
                f"is {self.sizes[empty[0]]} at position {empty[0]} of group; leave "
                "out empty queries"
            )

    @property
    def n(self) -> int:
        """The number of documents."""
        return int(self.sizes.sum())

    @cached_property
    def number(self) -> NDArray[np.int64]:
        """The number of the query that each document belongs to, shape (n,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def grad_and_hess(
        self,
        loss: Any,
        relevance: ArrayLike,
        scores: ArrayLike,
        weight: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and curvature of each document's score, weighted.

        A query without a relevant document, or of weight 0, has none.

        Parameters
        ----------
        loss : str or Loss
            A loss of a distribution over classes, such as "cross_entropy".
        relevance : array-like, shape (n,)
            At least 0; divided by its sum in the query, it is the target.
        scores : array-like, shape (n,)
        weight : array-like, shape (q,) or (n,), optional
            One per query; given per document, they must agree within a query.

        Returns
        -------
        gradient, curvature : array, shape (n,)
        """
        loss, w = listwise(loss), self.weights(weight)
        target, share = self.targets(relevance)
        share = share * w
        gradient, curvature = np.zeros(self.n), np.zeros(self.n)
        for rows, inside, y, z in self._padded(target, scores):
            scale = share[rows][:, None]
            for whole, part in zip(
                (gradient, curvature), curved(loss, y, z), strict=True
            ):
                whole[self._documents(rows, inside)] = (scale * part)[inside]
        return gradient, curvature

    def value(
        self,
        loss: Any,
        relevance: ArrayLike,
        scores: ArrayLike,
        weight: ArrayLike | None = None,
    ) -> float:
        """Return the mean loss of the queries that have a relevant document.

        Examples
        --------
        >>> round(Queries([2, 1]).value("cross_entropy", [1, 0, 0], np.zeros(3)), 4)
        0.6931
        """
        loss, w = listwise(loss), self.weights(weight)
        target, share = self.targets(relevance)
        share = share * w
        total = 0.0
        for rows, _, y, z in self._padded(target, scores):
            items = loss(y, z, reduction="none", check="off")
            total += float(np.dot(share[rows], items))
        return total / float(share.sum()) if share.any() else float("nan")

    def targets(self, relevance: ArrayLike) -> tuple[Array, Array]:
        """Return relevance as a distribution within each query, and which have one.

        Returns
        -------
        target : array, shape (n,)
        has : array, shape (q,)
            1 for a query with a relevant document, else 0.

        Raises
        ------
        DomainError
            For a relevance below 0 or NaN, naming rows.
        """
        y = np.asarray(relevance, dtype=np.float64)
        if y.shape != (self.n,):
            raise ShapeError(
                f"the target of a ranking must have one relevance per document, shape "
                f"({self.n},) as the groups add up, got {y.shape}"
            )
        bad = ~(np.isfinite(y) & (y >= 0))
        if bad.any():
            raise DomainError(
                "the relevance of a document must be a finite number, at least 0, but "
                f"there is {y[bad][0]:g} in {some_rows(np.flatnonzero(bad))}"
            )
        totals = np.bincount(self.number, y, len(self.sizes))
        has = totals > 0
        target = y / np.where(has, totals, 1.0)[self.number]
        return target, has.astype(np.float64)

    def weights(self, weight: ArrayLike | None) -> Array:
        """Return one weight per query.

        Raises
        ------
        DataError
            For documents of one query with different weights.
        ShapeError
            For neither one weight per query nor one per document.
        """
        if weight is None:
            return np.ones(len(self.sizes))
        w = np.asarray(weight, dtype=np.float64)
        if w.shape == self.sizes.shape:
            return w
        if w.shape != (self.n,):
            raise ShapeError(
                "sample_weight of a ranking must have one weight per query, shape "
                f"({len(self.sizes)},), or per document, shape ({self.n},), got "
                f"{w.shape}"
            )
        first: Array = w[self._first]
        uneven = first[self.number] != w
        if uneven.any():
            raise DataError(
                "a ranking has one weight per query, but sample_weight changes within "
                f"query {self.number[uneven][0]}; give all documents of a query the "
                "same weight"
            )
        return first

    # -- padding ----------------------------------------------------------------------

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        return np.cumsum(self.sizes) - self.sizes

    def _padded(
        self, target: Array, scores: ArrayLike
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_], Array, Array]]:
        """Yield queries of similar size as rows of equal length.

        A document that is not there has target 0 and score -inf: a class that is
        ruled out. Only sizes up to a factor of 2 share a table, so that one long query
        does not stretch them all.
        """
        scores = np.asarray(scores, dtype=np.float64)
        scale = np.ceil(np.log2(self.sizes)).astype(np.int64)
        for level in np.unique(scale):
            rows = np.flatnonzero(scale == level)
            inside = np.arange(self.sizes[rows].max()) < self.sizes[rows][:, None]
            y, z = np.zeros(inside.shape), np.full(inside.shape, -np.inf)
            documents = self._documents(rows, inside)
            y[inside], z[inside] = target[documents], scores[documents]
            yield rows, inside, y, z

    def _documents(
        self, rows: NDArray[np.int64], inside: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        every = self._first[rows][:, None] + np.arange(inside.shape[1])
        return every[inside]


def listwise(loss: Any) -> Loss:
    """Look up a loss of a distribution over classes.

    Raises
    ------
    ParameterError
        For another kind of loss.

    Examples
    --------
    >>> listwise("kl_divergence")
    kl_divergence
    """
    found = get(loss)
    if (
        not isinstance(found, Loss)
        or found.structure.name != "rowwise"
        or found.form != "class_logits"
    ):
        raise ParameterError(
            f"{found!r} cannot rank; use a loss of a distribution over classes, the "
            "documents of a query, such as 'cross_entropy' or 'kl_divergence'"
        )
    if found.parameters.get("label_smoothing"):
        raise ParameterError(
            f"{found!r} cannot rank, since queries have as many classes as documents; "
            "smooth the relevances themselves, and leave label_smoothing out"
        )
    return found
