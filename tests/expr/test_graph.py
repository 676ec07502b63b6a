"""The expression graph: one object per expression, and exact simplifications."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossary.errors import FormulaError
from lossary.expr import graph
from lossary.expr.derivative import derivative, guarded, propagates
from lossary.expr.graph import (
    Node,
    apply,
    const,
    leaves,
    make,
    parameter,
    substitute,
    symbol,
    topological,
    where,
)
from lossary.expr.primitives import PRIMITIVES
from lossary.expr.reference import FLOATS, Mpmath, evaluate

M = Mpmath(60)
Y, Z = symbol("y"), symbol("z")
A = parameter("a")

# -- random expressions ---------------------------------------------------------------

SMOOTH = ("neg", "exp", "expm1", "tanh", "sigmoid", "softplus", "log", "log1p", "sqrt")
UNARY = (*SMOOTH, "abs", "sign")
ARITHMETIC = ("add", "sub", "mul", "div")
BINARY = (*ARITHMETIC, "minimum", "maximum", "xlogy")
CONSTANTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, 0.3)

Tree = tuple[Any, ...]
LEAVES = st.sampled_from(["y", "z", *CONSTANTS])


def varies(tree: Any) -> bool:
    """Say whether every operation sees an input: of numbers alone it may round."""
    if not isinstance(tree, tuple):
        return True
    return all(map(varies, tree[1:])) and not set(CONSTANTS) >= set(tree[1:])


def trees(unary: tuple[str, ...], binary: tuple[str, ...]) -> st.SearchStrategy[Tree]:
    """Draw expressions as nested tuples, unknown to the graph."""
    drawn = st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(unary), inner),
            st.tuples(st.sampled_from(binary), inner, inner),
        ),
        max_leaves=8,
    )
    return drawn.filter(varies)


def recorded(tree: Any) -> Node:
    """Build a tree as a formula does, through every simplification."""
    if isinstance(tree, tuple):
        return apply(tree[0], *map(recorded, tree[1:]))
    return symbol(tree) if isinstance(tree, str) else const(tree)


def literal(tree: Any) -> Node:
    """Build a tree as it stands."""
    if isinstance(tree, tuple):
        return make(tree[0], tuple(map(literal, tree[1:])))
    return symbol(tree) if isinstance(tree, str) else const(tree)


def exactly(node: Node, y: Any, z: Any) -> Any:
    return evaluate(node, {Y: y, Z: z}, M)


def close(a: Any, b: Any, digits: int) -> bool:
    return bool(abs(a - b) <= M.mp.mpf(10) ** -digits * (1 + abs(b)))


POINTS = st.sampled_from([-2.5, -1.25, -0.75, 0.3125, 0.8125, 1.5, 2.75])


def is_kept(tree: Any, y: float, z: float) -> bool:
    """Say whether the simplified expression means what was written."""
    true = exactly(literal(tree), y, z)
    if not M.mp.isfinite(true) or abs(true) > 1e20:
        return True
    return close(exactly(recorded(tree), y, z), true, 35)


@settings(max_examples=300)
@given(trees(UNARY, BINARY), POINTS, POINTS)
def test_a_simplification_keeps_the_meaning(tree, y, z):
    assert is_kept(tree, y, z)


@settings(max_examples=300)
@given(trees(UNARY, BINARY), POINTS, POINTS)
def test_a_simplification_loses_no_digit(tree, y, z):
    """Where the literal formula is right in floats, the simplified one is."""
    true = exactly(literal(tree), y, z)
    assume(M.mp.isfinite(true) and abs(true) < 1e20)
    before, after = (
        abs(evaluate(node, {Y: y, Z: z}, FLOATS) - true)
        for node in (literal(tree), recorded(tree))
    )
    assume(math.isfinite(before))
    assert after <= 4 * before + 1e-13 * (1 + abs(true))


@settings(max_examples=200)
@given(trees(SMOOTH, ARITHMETIC), POINTS, POINTS)
def test_the_derivative_of_an_expression_is_its_derivative(tree, y, z):
    node = recorded(tree)
    values = [exactly(node, y, z + h) for h in (-1e-3, 0, 1e-3)]
    assume(all(M.mp.isfinite(v) and abs(v) < 1e6 for v in values))
    got = exactly(derivative(node, Z), y, z)
    assume(M.mp.isfinite(got) and abs(got) < 1e6)
    true = M.mp.diff(lambda x: exactly(node, y, x), M.mp.mpf(z))
    assert close(got, true, 12)  # a number in a derivative, such as 1/3, is a float


def test_a_wrong_simplification_is_caught(monkeypatch):
    """The test above can fail: 1 - σ(x) is not σ(x)."""
    tree = ("sub", 1.0, ("sigmoid", "z"))
    assert is_kept(tree, 1.0, 1.5)
    monkeypatch.setitem(graph._BUILDERS, "sub", lambda a, b: b)
    assert not is_kept(tree, 1.0, 1.5)


# -- identity -------------------------------------------------------------------------


def test_equal_expressions_are_one_object():
    assert (Z - Y) ** 2 is (Z - Y) ** 2
    assert (Z - Y) is not (Y - Z)
    assert symbol("z") is not parameter("z")


def test_constants_are_told_apart_by_their_bits():
    assert const(0.0) is not const(-0.0)
    assert const(1) is const(1.0)
    assert const(math.nan) is const(math.nan)


def test_a_pickle_is_the_same_object():
    node = where(Y < Z, apply("xlogy", Y, Z), A * 2)
    assert pickle.loads(pickle.dumps(node)) is node


def test_arguments_come_before_their_users():
    node = (Z - Y) * apply("exp", Z - Y)
    order = topological([node])
    assert order[-1] is node
    assert len(order) == len(set(order))
    assert all(order.index(a) < order.index(n) for n in order for a in n.args)


def test_leaves_are_named_once():
    node = A * (Z - Y) + A * Z
    assert sorted(leaves(node, "input")) == ["y", "z"]
    assert list(leaves(node, "param")) == ["a"]


# -- simplifications, one by one ------------------------------------------------------

SIGMOID = apply("sigmoid", Z)
SIMPLE = [
    (Z * 1, Z),
    (Z / 1, Z),
    (Z - 0, Z),
    (graph.neg(-Z), Z),
    (-(Z - Y), Y - Z),
    (Z + (-Y), Z - Y),
    (Z - (-Y), Z + Y),
    (Z * (1 / Y), Z / Y),
    (abs(-Z), abs(Z)),
    (abs(Z) * abs(Z), Z * Z),
    (2 * Z - 2 * Y, 2 * (Z - Y)),
    (1 - SIGMOID, apply("sigmoid", -Z)),
    (SIGMOID - apply("sigmoid", -Z), apply("tanh", Z / 2)),
    (apply("log", apply("exp", Z)), Z),
    (apply("expm1", apply("log1p", Z)), Z),
    (apply("minimum", Z, Z), Z),
    (apply("xlogy", 1.0, Z), apply("log", Z)),
    (apply("abs", -3.0) * Z, 3.0 * Z),
    (Z / apply("sqrt", 1.0), Z),
    (where(const(1.0), Y, Z), Y),
    (where(Y < Z, Y, Y), Y),
    (where(Y < Z, where(Y < Z, Y, Z), Y), Y),
    (const(2.0) * 3.0 + 1.0, const(7.0)),
]


@pytest.mark.parametrize(("written", "kept"), SIMPLE, ids=str)
def test_what_is_exact_is_simplified(written, kept):
    assert written is kept


@pytest.mark.parametrize(
    "node",
    [Z * 0, Z - Z, Z / Z, Z + 0, 0.1 * (0.2 * Z), 3 * Z - 3 * Y],
    ids=["z*0", "z-z", "z/z", "z+0", "0.1*(0.2*z)", "3z-3y"],
)
def test_what_is_not_exact_is_left_alone(node):
    """NaN, infinities, -0.0 or a rounding would tell the difference."""
    assert node.args
    assert node.op in ("mul", "sub", "div", "add")


def test_a_substitution_simplifies_on_the_way():
    node = where(apply("eq", Y, 0.0), const(0.0), Y * apply("softplus", -Z))
    assert substitute(node, {Y: const(1.0)}) is apply("softplus", -Z)


# -- NaN in, NaN out ------------------------------------------------------------------


def test_a_derivative_that_forgets_its_input_is_guarded():
    value = where(Z >= Y, Z - Y, Y - Z)
    slope = derivative(value, Z)
    assert not propagates(slope, Z)
    kept = guarded(slope, value)
    for y, z in ((math.nan, 1.0), (1.0, math.nan)):
        assert not math.isnan(evaluate(slope, {Y: y, Z: z}))
        assert math.isnan(evaluate(kept, {Y: y, Z: z}))
    assert evaluate(kept, {Y: 1.0, Z: 3.0}) == 1.0


def test_a_derivative_that_carries_its_inputs_is_left_alone():
    value = (Z - Y) ** 2
    assert guarded(derivative(value, Z), value) is derivative(value, Z)


def test_a_branch_not_taken_is_never_multiplied():
    node = where(Z > 0, apply("sqrt", Z), 0.0)
    square = node * node
    assert evaluate(derivative(square, Z), {Z: -1.0}) == 0.0
    assert evaluate(derivative(square, Z), {Z: 4.0}) == 1.0


# -- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("use", [bool, float, int, len, list, math.exp, complex])
def test_a_node_is_not_a_number(use):
    with pytest.raises(FormulaError, match=r"lossary\.ops"):
        use(Z)


def test_every_row_of_the_table_can_be_built():
    for op, row in PRIMITIVES.items():
        arguments = [Y < Z, Y, Z] if op == "where" else [Y, Z, A][: row.arity]
        assert isinstance(apply(op, *arguments), Node)
