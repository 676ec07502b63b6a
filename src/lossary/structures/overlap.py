"""Overlap losses: three soft counts per image, and a formula of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.arrays import Library, library_of, record
from lossary.batch import Batch
from lossary.emit.latex import latex
from lossary.errors import ParameterError
from lossary.expr.derivative import derivative
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, apply, symbol
from lossary.kinds import Kind, kind
from lossary.loss import Loss
from lossary.parameters import Choice
from lossary.reduction import Sums, quotient
from lossary.shapes import Signature
from lossary.structures.constants import LINKS
from lossary.structures.declare import define
from lossary.structures.items import ItemStructure, fitting, into, number, reciprocal

MASKS = Signature("*b, *b -> n")
CLASSES = Signature("*b, *b k -> n k")

_SIGMOID = Formula(apply("sigmoid", symbol("z")), ("y", "z"))


@record("overlap", "target", "prediction")
@dataclass(frozen=True)
class Counts:
    """Soft counts of a batch: Σ w·y·p, Σ w·y and Σ w·p; they merge by addition."""

    loss: Loss
    overlap: Any
    target: Any
    prediction: Any

    def __add__(self, other: Counts) -> Counts:
        """Merge the counts of two parts of the data."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(
            self.loss,
            self.overlap + other.overlap,
            self.target + other.target,
            self.prediction + other.prediction,
        )

    def mean(self, empty: str = "nan") -> Any:
        """Return the loss of the merged counts, averaged over classes."""
        lib = library_of(self.overlap)
        counts = self.overlap, self.target, self.prediction
        losses, some = _losses(self.loss, lib, counts)
        return quotient(lib.total(losses), lib.total(some), empty)


