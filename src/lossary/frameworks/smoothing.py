"""A loss without kinks that tends to the loss, for solvers that need a slope.

abs, maximum and minimum of the prediction become hyperbolas of a given width; at
width 0 they are the loss again. A table over the vocabulary, like any interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lossary.combination import combine, terms_of
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, apply, make, parameter, symbol, topological
from lossary.loss import Loss
from lossary.parameters import Param

_WIDTH = "smoothing_width"


def _rounded(x: Node) -> Node:
    width = parameter(_WIDTH)
    return apply("sqrt", x * x + width * width)


_ROUND: dict[str, Callable[..., Node]] = {
    "abs": _rounded,
    "maximum": lambda a, b: (a + b + _rounded(a - b)) / 2,
    "minimum": lambda a, b: (a + b - _rounded(a - b)) / 2,
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
    terms = [(factor, _smooth(term)) for factor, term in terms_of(loss)]
    if not any(_WIDTH in term.parameters for _, term in terms):
        return None
    return combine(
        [
            (f, term.bind(**{_WIDTH: width}) if _WIDTH in term.parameters else term)
            for f, term in terms
        ]
    )


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
        if node.op in _ROUND and node in moving:
            done[node] = _ROUND[node.op](*args)
        else:
            done[node] = _rebuilt(node, args)
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


def _rebuilt(node: Node, args: tuple[Node, ...]) -> Node:
    if args == node.args:
        return node
    return apply(node.op, *args) if node.op != "where" else make("where", args)
