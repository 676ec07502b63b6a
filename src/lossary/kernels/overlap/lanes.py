"""Pixels of masks or of few classes: a pixel in every lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossary.emit.lowering import lower
from lossary.expr.graph import apply, symbol
from lossary.kernels.llvm.lanes import Value, choose, muladd
from lossary.kernels.llvm.tiles import Tile, tile
from lossary.kernels.llvm.walk import walk
from lossary.kernels.overlap.parts import COUNTS, Call, Variant
from lossary.kernels.rows.parts import added, larger, tree
from lossary.kernels.spelling import computed
from lossary.kernels.vecmath import decay
from lossary.kernels.weights import share

Factors = tuple[list[Value], list[Value]]
"""The slopes of an item in Σ w·y·p and in Σ w·p, for each class."""

_Z = symbol("z")
_SIGMOIDS = tuple(lower(apply("sigmoid", x)) for x in (_Z, -_Z))
"""A probability and its complement, which share an exponential."""


def printed(variant: Variant) -> str:
    """Print the module of a kernel of masks, or of a fixed number of classes."""
    call = Call(variant)
    counting, width = variant.what == "counts", max(1, variant.classes)
    body = _of_classes(call) if variant.classes else _of_masks(call)
    factors: Factors = ([], [])

    def span(chunk: Value, total: Value) -> tuple[Value, Value]:
        item, begin, end = call.span(chunk)
        if not counting:
            for half, found in enumerate(factors):
                start = (item * 2 + half) * width
                found[:] = [call.factor(start + k) for k in range(width)]
        return begin, end

    def work(i: Value, live: Value, ins: Any, outs: Any) -> list[Value]:
        own, counted = share(ins, i, live, variant.weight, variant.keep)
        return body(i, own, counted, factors, (ins, outs))

    adds = COUNTS * width if counting else 0
    walk(call.function, variant.kind, call.reads, call.writes, adds, work, span)
    return call.finished()


Body = Callable[[Value, Value | None, Value, Factors, Any], list[Value]]
"""Prints the work on a vector of pixels, given its index, its weights, which of them
count, the factors of the item, and the blocks that are read and written."""


def _weighted(own: Value | None, x: Value) -> Value:
    return x if own is None else own * x


def _of_masks(call: Call) -> Body:
    """Let pixels lie side by side, target and score of each."""
    variant = call.variant

    def body(
        i: Value, own: Value | None, counted: Value, factors: Factors, blocks: Any
    ) -> list[Value]:
        ins, outs = blocks
        y, z = (x.load(i) for x in ins[:2])
        if variant.what == "counts":
            call.watch(0, y, counted)
            call.watch(1, z, counted)
            p = computed(_SIGMOIDS[:1], {_Z: z})[0] if variant.logits else z
            target = _weighted(own, y)
            sums = (target * p, target, _weighted(own, p))
            return [choose(counted, x, 0.0) for x in sums]
        (by_overlap,), (by_prediction,) = factors
        slope = _weighted(own, muladd(by_overlap, y, by_prediction))
        if variant.logits:
            p, miss = computed(_SIGMOIDS, {_Z: z})
            slope = slope * (p * miss)
        outs[0].store(call.kept(counted, slope), i)
        return []

    return body


def _of_classes(call: Call) -> Body:
    """Sort the scores of a vector of pixels into one vector for each class."""
    variant, width, type = call.variant, call.variant.classes, call.type
    rooms = {name: call.function.room(type, width) for name in ("scores", "slopes")}

    def part(name: str, labels: Any, i: Value) -> Tile:
        rows = call.function.smaller(labels.count - i, type.lanes)
        return tile(call[name], labels.start + i, rows, width, type, rooms[name])

    def body(
        i: Value, own: Value | None, counted: Value, factors: Factors, blocks: Any
    ) -> list[Value]:
        labels = blocks[0][0]
        scores = part("scores", labels, i)
        scores.fetch()
        z, label = scores.load(), labels.load(i)
        hits = [label == k for k in range(width)]
        p = _softmax(z) if variant.logits else z
        if variant.what == "counts":
            for x in z:
                call.watch(1, x, counted)
            return _class_sums(p, hits, own, counted)
        slopes = [
            choose(hit, a + b, b) for hit, a, b in zip(hits, *factors, strict=True)
        ]
        if variant.logits:
            slopes = _through_softmax(p, slopes)
        found = [call.kept(counted, _weighted(own, x)) for x in slopes]
        part("slopes", labels, i).store(found)
        return []

    return body


def _class_sums(
    p: Sequence[Value], hits: Sequence[Value], own: Value | None, counted: Value
) -> list[Value]:
    one = p[0].like(1.0) if own is None else own
    predictions = [_weighted(own, x) for x in p]
    mine = [counted & hit for hit in hits]
    return [
        *(choose(m, x, 0.0) for m, x in zip(mine, predictions, strict=True)),
        *(choose(m, one, 0.0) for m in mine),
        *(choose(counted, x, 0.0) for x in predictions),
    ]


def _softmax(scores: Sequence[Value]) -> list[Value]:
    top = tree(scores, larger)
    shares = [decay(z - top) for z in scores]
    inverse = 1.0 / tree(shares, added)
    return [e * inverse for e in shares]


def _through_softmax(p: Sequence[Value], slopes: Sequence[Value]) -> list[Value]:
    """Chain slopes in the probabilities to the scores: p_k·(s_k - Σ_j p_j·s_j)."""
    mean = tree([x * s for x, s in zip(p, slopes, strict=True)], added)
    return [x * (s - mean) for x, s in zip(p, slopes, strict=True)]
