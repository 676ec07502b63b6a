"""A loss of one's own: ten lines in a user's file get everything that ours get."""

from __future__ import annotations

import math
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from types import ModuleType

import jax
import numpy as np
import pytest
from laws import laws
from laws.frameworks import FRAMEWORKS

import lossary as ls
from lossary.arrays import fused, standard
from lossary.errors import FormulaError, ParameterError
from lossary.ops import log1p, minimum, softplus, weighted, where

jax.config.update("jax_enable_x64", True)

MODULE = '''
from lossary import Param, pointwise
from lossary.ops import minimum


@pointwise(target="real", prediction="real", elicits="Huber location")
def my_huber(y, z, delta=Param(1.0, gt=0)):
    """Quadratic near the target, linear beyond `delta`.

    Huber (1964), Robust estimation of a location parameter.
    """
    a = abs(z - y)
    q = minimum(a, delta)
    return q**2 / 2 + delta * (a - q)
'''


@pytest.fixture
def module(tmp_path, monkeypatch) -> ModuleType:
    """Import the file as a user's module of a name that no other test uses."""
    name = f"my_losses_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    sys.modules.pop(name, None)


@pytest.fixture
def loss(module):
    return module.my_huber


# -- everything -----------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_exact_in_every_framework(loss, framework, dtype):
    laws.accurate(loss, framework, dtype)
    laws.accurate(loss(delta=2.5), framework, dtype)


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=lambda f: f.name)
def test_it_keeps_the_laws_of_frameworks(loss, framework):
    laws.agrees(loss, framework)
    laws.weight_zero_removes(loss, framework)
    laws.keeps_dtype_and_shape(loss, framework)
    laws.wrong_shapes_are_refused(loss, framework)


@pytest.mark.parametrize(
    "law",
    [
        laws.batch_is_loop,
        laws.best_constant_is_best,
        laws.derivative_is_derivative,
        laws.facts_hold,
        laws.gradient_is_slope,
        laws.half_precision_sums_wide,
        laws.integer_weight_repeats,
        laws.nan_stays_in_its_row,
        laws.nothing_left_is_a_policy,
        laws.parts_merge,
    ],
    ids=lambda law: law.__name__,
)
def test_it_keeps_the_laws_of_meaning(loss, law):
    law(loss(delta=2.0))


def test_it_is_ours_line_by_line(loss):
    rng = np.random.default_rng(0)
    y, z = rng.normal(size=50) * 3, rng.normal(size=50)
    assert loss(y, z, delta=0.5) == ls.huber(y, z, delta=0.5)
    assert loss.latex() == ls.huber.latex()
    assert loss.latex("gradient") == ls.huber.latex("gradient")
    assert loss.sql("y", "p") == ls.huber.sql("y", "p")
    assert (loss.facts.convex, loss.facts.symmetric) == (True, True)
    assert loss(delta=2.0).facts.gradient_bound == 2.0
    assert loss.facts.elicits == "Huber location"
    assert loss.best_constant(y) == pytest.approx(ls.huber.best_constant(y))


def test_it_shows_itself_as_ours_do(loss):
    assert repr(loss(delta=2)) == "my_huber(delta=2.0)"
    assert loss.__doc__.startswith("Quadratic near the target")
    assert loss == loss(delta=1.0)
    assert hash(loss) == hash(loss(delta=1.0))
    assert loss != ls.huber


@pytest.mark.parametrize("library", ["numpy", "torch", "tensorflow", "jax"])
def test_its_code_runs_alone(loss, library):
    y, z = np.array([0.0, 1.0, 5.0]), np.array([0.5, 4.0, 1.0])
    text = loss(delta=2.0).code(library)
    assert "lossary" not in text
    space: dict[str, object] = {}
    exec(text, space)
    make = FRAMEWORKS[library].make
    got = float(space["my_huber"](make(y), make(z)))
    assert got == pytest.approx(float(loss(y, z, delta=2.0)), rel=1e-14)


def test_it_travels_through_a_spawned_process(loss):
    y, z = np.array([0.0, 1.0]), np.array([0.5, 4.0])
    bound = loss(delta=2.0)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        value = pool.submit(bound, y, z).result(timeout=60)
        shown = pool.submit(repr, bound).result(timeout=60)
        back = pool.submit(copy, bound).result(timeout=60)
    assert value == bound(y, z)
    assert shown == "my_huber(delta=2.0)"
    assert back == bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_served_by_a_compiled_kernel(loss, dtype, monkeypatch):
    from lossary import kernels

    if not kernels.available():
        pytest.skip("llvmlite is not installed")
    rng = np.random.default_rng(0)
    y, z = rng.normal(size=(2, 3000)).astype(dtype)
    expected = loss.value_and_grad(y, z)
    calls = []
    real = fused.gradient
    monkeypatch.setattr(standard, "SMALL", 0)
    monkeypatch.setattr(fused, "gradient", lambda *a: calls.append(a) or real(*a))
    value, gradient = loss.value_and_grad(y, z)
    assert calls
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-6)


