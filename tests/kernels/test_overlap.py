"""Kernels of overlaps: three sums, written out, and their transpose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import lossary as ls
from lossary.arrays import fused
from lossary.kernels import overlap
from lossary.kernels.interval import Interval

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
CLASSES = [0, 1, 3, 24, 37]
"""No classes but masks; few enough for one vector each; and more."""


def scores(k: int, shape: tuple[int, ...], dtype: str, logits: bool = True) -> Any:
    rng = np.random.default_rng(k)
    z = rng.normal(size=(*shape, k) if k else shape).astype(dtype)
    return 3 * z if logits else abs(z) % 1


def targets(k: int, shape: tuple[int, ...], dtype: str) -> Any:
    rng = np.random.default_rng(1)
    if k:
        return rng.integers(0, k, shape)
    return rng.choice([0.0, 0.25, 1.0], shape).astype(dtype)


def plain(
    y: Any, z: Any, items: int, logits: bool, w: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the counts, masks, probabilities and weights, in float64."""
    k = z.shape[-1] if z.ndim > y.ndim else 0
    p = z.astype(float).reshape(items, -1, k or 1)
    y, w = y.reshape(items, -1, 1), w.reshape(items, -1, 1)
    if k:
        y = (y == np.arange(k)).astype(float)
    if logits:
        e = np.exp(p - p.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True) if k else 1 / (1 + np.exp(-p))
    counts = np.stack([(w * y * p).sum(1), (w * y).sum(1), (w * p).sum(1)])
    return counts, y, p, w


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", CLASSES)
def test_counts_and_gradient_are_those_of_the_definition(k, weighted, logits, dtype):
    items, shape = 3, (3, 50, 41)
    y, z = targets(k, shape, dtype), scores(k, shape, dtype, logits)
    w, weight, keep = np.ones(shape), None, None
    if weighted:
        rng = np.random.default_rng(2)
        weight, keep = rng.uniform(0, 2, shape).astype(dtype), rng.random(shape) > 0.2
        weight[0, :3] = 0
        w = weight * keep
    expected, target, p, share = plain(y, z, items, logits, w)
    z[w == 0] = np.nan
    shares = {"weight": weight, "keep": keep}
    found, outside = overlap.counts(y, z, items, logits, **shares)
    assert not outside
    expected = expected if k else expected[..., 0]
    close = {"rtol": TOLERANCE[dtype], "atol": 100 * TOLERANCE[dtype]}
    assert_allclose(found, expected, **close)
    a, b = np.random.default_rng(3).normal(size=(2, *found[0].shape))
    got = overlap.gradient(y, z, a, b, logits, **shares)
    slope = share * (a.reshape(items, 1, -1) * target + b.reshape(items, 1, -1))
    if logits:
        mean = (p * slope).sum(-1, keepdims=True) if k else p * slope
        slope = p * (slope - mean)
    assert_allclose(got, slope.reshape(got.shape), **close)


@pytest.mark.parametrize("k", CLASSES)
def test_the_number_of_threads_changes_no_bit(k, monkeypatch):
    shape = (2, 400, 317)
    y, z = targets(k, shape, "float32"), scores(k, shape, "float32")
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", threads)
        counts, _ = overlap.counts(y, z, 2, True)
        gradient = overlap.gradient(y, z, counts[0], counts[2], True)
        found.append((counts, gradient))
    for one, three in zip(*found, strict=True):
        assert_array_equal(one, three)


