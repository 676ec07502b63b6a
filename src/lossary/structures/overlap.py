"""Overlap losses: three soft counts per image, and a formula of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossary.arrays import library_of
from lossary.batch import Batch, without_removed
from lossary.emit.latex import latex
from lossary.errors import ParameterError
from lossary.expr.derivative import derivative
from lossary.expr.graph import symbol
from lossary.kinds import Kind, kind
from lossary.loss import Loss
from lossary.parameters import Choice
from lossary.reduction import Sums, quotient
from lossary.shapes import Signature
from lossary.structures.constants import LINKS
from lossary.structures.declare import define
from lossary.structures.items import ItemStructure, fitting, number, reciprocal
from lossary.structures.soft_counts import (
    Counter,
    Counts,
    Pixels,
    Triple,
    losses_of,
)

MASKS = Signature("*b, *b -> n")
CLASSES = Signature("*b, *b k -> n k")

_SLOPES = ("tp",), ("p",)
_BENDS = ("tp", "tp"), ("tp", "p"), ("p", "p")


@dataclass(frozen=True)
class _Items:
    """A loss per image (and class), its weight, the counts that it comes from.

    `derived` are its derivatives in them; `pixels` has counted them.
    """

    pixels: Counter
    counts: Triple
    losses: Any
    shares: Any
    derived: tuple[Any, ...]


class Overlap(ItemStructure):
    """One loss per image (the first axis), or one over the whole batch.

    An image, or a class of it, in which neither target nor prediction has anything is
    left out of the mean. A one-dimensional array is one image. A weight per image
    weighs its loss; a weight per pixel weighs the pixel in the counts.
    """

    name = "overlap"
    kernel = "overlap"
    signatures = (MASKS, CLASSES)
    inputs = ("tp", "y", "p")

    def indexed(self, signature: Signature) -> bool:
        """Say whether the target holds class numbers."""
        return signature == CLASSES

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape of the pixels."""
        return target

    def kinds(self, loss: Loss, signature: Signature) -> tuple[Kind, Kind]:
        """Return the kinds of target and prediction."""
        if signature == MASKS:
            return loss.target, loss.prediction
        scores = "class_logits" if loss.form == "logit" else "class_probability"
        return kind("class_index"), kind(scores)

    # -- computing ------------------------------------------------------------------

    def _pixels(self, loss: Loss, batch: Batch) -> tuple[Counter, Any]:
        """Return what counts the pixels, and a weight per image if that was given."""
        counting = batch.counting
        per_image = loss.parameters["over"] == "image" and len(counting.shape) > 1
        if not per_image or counting.weight_axes != 1:
            return _counter(loss, batch, counting.weight, per_image), None
        images = counting.weight
        while len(batch.lib.shape(images)) > 1:
            images = images[:, 0]
        return _counter(loss, batch, None, per_image), images

    def _items(self, loss: Loss, batch: Batch, *names: tuple[str, ...]) -> _Items:
        """Return the losses of the items, and derivatives in the counts of names."""
        pixels, images = self._pixels(loss, batch)
        counts = pixels.counts()
        losses, shares, derived = losses_of(loss, batch.lib, counts, *names)
        if images is not None:
            classes = len(batch.lib.shape(losses)) - 1
            xp = batch.lib.namespace(images)
            shares = shares * xp.reshape(images, (-1, *[1] * classes))
        return _Items(pixels, counts, losses, shares, derived)

    def value(self, loss: Loss, batch: Batch, reduction: str, empty: str) -> Any:
        """Return the reduced loss."""
        if batch.compiled:
            call = _Compiled(self, loss, batch, reduction, empty)
            return batch.lib.differentiable(call, batch.z)
        return self.reduced(loss, batch, reduction, empty)[0]

    def reduced(
        self, loss: Loss, batch: Batch, reduction: str, empty: str, graded: bool = False
    ) -> tuple[Any, Counter, tuple[Any, ...]]:
        """Return the reduced loss, what counts the pixels, and its slopes if asked for.

        They are its derivatives in every item's counts Σ w·y·p and Σ w·p.
        """
        items = self._items(loss, batch, *(_SLOPES if graded else ()))
        scale, value = items.shares, items.shares * items.losses
        if reduction == "none":
            value = batch.returned(value)
        else:
            value = batch.lib.total(value)
            if reduction != "sum":
                divisor = _divisor(batch, items.shares, reduction)
                value = quotient(value, divisor, empty)
                if graded:
                    scale = scale * reciprocal(batch, divisor, empty)
            value = number(batch, value)
        return value, items.pixels, tuple(scale * slope for slope in items.derived)

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges: soft counts over a batch, else Σ w·l and Σ w."""
        items = self._items(loss, batch)
        if loss.parameters["over"] == "batch":
            return Counts(loss, *(_merging(batch, c) for c in items.counts))
        total = batch.lib.total(items.shares * items.losses)
        divisor = _divisor(batch, items.shares, reduction)
        return Sums(_merging(batch, total), _merging(batch, divisor))

    def value_and_grad(
        self, loss: Loss, batch: Batch, reduction: str, empty: str, out: Any
    ) -> tuple[Any, Any]:
        """Return the reduced loss and its gradient in the prediction."""
        out = fitting(batch, out)
        value, pixels, slopes = self.reduced(loss, batch, reduction, empty, graded=True)
        by_overlap, by_prediction = slopes
        return value, pixels.gradient(by_overlap, by_prediction, out)

    def grad_and_hess(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and diagonal curvature of each image's own loss."""
        items = self._items(loss, batch, *_SLOPES, *_BENDS)
        pixels: Any = items.pixels
        curved: tuple[Any, Any] = pixels.curved(items.derived[:2], items.derived[2:])
        return curved

    def best_constant(self, loss: Loss, y_true: Any, sample_weight: Any) -> Any:
        """Return the constant score of the least loss over 0/1 masks."""
        y = np.asarray(library_of(y_true).concrete(y_true), dtype=np.float64)
        grid = np.linspace(0, 1, 1025)
        probability = loss.bind(from_logits=False)
        losses = [
            float(probability(y, np.full_like(y, p), sample_weight=sample_weight))
            for p in grid
        ]
        best = float(grid[int(np.nanargmin(losses))])
        return LINKS["logit"](best) if loss.form == "logit" else best

    def latex(self, loss: Loss, what: str) -> str:
        r"""Print the formula of the counts, or its slope in one probability."""
        formula = loss.formula
        if what == "value":
            counts = (
                r"tp = \sum_i w_i y_i p_i, \; y = \sum_i w_i y_i, \; p = \sum_i w_i p_i"
            )
            return rf"{latex(formula.value)}, \quad {counts}"
        if what == "gradient":
            tp, p = (latex(derivative(formula.value, symbol(n))) for n in ("tp", "p"))
            return rf"w_i \left(y_i \left[{tp}\right] + {p}\right)"
        raise ParameterError(
            f"{loss.name} is a loss of sums over an image: its curvature is not one "
            "formula per pixel; print 'value' or 'gradient'"
        )


