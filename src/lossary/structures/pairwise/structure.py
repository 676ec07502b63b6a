"""The structure of pairwise losses: one loss per row, told from the rows beside it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from types import ModuleType
from typing import Any

from lossary.batch import Batch
from lossary.emit.latex import latex
from lossary.errors import ParameterError
from lossary.loss import Loss
from lossary.reduction import Sums
from lossary.shapes import Signature
from lossary.structures.items import ItemStructure
from lossary.structures.pairwise import whole
from lossary.structures.pairwise.compared import (
    Compared,
    among,
    serve,
    through_length,
    within,
)


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

    Parameters
    ----------
    each
        ``"row"`` for one term per row, of the log-odds of its own pair; ``"pair"``
        for one term per pair.
    """

    name = "pairwise"
    signatures = (Signature("n d, n d -> n"),)

    def __init__(self, each: str) -> None:
        self.each = each

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape of the rows."""
        return prediction[:1]

    def readable(self, loss: Loss) -> tuple[str, ...]:
        """Name the parameters that may be arrays of a call."""
        return ("temperature", "bias") if self.each == "pair" else ("temperature",)

    def check_learnable(self, loss: Loss, names: tuple[str, ...]) -> None:
        """Allow every parameter that is declared so: the loss is a likelihood."""

    # -- computing ------------------------------------------------------------------

    def items(self, loss: Loss, batch: Batch) -> Any:
        """Return the loss of each row."""
        return _items(loss, within(loss, batch)[0])

    def items_among(self, loss: Loss, batch: Batch, everyone: Batch, start: int) -> Any:
        """Return the loss of each row, told from all rows of a larger batch.

        `everyone` holds the rows of `batch` too, from row `start` on.
        """
        found = [_items(loss, c) for c in among(loss, batch, everyone, start)]
        return sum(found) / len(found)

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges: the rows themselves."""
        return Pairs(loss, (batch,), reduction)

    def _totals(self, loss: Loss, batch: Batch, reduction: str) -> Sums:
        if not serve(batch.lib, batch.z, batch.y):
            return super()._totals(loss, batch, reduction)
        # A sum is pulled back at once, which losses one by one could not be.
        compared, _ = within(loss, batch)
        kept, way = _kept(compared)
        shares = _of_kept(compared, kept, _shares(batch, reduction))
        numerator = way.total(loss, kept, shares)
        return Sums(numerator, self.denominator(batch, reduction))

    def pull(
        self, loss: Loss, batch: Batch, shares: Callable[[Any], Any]
    ) -> tuple[Any, Any]:
        """Return items, and the gradient of their sum in which each has its share."""
        compared, length = within(loss, batch)
        kept, way = _kept(compared)
        share = _of_kept(compared, kept, shares(compared.a[:, 0]))
        found = way.pull(loss, kept, share)
        items, gradient = (_all_rows(compared, kept, x) for x in found)
        return items, through_length(batch.lib, compared.a, length, gradient)

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
        angle = loss.parameters["similarity"] == "cosine"
        norm = r"\lVert p_i \rVert \lVert y_j \rVert \," if angle else ""
        score = rf"s_{{ij}} = \frac{{p_i \cdot y_j}}{{{norm} \tau}}"
        if self.each == "pair":
            text = latex(getattr(loss.formula, what))
            pair = r"y = [i = j], \; z = s_{ij} + b"
            return rf"\sum_j \left[{text}\right], \quad {pair}, \; {score}"
        text = latex(getattr(whole.OF_PAIR.of(loss.formula), what))
        odds = r"z = s_{ii} - \log \sum_{j \ne i} e^{s_{ij}}"
        return rf"{text}, \quad {odds}, \; {score}"


def _kept(c: Compared) -> tuple[Compared, ModuleType]:
    """Return what is compared, and how: of many rows those that count, by blocks."""
    if not serve(c.lib, c.a, c.b):
        return c, whole
    kept = c.without_removed()
    if not serve(c.lib, kept.a, kept.b):
        return kept, whole
    return kept, importlib.import_module("lossary.structures.pairwise.blocks")


def _items(loss: Loss, c: Compared) -> Any:
    kept, way = _kept(c)
    return _all_rows(c, kept, way.items(loss, kept))


def _of_kept(c: Compared, kept: Compared, x: Any) -> Any:
    """Return what belongs to the rows that were kept."""
    return x if kept.keep is c.keep else x[c.keep]


def _all_rows(c: Compared, kept: Compared, found: Any) -> Any:
    """Put what was found for the rows that were kept in their places, among zeros."""
    if kept.keep is c.keep:
        return found
    like = c.lib.constant(c.a if len(found.shape) > 1 else c.a[:, 0])
    result = c.lib.namespace(like).zeros_like(like)
    result[c.keep] = found
    return result


def _shares(batch: Batch, reduction: str) -> Any:
    """Return what the loss of each row is multiplied by in a sum."""
    weights = batch.counting.weights(batch.z[:, 0])
    rows = batch.counting.row_scale(reduction, weights)
    return weights if rows is None else rows * weights


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
                         weight_axes=axes, total=None),
    )  # fmt: skip
