"""The forward derivative of a formula, symbolic and exact.

Forward, because d where(c, a, b) = where(c, da, db): a branch that is not taken is
never multiplied by a masked zero, which is how reverse mode turns a finite loss into
a NaN gradient.
"""

from __future__ import annotations

from functools import lru_cache

from lossary.expr.graph import Node, compare, const, topological, where
from lossary.expr.primitives import PRIMITIVES, Derivative


@lru_cache(maxsize=4096)
def derivative(root: Node, wrt: Node) -> Node:
    """Differentiate a formula with respect to one of its inputs or parameters.

    Examples
    --------
    >>> from lossary.expr.graph import symbol
    >>> y, z = symbol("y"), symbol("z")
    >>> derivative((z - y) ** 2, z)
    mul(2.0, sub(z, y))
    """
    done: dict[Node, Derivative] = {}
    for node in topological([root]):
        if node is wrt:
            done[node] = const(1.0)
        elif not node.args:
            done[node] = None
        else:
            rule = PRIMITIVES[node.op].derive
            done[node] = rule(node.args, tuple(done[a] for a in node.args))
    result = done[root]
    return const(0.0) if result is None else result


def guarded(derived: Node, original: Node) -> Node:
    """Guard a derivative, so that NaN in the formula's inputs comes out as NaN.

    It is needed where a derivative forgets an input: ``where(z > y, 1, -1)`` is -1
    at a NaN.
    """
    for node in topological([original]):
        if node.op == "input" and not propagates(derived, node):
            derived = where(compare("eq", node, node), derived, node)
    return derived


def propagates(
    root: Node, source: Node, forgetful: frozenset[str] = frozenset()
) -> bool:
    """Say whether a NaN in `source` surely comes out of `root`.

    Every primitive passes a NaN on, except a choice, which needs both of its
    branches to carry it, and a comparison, which swallows it. In a target where
    others are `forgetful`, they too need it in all of their arguments.
    """
    carries: dict[Node, bool] = {}
    for node in topological([root]):
        if node is source:
            carries[node] = True
        elif node.op == "where":
            condition, a, b = node.args
            guard = condition.op == "eq" and condition.args == (source, source)
            carries[node] = carries[b] and (carries[a] or guard)
        elif node.op in ("lt", "le", "eq"):
            carries[node] = False
        elif node.op in forgetful:
            carries[node] = all(carries[a] for a in node.args)
        elif node.op == "xlogy":  # 0·log(NaN) is 0 here
            carries[node] = carries[node.args[0]]
        else:
            carries[node] = any(carries[a] for a in node.args)
    return carries[root]
