"""Rows that are compared block by block: as in one piece, in little memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd import gradcheck, gradgradcheck

import lossary as ls
from lossary.batch import prepare
from lossary.structures.pairwise import blocks, compared

N, WIDTH = 23, 3
LOSSES = [
    *(
        ls.info_nce(temperature=0.3, direction=direction, similarity=similarity)
        for direction in ("forward", "both")
        for similarity in ("cosine", "dot")
    ),
    *(ls.siglip(bias=-1.0, similarity=similarity) for similarity in ("cosine", "dot")),
]
COUNTED = list(itertools.product([False, True], repeat=2))
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
every_count = pytest.mark.parametrize(("weighted", "masked"), COUNTED)
every_reduction = pytest.mark.parametrize(
    "reduction", ["mean", "mean_over_items", "mean_over_rows", "sum", "none"]
)
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture
def way(monkeypatch):
    """Choose the way in which rows are compared."""

    def choose(name):
        monkeypatch.setattr(blocks, "LEAST", 5)
        monkeypatch.setattr(compared, "MEMORY", {"blocks": 1, "whole": 1 << 60}[name])

    return choose


@pytest.fixture
def both_ways(way):
    """Compute the same in blocks and in one piece."""

    def computed(function):
        found = []
        for name in ("blocks", "whole"):
            way(name)
            found.append(function())
        return found

    return computed


def data(weighted=False, masked=False):
    """Draw keys and queries; what is removed holds NaN."""
    rng = np.random.default_rng(0)
    keys, queries = rng.normal(size=(2, N, WIDTH))
    options = {}
    if weighted:
        options["sample_weight"] = rng.integers(0, 3, N).astype(float)
    if masked:
        options["mask"] = rng.random(N) > 0.3
        keys[~options["mask"]] = np.nan
    return keys, queries, options


def tensors(keys, queries, options):
    """Return the same as tensors, of which the vectors ask for gradients."""
    vectors = [torch.tensor(x, requires_grad=True) for x in (keys, queries)]
    return *vectors, {k: torch.tensor(v) for k, v in options.items()}


def numbers(loss):
    """Return temperature and bias as tensors that ask for gradients."""
    return {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in loss.parameters.items()
        if isinstance(value, float)
    }


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        a, b = (x.detach() if isinstance(x, torch.Tensor) else x for x in (a, b))
        assert np.isfinite(np.asarray(a)).all()
        assert_allclose(np.asarray(a), np.asarray(b), **CLOSE)


# -- the same numbers ------------------------------------------------------------------


@every_loss
@every_count
@every_reduction
def test_numpy_has_the_value_and_gradient_of_one_piece(
    loss, weighted, masked, reduction, both_ways
):
    keys, queries, options = data(weighted, masked)
    options["reduction"] = reduction
    assert_same(
        *both_ways(
            lambda: (
                loss(keys, queries, **options),
                *loss.value_and_grad(keys, queries, **options),
            )
        )
    )


@every_loss
@every_count
@every_reduction
def test_torch_has_every_gradient_of_one_piece(
    loss, weighted, masked, reduction, both_ways
):
    keys, queries, options = tensors(*data(weighted, masked))
    learned = numbers(loss)

    def computed():
        value = loss(keys, queries, **learned, **options, reduction=reduction)
        unlike = torch.arange(1.0, value.numel() + 1).reshape(value.shape)
        varied = [keys, queries, *learned.values()]
        return value, *torch.autograd.grad((unlike * value).sum(), varied)

    assert_same(*both_ways(computed))


@every_loss
def test_torch_gradient_beside_the_value(loss, both_ways):
    keys, queries, options = tensors(*data(True, True))
    assert_same(*both_ways(lambda: loss.value_and_grad(keys, queries, **options)))


@every_loss
def test_the_gradient_of_weights(loss, both_ways):
    keys, queries, _ = tensors(*data())
    weight = torch.linspace(0.5, 2.0, N, dtype=torch.float64, requires_grad=True)

    def computed():
        value = loss(keys, queries, sample_weight=weight)
        return torch.autograd.grad(value, [weight, queries])

    assert_same(*both_ways(computed))


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("order", [1, -1])
def test_maxima_may_grow_or_fall_from_block_to_block(direction, order, both_ways):
    rng = np.random.default_rng(1)
    keys, queries = rng.normal(size=(2, N, WIDTH))
    queries *= np.geomspace(1e-3, 300, N)[::order, None]
    loss = ls.info_nce(similarity="dot", direction=direction, temperature=1.0)
    options = {"reduction": "none"}
    found, expected = both_ways(lambda: loss.value_and_grad(keys, queries, **options))
    assert_same(found, expected)


@every_loss
def test_infinite_and_missing_numbers_come_out_as_in_one_piece(loss, both_ways):
    keys, queries, _ = data()
    keys[3], queries[9], queries[14] = np.nan, 1e200, -1e200
    keys[9] = 1e200
    with np.errstate(over="ignore"):
        found, expected = both_ways(
            lambda: loss(keys, queries, reduction="none", check="off")
        )
    assert_array_equal(np.isnan(found), np.isnan(expected))
    assert_allclose(found, expected, rtol=1e-12)


@every_loss
@pytest.mark.parametrize("left", [0, 1])
def test_nobody_or_one_row_is_left(loss, left, both_ways):
    keys, queries, options = tensors(*data())
    options["mask"] = torch.arange(N) < left

    def computed():
        value = loss(keys, queries, **options, empty="zero")
        return value, *torch.autograd.grad(value, [keys, queries])

    assert_same(*both_ways(computed))


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
@every_loss
def test_rows_of_a_part_are_told_from_those_of_the_whole(loss, make, both_ways):
    """As a rank tells its rows from those of all ranks."""
    keys, queries, options = data(masked=True)
    part = slice(7, 17)
    options = {k: make(v) for k, v in options.items()}
    keys, queries = make(keys), make(queries)

    def computed():
        everyone = prepare(loss, keys, queries, **options)
        own = {k: v[part] for k, v in options.items()}
        mine = prepare(loss, keys[part], queries[part], **own)
        if not own["mask"].all():
            items = loss.structure.items_among(loss, mine, everyone, part.start)
            return (mine.counting.counted(items),)
        raise AssertionError("the part has no removed row")

    found, expected = both_ways(computed)
    assert_same(found, expected)
    every = loss(keys, queries, **options, reduction="none")
    assert_same(found, (every[part],))


# -- autograd --------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_first_and_second_derivatives_are_right(loss, reduction, way):
    way("blocks")
    rng = np.random.default_rng(2)
    vectors = [
        torch.tensor(rng.normal(size=(7, 2)), requires_grad=True) for _ in range(2)
    ]
    learned = numbers(loss)

    def value(keys, queries, *values):
        given = dict(zip(learned, values, strict=True))
        return loss(keys, queries, **given, reduction=reduction)

    inputs = (*vectors, *learned.values())
    assert "ByHand" in node_names(value(*inputs))
    assert gradcheck(value, inputs)
    assert gradgradcheck(value, inputs)


def node_names(value):
    """Name the nodes of a graph, without what autograd appends."""
    names, queue = set(), [value.grad_fn]
    while queue:
        node = queue.pop()
        if node is not None:
            names.add(node.name().removesuffix("Backward"))
            queue += [n for n, _ in node.next_functions]
    return names


@every_loss
def test_only_what_asks_gets_a_gradient(loss, way):
    way("blocks")
    keys, queries, _ = data()
    expected = loss.value_and_grad(keys, queries)[1]
    keys, queries = torch.tensor(keys), torch.tensor(queries, requires_grad=True)
    loss(keys, queries).backward()
    assert keys.grad is None
    assert_allclose(queries.grad, expected, **CLOSE)


@every_loss
def test_the_temperature_alone_is_learned(loss, both_ways):
    keys, queries, _ = data()
    keys, queries = torch.tensor(keys), torch.tensor(queries)
    learned = numbers(loss)

    def computed():
        return torch.autograd.grad(loss(keys, queries, **learned), learned.values())

    assert_same(*both_ways(computed))


@every_loss
def test_a_graph_that_is_kept_gives_the_same_gradient_again(loss, way):
    way("blocks")
    keys, queries, _ = tensors(*data())
    value = loss(keys, queries)
    first, again = (
        torch.autograd.grad(value, [keys, queries], retain_graph=True) for _ in "12"
    )
    assert_same(again, first)


@every_loss
def test_transforms_go_through_it(loss, way):
    way("blocks")
    keys, queries, _ = tensors(*data())
    (expected,) = torch.autograd.grad(loss(keys, queries), queries)
    found = torch.func.grad(lambda z: loss(keys.detach(), z))(queries.detach())
    assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("loss", [LOSSES[0], LOSSES[-1]], ids=repr)
def test_a_compiler_goes_through_it(loss, way):
    way("blocks")
    keys, queries, _ = tensors(*data())
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_same([compiled(keys, queries)], [loss(keys, queries)])


@every_loss
def test_autocast_does_not_reach_the_backward_pass(loss, way):
    way("blocks")
    keys, queries, _ = (x for x in tensors(*data()))
    keys, queries = (x.detach().float().requires_grad_() for x in (keys, queries))
    expected = torch.autograd.grad(loss(keys, queries), [keys, queries])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(loss(keys, queries), [keys, queries])
    assert_same(found, expected)


@every_loss
def test_half_precision_goes_in_and_comes_out(loss, both_ways):
    keys, queries, _ = data()
    halves = [torch.tensor(x).half().requires_grad_() for x in (keys, queries)]

    def computed():
        value = loss(*halves)
        assert value.dtype == torch.float32
        return torch.autograd.grad(value, halves)

    found, expected = both_ways(computed)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float16
        assert_allclose(a, b, rtol=2e-3, atol=1e-6)


# -- memory ----------------------------------------------------------------------------

MANY = 2000
SCORES = 8 * MANY**2
"""Bytes of all scores: what is not to be in memory."""


@every_loss
def test_numpy_never_holds_all_scores(loss, monkeypatch):
    monkeypatch.setattr(blocks, "LEAST", 16)
    monkeypatch.setattr(compared, "MEMORY", SCORES // 100)
    keys, queries = np.random.default_rng(3).normal(size=(2, MANY, WIDTH))
    loss.value_and_grad(keys[:9], queries[:9])  # formulas are compiled once
    tracemalloc.start()
    try:
        loss(keys, queries)
        loss.value_and_grad(keys, queries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < SCORES / 8


@pytest.mark.parametrize("loss", LOSSES[1::2], ids=repr)
def test_torch_never_makes_a_tensor_of_all_scores(loss, monkeypatch):
    monkeypatch.setattr(blocks, "LEAST", 16)
    monkeypatch.setattr(compared, "MEMORY", SCORES // 40)
    draw = torch.Generator().manual_seed(3)
    keys, queries = (
        torch.randn(MANY, WIDTH, dtype=torch.float64, generator=draw) for _ in range(2)
    )
    queries.requires_grad_()
    keys.requires_grad_()
    with torch.profiler.profile(profile_memory=True) as seen:
        loss(keys, queries).backward()
    largest = max(event.self_cpu_memory_usage for event in seen.events())
    assert 0 < largest < SCORES / 20


def test_few_rows_are_compared_in_one_piece():
    vectors = torch.ones(50, 2, requires_grad=True)
    assert "ByHand" not in node_names(ls.info_nce(vectors, vectors))
