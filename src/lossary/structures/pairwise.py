"""Pairwise losses: every row of predictions is compared with every row of targets.

Row i of the predictions belongs to row i of the targets; all other rows of the batch
are what it must be told from. A member sees, per pair that belongs together, the
log-odds of that pair against the others of its row, as a rowwise loss does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from lossary.arrays import Library
from lossary.batch import Batch
from lossary.emit.latex import latex
from lossary.errors import ParameterError
from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.loss import Loss
from lossary.parameters import Choice, Param
from lossary.shapes import Signature
from lossary.structures.declare import define
from lossary.structures.items import ItemStructure
from lossary.structures.rowwise import label_odds

_OF_PAIR: Table[Formula] = Table(lambda formula: formula.at(y=1.0))


@dataclass(frozen=True)
class Pairs:
    """The rows of a batch: what a pairwise loss of merged batches needs.

    Rows of different parts are told from each other, so that no number would do.
    """

    loss: Loss
    parts: tuple[Batch, ...]
    reduction: str

    def __add__(self, other: Pairs) -> Pairs:
        """Merge the rows of two parts of the data."""
        if not isinstance(other, Pairs):
            return NotImplemented
        return Pairs(self.loss, (*self.parts, *other.parts), self.reduction)

    @property
    def denominator(self) -> Any:
        """What the mean divides by."""
        structure: Any = self.loss.structure
        return reduce(
            lambda a, b: a + b,
            (structure.denominator(part, self.reduction) for part in self.parts),
        )

    def mean(self, empty: str = "nan") -> Any:
        """Return the mean loss over all rows, each told from all others."""
        batch = _joined(self.parts)
        return self.loss.structure.value(self.loss, batch, self.reduction, empty)


class Pairwise(ItemStructure):
    """One loss per row; rows with weight 0 or masked are told from nothing.

    A weight weighs the loss of its row. It does not repeat the row: a row and its
    copy could not be told apart.
    """

    name = "pairwise"
    signatures = (Signature("n d, n d -> n"),)

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape of the rows."""
        return prediction[:1]

    def readable(self, loss: Loss) -> tuple[str, ...]:
        """Name the parameters that may be arrays of a call."""
        return ("temperature",)

    def check_learnable(self, loss: Loss, names: tuple[str, ...]) -> None:
        """Allow every parameter that is declared so: the loss is a likelihood."""

    # -- computing ------------------------------------------------------------------

    def items(self, loss: Loss, batch: Batch) -> Any:
        """Return the loss of each row."""
        seen = _directions(loss, batch.lib, _scores(loss, batch))
        return self._told_apart(loss, batch.lib, seen, 0)

    def items_among(self, loss: Loss, batch: Batch, everyone: Batch, start: int) -> Any:
        """Return the loss of each row, told from all rows of a larger batch.

        `everyone` holds the rows of `batch` too, from row `start` on.
        """
        sides = [(batch.z, everyone.y), (batch.y, everyone.z)]
        sides = sides[: 2 if loss.parameters["direction"] == "both" else 1]
        keeps = batch.counting.keep, everyone.counting.keep
        seen = [_compared(loss, batch, *side, *keeps, start) for side in sides]
        return self._told_apart(loss, batch.lib, seen, start)

    def _told_apart(self, loss: Loss, lib: Library, seen: Any, start: int) -> Any:
        formula = _OF_PAIR.of(loss.formula)
        values = lib.elementwise(formula.value, formula, loss.params)
        found = []
        for scores in seen:
            own = lib.arange(lib.sizes(scores)[0], scores) + start
            odds, _ = lib.at_once(label_odds, own, scores)
            found.append(values(lib.constant(odds), odds))
        return found[0] if len(found) == 1 else (found[0] + found[1]) / 2

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges: the rows themselves."""
        return Pairs(loss, (batch,), reduction)

    def pull(
        self, loss: Loss, batch: Batch, shares: Callable[[Any], Any]
    ) -> tuple[Any, Any]:
        """Return items, and the gradient of their sum in which each has its share."""
        lib = batch.lib
        units, length = _vectors(loss, lib, batch.z)
        others, _ = _vectors(loss, lib, batch.y)
        scores = _scores(loss, batch)
        xp = lib.namespace(scores)
        items, pulled = [], xp.zeros_like(scores)
        seen = _directions(loss, lib, scores)
        for k, own in enumerate(seen):
            item, slope = self._slopes(loss, lib, own)
            slope = xp.expand_dims(shares(item), axis=-1) * slope
            items.append(item)
            pulled = pulled + (xp.matrix_transpose(slope) if k else slope)
        factor = 1 / (_temperature(loss, batch) * len(seen))
        gradient = factor * xp.matmul(pulled, others)
        if loss.parameters["similarity"] == "cosine":
            gradient = _through_length(lib, units, length, gradient)
        return sum(items) / len(seen), gradient

    def _slopes(self, loss: Loss, lib: Library, scores: Any) -> tuple[Any, Any]:
        """Return the loss of each row and its gradient in that row's scores."""
        n = lib.sizes(scores)[0]
        rows = lib.arange(n, scores)
        odds, (hit, shares) = lib.at_once(label_odds, rows, scores)
        formula = _OF_PAIR.of(loss.formula)
        item, slope = (
            lib.elementwise(node, formula, loss.params)(odds, odds)
            for node in (formula.value, formula.gradient)
        )
        xp = lib.namespace(scores)
        slope = xp.expand_dims(slope, axis=-1)
        return item, xp.where(hit, slope, -slope * shares)

    def grad_and_hess(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Refuse: rows share each other, so that there is no curvature per item."""
        raise ParameterError(
            f"{loss.name} compares rows with each other and has no curvature per item; "
            "use value_and_grad for its gradient"
        )

    def best_constant(self, loss: Loss, y_true: Any, sample_weight: Any) -> Any:
        """Refuse: a constant tells no row from another."""
        raise ParameterError(
            f"{loss.name} compares rows with each other, and no constant prediction "
            "tells one from another; train a model, or compare with random vectors"
        )

    def latex(self, loss: Loss, what: str) -> str:
        """Print value, gradient or curvature per pair, and what z stands for."""
        text = latex(getattr(_OF_PAIR.of(loss.formula), what))
        odds = r"z = s_{ii} - \log \sum_{j \ne i} e^{s_{ij}}"
        angle = loss.parameters["similarity"] == "cosine"
        norm = r"\lVert p_i \rVert \lVert y_j \rVert \," if angle else ""
        score = rf"s_{{ij}} = \frac{{p_i \cdot y_j}}{{{norm} \tau}}"
        return rf"{text}, \quad {odds}, \; {score}"


def _temperature(loss: Loss, batch: Batch) -> Any:
    return batch.beside[0] if loss.read else loss.parameters["temperature"]


def _directions(loss: Loss, lib: Library, scores: Any) -> tuple[Any, ...]:
    """Return the scores as each side sees them: predictions, and targets too."""
    if loss.parameters["direction"] == "both":
        return scores, lib.namespace(scores).matrix_transpose(scores)
    return (scores,)


def _scores(loss: Loss, batch: Batch) -> Any:
    """Return the score of every pair of a batch."""
    keep = batch.counting.keep
    return _compared(loss, batch, batch.z, batch.y, keep, keep, 0)


def _compared(
    loss: Loss, batch: Batch, a: Any, b: Any, keep: Any, others: Any, start: int
) -> Any:
    """Return the score of every pair; removed rows are no one's alternative.

    Row i of `a` belongs to row i + start of `b`; `keep` and `others` say which rows
    of the two count, or are None together.
    """
    lib = batch.lib
    (a, _), (b, _) = (_vectors(loss, lib, x) for x in (a, b))
    xp = lib.namespace(a)
    scores = xp.matmul(a, xp.matrix_transpose(b)) / _temperature(loss, batch)
    if keep is None:
        return scores
    n, m = lib.sizes(scores)
    rows, columns = lib.arange(n, a) + start, lib.arange(m, a)
    own = xp.expand_dims(rows, axis=-1) == xp.expand_dims(columns, axis=0)
    both = xp.expand_dims(keep, axis=-1) & xp.expand_dims(others, axis=0)
    return xp.where(own | both, scores, xp.zeros_like(scores) - float("inf"))


def _vectors(loss: Loss, lib: Library, x: Any) -> tuple[Any, Any]:
    """Return the vectors that are multiplied, and their lengths where divided by."""
    if loss.parameters["similarity"] == "dot":
        return x, None
    xp = lib.namespace(x)
    # In units of the largest entry no square under- or overflows.
    top = lib.constant(xp.max(xp.abs(x), axis=-1, keepdims=True))
    top = xp.where(top > 0, top, xp.ones_like(top))
    scaled = x / top
    square = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    some = square != 0  # a vector of zeros has similarity 0 to all
    length = xp.sqrt(xp.where(some, square, xp.ones_like(square)))
    units = xp.where(some, scaled / length, xp.zeros_like(scaled))
    return units, xp.where(some, length * top, xp.zeros_like(length))


def _through_length(lib: Library, units: Any, length: Any, gradient: Any) -> Any:
    """Chain a gradient in unit vectors to the vectors: what turns them is left."""
    xp = lib.namespace(units)
    some = length != 0
    safe = xp.where(some, length, xp.ones_like(length))
    turning = gradient - units * xp.sum(units * gradient, axis=-1, keepdims=True)
    return xp.where(some, turning / safe, xp.zeros_like(turning))


def _joined(parts: tuple[Batch, ...]) -> Batch:
    """Return one batch of the rows of several."""
    first, *others = parts
    if not others:
        return first
    xp = first.lib.namespace(first.z)
    counting = first.counting
    n = sum(part.counting.shape[0] for part in parts)

    def together(arrays: list[Any]) -> Any:
        return xp.concat(arrays, axis=0)

    weight = keep = None
    if any(part.counting.weight is not None for part in parts):
        weight = together([part.counting.weights(part.z[:, 0]) for part in parts])
    if any(part.counting.keep is not None for part in parts):
        keep = together([part.counting.weights(part.z[:, 0]) != 0 for part in parts])
    axes = max(part.counting.weight_axes for part in parts)
    return replace(
        first,
        y=together([part.y for part in parts]),
        z=together([part.z for part in parts]),
        counting=replace(counting, shape=(n,), weight=weight, keep=keep,
                         weight_axes=axes),
    )  # fmt: skip


PAIRWISE = Pairwise()


def pairwise(
    *, temperature: float = 1.0, elicits: str = ""
) -> Callable[[Callable[..., Any]], Loss]:
    """Make a loss of embeddings of a formula of ``y`` and the log-odds ``z``.

    Every member has the parameters ``temperature``, which divides the similarities
    and may be learned; ``similarity``, ``"cosine"`` or ``"dot"``; and ``direction``:
    ``"forward"`` finds a prediction's target among all targets, ``"both"`` a target's
    prediction among all predictions too, and takes the mean.

    Parameters
    ----------
    temperature
        The default.
    elicits
        The functional that minimises the expected loss.

    Examples
    --------
    >>> from lossary import pairwise
    >>> from lossary.ops import softplus, weighted
    >>> @pairwise(temperature=0.5)
    ... def told_apart(y, z):
    ...     return weighted(y, softplus(-z))
    >>> keys = [[1.0, 0.0], [0.0, 1.0]]
    >>> round(float(told_apart(keys, keys)), 4)
    0.1269
    """

    def declare(function: Callable[..., Any]) -> Loss:
        about = "what similarities are divided by"
        learned = Param(temperature, gt=0, about=about, learn=(0, float("inf")))
        return define(
            function,
            structure=PAIRWISE,
            target="embedding",
            prediction="embedding",
            elicits=elicits,
            link="identity",
            forms={},
            majoriser=None,
            options={
                "temperature": learned,
                "similarity": Choice(("cosine", "dot")),
                "direction": Choice(("forward", "both")),
            },
        )

    return declare