@pytest.mark.parametrize("k", [0, 3])
def test_strides_change_no_bit(k):
    shape = (60, 70)
    y, z = targets(k, shape, "float32"), scores(k, shape, "float32")
    axes = (1, 0, 2) if k else (1, 0)
    turned = np.ascontiguousarray(z.transpose(axes)).transpose(axes)
    weight = np.broadcast_to(np.linspace(0.5, 2, 60, dtype="float32")[:, None], shape)
    for one, other in ((y, y.T.copy().T), (y[:, ::2], y[:, ::2].copy())):
        columns = slice(None, None, 70 // one.shape[1])
        pair = [
            overlap.counts(t, s[:, columns], 1, True, weight=weight[:, columns])[0]
            for t, s in ((one, z), (other, turned))
        ]
        assert_array_equal(*pair)
    out = np.empty_like(turned)
    a, b = np.full((2, 1, k) if k else (2, 1), 0.5)
    overlap.gradient(y, turned, a, b, True, out=out)
    assert_array_equal(out, overlap.gradient(y, z, a, b, True))


def test_a_class_number_that_names_no_class_overlaps_nothing():
    for k in (3, 37):
        y, z = targets(k, (500,), "float32"), scores(k, (500,), "float32")
        strange = np.where(np.arange(500) % 5 == 0, k + 7, y)
        seen = np.arange(500) % 5 != 0
        all_pixels, _ = overlap.counts(strange, z, 1, True)
        known, _ = overlap.counts(y[seen], z[seen], 1, True)
        assert_allclose(all_pixels[:2], known[:2], rtol=1e-6)


def test_a_counted_value_outside_its_interval_is_noticed():
    y, z = targets(0, (5000,), "float32"), scores(0, (5000,), "float32")
    keep = np.ones(5000, bool)
    y[4321], keep[4321] = 2.0, False
    limit = Interval(0.0, 1.0)
    assert overlap.counts(y, z, 1, True, y_range=limit)[1]
    assert not overlap.counts(y, z, 1, True, y_range=limit, keep=keep)[1]
    for k in (3, 37):
        labels = targets(k, (5000,), "float32")
        p = scores(k, (5000,), "float32", logits=False)
        assert not overlap.counts(labels, p, 1, False, z_range=limit)[1]
        p[4999, -1] = 1.5
        assert overlap.counts(labels, p, 1, False, z_range=limit)[1]


def test_nan_in_a_counted_pixel_stays_in_its_image():
    for k in (0, 3, 37):
        y, z = targets(k, (3, 5000), "float32"), scores(k, (3, 5000), "float32")
        z[1, 77] = np.nan
        counts, _ = overlap.counts(y, z, 3, True)
        assert np.isnan(counts[2, 1]).all()
        assert np.isfinite(counts[:, [0, 2]]).all()


def test_millions_of_float32_lose_nothing():
    n = 1 << 21
    y, p = np.ones(n, np.float32), scores(0, (n,), "float32", logits=False)
    counts, _ = overlap.counts(y, p, 1, False)
    true = math.fsum(p)
    assert abs(counts[2, 0] - true) <= 1e-12 * true


# -- through the losses ---------------------------------------------------------------

SHAPE = (4, 70, 60)
CALLS = [
    {},
    {"weight": "pixels"},
    {"weight": "images"},
    {"mask": True},
    {"weight": "pixels", "mask": True},
]


def options(weight: str = "", mask: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    found: dict[str, Any] = {}
    if weight == "pixels":
        found["sample_weight"] = rng.uniform(0, 2, SHAPE).astype("float32")
    if weight == "images":
        found["sample_weight"] = np.array([1.0, 0.0, 2.0, 3.0], "float32")
    if mask:
        found["mask"] = rng.random(SHAPE) > 0.3
    return found


def interpreted(monkeypatch: pytest.MonkeyPatch, call: Any) -> tuple[Any, Any]:
    """Return what a call gives by compiled kernels, and without them."""
    monkeypatch.setattr(fused, "COMPILED_FROM", 1)
    compiled = call()
    monkeypatch.setattr(fused, "COMPILED_FROM", 1 << 60)
    return compiled, call()


def agree(compiled: Any, plain: Any) -> None:
    for one, other in zip(compiled, plain, strict=True):
        assert one.dtype == other.dtype
        one, other = np.asarray(one), np.asarray(other)
        scale = max(1e-30, float(abs(other).max()))
        assert_allclose(one, other, rtol=0, atol=3e-6 * scale)


@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("given", CALLS, ids=repr)
@pytest.mark.parametrize("k", [0, 3, 37])
def test_compiled_and_interpreted_agree(k, given, over, monkeypatch):
    loss, given = ls.dice(over=over), options(**given)
    y, z = targets(k, SHAPE, "float32"), scores(k, SHAPE, "float32")
    agree(*interpreted(monkeypatch, lambda: loss.value_and_grad(y, z, **given)))

    def by_autograd() -> tuple[Any, Any]:
        prediction = torch.tensor(z, requires_grad=True)
        tensors = {name: torch.tensor(x) for name, x in given.items()}
        value = loss(torch.tensor(y), prediction, **tensors)
        value.backward()
        return value.detach(), prediction.grad

    agree(*interpreted(monkeypatch, by_autograd))


def test_sums_have_one_dtype_however_they_are_taken(monkeypatch):
    y, z = targets(0, SHAPE, "float32"), scores(0, SHAPE, "float32")
    for loss in (ls.dice, ls.dice(over="batch")):
        for make in (np.asarray, torch.tensor):

            def numbers(loss: Any = loss, make: Any = make) -> Any:
                sums = loss.sums(make(y), make(z))
                fields = ("overlap", "numerator", "denominator")
                return [getattr(sums, f) for f in fields if hasattr(sums, f)]

            agree(*interpreted(monkeypatch, numbers))


def test_second_derivatives_agree(monkeypatch):
    y = torch.tensor(targets(0, (2, 9), "float64"))
    z = torch.tensor(scores(0, (2, 9), "float64"), requires_grad=True)

    def bent() -> tuple[Any, Any]:
        (first,) = torch.autograd.grad(ls.dice(y, z), z, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), z)
        return first.detach(), second

    agree(*interpreted(monkeypatch, bent))


def test_the_gradient_goes_where_it_is_asked_for():
    y, z = targets(0, SHAPE, "float32"), scores(0, SHAPE, "float32")
    out = np.empty_like(z)
    _, gradient = ls.dice.value_and_grad(y, z, out=out)
    assert gradient is out
    assert_array_equal(out, ls.dice.value_and_grad(y, z)[1])


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_rows_that_may_not_be_are_named(make, monkeypatch):
    monkeypatch.setattr(fused, "COMPILED_FROM", 1)
    y, z = targets(0, SHAPE, "float32"), scores(0, SHAPE, "float32")
    y[2, 5, 5] = -1
    with pytest.raises(ls.LossaryError, match=r"y_true .* is -1 in row 2;"):
        ls.dice(make(y), make(z))
