"""The passes before and after the loss of a row: kernels, and array code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lossary import kernels
from lossary.arrays import library
from lossary.projection import capping

NUMPY = library("numpy")
CAPS = [None, 5.0, 30.0]
SIZES = [(50, 3), (9, 40), (3, 3001)]


@pytest.fixture(params=["compiled", "interpreted"])
def either(request, monkeypatch):
    """Run a test with kernels, however few the numbers, and without."""
    monkeypatch.setattr("lossary.arrays.fused.COMPILED_FROM", 1)
    if request.param == "interpreted":
        monkeypatch.setattr(kernels, "available", lambda: False)


def drawn(shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any, Any]:
    """Return logits, a gradient, and a factor per row."""
    rng = np.random.default_rng(0)
    z, gradient = rng.normal(size=(2, *shape)) * [[[20]], [[1]]]
    return z.astype(dtype), gradient.astype(dtype), rng.random(shape[0])


def capped(z: Any, cap: float | None) -> Any:
    z = z.astype(np.longdouble)
    return z if cap is None else cap * np.tanh(z / cap)


def slope(z: Any, cap: float | None) -> Any:
    z = z.astype(np.longdouble)
    return 1.0 if cap is None else 1 / np.cosh(z / cap) ** 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("cap", CAPS)
def test_logits_are_capped_and_their_exponentials_summed(either, cap, shape, dtype):
    z, out, _ = drawn(shape, dtype)
    few = 8 * np.finfo(dtype).eps
    top, total = capping.forward(NUMPY, cap, z, out, True)
    truth = capped(z, cap)
    if cap is not None:
        assert_allclose(out, truth, rtol=few)
    assert_allclose(top, truth.max(axis=1), rtol=few)
    seen = (z if cap is None else out).astype(np.longdouble)
    assert_allclose(total, np.exp(seen - top[:, None]).sum(axis=1), rtol=few)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("penalised", [True, False])
def test_slopes_are_pulled_back(either, penalised, cap, shape, dtype):
    z, gradient, factor = drawn(shape, dtype)
    seen, steep = capped(z, cap), slope(z, cap)
    top, added, more = seen.max(axis=1).astype(dtype), None, 0.0
    if penalised:
        added = top, factor
        more = factor[:, None] * np.exp(seen - top[:, None])
    truth, size = (gradient + more) * steep, (abs(gradient) + more) * steep
    capping.backward(NUMPY, cap, z, gradient, added)
    few = 64 * np.finfo(dtype).eps  # the arguments of exponentials are rounded too
    assert (abs(z - truth) <= few * size).all()


def test_a_steep_logit_keeps_the_digits_of_its_small_slope(either):
    z = np.full((2, 3), 60.0)
    capping.backward(NUMPY, 4.0, z, np.ones((2, 3)), None)
    assert_allclose(z, 1 / np.cosh(15.0) ** 2, rtol=1e-14)


def test_infinite_logits_are_capped_and_have_no_slope(either):
    z = np.array([[np.inf, -np.inf, 1.0]])
    out = np.empty_like(z)
    capping.forward(NUMPY, 2.0, z, out, False)
    assert_allclose(out, [[2.0, -2.0, 2 * np.tanh(0.5)]])
    capping.backward(NUMPY, 2.0, z, np.ones((1, 3)), None)
    assert_allclose(z, [[0.0, 0.0, 1 / np.cosh(0.5) ** 2]])


def test_a_masked_class_has_no_share(either):
    z = np.array([[-np.inf, 0.0, 0.0]])
    top, total = capping.forward(NUMPY, None, z, None, True)
    assert_allclose((top[0], total[0]), (0.0, 2.0))
    capping.backward(NUMPY, None, z, np.zeros((1, 3)), (top, np.array([0.5])))
    assert_array_equal(z, [[0.0, 0.5, 0.5]])


@pytest.mark.parametrize("cap", [None, 2.0])
def test_nan_comes_out(either, cap):
    z = np.array([[1.0, np.nan, 0.0], [1.0, 2.0, 3.0]])
    out = np.empty_like(z)
    _, total = capping.forward(NUMPY, cap, z, out, True)
    assert_array_equal(np.isnan(total), [True, False])


@pytest.mark.parametrize("cap", CAPS)
def test_tensors_of_a_device_take_the_same_passes(cap):
    z, out, factor = drawn((9, 40), np.float64)
    numbers = capping.forward(NUMPY, cap, z, out, True)
    lib = library("torch")
    raw, seen = (torch.from_numpy(x.copy()) for x in (z, out))
    sums = capping.forward(lib, cap, raw, seen, True)
    for theirs, mine in zip(sums, numbers, strict=True):
        assert_allclose(theirs, mine, rtol=1e-14)
    capping.backward(NUMPY, cap, z, out, (numbers[0], factor))
    capping.backward(lib, cap, raw, seen, (sums[0], torch.from_numpy(factor)))
    assert_allclose(raw, z, rtol=1e-12, atol=1e-15)


def test_threads_change_nothing(monkeypatch):
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", threads)
        z, out, factor = drawn((64, 5000), np.float32)
        top, total = capping.forward(NUMPY, 3.0, z, out, True)
        capping.backward(NUMPY, 3.0, z, out, (top, factor / total))
        found.append((z, total))
    for one, three in zip(*found, strict=True):
        assert_array_equal(one, three)
