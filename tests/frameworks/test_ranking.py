"""Queries of documents: a loss of classes, one query at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import lossary as ls
from lossary.errors import DataError, DomainError, ParameterError, ShapeError
from lossary.frameworks.boosting.ranking import Queries

RNG = np.random.default_rng(0)
SIZES = np.array([3, 1, 17, 2, 5, 4])
N = SIZES.sum()
RELEVANCE = RNG.integers(1, 5, N).astype(float)
SCORES = RNG.normal(size=N)
BORDERS = np.concatenate([[0], np.cumsum(SIZES)])


@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.kl_divergence, ls.focal])
def test_padding_changes_nothing(loss):
    weight = RNG.uniform(0.5, 2, len(SIZES))
    queries = Queries(SIZES)
    gradient, curvature = queries.grad_and_hess(loss, RELEVANCE, SCORES, weight)
    value = 0.0
    for q, (a, b) in enumerate(pairwise(BORDERS)):
        y = RELEVANCE[None, a:b] / RELEVANCE[a:b].sum()
        g, h = loss.grad_and_hess(y, SCORES[None, a:b])
        np.testing.assert_allclose(gradient[a:b], weight[q] * g[0], atol=1e-12)
        if loss is not ls.focal:  # which is clipped
            np.testing.assert_allclose(curvature[a:b], weight[q] * h[0], atol=1e-12)
        value += weight[q] * loss(y, SCORES[None, a:b])
    found = queries.value(loss, RELEVANCE, SCORES, weight)
    assert found == pytest.approx(value / weight.sum())


def test_the_curvature_is_never_negative():
    _, curvature = Queries(SIZES).grad_and_hess("focal", RELEVANCE, 5 * SCORES)
    assert (curvature >= 0).all()


def test_the_gradient_is_that_of_the_value():
    queries, step = Queries(SIZES), 1e-6
    gradient, _ = queries.grad_and_hess("cross_entropy", RELEVANCE, SCORES)
    for i in range(0, N, 7):
        up, down = SCORES.copy(), SCORES.copy()
        up[i] += step
        down[i] -= step
        values = [queries.value("cross_entropy", RELEVANCE, z) for z in (up, down)]
        slope = len(SIZES) * (values[0] - values[1]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, abs=1e-6)


def test_a_query_without_relevant_documents_is_left_out():
    relevance = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    gradient, curvature = Queries([2, 3]).grad_and_hess(
        "cross_entropy", relevance, np.zeros(5)
    )
    assert gradient.tolist() == [-0.5, 0.5, 0, 0, 0]
    assert not curvature[2:].any()
    alone = Queries([2]).value("cross_entropy", relevance[:2], np.zeros(2))
    assert Queries([2, 3]).value("cross_entropy", relevance, np.zeros(5)) == alone


def test_the_scale_of_relevance_does_not_matter():
    one, ten = (
        Queries(SIZES).grad_and_hess("cross_entropy", c * RELEVANCE, SCORES)[0]
        for c in (1, 10)
    )
    np.testing.assert_allclose(one, ten, rtol=1e-12)


def test_weights_of_documents_are_those_of_their_query():
    per_query = RNG.uniform(0.5, 2, len(SIZES))
    queries = Queries(SIZES)
    a, b = (
        queries.grad_and_hess("cross_entropy", RELEVANCE, SCORES, w)[0]
        for w in (per_query, np.repeat(per_query, SIZES))
    )
    np.testing.assert_array_equal(a, b)


def test_weights_that_change_within_a_query_name_it():
    with pytest.raises(DataError, match="sample_weight changes within query 1"):
        Queries([2, 2]).weights([1.0, 1.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Queries([2, 0]), DataError, "0 at position 1 of group"),
        (lambda: Queries([2]).targets([1.0]), ShapeError, r"shape \(2,\)"),
        (lambda: Queries([2]).targets([1.0, -1.0]), DomainError, "-1 in row 1"),
        (lambda: Queries([2]).weights(np.ones(3)), ShapeError, r"got \(3,\)"),
        (lambda: Queries([2]).value("huber", [1, 0], [0, 0]), ParameterError,
         "huber cannot rank"),
    ],
)  # fmt: skip
def test_what_cannot_be_ranked_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()