def test_it_adds_up_with_ours(loss):
    y, z = np.array([0.0, 1.0]), np.array([0.5, 4.0])
    both = 0.5 * loss + ls.squared_error
    assert both(y, z) == pytest.approx(0.5 * loss(y, z) + ls.squared_error(y, z))


# -- the other doors ------------------------------------------------------------------


def test_the_bare_decorator_is_enough():
    @ls.pointwise
    def cauchy(y, z, scale=1.0):
        return log1p(((z - y) / scale) ** 2)

    assert repr(cauchy(scale=2)) == "cauchy(scale=2.0)"
    assert cauchy([0.0], [1.0]) == pytest.approx(math.log(2))
    laws.derivative_is_derivative(cauchy)
    laws.gradient_is_slope(cauchy(scale=2))
    assert not cauchy.facts.convex


def test_a_rowwise_loss_of_ones_own():
    @ls.rowwise()
    def surprise(y, z):
        return weighted(y, softplus(-z))

    y, z = np.array([0, 2]), np.array([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0]])
    assert surprise(y, z) == ls.cross_entropy(y, z)
    for framework in FRAMEWORKS.values():
        laws.accurate(surprise, framework, "float64")
        laws.weight_zero_removes(surprise, framework)


def test_an_overlap_loss_of_ones_own():
    @ls.overlap()
    def jaccard(tp, y, p, smooth=0.0):
        return 1 - (tp + smooth) / (y + p - tp + smooth)

    mask, found = [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]
    assert jaccard(mask, found, from_logits=False) == 0.5
    assert jaccard(mask, found, from_logits=False, smooth=1.0) == pytest.approx(1 / 3)
    for framework in FRAMEWORKS.values():
        laws.accurate(jaccard, framework, "float64")
        laws.weight_zero_removes(jaccard, framework)


# -- formulas that cannot be recorded -------------------------------------------------


def said(formula) -> str:
    """Return the sentence with which a formula is refused."""
    with pytest.raises(FormulaError) as refused:
        ls.pointwise(formula)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.startswith(formula.__name__)
    return sentence


def test_a_python_branch_is_refused():
    def branching(y, z):
        return z - y if z > y else y - z

    assert said(branching) == (
        "branching: a formula cannot branch with if, and, or, min() or max() on "
        "lt(y, z), because its value is not known while it is being recorded; use "
        "lossary.ops.where(condition, a, b), minimum or maximum"
    )


def test_a_function_of_math_is_refused():
    def calling_math(y, z):
        return math.exp(z - y)

    assert said(calling_math) == (
        "calling_math: sub(z, y) is a symbol of a formula and has no number yet; use "
        "the functions of lossary.ops (exp, log1p, where, …) instead of math or numpy"
    )


def test_a_function_of_numpy_is_refused():
    def calling_numpy(y, z):
        return np.exp(z - y)

    sentence = said(calling_numpy)
    assert "lossary.ops" in sentence


def test_an_array_in_a_formula_is_refused():
    def holding_an_array(y, z):
        return minimum(z - y, [1.0, 2.0])

    assert said(holding_an_array) == (
        "holding_an_array: a formula works on scalars, and was given list; arrays are "
        "passed to the finished loss, not written into its formula"
    )


@pytest.mark.parametrize("returned", [None, "z - y", (1.0, 2.0)])
def test_an_unknown_return_is_refused(returned):
    def returning(y, z):
        return returned

    assert type(returned).__name__ in said(returning)


def test_a_formula_without_its_prediction_is_refused():
    def constant(y, z):
        return y * 2

    assert said(constant) == (
        "constant does not depend on its second argument, the prediction; a loss must "
        "use it"
    )


def test_a_choice_without_a_comparison_is_refused():
    def choosing(y, z):
        return where(z, y, z)

    assert said(choosing) == (
        "choosing: where() needs a comparison such as y > 0, and was given z"
    )


def test_a_formula_with_too_few_arguments_is_refused():
    def lonely(z):
        return z

    assert said(lonely) == "lonely must take y, z as its first arguments"


def test_a_parameter_without_a_default_is_refused():
    def scaled(y, z, scale):
        return abs(z - y) / scale

    assert said(scaled) == (
        "scaled: parameter 'scale' needs a default, such as scale=1.0 or "
        "scale=Param(1.0, gt=0)"
    )


def test_a_default_that_is_no_number_is_refused():
    def scaled(y, z, scale="large"):
        return abs(z - y) / scale

    assert said(scaled) == (
        "scaled: the default of parameter 'scale' must be a number or a Param, got "
        "'large'"
    )


def test_a_parameter_out_of_range_is_refused(loss):
    with pytest.raises(ParameterError) as refused:
        loss(delta=-1.0)
    assert str(refused.value) == (
        "my_huber: delta must be a number greater than 0, got -1.0"
    )


def test_an_unknown_kind_is_refused():
    with pytest.raises(ParameterError, match="'count'"):
        ls.pointwise(target="counts")(lambda y, z: z - y)
