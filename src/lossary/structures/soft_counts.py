"""Soft counts of masks: summed over the pixels of an image, chained back to scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from lossary.arrays import Library, library_of, record
from lossary.batch import Batch
from lossary.expr.derivative import derivative
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, apply, symbol
from lossary.loss import Loss
from lossary.reduction import quotient
from lossary.structures.items import into

SIGMOID = Formula(apply("sigmoid", symbol("z")), ("y", "z"))

Triple = tuple[Any, Any, Any]
"""Σ w·y·p, Σ w·y and Σ w·p of every item: an image, or a class of it."""


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
        losses, some, _ = losses_of(self.loss, lib, counts)
        return quotient(lib.total(losses), lib.total(some), empty)


def losses_of(
    loss: Loss, lib: Library, counts: Triple, *names: tuple[str, ...]
) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return a loss per item, whether there is anything to overlap, and derivatives.

    Losses and their derivatives, in the counts of some names, are 0 where there is
    nothing; of whether there is, 1 means yes.
    """
    xp, formula = lib.namespace(counts[0]), loss.formula
    some, one = (counts[1] + counts[2]) != 0, xp.ones_like(counts[0])
    safe = [xp.where(some, c, one) for c in counts]

    def found(node: Node) -> Any:
        values = lib.elementwise(node, formula, loss.params)(*safe)
        return xp.where(some, values, xp.zeros_like(values))

    losses, *derived = (found(_derivative(formula.value, of)) for of in ((), *names))
    return losses, lib.cast(some, losses.dtype), tuple(derived)


def _derivative(node: Node, names: tuple[str, ...]) -> Node:
    for name in names:
        node = derivative(node, symbol(name))
    return node


class Counter(Protocol):
    """What counts the pixels of a batch: a compiled kernel, or array code."""

    def counts(self) -> Triple:
        """Return the soft counts of every item."""

    def gradient(self, by_overlap: Any, by_prediction: Any, out: Any = None) -> Any:
        """Chain derivatives in an item's counts Σ w·y·p and Σ w·p to the scores."""


class Pixels:
    """The pixels of a batch, counted by the operations of their library.

    Attributes
    ----------
    y, p, w
        Target, probability and weight of every pixel (and class).
    """

    def __init__(self, loss: Loss, batch: Batch, weight: Any, per_image: bool) -> None:
        lib, y, z = batch.lib, batch.y, batch.z
        xp = lib.namespace(z)
        self.loss, self.batch = loss, batch
        self.by_class = loss.structure.indexed(batch.signature)
        pixels = len(batch.counting.shape)
        self.axes = tuple(range(1 if per_image else 0, pixels))
        w = xp.ones_like(z[..., 0] if self.by_class else z)
        w = replace(batch.counting, weight=weight).counted(w)
        p = z
        if loss.form == "logit":
            p = _softmax(lib, z) if self.by_class else _of_sigmoid("value", batch)
        if self.by_class:
            labels = xp.expand_dims(lib.cast(y, xp.int64), axis=-1)
            y = lib.cast(labels == lib.numbered(z), z.dtype)
            w = xp.expand_dims(w, axis=-1)
        self.y, self.p, self.w = y, p, w

    def counts(self) -> Triple:
        """Return the soft counts of every item."""
        y, p, w = self.y, self.p, self.w
        total = partial(self.batch.lib.total, axis=self.axes)
        return total(w * y * p), total(w * y), total(w * p)

    def gradient(self, by_overlap: Any, by_prediction: Any, out: Any = None) -> Any:
        """Chain derivatives in an item's counts Σ w·y·p and Σ w·p to the scores."""
        slope = self._slope(by_overlap, by_prediction)
        return into(self.batch.returned(self._to_scores(slope)), out)

    def curved(self, slopes: tuple[Any, Any], bends: Triple) -> tuple[Any, Any]:
        """Return gradient and diagonal curvature in the scores.

        Slopes are the derivatives of an item in its counts Σ w·y·p and Σ w·p, bends
        the second ones: twice in the first, in both, twice in the second.
        """
        slope, p, y = self._slope(*slopes), self.p, self.y
        twice, mixed, plain = map(self._spread, bends)
        bend = self.w * self.w * (twice * y * y + 2 * mixed * y + plain)
        if self.loss.form != "logit":
            curvature = bend
        elif self.by_class:
            xp = self.batch.lib.namespace(p)
            curvature = _softmax_diagonal(xp, p, slope, bend)
        else:
            curvature = bend * _of_sigmoid("gradient", self.batch) ** 2
            curvature = curvature + slope * _of_sigmoid("curvature", self.batch)
        returned = self.batch.returned
        return returned(self._to_scores(slope)), returned(curvature)

    def _spread(self, per_item: Any) -> Any:
        """Give every pixel the number of its item."""
        lib, p = self.batch.lib, self.p
        shape = (1 if i in self.axes else n for i, n in enumerate(lib.sizes(p)))
        return lib.namespace(p).reshape(lib.cast(per_item, p.dtype), tuple(shape))

    def _slope(self, by_overlap: Any, by_prediction: Any) -> Any:
        by_overlap, by_prediction = map(self._spread, (by_overlap, by_prediction))
        return self.w * (by_overlap * self.y + by_prediction)

    def _to_scores(self, slope: Any) -> Any:
        """Chain a slope in the probabilities to the scores."""
        p = self.p
        if self.loss.form != "logit":
            return slope
        if not self.by_class:
            return slope * _of_sigmoid("gradient", self.batch)
        xp = self.batch.lib.namespace(p)
        return p * (slope - xp.sum(p * slope, axis=-1, keepdims=True))


def _of_sigmoid(what: str, batch: Batch) -> Any:
    """Return the sigmoid of the scores, or a derivative that keeps its digits."""
    sigmoid = batch.lib.elementwise(getattr(SIGMOID, what), SIGMOID, ())
    return sigmoid(batch.lib.constant(batch.z), batch.z)


def _softmax(lib: Library, z: Any) -> Any:
    xp = lib.namespace(z)
    e = xp.exp(z - lib.constant(xp.max(z, axis=-1, keepdims=True)))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _softmax_diagonal(xp: Any, p: Any, slope: Any, bend: Any) -> Any:
    """Return Σ_j bend_j·(dp_j/dz_k)² + Σ_j slope_j·d²p_j/dz_k² for every class k."""
    own = p * (1 - p)
    bends = bend * p * p
    pull = slope * p
    others = xp.sum(bends, axis=-1, keepdims=True) - bends
    pulls = xp.sum(pull, axis=-1, keepdims=True) - pull
    return bend * own**2 + p * p * others + (slope * own - p * pulls) * (1 - 2 * p)
