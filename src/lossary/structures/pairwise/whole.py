"""The losses of compared rows, from the whole matrix of scores at once.

A row is told from the others by the log-odds of its own pair against its other pairs
(``each="row"``), or each of its pairs is judged on its own and the losses are added
(``each="pair"``).
"""

from __future__ import annotations

from typing import Any

from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.loss import Loss
from lossary.structures.pairwise.compared import Compared
from lossary.structures.rowwise import label_odds

OF_PAIR: Table[Formula] = Table(lambda formula: formula.at(y=1.0))
"""The formula of two rows that belong together."""


def items(loss: Loss, c: Compared) -> Any:
    """Return the loss of each row, through which gradients flow."""
    return (_pair_items if c.each == "pair" else _row_items)(loss, c)


def total(loss: Loss, c: Compared, shares: Any) -> Any:
    """Return the shared sum of the items, through which gradients flow."""
    return c.lib.total(shares * items(loss, c))


def pull(loss: Loss, c: Compared, shares: Any) -> tuple[Any, Any]:
    """Return items, and the gradient of their shared sum in the vectors `a`."""
    slopes = _pair_slopes if c.each == "pair" else _row_slopes
    found, pulled = slopes(loss, c, shares)
    xp = c.lib.namespace(pulled)
    return found, xp.matmul(pulled, c.b) / c.temperature


# -- each row: its own pair against its others -----------------------------------------


def _row_items(loss: Loss, c: Compared) -> Any:
    formula = OF_PAIR.of(loss.formula)
    values = c.lib.elementwise(formula.value, formula, loss.params)
    found = []
    for scores in _directions(c):
        odds, _ = c.lib.at_once(label_odds, c.own, scores)
        found.append(values(c.lib.constant(odds), odds))
    return found[0] if len(found) == 1 else (found[0] + found[1]) / 2


def _row_slopes(loss: Loss, c: Compared, shares: Any) -> tuple[Any, Any]:
    xp = c.lib.namespace(c.a)
    formula, found, pulled = OF_PAIR.of(loss.formula), [], []
    for scores in _directions(c):
        odds, (hit, parts) = c.lib.at_once(label_odds, c.own, scores)
        item, slope = (
            c.lib.elementwise(node, formula, loss.params)(odds, odds)
            for node in (formula.value, formula.gradient)
        )
        found.append(item)
        slope = xp.expand_dims(shares * slope, axis=-1)
        pulled.append(xp.where(hit, slope, -slope * parts))
    if not c.both:
        return found[0], pulled[0]
    back = xp.matrix_transpose(pulled[1])
    return (found[0] + found[1]) / 2, (pulled[0] + back) / 2


def _directions(c: Compared) -> list[Any]:
    """Return the scores as each side sees them; who is removed is no alternative."""
    scores = c.scores()
    xp = c.lib.namespace(scores)
    if c.keep is not None:
        scores = xp.where(c.counted(), scores, xp.zeros_like(scores) - float("inf"))
    return [scores, xp.matrix_transpose(scores)] if c.both else [scores]


# -- each pair on its own --------------------------------------------------------------


def _pair_items(loss: Loss, c: Compared) -> Any:
    scores, formula = c.scores(), loss.formula
    y = c.lib.cast(c.pairs(), scores.dtype)
    values = c.lib.elementwise(formula.value, formula, loss.params)
    found = _only_counted(c, values(y, scores))
    return c.lib.namespace(scores).sum(found, axis=-1)


def _pair_slopes(loss: Loss, c: Compared, shares: Any) -> tuple[Any, Any]:
    scores, formula = c.scores(), loss.formula
    xp = c.lib.namespace(scores)
    y = c.lib.cast(c.pairs(), scores.dtype)
    values, slopes = (
        _only_counted(c, c.lib.elementwise(node, formula, loss.params)(y, scores))
        for node in (formula.value, formula.gradient)
    )
    found = xp.sum(values, axis=-1)
    return found, xp.expand_dims(shares, axis=-1) * slopes


def _only_counted(c: Compared, x: Any) -> Any:
    if c.keep is None:
        return x
    xp = c.lib.namespace(x)
    return xp.where(c.counted(), x, xp.zeros_like(x))