@dataclass(frozen=True)
class _Compiled:
    """The reduced loss of pixels that a kernel counts, for `Library.differentiable`.

    A few numbers stand between the pixels and the loss: they are computed by the
    library that takes small steps best.
    """

    structure: Overlap
    loss: Loss
    batch: Batch
    reduction: str
    empty: str

    def forward(self, wanted: tuple[bool, ...], z: Any) -> tuple[Any, Any]:
        """Return the value, and what its gradient is made of."""
        batch, counting = self.batch, self.batch.counting
        lib, (y, near, weight, keep) = batch.lib.at_hand(
            batch.y, z, counting.weight, counting.keep
        )
        counting = replace(counting, lib=lib, weight=weight, keep=keep)
        kind = near.dtype
        batch = replace(
            batch, lib=lib, y=y, z=near, dtype=kind, work=kind, counting=counting
        )
        with lib.quiet():
            value, *kept = self.structure.reduced(
                self.loss, batch, self.reduction, self.empty, graded=wanted[0]
            )
        return (value if lib is self.batch.lib else self.batch.lib.asarray(value)), kept

    def backward(self, kept: Any, upstream: Any, *_: Any) -> tuple[Any]:
        """Return the gradient in the scores, in one more pass."""
        pixels, slopes = kept
        gradient = pixels.gradient(*(float(upstream) * slope for slope in slopes))
        return (self.batch.lib.asarray(gradient),)

    def plain(self, z: Any) -> Any:
        """Compute the same by operations that the library differentiates."""
        batch = replace(self.batch, z=z, compiled=False)
        batch = without_removed(self.loss, batch)
        return self.structure.value(self.loss, batch, self.reduction, self.empty)


def _counter(loss: Loss, batch: Batch, weight: Any, per_image: bool) -> Counter:
    """Return what counts the pixels: a compiled kernel, or array code."""

    def plain(z: Any) -> Triple:
        kept = without_removed(loss, replace(batch, z=z))
        return Pixels(loss, kept, weight, per_image).counts()

    logits = loss.form == "logit"
    fused = batch.lib.fused_overlap(batch, weight, per_image, logits, plain)
    return Pixels(loss, batch, weight, per_image) if fused is None else fused


def _merging(batch: Batch, x: Any) -> Any:
    """Give sums the dtype that those of other parts have, however they were taken."""
    return batch.lib.cast(x, batch.z.dtype) if batch.lib.autodiff else x


def _divisor(batch: Batch, shares: Any, reduction: str) -> Any:
    if reduction == "mean_over_items":
        shares = batch.lib.cast(shares != 0, shares.dtype)
    return batch.lib.total(shares)


OVERLAP = Overlap()


def overlap(
    *,
    elicits: str = "",
) -> Callable[[Callable[..., Any]], Loss]:
    """Make a loss of masks of a formula of three soft counts.

    The formula takes ``tp`` = Σ w·y·p, ``y`` = Σ w·y and ``p`` = Σ w·p. Every member
    has the parameter ``over``: ``"image"`` takes one loss per image and averages,
    ``"batch"`` counts over all images first.

    Examples
    --------
    >>> from lossary import overlap
    >>> @overlap()
    ... def jaccard(tp, y, p):
    ...     return 1 - tp / (y + p - tp)
    >>> float(jaccard([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], from_logits=False))
    0.5
    """

    def declare(function: Callable[..., Any]) -> Loss:
        return define(
            function,
            structure=OVERLAP,
            target="fraction",
            prediction="logit",
            elicits=elicits,
            link="logit",
            forms={"probability": function},
            majoriser=None,
            options={"over": Choice(("image", "batch"))},
        )

    return declare
