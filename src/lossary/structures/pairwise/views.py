"""What members see of the scores, block by block, and the slopes that follow.

A view first looks at every block, and then knows the losses of the rows. Looked at
once more, a block becomes the slopes of these losses in its scores. Either way the
scores are used up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from lossary.arrays import Library
from lossary.arrays.standard import Function
from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.loss import Loss
from lossary.structures.pairwise.compared import Compared
from lossary.structures.pairwise.whole import OF_PAIR

_OF_OTHERS: Table[Formula] = Table(lambda formula: formula.at(y=0.0))
"""The formula of two rows that do not belong together."""


class View(Protocol):
    """The losses of compared rows, gathered block by block."""

    by_block: bool
    """Whether a row's slopes follow from its own block, before the others are seen."""

    def look(self, part: slice, scores: Any) -> Any:
        """Take from the scores of some rows what the losses need; return the rest."""

    def items(self) -> Any:
        """Return the loss of each row."""

    def slopes(self, part: slice, rest: Any, shares: Any) -> Any:
        """Turn what `look` has returned into slopes, if the view is `by_block`."""

    def slopes_of(self, part: slice, scores: Any, shares: Any) -> Any:
        """Turn scores into slopes; `shares` are what the losses are multiplied by."""


# -- each row: its own pair against its others -----------------------------------------


class Others(NamedTuple):
    """The log-sum-exp of all scores but a row's own: their maximum, and the sum below.

    Nothing is subtracted for a maximum that is no finite number.
    """

    top: Any
    total: Any = None

    def base(self, lib: Library) -> Any:
        """Return what is subtracted from scores."""
        xp = lib.namespace(self.top)
        return xp.where(xp.isfinite(self.top), self.top, xp.zeros_like(self.top))

    def parts(self, lib: Library, scores: Any, out: Any = None) -> Any:
        """Return the parts of the sum, which may lie where the scores were."""
        xp = lib.namespace(scores)
        parts = xp.subtract(scores, self.base(lib), out=out)
        return xp.exp(parts, out=parts)

    def odds(self, lib: Library, own: Any) -> Any:
        """Return the log-odds of rows' own scores: infinite without others."""
        xp = lib.namespace(own)
        base, total = (xp.reshape(x, own.shape) for x in (self.base(lib), self.total))
        return own - base - xp.log(total)

    def per_part(self, lib: Library, slopes: Any) -> Any:
        """Return the slope of a part of the sum, where those of the odds are given."""
        xp = lib.namespace(slopes)
        safe = xp.where(self.total != 0, self.total, xp.ones_like(self.total))
        return xp.reshape(-slopes, safe.shape) / safe


class OddsView:
    """Each row's own score against its others; and each column's, in ``"both"``."""

    def __init__(self, loss: Loss, c: Compared) -> None:
        self.lib, self.own, self.both = c.lib, c.own, c.both
        self.by_block = not self.both
        self.value, self.slope = _functions(self.lib, loss, OF_PAIR.of(loss.formula))
        self.rows: dict[int, tuple[Any, Others]] = {}
        self.columns: Others | None = None

    def look(self, part: slice, scores: Any) -> Any:
        """Take maxima and sums, and return the parts of the rows' sums."""
        xp, place = self.lib.namespace(scores), _place(self.lib, self.own[part])
        own = scores[place]
        scores[place] = -math.inf
        if self.both:
            self.columns = _grown(self.lib, self.columns, scores)
        others = Others(xp.max(scores, axis=1, keepdims=True))
        parts = others.parts(self.lib, scores, out=scores)
        total = xp.sum(parts, axis=1, keepdims=True)
        self.rows[part.start] = own, others._replace(total=total)
        return parts

    def items(self) -> Any:
        """Return the loss of each row, the mean of the directions."""
        xp = self.lib.namespace(self.own)
        odds = [others.odds(self.lib, own) for own, others in self.rows.values()]
        found = xp.concat([self.value(u, u) for u in odds], axis=0)
        if not self.both:
            return found
        odds = self._column_odds()
        return (found + self.value(odds, odds)) / 2

    def slopes(self, part: slice, rest: Any, shares: Any) -> Any:
        """Share the slope of a row's odds among the parts of its sum."""
        own, others = self.rows[part.start]
        pulled = self._pulled(others.odds(self.lib, own), shares[part])
        rest *= others.per_part(self.lib, pulled)
        rest[_place(self.lib, self.own[part])] = pulled
        return rest

    def slopes_of(self, part: slice, scores: Any, shares: Any) -> Any:
        """Take the parts of the sums again, of rows and of columns, and share."""
        place = _place(self.lib, self.own[part])
        scores[place] = -math.inf
        back = 0.0
        if self.columns is not None:
            pulled = self._pulled(self._column_odds(), shares)
            back = self.columns.parts(self.lib, scores)
            back *= self.columns.per_part(self.lib, pulled)
            back[place] = pulled[part]
        _, others = self.rows[part.start]
        slopes = self.slopes(part, others.parts(self.lib, scores, out=scores), shares)
        slopes += back
        return slopes

    def _pulled(self, odds: Any, shares: Any) -> Any:
        return shares * self.slope(odds, odds) / (2 if self.both else 1)

    def _column_odds(self) -> Any:
        assert self.columns is not None
        xp = self.lib.namespace(self.own)
        own = xp.concat([own for own, _ in self.rows.values()], axis=0)
        return self.columns.odds(self.lib, own)


