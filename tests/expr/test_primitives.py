"""Each primitive alone: every interpreter gives the meaning of the table."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from lossary.arrays import library
from lossary.emit.ibis import _SPELLING
from lossary.expr.derivative import derivative
from lossary.expr.graph import COMPARISONS, apply, symbol, where
from lossary.expr.primitives import PRIMITIVES
from lossary.expr.reference import FLOATS, Mpmath, evaluate

Y, Z = symbol("y"), symbol("z")
M = Mpmath(50)
SPECIAL = [0.0, -0.0, 1e-300, -1e-300, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 30.0, -30.0]
INFINITE = [math.inf, -math.inf, math.nan]
OFF_DOMAIN = {"log": 0.0, "sqrt": 0.0, "log1p": -1.0}


def formula(name):
    """Write a primitive as a formula of y and z."""
    row = PRIMITIVES[name]
    if name == "where":
        return where(Z > Y, Z * Z, -Z)
    if name in COMPARISONS:
        return where(apply(name, Z, Y), Z, Y)
    if name == "pow":
        return apply("pow", abs(Z), Y)
    return apply(name, Z) if row.arity == 1 else apply(name, Z, Y)


def points(name, values):
    low = OFF_DOMAIN.get(name, -math.inf)
    if name == "xlogy":
        return [(y, z) for y in values if y >= 0 for z in values]
    return [(y, z) for y in (0.5, 1.0) for z in values if not z < low]


def same(got, true):
    if true != true:
        return got != got
    return got == true or abs(got - true) <= 4e-15 * max(abs(true), 1e-290)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_floats_are_the_digits_rounded(name):
    node = formula(name)
    for y, z in points(name, SPECIAL):
        true = float(evaluate(node, {Y: y, Z: z}, M))
        assert same(evaluate(node, {Y: y, Z: z}, FLOATS), true), (y, z)


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("target", ["numpy", "torch", "tensorflow", "jax", "standard"])
def test_a_target_gives_the_reference(name, target):
    make = {
        "numpy": np.asarray,
        "torch": lambda x: __import__("torch").tensor(x),
        "tensorflow": lambda x: __import__("tensorflow").constant(x),
        "jax": lambda x: __import__("jax").numpy.asarray(x),
        "standard": lambda x: __import__("array_api_strict").asarray(x),
    }[target]
    lib, node = library(target), formula(name)
    pairs = points(name, [*SPECIAL, *INFINITE])
    if target in ("tensorflow", "jax"):  # they flush subnormal results to zero
        pairs = [p for p in pairs if all(abs(x) > 1e-200 or x == 0 for x in p)]
    y, z = np.array(pairs).T
    with lib.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        got = np.asarray(lib.run(node, ("y", "z"))(make(y.copy()), make(z.copy())))
    for value, (a, b) in zip(got, pairs, strict=True):
        true = evaluate(node, {Y: a, Z: b}, FLOATS)
        assert same(float(value), true), (a, b, float(value), true)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_derivative_is_the_slope(name):
    node = formula(name)
    if name in ("sign", *COMPARISONS):
        return
    slope = derivative(node, Z)
    for y, z in ((0.75, 0.3), (1.5, 2.0)):
        true = M.mp.diff(lambda x, y=y: evaluate(node, {Y: y, Z: x}, M), M.mp.mpf(z))
        got = float(evaluate(slope, {Y: y, Z: z}, FLOATS))
        assert got == pytest.approx(float(true), rel=1e-13)


def test_every_primitive_is_spelt_in_sql():
    assert set(_SPELLING) == set(PRIMITIVES)


def test_the_vocabulary_stays_small():
    assert len(PRIMITIVES) <= 32
