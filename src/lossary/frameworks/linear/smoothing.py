"""A loss without kinks that tends to the loss, for solvers that need a slope.

abs, maximum and minimum of the prediction become hyperbolas of a given width, and
where passes from one branch to the other over it; at width 0 they are the loss again.
A table over the vocabulary, like any interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lossary.combination import combine, terms_of
from lossary.expr.formula import Formula
from lossary.expr.graph import (
    Node,
    apply,
    compare,
    parameter,
    symbol,
    topological,
    where,
)
from lossary.loss import Loss
from lossary.parameters import Param

_WIDTH = "smoothing_width"


def _rounded(x: Node) -> Node:
    width = parameter(_WIDTH)
    return apply("sqrt", x * x + width * width)


def _blended(condition: Node, a: Node, b: Node) -> Node:
    """Cross over from `b` to `a` where ``u < v`` comes to hold."""
    chosen = where(condition, a, b)
    if condition.op == "eq":
        return chosen
    u, v = condition.args
    ahead, width = v - u, parameter(_WIDTH)
    share = apply("sigmoid", 4 * ahead / width)
    # Far away the other branch must not be touched: it may be infinite there.
    return where(compare("lt", 10 * width, abs(ahead)), chosen, b + share * (a - b))


_ROUND: dict[str, Callable[..., Node]] = {
    "abs": _rounded,
    "maximum": lambda a, b: (a + b + _rounded(a - b)) / 2,
    "minimum": lambda a, b: (a + b - _rounded(a - b)) / 2,
    "where": _blended,
}


def smoothed(loss: Any, width: float) -> Any:
    """Return a loss with its kinks rounded off, or None where it has none.

    Parameters
    ----------
    loss : Loss or weighted sum
    width : float
        How far from a kink the loss is changed, in units of the prediction.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(smoothed(ls.absolute_error, 0.1)([0.0], [0.0])), 4)
    0.1
    >>> smoothed(ls.squared_error, 0.1) is None
    True
    """
    if not bends(loss):
        return None
    terms = [(factor, _smooth(term)) for factor, term in terms_of(loss)]
    return combine(
        [
            (f, term.bind(**{_WIDTH: width}) if _WIDTH in term.parameters else term)
            for f, term in terms
        ]
    )


def bends(loss: Any) -> bool:
    """Say whether a formula has what kinks are made of, such as abs or where.

    Examples
    --------
    >>> import lossary as ls
    >>> bends(ls.huber), bends(ls.poisson)
    (True, False)
    """
    return any(_WIDTH in _smooth(term).parameters for _, term in terms_of(loss))


@lru_cache(maxsize=64)
def _smooth(loss: Loss) -> Loss:
    formula = loss.formula
    prediction = symbol(formula.inputs[-1])
    done: dict[Node, Node] = {}
    moving = {prediction}
    for node in topological([formula.value]):
        args = tuple(done[a] for a in node.args)
        if not moving.isdisjoint(node.args):
            moving.add(node)
        crossed = node.args[0] if node.op == "where" else node
        if node.op in _ROUND and crossed in moving:
            done[node] = _ROUND[node.op](*args)
        elif args != node.args:
            done[node] = apply(node.op, *args)
        else:
            done[node] = node
    value = done[formula.value]
    if value is formula.value or loss.structure.name != "pointwise":
        return loss
    definition = replace(
        loss.definition,
        forms={loss.form: Formula(value, formula.inputs, (*formula.params, _WIDTH))},
        params={**loss.definition.params, _WIDTH: Param(1.0, gt=0)},
        majoriser=None,
    )
    return Loss(definition, loss.form, (*loss.values, 1.0))
