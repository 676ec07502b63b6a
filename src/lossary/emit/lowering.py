"""Formulas rewritten for a processor: the same values with fewer functions."""

from __future__ import annotations

import math

from lossary.expr.graph import Node, const, is_scalar, make, mul, neg, topological

WHOLE = (1.0, 2.0, 3.0)
"""Exponents for which a power of a sigmoid is cheaper as a product."""

FIXED = (-3.0, -2.0, -1.0, *WHOLE)
"""Parameters of exponents that are worth a kernel of their own; half of one is the
exponent of a product of roots.
"""


def lower(root: Node) -> Node:
    """Rewrite softplus and sigmoid over one shared exponential, exp(-|x|).

    σ(x), σ(-x), softplus(x) and softplus(-x) then cost one exponential, one
    logarithm and one division together. Powers (1 + x)ⁿ of half a whole number n that
    go by way of a logarithm become products of a square root, and lose less.
    """
    done: dict[Node, Node] = {}
    for node in topological([root]):
        args = tuple(done[a] for a in node.args)
        if is_scalar(node) or not args:
            done[node] = node
        elif node.op in _LOWERED:
            done[node] = _LOWERED[node.op](args[0])
        elif (power := _power_of_sigmoid(node)) is not None:
            x, exponent = power
            factor = _sigmoid(neg(done[x]))
            done[node] = factor
            for _ in range(exponent - 1):
                done[node] = make("mul", (done[node], factor))
        elif (roots := _power_of_root(node)) is not None:
            x, exponent = roots
            done[node] = _POWERS[node.op](done[x], exponent)
        else:
            done[node] = make(node.op, args, node.value, node.name)
    return done[root]


def _power_of_sigmoid(node: Node) -> tuple[Node, int] | None:
    """Recognise exp(-n·softplus(x)), which is σ(-x)ⁿ, for a small whole n."""
    if node.op != "exp" or node.args[0].op != "neg":
        return None
    inner, factor = node.args[0].args[0], 1.0
    if inner.op == "mul" and inner.args[0].value in WHOLE:
        factor, inner = inner.args[0].value, inner.args[1]
    return (inner.args[0], int(factor)) if inner.op == "softplus" else None


def _power_of_root(node: Node) -> tuple[Node, int] | None:
    """Recognise exp(n/2·log1p(x)), or expm1 of it, for a small whole n."""
    if node.op not in _POWERS:
        return None
    inner, factor = node.args[0], 1.0
    if inner.op == "neg":
        inner, factor = inner.args[0], -1.0
    if inner.op == "mul" and inner.args[0].op == "const":
        factor, inner = factor * (inner.args[0].value or 0.0), inner.args[1]
    known = inner.op == "log1p" and 2 * factor in FIXED
    return (inner.args[0], int(2 * factor)) if known else None


def _root(x: Node, exponent: int) -> Node:
    """Return (1 + x)^(n/2): NaN below -1, as by the logarithm."""
    factor = make("sqrt", (make("add", (const(1.0), x)),))
    if exponent < 0:
        factor = make("div", (const(1.0), factor))
    power = factor
    for _ in range(abs(exponent) - 1):
        power = make("mul", (power, factor))
    return power


def _root_less_one(x: Node, exponent: int) -> Node:
    """Return (1 + x)^(n/2) - 1, without cancellation."""
    # s - 1 is x/(1 + s), and sⁿ - 1 is that times 1 + s + … + sⁿ⁻¹; of a negative n,
    # it is that times -1/s·(1 + 1/s + … + 1/s⁻ⁿ⁻¹).
    one, sign = const(1.0), 1 if exponent > 0 else -1
    root, factor = _root(x, 1), _root(x, sign)
    result, limit = make("div", (x, make("add", (one, root)))), x
    if sign < 0:
        result, limit = neg(make("div", (result, root))), const(-1.0)
    terms = one
    for _ in range(abs(exponent) - 1):
        terms = make("add", (one, make("mul", (factor, terms))))
    result = mul(result, terms)
    endless = make("eq", (x, const(math.inf)))
    return make("where", (endless, limit, result))


_POWERS = {"exp": _root, "expm1": _root_less_one}


def _decay(x: Node) -> Node:
    """Return exp(-|x|), the same node for x and -x."""
    if x.op == "neg":
        x = x.args[0]
    elif x.op == "mul" and (x.args[0].value or 0.0) < 0:
        x = mul(-x.args[0], x.args[1])
    elif x.op == "sub":  # -(a - b) is b - a: of the two, take the same one always
        x = make("sub", tuple(sorted(x.args, key=repr)))
    return make("decay", (x,))


def _softplus(x: Node) -> Node:
    positive = make("maximum", (x, const(0.0)))
    return make("add", (positive, make("log1p_unit", (_decay(x),))))


def _sigmoid(x: Node) -> Node:
    decay = _decay(x)
    larger = make("div", (const(1.0), make("add", (const(1.0), decay))))
    condition = make("le", (const(0.0), x))
    return make("where", (condition, larger, make("mul", (decay, larger))))


_LOWERED = {"softplus": _softplus, "sigmoid": _sigmoid}