def _grown(lib: Library, before: Others | None, scores: Any) -> Others:
    """Add some rows to the log-sum-exp of the columns: online, in one pass."""
    xp = lib.namespace(scores)
    top = xp.max(scores, axis=0, keepdims=True)
    if before is not None:
        top = xp.maximum(top, before.top)
    found = Others(top)
    total = xp.sum(found.parts(lib, scores), axis=0, keepdims=True)
    if before is not None:
        # Of a maximum of -inf the sum is 0, of +inf or NaN it stays what it is.
        shift = xp.exp(before.top - found.base(lib))
        same = xp.ones_like(shift)
        total += before.total * xp.where(xp.isfinite(before.top), shift, same)
    return Others(top, total)


# -- each pair on its own --------------------------------------------------------------


class ScoresView:
    """Every pair by its score."""

    by_block = True

    def __init__(self, loss: Loss, c: Compared) -> None:
        self.lib, self.own = c.lib, c.own
        formulas = OF_PAIR.of(loss.formula), _OF_OTHERS.of(loss.formula)
        self.values, self.steeps = zip(
            *(_functions(self.lib, loss, formula) for formula in formulas), strict=True
        )
        self.found: list[Any] = []

    def look(self, part: slice, scores: Any) -> Any:
        """Add up the losses of a row's pairs, and return the scores."""
        values = self._by_pair(part, scores, self.values)
        self.found.append(self.lib.namespace(values).sum(values, axis=-1))
        return scores

    def items(self) -> Any:
        """Return the loss of each row."""
        return self.lib.namespace(self.own).concat(self.found, axis=0)

    def slopes(self, part: slice, rest: Any, shares: Any) -> Any:
        """Return the slope of each pair's loss in its score."""
        slopes = self._by_pair(part, rest, self.steeps)
        slopes *= shares[part][:, None]
        return slopes

    slopes_of = slopes

    def _by_pair(self, part: slice, scores: Any, of: tuple[Function, Function]) -> Any:
        """Compute one formula of the rows' own pairs and another of all others."""
        of_own, of_others = of
        place = _place(self.lib, self.own[part])
        own, found = scores[place], of_others(scores, scores)
        if found is scores:  # the formula is the score itself, which is used again
            found = scores + 0
        found[place] = of_own(own, own)
        return found


VIEWS: Mapping[str, Callable[[Loss, Compared], View]] = {
    "row": OddsView,
    "pair": ScoresView,
}


def _functions(lib: Library, loss: Loss, formula: Formula) -> tuple[Function, Function]:
    """Return value and slope of a formula."""
    value, slope = (
        lib.elementwise(node, formula, loss.params)
        for node in (formula.value, formula.gradient)
    )
    return value, slope


def _place(lib: Library, own: Any) -> tuple[Any, Any]:
    """Return where the own pairs of some rows stand."""
    return lib.arange(own.shape[0], own), own
