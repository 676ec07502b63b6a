"""Every primitive alone: its value and its derivatives, up to the edge of the floats.

The reference in Python floats is held to mpmath; every array library is held to the
reference, signed zeros, infinities and NaN included.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import numpy as np
import pytest
from laws.frameworks import FRAMEWORKS

from lossary import ops
from lossary.arrays import library
from lossary.expr.derivative import derivative
from lossary.expr.graph import (
    COMPARISONS,
    Node,
    apply,
    const,
    symbol,
    topological,
    where,
)
from lossary.expr.primitives import PRIMITIVES
from lossary.expr.reference import FLOATS, Mpmath, evaluate

jax.config.update("jax_enable_x64", True)

M = Mpmath(50)
Y, Z = symbol("y"), symbol("z")
TINY = float(np.finfo(float).tiny)
SMOOTH = [-30.0, -2.0, -0.5, 0.3, 1.7, 25.0]
FINITE = [0.0, *(s * x for x in (TINY, 1e-8, 0.5, 1.0, 2.0, 30.0, 700.0, 1e4)
                 for s in (1, -1))]  # fmt: skip
EDGES = [*FINITE, -0.0, 1e300, -1e300, math.inf, -math.inf, math.nan]
TARGETS = ("numpy", "torch", "tensorflow", "jax", "dask", "strict")
every_primitive = pytest.mark.parametrize("op", PRIMITIVES)
every_target = pytest.mark.parametrize("target", TARGETS)


def alone(op: str) -> Node:
    """Write a primitive of the inputs, and of nothing else."""
    if op == "where":
        return where(Y < Z, Y, Z)
    if op in COMPARISONS:
        return where(apply(op, Y, Z), const(2.0), Z)
    return apply(op, *[(Z,), (Y, Z)][PRIMITIVES[op].arity - 1])


def points(op: str, values: list[float]) -> list[tuple[float, float]]:
    """Pair the values, or only repeat them for a primitive of one argument."""
    if PRIMITIVES[op].arity == 1:
        return [(1.0, z) for z in values]
    return list(itertools.product(values, values))


def at(node: Node, y: float, z: float, numbers: Any = FLOATS) -> Any:
    return evaluate(node, {Y: y, Z: z}, numbers)


def assert_same(got: Any, expected: Any, node: Node, where: str) -> None:
    """Compare to a few units in the last place; below the normal numbers, to 0."""
    # A power magnifies the rounding of its exponent by the logarithm of its base.
    powers = any(n.op == "pow" for n in topological([node]))
    rtol = 1e-13 if powers else 1e-14
    where = f"{node} at {where}"
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=TINY, err_msg=where)


def parts(op: str) -> list[Node]:
    """Return the value, and its derivatives in both inputs."""
    node = alone(op)
    return [node, derivative(node, Y), derivative(node, Z)]


# -- the reference --------------------------------------------------------------------


@every_primitive
def test_floats_are_held_to_mpmath(op):
    for y, z in points(op, FINITE):
        for i, node in enumerate(parts(op)):
            if op == "pow" and y < 0 and i == 2:
                continue  # no derivative in the exponent of a negative number
            true = at(node, y, z, M)
            over = not M.mp.isnan(true) and abs(true) > np.finfo(float).max
            expected = math.copysign(math.inf, M.sign(true)) if over else float(true)
            assert_same(at(node, y, z), expected, node, f"y={y}, z={z}")


@pytest.mark.parametrize(
    ("op", "z", "value", "slope"),
    [
        ("exp", math.inf, math.inf, math.inf),
        ("exp", -math.inf, 0.0, 0.0),
        ("expm1", -math.inf, -1.0, 0.0),
        ("log", math.inf, math.inf, 0.0),
        ("log", 0.0, -math.inf, math.inf),
        ("log1p", -1.0, -math.inf, math.inf),
        ("sqrt", math.inf, math.inf, 0.0),
        ("tanh", -math.inf, -1.0, 0.0),
        ("sigmoid", math.inf, 1.0, 0.0),
        ("sigmoid", -math.inf, 0.0, 0.0),
        ("softplus", math.inf, math.inf, 1.0),
        ("softplus", -math.inf, 0.0, 0.0),
        ("abs", -math.inf, math.inf, -1.0),
        ("abs", 0.0, 0.0, 0.0),
        ("sign", 0.0, 0.0, 0.0),
    ],
)
def test_limits_are_part_of_the_meaning(op, z, value, slope):
    node = alone(op)
    assert at(node, 1.0, z) == value
    assert at(derivative(node, Z), 1.0, z) == slope


@pytest.mark.parametrize("y", [0.0, -0.0])
@pytest.mark.parametrize("z", [0.0, math.inf, math.nan])
def test_zero_times_any_logarithm_is_zero(y, z):
    assert at(alone("xlogy"), y, z) == 0


@pytest.mark.parametrize("op", ["minimum", "maximum"])
@pytest.mark.parametrize("pair", [(math.nan, 1.0), (1.0, math.nan)])
def test_nan_wins_every_comparison(op, pair):
    assert math.isnan(at(alone(op), *pair))


@pytest.mark.parametrize("op", ["minimum", "maximum"])
def test_a_tie_takes_the_first_argument(op):
    slopes = [at(derivative(alone(op), wrt), 1.0, 1.0) for wrt in (Y, Z)]
    assert slopes == [1.0, 0.0]


# -- the rules of the derivative ------------------------------------------------------


@every_primitive
def test_the_rule_is_the_derivative(op):
    node = alone(op)
    for y, z in points(op, SMOOTH):
        if y == z and PRIMITIVES[op].arity > 1:
            continue  # a knot of minimum, maximum and comparisons
        if M.mp.isnan(at(node, y, z, M)):
            continue
        for wrt, f, x in (
            (Y, lambda v, z=z: at(node, v, z, M), y),
            (Z, lambda v, y=y: at(node, y, v, M), z),
        ):
            expected = M.mp.diff(f, M.mp.mpf(x))
            if M.mp.isnan(expected):
                continue  # a power of a negative number, off a whole exponent
            got = at(derivative(node, wrt), y, z, M)
            where = f"d{node}/d{wrt} at y={y}, z={z}"
            np.testing.assert_allclose(
                float(got), float(expected), rtol=1e-14, atol=1e-18, err_msg=where
            )


def test_a_flipped_rule_is_caught(monkeypatch):
    from dataclasses import replace

    from lossary.expr.primitives import unary

    wrong = replace(PRIMITIVES["sqrt"], derive=unary(lambda x: -0.5 / apply("sqrt", x)))
    monkeypatch.setitem(PRIMITIVES, "sqrt", wrong)
    derivative.cache_clear()
    with pytest.raises(AssertionError, match="sqrt"):
        test_the_rule_is_the_derivative("sqrt")
    derivative.cache_clear()


# -- array libraries ------------------------------------------------------------------


def computed(target: str, node: Node, y: Any, z: Any) -> np.ndarray:
    name = "standard" if target == "strict" else target
    run, make = library(name).run(node, ("y", "z")), FRAMEWORKS[target].make
    with np.errstate(all="ignore"):
        return np.asarray(run(make(y), make(z)))


@every_target
@every_primitive
def test_every_library_is_held_to_the_reference(op, target):
    grid = points(op, EDGES)
    y, z = np.array(grid).T.copy()
    for node in parts(op):
        got = computed(target, node, y, z)
        for (a, b), value in zip(grid, got, strict=True):
            assert_same(value, at(node, a, b), node, f"y={a}, z={b}")


@every_target
@every_primitive
def test_every_library_keeps_float32(op, target):
    y, z = np.array([0.5, 2.0], np.float32), np.array([0.25, 3.0], np.float32)
    for node in parts(op):
        assert computed(target, node, y, z).dtype == np.float32


# -- the table ------------------------------------------------------------------------


def test_the_vocabulary_is_small_and_all_of_it_is_known():
    assert len(PRIMITIVES) <= 32
    samples = [getattr(ops, name) for name in ops.__all__]
    recorded = set()
    for function in samples:
        for arguments in ((Z,), (Y, Z), (Y < Z, Y, Z)):
            try:
                node = function(*arguments)
            except TypeError:
                continue
            recorded.add(node.op)
    assert recorded <= set(PRIMITIVES)
