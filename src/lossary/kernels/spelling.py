"""Formulas on vectors: what each primitive is, as instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lossary.expr.graph import Node, is_scalar
from lossary.kernels import vecmath
from lossary.kernels.llvm.lanes import Value, choose, sqrt


def _smaller(a: Value, b: Value) -> Value:
    # NaN in, NaN out: a comparison is false for NaN, which is then kept.
    return choose((a <= b) | (a != a), a, b)


def _larger(a: Value, b: Value) -> Value:
    return choose((a >= b) | (a != a), a, b)


def _where(condition: Value, a: Value, b: Value) -> Value:
    if condition.type.floating:  # it depends on parameters alone: 0 or 1
        condition = condition != 0.0
    return choose(condition, a, b)


def _sign(x: Value) -> Value:
    return choose(x > 0.0, 1.0, choose(x < 0.0, -1.0, x))


OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "sqrt": sqrt,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "where": _where,
    "minimum": _smaller,
    "maximum": _larger,
    "sign": _sign,
    **vecmath.FUNCTIONS,
}

# Against a constant, one comparison says it all: one instruction instead of four.
AGAINST_CONSTANT: dict[str, Callable[[Value, Value], Value]] = {
    "minimum": lambda a, b: choose(a > b, b, a),
    "maximum": lambda a, b: choose(a < b, b, a),
}


def uniform(roots: Iterable[Node]) -> tuple[Node, ...]:
    """Return the parts of expressions that depend on parameters alone.

    They are computed once per call, not per item.
    """
    found: dict[Node, None] = {}
    todo = list(roots)
    seen = set(todo)
    while todo:
        node = todo.pop()
        if is_scalar(node) and node.value is None:
            found[node] = None
            continue
        for arg in node.args:
            if arg not in seen:
                seen.add(arg)
                todo.append(arg)
    return tuple(found)


def computed(roots: Iterable[Node], known: Mapping[Node, Value]) -> list[Value]:
    """Print expressions, sharing what they have in common.

    Parameters
    ----------
    roots
        Lowered expressions (see `lossary.emit.lowering.lower`).
    known
        Their inputs, and their uniform parts.
    """
    values: dict[Node, Any] = dict(known)
    some = next(iter(values.values()))

    def visit(node: Node) -> Value:
        if node not in values:
            values[node] = (
                some.like(node.value)
                if node.value is not None
                else _operation(node)(*map(visit, node.args))
            )
        result: Value = values[node]
        return result

    return [visit(root) for root in roots]


def _operation(node: Node) -> Callable[..., Value]:
    if node.op in AGAINST_CONSTANT and node.args[1].op == "const":
        return AGAINST_CONSTANT[node.op]
    return OPERATIONS[node.op]
