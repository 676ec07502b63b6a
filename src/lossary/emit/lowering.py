"""Formulas rewritten for a processor: softplus and sigmoid over one exponential."""

from __future__ import annotations

from lossary.expr.graph import Node, const, is_scalar, make, mul, neg, topological

WHOLE = (1.0, 2.0, 3.0)
"""Exponents for which a power of a sigmoid is cheaper as a product."""


def lower(root: Node) -> Node:
    """Rewrite softplus and sigmoid over one shared exponential, exp(-|x|).

    σ(x), σ(-x), softplus(x) and softplus(-x) then cost one exponential, one
    logarithm and one division together.
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
