"""Formulas rewritten for a processor: the same function, at less cost."""

from __future__ import annotations

import math

import mpmath
import pytest

from lossary.emit.branches import COSTLY, merged
from lossary.emit.lowering import lower
from lossary.expr.graph import Node, apply, parameter, symbol, topological, where
from lossary.expr.reference import Mpmath, evaluate

X, Z = symbol("x"), symbol("z")
POINTS = [0.0, 1e-300, 1e-9, 0.3, -0.5, 1.0, 7.0, 1e80, -1.0]
EXPONENTS = [-3, -2, -1, 1, 2, 3]


def operations(*roots: Node) -> list[str]:
    return sorted(n.op for n in topological(roots) if n.op in COSTLY)


@pytest.mark.parametrize("half", EXPONENTS)
@pytest.mark.parametrize("op", ["exp", "expm1"])
def test_a_power_by_a_logarithm_becomes_a_root(op, half):
    written = apply(op, half / 2 * apply("log1p", X))
    cheap = lower(written)
    assert not {"exp", "expm1", "log1p"} & set(operations(cheap))
    exact = Mpmath(50)
    for x in POINTS:
        if x == -1.0 and half < 0:  # a pole
            continue
        true, got = (evaluate(n, {X: x}, exact) for n in (written, cheap))
        assert mpmath.almosteq(got, true, 1e-30, 1e-300), x


@pytest.mark.parametrize("half", EXPONENTS)
@pytest.mark.parametrize("op", ["exp", "expm1"])
@pytest.mark.parametrize("x", [math.inf, -3.0, math.nan])
def test_the_root_has_the_limits_of_the_power(op, half, x):
    written = apply(op, half / 2 * apply("log1p", X))
    true, got = (evaluate(n, {X: x}) for n in (written, lower(written)))
    assert got == true or (got != got and true != true)


@pytest.mark.parametrize("half", EXPONENTS)
@pytest.mark.parametrize("op", ["exp", "expm1"])
def test_the_root_overflows_only_where_the_power_does(op, half):
    written = apply(op, half / 2 * apply("log1p", X))
    true, got = (evaluate(n, {X: 1e207}) for n in (written, lower(written)))
    assert got == pytest.approx(true, rel=1e-12)


@pytest.mark.parametrize("half", EXPONENTS)
def test_a_root_less_one_keeps_its_digits_near_zero(half):
    written = apply("expm1", half / 2 * apply("log1p", X))
    got = evaluate(lower(written), {X: 1e-20})
    assert got == pytest.approx(half / 2 * 1e-20, rel=1e-15)


def test_other_exponents_stay():
    written = apply("exp", 0.3 * apply("log1p", X))
    assert lower(written) is written


def test_what_both_branches_call_is_called_once():
    written = where(Z < X, apply("exp", Z) * 3, 1 + apply("exp", X))
    (root,) = merged((written,))
    assert operations(root) == ["exp"]
    for x, z in [(0.5, 0.2), (0.2, 0.5), (0.2, math.nan), (math.inf, -math.inf)]:
        values = {X: x, Z: z}
        assert repr(evaluate(root, values)) == repr(evaluate(written, values))


def test_a_call_that_is_needed_anyway_is_no_branch():
    shared = apply("exp", X)
    roots = where(Z < X, apply("exp", Z), shared), shared
    assert merged(roots) == roots


def test_branches_of_several_results_are_merged_together():
    near, far = apply("log", Z), apply("log", X)
    roots = where(Z < X, near, far), where(Z < X, near * 2, 1 - far)
    assert operations(*roots) == ["log", "log"]
    assert operations(*merged(roots)) == ["log"]


def test_calls_of_calls_are_merged_without_a_cycle():
    first = apply("log", apply("sqrt", Z) + 1)
    second = apply("sqrt", apply("log", X) + 1)
    written = where(Z < X, first, second)
    (root,) = merged((written,))
    assert len(operations(root)) == 3  # one pair: both would wait for each other
    for values in ({X: 3.0, Z: 2.0}, {X: 3.0, Z: 5.0}):
        assert evaluate(root, values) == evaluate(written, values)


def test_a_choice_by_parameters_alone_is_a_choice_too():
    alpha = parameter("alpha")
    written = where(alpha < 0, apply("exp", Z), apply("exp", X))
    (root,) = merged((written,))
    assert operations(root) == ["exp"]


def test_what_parameters_alone_decide_is_left():
    alpha = parameter("alpha")
    written = where(Z < X, apply("exp", alpha) * Z, X - apply("exp", -alpha))
    assert merged((written,)) == (written,)
