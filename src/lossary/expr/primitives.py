"""The vocabulary as one table: what each primitive means, and its derivative.

A row holds the meaning in any number system (Python floats, mpmath) and the rule of
the forward derivative. How a target spells a primitive lives with that target in
`lossary.emit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossary.expr.graph import (
    Node,
    add,
    apply,
    compare,
    const,
    is_const,
    make,
    mul,
    sub,
    substitute,
    where,
)

Derivative = Node | None
"""A derivative; ``None`` is a structural zero: it never meets an infinity."""


@dataclass(frozen=True)
class Primitive:
    """One row of the vocabulary.

    `meaning` takes a number system and the argument values; `derive` takes the
    argument nodes and their derivatives.
    """

    name: str
    arity: int
    meaning: Callable[..., Any]
    derive: Callable[[tuple[Node, ...], tuple[Derivative, ...]], Derivative]


# Inside a derivative a zero branch of a choice is structural: it stays zero under
# the chain rule, whatever it is multiplied by. The functions below keep it so.


def linear(step: Callable[[Node], Node], inner: Derivative) -> Derivative:
    """Apply a linear step of the chain rule to a derivative, branch by branch."""
    if inner is None:
        return None
    if inner.op == "where":
        condition, a, b = inner.args
        return select(condition, linear(step, _known(a)), linear(step, _known(b)))
    return step(inner)


def scale(partial: Node, inner: Derivative) -> Derivative:
    """Apply the chain rule for one argument."""
    return linear(lambda d: mul(partial, d), inner)


def total(a: Derivative, b: Derivative) -> Derivative:
    """Add two derivatives, branch by branch where they choose alike."""
    if a is None:
        return b
    if b is None:
        return a
    if a.op == "where" and (b.op != "where" or b.args[0] is a.args[0]):
        return _merge(a, b)
    if b.op == "where" and a.op != "where":
        return _merge(b, a)
    if a is negated(b):
        return None
    return add(a, b)


def _merge(choice: Node, other: Node) -> Derivative:
    condition, a, b = choice.args
    c, d = (other.args[1:]) if other.op == "where" else (other, other)
    return select(condition, total(_known(a), _known(c)), total(_known(b), _known(d)))


def select(condition: Node, a: Derivative, b: Derivative) -> Derivative:
    """Derive a choice: a branch not taken is never multiplied by zero."""
    if a is None and b is None:
        return None
    taken = const(0.0) if a is None else _assuming(condition, True, a)
    other = const(0.0) if b is None else _assuming(condition, False, b)
    return where(condition, taken, other)


def _assuming(condition: Node, holds: bool, branch: Node) -> Node:
    """Drop a minimum or maximum that the condition of its branch has decided.

    With it ``min(|r|, δ)·sign(r)`` under ``|r| ≤ δ`` becomes r: no kink is left at 0.
    """
    if condition.op != "le":
        return branch
    p, q = condition.args
    low, high = (p, q) if holds else (q, p)
    decided = {}
    for pair in ((p, q), (q, p)):
        decided[make("minimum", pair)] = low
        decided[make("maximum", pair)] = high
    return substitute(branch, decided)


def negated(d: Derivative) -> Derivative:
    """Negate a derivative."""
    return scale(const(-1.0), d)


def _known(node: Node) -> Derivative:
    return None if is_const(node, 0.0) else node


def unary(partial: Callable[[Node], Node]) -> Any:
    """Make the rule of a function of one argument."""

    def derive(args: tuple[Node, ...], inner: tuple[Derivative, ...]) -> Derivative:
        if inner[0] is None:
            return None
        return scale(partial(args[0]), inner[0])

    return derive


def _zero(args: Any, inner: Any) -> Derivative:
    return None


def _product(args: tuple[Node, ...], inner: tuple[Derivative, ...]) -> Derivative:
    (a, b), (da, db) = args, inner
    if a is b:
        return scale(mul(2.0, a), da)
    return total(scale(b, da), scale(a, db))


def _quotient(args: tuple[Node, ...], inner: tuple[Derivative, ...]) -> Derivative:
    (a, b), (da, db) = args, inner
    first = linear(lambda d: d / b, da)
    second = linear(lambda d: -(a / b) * d / b, db)
    return total(first, second)


def _power(args: tuple[Node, ...], inner: tuple[Derivative, ...]) -> Derivative:
    (a, b), (da, db) = args, inner
    first = scale(mul(b, a ** sub(b, 1.0)), da)
    # d/db a**b = a**b·log a, and 0 where a = 0 (its limit for b > 0).
    second = scale(apply("xlogy", a**b, a), db)
    return total(first, second)


def _xlogy(args: tuple[Node, ...], inner: tuple[Derivative, ...]) -> Derivative:
    (x, y), (dx, dy) = args, inner
    ratio = where(compare("eq", x, 0.0), 0.0, x / y)
    return total(scale(apply("log", y), dx), scale(ratio, dy))


def _f(op: str) -> Callable[[Node], Node]:
    return lambda x: apply(op, x)


def _sigmoid_slope(x: Node) -> Node:
    return apply("sigmoid", x) * apply("sigmoid", -x)


_ROWS = [
    Primitive("add", 2, lambda m, a, b: a + b, lambda a, d: total(*d)),
    Primitive("sub", 2, lambda m, a, b: a - b, lambda a, d: total(d[0], negated(d[1]))),
    Primitive("mul", 2, lambda m, a, b: a * b, _product),
    Primitive("div", 2, lambda m, a, b: m.div(a, b), _quotient),
    Primitive("neg", 1, lambda m, a: -a, lambda a, d: negated(d[0])),
    Primitive("pow", 2, lambda m, a, b: m.pow(a, b), _power),
    Primitive("abs", 1, lambda m, a: abs(a), unary(_f("sign"))),
    Primitive("sign", 1, lambda m, a: m.sign(a), _zero),
    # At a tie the first argument is taken, in the value's derivative as well.
    Primitive(
        "minimum",
        2,
        lambda m, a, b: m.minimum(a, b),
        lambda a, d: select(a[0] <= a[1], *d),
    ),
    Primitive(
        "maximum",
        2,
        lambda m, a, b: m.maximum(a, b),
        lambda a, d: select(a[0] >= a[1], *d),
    ),
    Primitive(
        "where",
        3,
        lambda m, c, a, b: a if c else b,
        lambda a, d: select(a[0], d[1], d[2]),
    ),
    Primitive("lt", 2, lambda m, a, b: a < b, _zero),
    Primitive("le", 2, lambda m, a, b: a <= b, _zero),
    Primitive("eq", 2, lambda m, a, b: a == b, _zero),
    Primitive("exp", 1, lambda m, a: m.exp(a), unary(_f("exp"))),
    Primitive("expm1", 1, lambda m, a: m.expm1(a), unary(_f("exp"))),
    Primitive("log", 1, lambda m, a: m.log(a), unary(lambda x: 1 / x)),
    Primitive("log1p", 1, lambda m, a: m.log1p(a), unary(lambda x: 1 / (1 + x))),
    Primitive(
        "sqrt",
        1,
        lambda m, a: m.sqrt(a),
        unary(lambda x: 0.5 / apply("sqrt", x)),
    ),
    Primitive(
        # 1 - tanh² loses every digit for large |x|; 4·σ(2x)·σ(-2x) is the same.
        "tanh",
        1,
        lambda m, a: m.tanh(a),
        unary(lambda x: 4 * _sigmoid_slope(2 * x)),
    ),
    Primitive("sigmoid", 1, lambda m, a: m.sigmoid(a), unary(_sigmoid_slope)),
    Primitive("softplus", 1, lambda m, a: m.softplus(a), unary(_f("sigmoid"))),
    Primitive("xlogy", 2, lambda m, a, b: m.xlogy(a, b), _xlogy),
]

PRIMITIVES: dict[str, Primitive] = {row.name: row for row in _ROWS}
"""The table, by name."""
