"""Nodes of the expression graph, shared by construction, and their order.

A node is a primitive applied to nodes. Two equal expressions are one object, so a
shared subexpression is found for free and equality is identity. Only simplifications
that are exact in IEEE arithmetic (or that remove a rounding) are made here.
"""

from __future__ import annotations

import math
import struct
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lossary.errors import FormulaError

COMPARISONS = frozenset({"lt", "le", "eq"})


class Node:
    """One value of a formula: a constant, an input, a parameter or a primitive.

    Formulas never build nodes by name: they use Python's operators and `lossary.ops`.
    """

    __slots__ = ("__weakref__", "args", "name", "op", "value")

    op: str
    args: tuple[Node, ...]
    value: float | None
    name: str | None

    # NumPy must not try to broadcast over a node: a formula sees scalars only.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        if self.op == "const":
            return f"{self.value!r}"
        if self.name is not None:
            return self.name
        return f"{self.op}({', '.join(map(repr, self.args))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return make, (self.op, self.args, self.value, self.name)

    def __add__(self, other: Any) -> Node:
        return add(self, other)

    def __radd__(self, other: Any) -> Node:
        return add(other, self)

    def __sub__(self, other: Any) -> Node:
        return sub(self, other)

    def __rsub__(self, other: Any) -> Node:
        return sub(other, self)

    def __mul__(self, other: Any) -> Node:
        return mul(self, other)

    def __rmul__(self, other: Any) -> Node:
        return mul(other, self)

    def __truediv__(self, other: Any) -> Node:
        return div(self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return div(other, self)

    def __pow__(self, other: Any) -> Node:
        return power(self, other)

    def __rpow__(self, other: Any) -> Node:
        return power(other, self)

    def __neg__(self) -> Node:
        return neg(self)

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return apply("abs", self)

    def __lt__(self, other: Any) -> Node:
        return compare("lt", self, other)

    def __le__(self, other: Any) -> Node:
        return compare("le", self, other)

    def __gt__(self, other: Any) -> Node:
        return compare("lt", other, self)

    def __ge__(self, other: Any) -> Node:
        return compare("le", other, self)

    # ``==`` stays identity, because equal expressions are one object and nodes are
    # dictionary keys; a formula compares values with `lossary.ops.equal`.

    def __bool__(self) -> bool:
        raise FormulaError(
            f"a formula cannot branch with if, and, or, min() or max() on {self!r}, "
            "because its value is not known while it is being recorded; use "
            "lossary.ops.where(condition, a, b), minimum or maximum"
        )

    def _refuse(self) -> Any:
        raise FormulaError(
            f"{self!r} is a symbol of a formula and has no number yet; use the "
            "functions of lossary.ops (exp, log1p, where, …) instead of math or numpy"
        )

    __float__ = __int__ = __complex__ = __index__ = __len__ = __iter__ = _refuse


_nodes: weakref.WeakValueDictionary[tuple[Any, ...], Node] = (
    weakref.WeakValueDictionary()
)


def make(
    op: str,
    args: tuple[Node, ...] = (),
    value: float | None = None,
    name: str | None = None,
) -> Node:
    """Return the one node of this content, unsimplified."""
    # The bits of a constant tell 0.0 from -0.0 and one NaN from another.
    bits = None if value is None else struct.pack("d", value)
    key = (op, tuple(map(id, args)), bits, name)
    node = _nodes.get(key)
    if node is None:
        node = Node()
        node.op, node.args, node.value, node.name = op, args, value, name
        _nodes[key] = node
    return node


def const(value: float) -> Node:
    """Return a constant."""
    return make("const", value=float(value))


def symbol(name: str) -> Node:
    """Return an array-valued input, such as the target ``y``."""
    return make("input", name=name)


def parameter(name: str) -> Node:
    """Return a scalar parameter, such as ``delta``."""
    return make("param", name=name)


def lift(x: Any) -> Node:
    """Turn a number into a constant; leave a node alone; refuse anything else."""
    if isinstance(x, Node):
        return x
    if isinstance(x, (int, float)):
        return const(x)
    if hasattr(x, "__float__") and getattr(x, "ndim", 0) == 0:
        return const(float(x))
    raise FormulaError(
        f"a formula works on scalars, and was given {type(x).__name__}; arrays are "
        "passed to the finished loss, not written into its formula"
    )


def is_const(node: Node, value: float | None = None) -> bool:
    """Say whether a node is a constant (of this value)."""
    return node.op == "const" and (value is None or node.value == value)


def is_scalar(node: Node) -> bool:
    """Say whether a node depends on constants and parameters alone."""
    if node.op == "input":
        return False
    return all(is_scalar(a) for a in node.args)


def _number(node: Node) -> float:
    """Return the value of a constant."""
    assert node.value is not None
    return node.value


def _is_power_of_two(node: Node) -> bool:
    return node.op == "const" and abs(math.frexp(_number(node))[0]) == 0.5


def _share_power_of_two(a: Node, b: Node) -> bool:
    """Spot ``2·x ± 2·y``, whose common factor comes out exactly."""
    return (
        a.op == b.op == "mul" and a.args[0] is b.args[0] and _is_power_of_two(a.args[0])
    )


def add(left: Any, right: Any) -> Node:
    """Return left + right."""
    a, b = lift(left), lift(right)
    if a.op == b.op == "const":
        return const(_number(a) + _number(b))
    if b.op == "neg":
        return sub(a, b.args[0])
    if a.op == "neg":
        return sub(b, a.args[0])
    if _share_power_of_two(a, b):
        return mul(a.args[0], add(a.args[1], b.args[1]))
    return make("add", (a, b))


def sub(left: Any, right: Any) -> Node:
    """Return left - right."""
    a, b = lift(left), lift(right)
    if a.op == b.op == "const":
        return const(_number(a) - _number(b))
    if is_const(b, 0.0):
        return a
    if is_const(a, 0.0):
        return neg(b)
    if b.op == "neg":
        return add(a, b.args[0])
    if _share_power_of_two(a, b):
        return mul(a.args[0], sub(a.args[1], b.args[1]))
    if a.op == b.op == "sigmoid" and neg(a.args[0]) is b.args[0]:
        return make("tanh", (div(a.args[0], 2.0),))  # σ(x) - σ(-x), no cancellation
    if is_const(a, 1.0) and b.op == "sigmoid":  # 1 - σ(x) = σ(-x), without rounding
        return make("sigmoid", (neg(b.args[0]),))
    return make("sub", (a, b))


def mul(left: Any, right: Any) -> Node:
    """Return left · right."""
    a, b = lift(left), lift(right)
    if a.op == b.op == "const":
        return const(_number(a) * _number(b))
    if b.op == "const":
        a, b = b, a
    if is_const(a, 1.0):
        return b
    if is_const(a, -1.0):
        return neg(b)
    if a.op == "neg":
        return neg(mul(a.args[0], b))
    if b.op == "neg":
        return neg(mul(a, b.args[0]))
    if b.op == "div" and is_const(b.args[0], 1.0):  # a·(1/c) = a/c, one rounding less
        return div(a, b.args[1])
    if a.op == "mul" and _is_power_of_two(a.args[0]):  # exact: bring it to the front
        return mul(a.args[0], mul(a.args[1], b))
    if b.op == "mul" and _is_power_of_two(b.args[0]) and a.op != "const":
        return mul(b.args[0], mul(a, b.args[1]))
    if {a.op, b.op} == {"abs", "sign"} and a.args == b.args:
        return a.args[0]
    if a.op == b.op == "abs" and a is b:
        return mul(a.args[0], a.args[0])
    return make("mul", (a, b))


def div(left: Any, right: Any) -> Node:
    """Return left / right."""
    a, b = lift(left), lift(right)
    if is_const(b, 1.0):
        return a
    if a.op == b.op == "const" and _number(b) != 0:
        return const(_number(a) / _number(b))
    if a.op == "neg":
        return neg(div(a.args[0], b))
    if a.op == "mul" and a.args[0] is b and _is_power_of_two(b):
        return a.args[1]  # (2·x)/2: exact, and does not overflow
    return make("div", (a, b))


def neg(operand: Any) -> Node:
    """Return ``-operand``."""
    a = lift(operand)
    if a.op == "const":
        return const(-_number(a))
    if a.op == "neg":
        return a.args[0]
    if a.op == "sub":
        return make("sub", (a.args[1], a.args[0]))
    return make("neg", (a,))


def power(left: Any, right: Any) -> Node:
    """Return left to the power right; a small whole exponent becomes a product."""
    a, b = lift(left), lift(right)
    if is_const(b, 1.0):
        return a
    if is_const(b, 2.0):
        return mul(a, a)
    if is_const(b, 3.0):
        return mul(mul(a, a), a)
    return make("pow", (a, b))


def compare(op: str, left: Any, right: Any) -> Node:
    """Return a truth value, folded where both sides are constants."""
    a, b = lift(left), lift(right)
    if a.op == b.op == "const":
        x, y = _number(a), _number(b)
        return const({"lt": x < y, "le": x <= y, "eq": x == y}[op])
    return make(op, (a, b))


def where(test: Any, taken: Any, other: Any) -> Node:
    """Return `taken` where the test holds, else `other`."""
    a, b, condition = lift(taken), lift(other), lift(test)
    if condition.op == "const":
        return a if condition.value else b
    if condition.op not in COMPARISONS:
        raise FormulaError(
            f"where() needs a comparison such as y > 0, and was given {condition!r}"
        )
    if a.op == "where" and a.args[0] is condition:
        a = a.args[1]
    if b.op == "where" and b.args[0] is condition:
        b = b.args[2]
    if a is b or _is_removed_zero(condition, a, b):
        return b
    return make("where", (condition, a, b))


def _is_removed_zero(condition: Node, a: Node, b: Node) -> bool:
    """Spot ``where(w = 0, 0, w·x)`` with a bounded x: the product is 0 by itself."""
    if condition.op != "eq" or not is_const(condition.args[1], 0.0):
        return False
    product = b.args[0] if b.op == "neg" else b
    w = condition.args[0]
    return (
        is_const(a, 0.0)
        and product.op == "mul"
        and w in product.args
        and all(x is w or _is_bounded(x) for x in product.args)
    )


def _is_bounded(node: Node) -> bool:
    if node.op == "mul":
        return all(map(_is_bounded, node.args))
    return node.op in ("sigmoid", "tanh", "sign", "const")


# f(g(x)) = x: links cancel, which is more accurate than rounding twice.
_INVERSES = {("log", "exp"), ("exp", "log"), ("log1p", "expm1"), ("expm1", "log1p")}


def apply(op: str, *args: Any) -> Node:
    """Apply a primitive to numbers and nodes, through its simplifications."""
    if op in _BUILDERS:
        return _BUILDERS[op](*args)
    nodes = tuple(lift(a) for a in args)
    if op in COMPARISONS:
        return compare(op, *nodes)
    inner = nodes[0]
    if len(nodes) == 1 and (op, inner.op) in _INVERSES:
        return inner.args[0]
    if op == "abs" and inner.op == "neg":
        return make("abs", inner.args)
    if op == "abs" and inner.op == "const":
        return const(abs(_number(inner)))
    if op == "sqrt" and is_const(inner, 1.0):
        return inner
    if op in ("minimum", "maximum") and nodes[0] is nodes[1]:
        return inner
    if op == "xlogy" and is_const(nodes[0], 1.0):
        return apply("log", nodes[1])
    if op == "log" and is_const(inner, 1.0):
        return const(0.0)
    return make(op, nodes)


_BUILDERS: dict[str, Callable[..., Node]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "neg": neg,
    "pow": power,
    "where": where,
}


def topological(roots: Iterable[Node]) -> list[Node]:
    """List every node under the roots, arguments before their users."""
    seen: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in seen:
            for arg in node.args:
                visit(arg)
            seen[node] = None

    for root in roots:
        visit(root)
    return list(seen)


def leaves(root: Node, op: str) -> Iterator[str]:
    """Name the inputs (``op="input"``) or parameters (``"param"``) of a formula."""
    for node in topological([root]):
        if node.op == op and node.name is not None:
            yield node.name


def substitute(root: Node, replacements: dict[Node, Node]) -> Node:
    """Rebuild a formula with some nodes replaced, simplifying on the way."""
    done = dict(replacements)
    for node in topological([root]):
        if node in done:
            continue
        if not node.args:
            done[node] = node
        else:
            done[node] = apply(node.op, *(done[a] for a in node.args))
    return done[root]
