"""Choices rewritten for a processor that computes both of their branches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossary.expr.graph import Node, is_scalar, make, topological

COSTLY = frozenset(
    {
        "decay", "div", "exp", "expm1", "log", "log1p", "log1p_unit", "pow", "sqrt",
        "tanh", "xlogy",
    }
)  # fmt: skip
"""Operations that cost more than the choice of an argument."""

TAKEN, OTHER = 1, 2


def merged(roots: tuple[Node, ...]) -> tuple[Node, ...]:
    """Compute once what each branch of a choice computes, of the argument chosen.

    An item takes one branch. So where(c, f(a), f(b)) is f(where(c, a, b)), to the bit,
    and neither f need be the whole of its branch.

    Examples
    --------
    >>> from lossary.expr.graph import apply, symbol, where
    >>> z = symbol("z")
    >>> merged((where(z < 0, apply("exp", z), 2 - apply("exp", 1 + z)),))[0].args[1]
    exp(where(lt(z, 0.0), z, add(1.0, z)))
    """
    while (found := next(_pairs(roots), None)) is not None:
        roots = _replaced(roots, *found)
    return roots


def _pairs(roots: Sequence[Node]) -> Iterator[tuple[Node, Node, Node]]:
    """Yield conditions with two nodes that may be one."""
    nodes = topological(roots)
    costly = [n for n in nodes if n.op in COSTLY and not is_scalar(n)]
    for condition in dict.fromkeys(n.args[0] for n in nodes if n.op == "where"):
        needed = _needed(nodes, roots, condition)
        others = [n for n in costly if needed[n] == OTHER]
        for node in (n for n in costly if needed[n] == TAKEN):
            alike = [n for n in others if n.op == node.op and _apart(n, node)]
            if alike:
                yield condition, node, max(alike, key=lambda n: _common(n, node))


def _needed(
    nodes: Sequence[Node], roots: Sequence[Node], condition: Node
) -> dict[Node, int]:
    """Say for each node in which branches of the choices by a condition it is used."""
    needed = dict.fromkeys(nodes, 0) | dict.fromkeys(roots, TAKEN | OTHER)
    for node in reversed(nodes):  # whoever uses it comes before it
        own = needed[node]
        chooses = node.op == "where" and node.args[0] is condition
        for arg, part in zip(node.args, _PARTS if chooses else _WHOLE, strict=False):
            needed[arg] |= own & part
    return needed


_PARTS = (TAKEN | OTHER, TAKEN, OTHER)
_WHOLE = (TAKEN | OTHER,) * 3


def _apart(a: Node, b: Node) -> bool:
    return a not in topological([b]) and b not in topological([a])


def _common(a: Node, b: Node) -> int:
    return sum(x is y for x, y in zip(a.args, b.args, strict=True))


def _replaced(
    roots: Sequence[Node], condition: Node, taken: Node, other: Node
) -> tuple[Node, ...]:
    """Put one node in the place of two."""
    pairs = zip(taken.args, other.args, strict=True)
    chosen = (a if a is b else make("where", (condition, a, b)) for a, b in pairs)
    one = make(taken.op, tuple(chosen))
    done = {taken: one, other: one}
    for node in topological(roots):
        if node not in done:
            args = tuple(done[a] for a in node.args)
            same = node.op == "where" and args[1] is args[2]
            done[node] = args[1] if same else make(node.op, args, node.value, node.name)
    return tuple(done[root] for root in roots)
