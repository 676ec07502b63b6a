"""Linear cross-entropy of NumPy: values, gradients, meaning, memory, errors."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from projection.cases import CLASSES, OPTIONS, ROWS, WIDTH, arrays, expected

import lossary as ls
from lossary import kernels
from lossary.kernels import rows

FEW_ROWS = 2_000
"""Bytes in which only some rows fit: several chunks, and blocks of the weight."""

lce = ls.linear_cross_entropy


def agree(found: Any, truth: Any, rtol: float = 1e-12) -> None:
    value, gradients = found
    np.testing.assert_allclose(value, truth[0], rtol=rtol)
    for mine, theirs in zip(gradients, truth[1], strict=True):
        scale = abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * scale)


@pytest.fixture(params=["compiled", "interpreted"])
def either(request, monkeypatch):
    """Run a test with compiled kernels, however few the numbers, and without."""
    compiled = request.param == "compiled"
    monkeypatch.setattr("lossary.arrays.fused.COMPILED_FROM", 1)
    if not compiled:
        monkeypatch.setattr(kernels, "available", lambda: False)


# -- value and gradients --------------------------------------------------------------


@pytest.mark.parametrize("memory", [None, FEW_ROWS], ids=["at once", "in chunks"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_value_and_gradients_are_those_of_the_formula(either, options, memory):
    x = arrays()
    found = lce.value_and_grad(**x, **options, memory=memory)
    agree(found, expected(x, options))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_value_alone_is_the_value(either, options):
    x = arrays()
    found = lce(**x, **options, memory=FEW_ROWS)
    np.testing.assert_allclose(found, expected(x, options)[0], rtol=1e-13)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_losses_one_by_one_add_up_and_have_the_gradients_of_their_sum(options):
    x = arrays()
    w = np.random.default_rng(1).integers(0, 3, ROWS)
    items, gradients = lce.value_and_grad(
        **x, **options, sample_weight=w, reduction="none", memory=FEW_ROWS
    )
    assert items.shape == (ROWS,)
    agree((items.sum(), gradients), expected(x, options, w, 1.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sums_of_narrow_inputs_are_wide(dtype):
    x = arrays(dtype)
    value, gradients = lce.value_and_grad(**x, memory=FEW_ROWS)
    truth, slopes = expected(x, {})
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, truth, rtol=1e-6)
    for mine, theirs in zip(gradients, slopes, strict=True):
        assert mine.dtype == dtype
        rounding = np.finfo(dtype).eps
        np.testing.assert_allclose(mine, theirs, rtol=rounding, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"softcap": 3.0, "z_loss": 0.01}], ids=repr)
def test_a_long_vocabulary_goes_through_the_kernels(options):
    rng = np.random.default_rng(2)
    x = arrays() | {
        "weight": rng.normal(size=(5000, WIDTH)),
        "bias": np.zeros(5000),
        "labels": rng.integers(0, 5000, ROWS),
    }
    found = lce.value_and_grad(**x, **options, memory=1 << 20)
    agree(found, expected(x, options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 40, 3000])
def test_the_kernel_writes_over_its_logits(dtype, classes):
    rng = np.random.default_rng(3)
    z = rng.normal(size=(50, classes)).astype(dtype) * 5
    y, w = rng.integers(0, classes, 50), rng.random(50).astype(dtype)
    given = (ls.cross_entropy.formula, (), y)
    totals, apart = rows.value_and_grad(*given, z.copy(), weight=w, scale=0.5)
    again, over = rows.value_and_grad(*given, z, weight=w, scale=0.5, out=z)
    assert over is z
    assert again == totals
    np.testing.assert_array_equal(over, apart)


def test_without_a_bias_there_is_no_gradient_of_it():
    x = arrays() | {"bias": np.zeros(CLASSES)}
    truth = expected(x, {})
    del x["bias"]
    value, (*gradients, nothing) = lce.value_and_grad(**x)
    assert nothing is None
    agree((value, gradients), (truth[0], truth[1][:2]))


def test_leading_axes_are_rows():
    x = arrays()
    several = {"hidden": x["hidden"][:20].reshape(4, 5, WIDTH)}
    several["labels"] = x["labels"][:20].reshape(4, 5)
    flat = x | {"hidden": x["hidden"][:20], "labels": x["labels"][:20]}
    value, gradients = lce.value_and_grad(**(x | several))
    assert gradients[0].shape == (4, 5, WIDTH)
    truth, slopes = lce.value_and_grad(**flat)
    assert value == truth
    np.testing.assert_array_equal(gradients[0].reshape(20, WIDTH), slopes[0])
    items = lce(**(x | several), reduction="none")
    assert items.shape == (4, 5)


# -- which rows count, and how much ---------------------------------------------------


def test_removed_rows_hold_whatever_they_like(either):
    x = arrays()
    keep = np.arange(ROWS) % 3 != 0
    w = np.where(np.arange(ROWS) % 4 == 1, 0.0, 1.5)
    truth = expected(x, {"z_loss": 0.1}, w * keep)
    x["hidden"][(w == 0) | ~keep] = np.nan
    x["labels"][~keep] = -5
    found = lce.value_and_grad(
        **x, z_loss=0.1, sample_weight=w, mask=keep, memory=FEW_ROWS
    )
    agree(found, truth)
    assert not found[1][0][(w == 0) | ~keep].any()


def test_ignored_labels_are_removed_rows():
    x = arrays()
    keep = np.arange(ROWS) % 2 == 0
    truth = expected(x, {}, keep)
    x["labels"][~keep] = -100
    agree(lce.value_and_grad(**x, ignore_index=-100), truth)


def test_class_weights_multiply_rows_and_divide_the_mean():
    x = arrays()
    of_classes = np.arange(CLASSES) / 4
    w = of_classes[x["labels"]]
    agree(lce.value_and_grad(**x, class_weight=of_classes), expected(x, {}, w))
    once_more = np.linspace(0, 2, ROWS)
    agree(
        lce.value_and_grad(**x, class_weight=of_classes, sample_weight=once_more),
        expected(x, {}, w * once_more),
    )


@pytest.mark.parametrize(
    ("reduction", "divisor"),
    [("mean", None), ("mean_over_items", 18.0), ("sum", 1.0)],
)
def test_every_mean_has_its_denominator(reduction, divisor):
    x = arrays()
    w = np.where(np.arange(ROWS) < 5, 0.0, 2.5)
    found = lce.value_and_grad(**x, sample_weight=w, reduction=reduction)
    agree(found, expected(x, {}, w, divisor))


def test_the_mean_over_rows_is_the_mean_of_their_means():
    x = arrays() | {"hidden": arrays()["hidden"][:20].reshape(4, 5, WIDTH)}
    x["labels"] = x["labels"][:20].reshape(4, 5)
    mask = np.arange(20).reshape(4, 5) % 3 != 0
    found = lce(**x, mask=mask, reduction="mean_over_rows")
    items = lce(**x, reduction="none")
    means = [row[kept].mean() for row, kept in zip(items, mask, strict=True)]
    np.testing.assert_allclose(found, np.mean(means), rtol=1e-13)


@pytest.mark.parametrize(("empty", "value"), [("nan", np.nan), ("zero", 0.0)])
def test_the_mean_of_nothing_is_a_policy_and_has_no_slope(empty, value):
    found, gradients = lce.value_and_grad(
        **arrays(), mask=np.zeros(ROWS, bool), empty=empty
    )
    np.testing.assert_equal(float(found), value)
    assert not any(g.any() for g in gradients)


def test_no_rows_at_all_are_nothing():
    x = arrays() | {"hidden": np.zeros((0, WIDTH)), "labels": np.zeros(0, int)}
    assert np.isnan(lce(**x))
    assert lce(**x, reduction="sum") == 0
    with pytest.raises(ls.LossaryError, match="nothing is left to average"):
        lce(**x, empty="raise")


def test_nan_in_a_counted_row_comes_out():
    x = arrays()
    x["hidden"][3, 2] = np.nan
    assert np.isnan(lce(**x))


# -- options --------------------------------------------------------------------------


def test_options_are_bound_like_those_of_a_loss():
    x = arrays()
    bound = lce(softcap=2.0, z_loss=0.05, label_smoothing=0.1)
    assert bound(**x) == lce(**x, softcap=2.0, z_loss=0.05, label_smoothing=0.1)
    assert bound(softcap=None) == lce(z_loss=0.05, label_smoothing=0.1)
    assert pickle.loads(pickle.dumps(bound)) == bound
    assert hash(bound) == hash(lce(softcap=2.0, z_loss=0.05, label_smoothing=0.1))


OWN = ls.rowwise()(lambda y, z: ls.ops.weighted(y, ls.ops.sigmoid(-z)))


@pytest.mark.parametrize("own", [OWN, ls.cross_entropy + 0.5 * ls.focal], ids=repr)
def test_a_loss_of_ones_own_is_taken(own):
    x = arrays()
    logits = x["hidden"] @ x["weight"].T + x["bias"]
    np.testing.assert_allclose(lce(**x, loss=own), own(x["labels"], logits), rtol=1e-13)


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1, "softcap": 5.0}])
def test_the_memory_is_not_exceeded(options):
    rng = np.random.default_rng(4)
    n, k, memory = 1000, 4000, 3 << 20
    hidden, weight = rng.normal(size=(n, 8)), rng.normal(size=(k, 8))
    labels = rng.integers(0, k, n)
    lce.value_and_grad(hidden, weight, labels, **options)  # kernels are loaded
    tracemalloc.start()
    _, gradients = lce.value_and_grad(hidden, weight, labels, memory=memory, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    objects = 1 << 16  # of Python
    assert peak <= memory + objects + sum(g.nbytes for g in gradients[:2])
    assert memory < 0.1 * 8 * n * k


# -- what is refused ------------------------------------------------------------------

BAD = [
    ({"hidden": np.zeros((ROWS, 4))}, ls.LossaryError, r"\(\*b, d\) and \(k, d\)"),
    ({"weight": np.zeros((WIDTH, CLASSES))}, ValueError, r"transposed, weight\.T"),
    ({"weight": np.zeros((1, WIDTH))}, ValueError, "at least two to choose from"),
    ({"labels": np.zeros(4, int)}, ValueError, r"labels has shape \(4,\)"),
    ({"labels": np.zeros((ROWS, CLASSES))}, ValueError, "distributions need"),
    ({"bias": np.zeros(3)}, ValueError, r"bias has shape \(3,\)"),
    ({"class_weight": np.ones(3)}, ValueError, r"class_weight has shape \(3,\)"),
    ({"class_weight": -np.ones(CLASSES)}, ValueError, "for class 0"),
    ({"labels": np.full(ROWS, 11)}, ValueError, "from 0 to 10, but there is 11 in"),
    ({"labels": np.full(ROWS, -100)}, ValueError, "by ignore_index or mask"),
    ({"sample_weight": -np.ones(ROWS)}, ValueError, "sample_weight must hold"),
    ({"mask": np.ones(4, bool)}, ValueError, r"mask has shape \(4,\)"),
    ({"softcap": 0.0}, ValueError, "softcap must be a number greater than 0"),
    ({"z_loss": -1.0}, ValueError, "z_loss must be a number at least 0"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing"),
    ({"memory": 0}, ValueError, "a whole number of bytes"),
    ({"loss": "huber"}, ValueError, "is not a loss of class numbers and logits"),
    ({"loss": "kl_divergence"}, ValueError, "is not a loss of class numbers"),
    ({"loss": ls.cross_entropy(from_logits=False)}, ValueError, "and logits"),
    ({"reduction": "average"}, ValueError, "reduction='average' is not known"),
    ({"empty": "none"}, ValueError, "empty must be one of"),
    ({"check": "no"}, ValueError, "check must be one of"),
    ({"soft_cap": 3.0}, ValueError, "did you mean 'softcap'"),
    ({"weight": "text"}, TypeError, "weight"),
]


@pytest.mark.parametrize(("wrong", "kind", "words"), BAD)
def test_what_is_wrong_is_named(wrong, kind, words):
    with pytest.raises(kind, match=words) as found:
        lce(**(arrays() | wrong))
    assert isinstance(found.value, ls.LossaryError)


def test_a_wrong_label_may_pass_with_a_warning_and_costs_nan():
    x = arrays()
    x["labels"][2] = 99
    with pytest.warns(ls.LossaryWarning, match="99 in row 2"):
        assert np.isnan(lce(**x, check="warn"))
    assert np.isnan(lce(**x, check="off"))
    assert np.isnan(lce(**x, class_weight=np.ones(CLASSES), check="off"))


def test_other_libraries_are_named():
    jax = pytest.importorskip("jax.numpy")
    x = arrays()
    with pytest.raises(TypeError, match="hidden is an array of jax"):
        lce(**(x | {"hidden": jax.asarray(x["hidden"])}))
    with pytest.raises(TypeError, match="weight is an array of jax"):
        lce(**(x | {"weight": jax.asarray(x["weight"])}))