def _losses(loss: Loss, lib: Library, counts: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return a loss per count, and 1 where there is anything to overlap, else 0."""
    xp = lib.namespace(counts[0])
    some = (counts[1] + counts[2]) != 0
    losses = _of_counts(loss, lib, loss.formula.value, _safe(xp, some, counts))
    return xp.where(some, losses, xp.zeros_like(losses)), lib.cast(some, losses.dtype)


def _safe(xp: Any, some: Any, counts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(xp.where(some, c, xp.ones_like(c)) for c in counts)


def _of_counts(loss: Loss, lib: Library, node: Node, counts: tuple[Any, ...]) -> Any:
    formula = loss.formula
    return lib.run(node, (*formula.inputs, *formula.params))(*counts, *loss.params)


@dataclass(frozen=True)
class _Pixels:
    """Targets, probabilities and weights per pixel (and class), ready to be summed."""

    y: Any
    p: Any
    w: Any
    images: Any
    axes: tuple[int, ...]

    def counts(self, xp: Any) -> tuple[Any, Any, Any]:
        y, p, w = self.y, self.p, self.w
        return (
            xp.sum(w * y * p, axis=self.axes),
            xp.sum(w * y + 0 * p, axis=self.axes),
            xp.sum(w * p, axis=self.axes),
        )

    def spread(self, xp: Any, per_item: Any, like: Any) -> Any:
        """Give every pixel the number of its item."""
        shape = [1 if i in self.axes else n for i, n in enumerate(like)]
        return xp.reshape(per_item, tuple(shape))


class Overlap(ItemStructure):
    """One loss per image (the first axis), or one over the whole batch.

    An image, or a class of it, in which neither target nor prediction has anything is
    left out of the mean. A one-dimensional array is one image. A weight per image
    weighs its loss; a weight per pixel weighs the pixel in the counts.
    """

    name = "overlap"
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

    def _pixels(self, loss: Loss, batch: Batch) -> _Pixels:
        lib, y, z = batch.lib, batch.y, batch.z
        xp = lib.namespace(z)
        by_class = self.indexed(batch.signature)
        p = z
        if loss.form == "logit":
            p = _softmax(lib, z) if by_class else _of_sigmoid(_SIGMOID.value, batch)
        pixels = len(batch.counting.shape)
        per_image = loss.parameters["over"] == "image" and pixels > 1
        w, images = _weights(batch, z[..., 0] if by_class else z, per_image)
        if by_class:
            labels = xp.expand_dims(lib.cast(y, xp.int64), axis=-1)
            y = lib.cast(labels == lib.numbered(z), z.dtype)
            w = xp.expand_dims(w, axis=-1)
        axes = tuple(range(1 if per_image else 0, pixels))
        return _Pixels(y, p, w, images, axes)

    def _items(
        self, loss: Loss, batch: Batch
    ) -> tuple[_Pixels, tuple[Any, ...], Any, Any]:
        """Return pixels, counts, the loss of each item, and each item's weight."""
        pixels = self._pixels(loss, batch)
        xp = batch.lib.namespace(pixels.p)
        counts = pixels.counts(xp)
        losses, shares = _losses(loss, batch.lib, counts)
        if pixels.images is not None:
            extra = len(batch.lib.shape(losses)) - 1
            shares = shares * xp.reshape(pixels.images, (-1, *[1] * extra))
        return pixels, counts, losses, shares

    def value(self, loss: Loss, batch: Batch, reduction: str, empty: str) -> Any:
        """Return the reduced loss."""
        _, _, losses, shares = self._items(loss, batch)
        if reduction == "none":
            return batch.returned(shares * losses)
        total = batch.lib.total(shares * losses)
        if reduction == "sum":
            return number(batch, total)
        return number(
            batch, quotient(total, self._divisor(batch, shares, reduction), empty)
        )

    def _divisor(self, batch: Batch, shares: Any, reduction: str) -> Any:
        if reduction == "mean_over_items":
            shares = batch.lib.cast(shares != 0, shares.dtype)
        return batch.lib.total(shares)

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges: soft counts over a batch, else Σ w·l and Σ w."""
        _, counts, losses, shares = self._items(loss, batch)
        if loss.parameters["over"] == "batch":
            return Counts(loss, *counts)
        divisor = self._divisor(batch, shares, reduction)
        return Sums(batch.lib.total(shares * losses), divisor)

    def value_and_grad(
        self, loss: Loss, batch: Batch, reduction: str, empty: str, out: Any
    ) -> tuple[Any, Any]:
        """Return the reduced loss and its gradient in the prediction."""
        lib = batch.lib
        pixels, counts, losses, shares = self._items(loss, batch)
        scale = shares
        value = lib.total(shares * losses)
        if reduction == "none":
            value = shares * losses
        elif reduction != "sum":
            divisor = self._divisor(batch, shares, reduction)
            value = quotient(value, divisor, empty)
            scale = shares * reciprocal(batch, divisor, empty)
        slope, _ = self._slopes(loss, batch, pixels, counts)
        xp = lib.namespace(slope)
        slope = pixels.spread(xp, scale, lib.sizes(pixels.p)) * slope
        gradient = batch.returned(self._to_scores(loss, batch, pixels.p, slope))
        value = batch.returned(value) if reduction == "none" else number(batch, value)
        return value, into(gradient, fitting(batch, out))

    def _slopes(
        self, loss: Loss, batch: Batch, pixels: _Pixels, counts: tuple[Any, ...]
    ) -> tuple[Any, Any]:
        """Return slope and bend of an item's loss in each of its probabilities."""
        lib, formula = batch.lib, loss.formula
        xp = lib.namespace(pixels.p)
        some = (counts[1] + counts[2]) != 0
        safe = _safe(xp, some, counts)

        def partial(*names: str) -> Any:
            node = formula.value
            for name in names:
                node = derivative(node, symbol(name))
            found = _of_counts(loss, lib, node, safe)
            found = xp.where(some, found, xp.zeros_like(found))
            return pixels.spread(xp, found, lib.sizes(pixels.p))

        y, w = pixels.y, pixels.w
        slope = w * (partial("tp") * y + partial("p"))
        mixed = partial("tp", "tp") * y * y + 2 * partial("tp", "p") * y
        return slope, w * w * (mixed + partial("p", "p"))

    def _to_scores(self, loss: Loss, batch: Batch, p: Any, slope: Any) -> Any:
        """Chain a slope in the probabilities to the scores."""
        if loss.form != "logit":
            return slope
        if not self.indexed(batch.signature):
            return slope * _of_sigmoid(_SIGMOID.gradient, batch)
        xp = batch.lib.namespace(p)
        return p * (slope - xp.sum(p * slope, axis=-1, keepdims=True))

    def grad_and_hess(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and diagonal curvature of each image's own loss."""
        pixels, counts, *_ = self._items(loss, batch)
        slope, bend = self._slopes(loss, batch, pixels, counts)
        gradient = self._to_scores(loss, batch, pixels.p, slope)
        p = pixels.p
        if loss.form != "logit":
            curvature = bend
        elif not self.indexed(batch.signature):
            steep = _of_sigmoid(_SIGMOID.gradient, batch)
            curvature = bend * steep**2
            curvature = curvature + slope * _of_sigmoid(_SIGMOID.curvature, batch)
        else:
            curvature = _softmax_diagonal(batch.lib.namespace(p), p, slope, bend)
        return batch.returned(gradient), batch.returned(curvature)

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


def _of_sigmoid(node: Node, batch: Batch) -> Any:
    """Return the sigmoid of the scores, or a derivative that keeps its digits."""
    sigmoid = batch.lib.elementwise(node, _SIGMOID, ())
    return sigmoid(batch.lib.constant(batch.z), batch.z)


def _softmax(lib: Library, z: Any) -> Any:
    xp = lib.namespace(z)
    e = xp.exp(z - lib.constant(xp.max(z, axis=-1, keepdims=True)))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _weights(batch: Batch, like: Any, per_image: bool) -> tuple[Any, Any]:
    """Return weights of pixels and, where there is one weight per image, of images."""
    counting = batch.counting
    xp = batch.lib.namespace(like)
    if not per_image or counting.weight_axes != 1:
        return counting.counted(xp.ones_like(like)), None
    kept = xp.ones_like(like)
    if counting.keep is not None:
        kept = batch.lib.cast(counting.keep, like.dtype)
    images = counting.weight
    while len(batch.lib.shape(images)) > 1:
        images = images[:, 0]
    return kept, images


def _softmax_diagonal(xp: Any, p: Any, slope: Any, bend: Any) -> Any:
    """Return Σ_j bend_j·(dp_j/dz_k)² + Σ_j slope_j·d²p_j/dz_k² for every class k."""
    own = p * (1 - p)
    bends = bend * p * p
    pull = slope * p
    others = xp.sum(bends, axis=-1, keepdims=True) - bends
    pulls = xp.sum(pull, axis=-1, keepdims=True) - pull
    return bend * own**2 + p * p * others + (slope * own - p * pulls) * (1 - 2 * p)


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
