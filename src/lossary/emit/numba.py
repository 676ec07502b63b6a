"""Numba source: straight-line scalar code that goes into the loop of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lossary.expr.graph import Node, const, is_scalar, make, mul, neg, topological

# `decay` is exp(-|x|) and `log1p_unit` is log1p on [0, 1]: no formula has them, but
# softplus and sigmoid are made of them.
VECTOR_MATHS = frozenset(
    {"decay", "exp", "expm1", "log", "log1p", "log1p_unit", "pow", "tanh", "xlogy"}
)

# NaN in, NaN out: a choice keeps its first argument unless a comparison, false for
# NaN, says otherwise. All branches are cheap, so they compile to selections.
SPELLING = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "abs": "abs({0})",
    "sqrt": "sqrt({0})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "where": "{1} if {0} else {2}",
    "minimum": "{0} if ({0} <= {1}) | ({0} != {0}) else {1}",
    "maximum": "{0} if ({0} >= {1}) | ({0} != {0}) else {1}",
    "sign": "one if {0} > zero else (-one if {0} < zero else {0})",
} | {name: name + "({0})" for name in VECTOR_MATHS - {"pow", "xlogy"}}
SPELLING |= {name: name + "({0}, {1})" for name in ("pow", "xlogy")}


WHOLE = (1.0, 2.0, 3.0)
"""Exponents for which a power of a sigmoid is cheaper as a product."""


@dataclass(frozen=True)
class Code:
    """Straight-line code for some expressions of the same inputs.

    Attributes
    ----------
    lines
        One assignment each, reading the inputs by name, the constants ``k0, k1, …``,
        the uniform values ``u0, u1, …``, ``zero`` and ``one``.
    results
        The variable that holds each expression.
    constants
        The numbers behind ``k0, k1, …``.
    uniforms
        What depends on parameters alone: computed once per call, not per item.
    functions
        The vector functions that the lines call.
    """

    lines: tuple[str, ...]
    results: tuple[str, ...]
    constants: tuple[float, ...]
    uniforms: tuple[Node, ...]
    functions: tuple[str, ...]


@lru_cache(maxsize=256)
def straight_line(*roots: Node) -> Code:
    r"""Print expressions as one block that shares its common subexpressions.

    Examples
    --------
    >>> from lossary.expr.graph import symbol
    >>> y, z = symbol("y"), symbol("z")
    >>> error = z - y
    >>> print(*straight_line(error * error, 2 * error).lines, sep="\n")
    t0 = z - y
    t1 = t0 * t0
    t2 = k0 * t0
    """
    printer = _Printer()
    results = tuple(printer.visit(lower(root)) for root in roots)
    return Code(
        tuple(printer.lines),
        results,
        tuple(printer.constants),
        tuple(printer.uniforms),
        tuple(sorted(printer.functions)),
    )


class _Printer:
    """Names every node once, and collects what the lines need."""

    def __init__(self) -> None:
        self.names: dict[Node, str] = {}
        self.lines: list[str] = []
        self.constants: list[float] = []
        self.uniforms: list[Node] = []
        self.functions: set[str] = set()

    def visit(self, node: Node) -> str:
        if node not in self.names:
            self.names[node] = self._new(node)
        return self.names[node]

    def _new(self, node: Node) -> str:
        if node.op == "input":
            return str(node.name)
        if node.value is not None:
            self.constants.append(node.value)
            return f"k{len(self.constants) - 1}"
        if is_scalar(node):
            self.uniforms.append(node)
            return f"u{len(self.uniforms) - 1}"
        text = _spelling(node).format(*map(self.visit, node.args))
        self.functions |= VECTOR_MATHS & {node.op}
        self.lines.append(f"t{len(self.lines)} = {text}")
        return f"t{len(self.lines) - 1}"


def _spelling(node: Node) -> str:
    # Against a constant, one comparison says it all: one instruction instead of four.
    if node.op in ("minimum", "maximum") and node.args[1].op == "const":
        return "{1} if {0} " + (">" if node.op == "minimum" else "<") + " {1} else {0}"
    return SPELLING[node.op]


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
