"""The graph: sharing, exact simplification, and derivatives of any formula."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossary.expr.derivative import derivative, guarded, propagates
from lossary.expr.graph import apply, const, lift, make, symbol, where
from lossary.expr.reference import FLOATS, Mpmath, evaluate
from lossary.ops import maximum, minimum, sigmoid

Y, Z = symbol("y"), symbol("z")
M = Mpmath(50)
LEAVES = st.one_of(
    st.sampled_from([Y, Z]), st.sampled_from([0.5, 1.0, -1.0, 2.0, 3.0]).map(const)
)
BINARY = st.sampled_from(["add", "sub", "mul"])
UNARY = st.sampled_from(["neg", "tanh", "sigmoid", "softplus", "abs"])


def plain(op, *args):
    """Apply a primitive without any simplification."""
    return make(op, args)


TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(BINARY, inner, inner) | st.tuples(UNARY, inner),
    max_leaves=8,
)


def grown(tree, build):
    """Build a formula from a tree of tuples."""
    if not isinstance(tree, tuple):
        return tree
    return build(tree[0], *(grown(t, build) for t in tree[1:]))


@settings(max_examples=150)
@given(TREES, st.floats(-4, 4), st.floats(-4, 4))
def test_simplification_keeps_the_value(tree, y, z):
    written, simplified = grown(tree, plain), grown(tree, apply)
    true = float(evaluate(written, {Y: y, Z: z}, M))
    got = evaluate(lift(simplified), {Y: y, Z: z}, FLOATS)
    assert got == pytest.approx(true, rel=1e-9, abs=1e-9)


@settings(max_examples=100)
@given(TREES, st.floats(-3, 3), st.floats(-3, 3))
def test_the_derivative_of_any_formula_is_its_slope(tree, y, z):
    root = lift(grown(tree, apply))
    z = M.mp.mpf(z) + M.mp.mpf("0.0123456789")  # off the kinks of |·|

    def value(x):
        return evaluate(root, {Y: y, Z: x}, M)

    steps = [float((value(z + h) - value(z - h)) / (2 * h)) for h in (1e-8, 1e-9)]
    assume(abs(steps[0] - steps[1]) < 1e-6 * (1 + abs(steps[0])))
    got = float(evaluate(derivative(root, Z), {Y: y, Z: z}, M))
    assert got == pytest.approx(steps[1], rel=1e-5, abs=1e-5)


def test_equal_expressions_are_one_object():
    assert (Z - Y) ** 2 is (Z - Y) * (Z - Y)
    assert pickle.loads(pickle.dumps((Z - Y) ** 2)) is (Z - Y) ** 2


def test_zeros_of_either_sign_are_different_constants():
    assert const(0.0) is not const(-0.0)


@pytest.mark.parametrize(
    ("written", "simple"),
    [
        (1 - sigmoid(Z), sigmoid(-Z)),
        (sigmoid(Z) - sigmoid(-Z), apply("tanh", Z / 2)),
        (abs(Z) * apply("sign", Z), Z),
        (apply("log1p", apply("expm1", Z)), Z),
        (2 * Z / 2, Z),
        (-(Z - Y), Y - Z),
        (where(Z > 0, where(Z > 0, Y, 1.0), 2.0), where(Z > 0, Y, 2.0)),
    ],
    ids=str,
)
def test_simplifications(written, simple):
    assert written is simple


def test_a_decided_minimum_leaves_no_kink():
    q = minimum(abs(Z - Y), 1.0)
    slope = derivative(q**2 / 2 + (abs(Z - Y) - q), Z)
    assert slope is where(abs(Z - Y) <= 1.0, Z - Y, 1.0 * apply("sign", Z - Y))
    bend = derivative(slope, Z)
    assert evaluate(bend, {Y: 2.0, Z: 2.0}) == 1.0


def test_a_branch_not_taken_is_never_multiplied_by_zero():
    root = where(Z < 1, Z, apply("sqrt", Z))
    assert evaluate(derivative(root, Z), {Z: 0.0}) == 1.0
    assert evaluate(derivative(root, Z), {Z: -4.0}) == 1.0


def test_a_forgotten_nan_is_guarded():
    slope = derivative(maximum(Z - Y, 0.0), Z)
    assert not propagates(slope, Z)
    assert math.isnan(evaluate(guarded(slope, Z - Y), {Y: 0.0, Z: math.nan}))
    assert math.isnan(evaluate(guarded(slope, Z - Y), {Y: math.nan, Z: 0.0}))
    assert evaluate(guarded(slope, Z - Y), {Y: 0.0, Z: 2.0}) == 1.0
