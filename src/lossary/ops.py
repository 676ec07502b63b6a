"""The vocabulary that formulas are written in.

Arithmetic (``+ - * / ** abs``) and comparisons are Python's own; the functions below
complete it. Each takes numbers or symbols of a formula and returns a symbol.

Examples
--------
>>> from lossary import pointwise
>>> from lossary.ops import minimum
>>> @pointwise
... def capped(y, z, cap=4.0):
...     return minimum((z - y) ** 2, cap)
>>> import numpy as np
>>> float(capped(np.array([0.0, 0.0]), np.array([1.0, 5.0])))
2.5
"""

from __future__ import annotations

from typing import Any

from lossary.expr import graph
from lossary.expr.graph import Node, apply, const, where

__all__ = [
    "equal",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "sigmoid",
    "sign",
    "softplus",
    "sqrt",
    "square",
    "tanh",
    "weighted",
    "where",
    "xlogy",
]


def exp(x: Any) -> Node:
    """Return e to the power x."""
    return apply("exp", x)


def expm1(x: Any) -> Node:
    """Return exp(x) - 1, exact near 0."""
    return apply("expm1", x)


def log(x: Any) -> Node:
    """Return the natural logarithm of x."""
    return apply("log", x)


def log1p(x: Any) -> Node:
    """Return log(1 + x), exact near 0."""
    return apply("log1p", x)


def sqrt(x: Any) -> Node:
    """Return the square root of x."""
    return apply("sqrt", x)


def square(x: Any) -> Node:
    """Return x·x."""
    return graph.mul(x, x)


def tanh(x: Any) -> Node:
    """Return the hyperbolic tangent of x."""
    return apply("tanh", x)


def sigmoid(x: Any) -> Node:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return apply("sigmoid", x)


def softplus(x: Any) -> Node:
    """Return log(1 + exp(x)), without overflow."""
    return apply("softplus", x)


def sign(x: Any) -> Node:
    """Return -1, 0 or 1."""
    return apply("sign", x)


def minimum(a: Any, b: Any) -> Node:
    """Return the smaller of two; at a tie the derivative is the first one's."""
    return apply("minimum", a, b)


def maximum(a: Any, b: Any) -> Node:
    """Return the larger of two; at a tie the derivative is the first one's."""
    return apply("maximum", a, b)


def xlogy(x: Any, y: Any) -> Node:
    """Return x·log(y), with 0·log(0) = 0."""
    return apply("xlogy", x, y)


def equal(a: Any, b: Any) -> Node:
    """Return the truth value a = b, for use in `where`."""
    return graph.compare("eq", a, b)


def weighted(w: Any, x: Any) -> Node:
    """Return w·x, where a weight of zero removes x, be it infinite.

    Cross-entropy needs it: an infinite logit that agrees with its target costs 0.
    """
    return where(equal(w, 0.0), const(0.0), graph.mul(w, x))
