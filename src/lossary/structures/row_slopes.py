"""From slopes in what a class's formula sees to slopes in the scores of a row."""

from __future__ import annotations

from typing import Any

from lossary.arrays import Library
from lossary.expr.graph import apply, symbol


def label_slopes(
    lib: Library, xp: Any, hit: Any, r: Any, a: Any, c: Any
) -> tuple[Any, Any]:
    """Return the gradient a·(hit - r) and the diagonal of the Hessian."""
    a, c = xp.expand_dims(a, axis=-1), xp.expand_dims(c, axis=-1)
    rest = _complement(lib, xp, r)
    gradient = xp.where(hit, a + xp.zeros_like(r), -a * r)
    curvature = xp.where(hit, c + xp.zeros_like(r), c * r * r - a * r * rest)
    return gradient, curvature


def _complement(lib: Library, xp: Any, r: Any) -> Any:
    """Return 1 - r: for the largest share, where that would cancel, the others."""
    leader = xp.expand_dims(xp.argmax(r, axis=-1), axis=-1)
    first = lib.numbered(r) == leader
    others = xp.sum(xp.where(first, xp.zeros_like(r), r), axis=-1, keepdims=True)
    return xp.where(first, others, 1 - r)


_P = apply("sigmoid", symbol("z"))
_Q = apply("sigmoid", -symbol("z"))


def distribution_slopes(
    lib: Library, xp: Any, u: Any, a: Any, c: Any
) -> tuple[Any, Any]:
    """Chain the slopes in the log-odds to the logits.

    With q = 1 - p, du_k/dz_j is 1 for j = k and -p_j/q_k otherwise.
    """
    p, q = (lib.run(node, ("y", "z"))(u, u) for node in (_P, _Q))
    some = q != 0
    safe = xp.where(some, q, xp.ones_like(q))
    b = xp.where(some, a / safe, xp.zeros_like(a))
    # p²·(c + a)/q² - p·a/q without a difference of p² and p, which cancels at p = 1.
    bend = xp.where(some, (c + a * p) / safe / safe, xp.zeros_like(a))
    others = xp.sum(b, axis=-1, keepdims=True) - b
    bends = xp.sum(bend, axis=-1, keepdims=True) - bend
    return a - p * others, c + p * (p * bends - q * others)


def probability_slopes(
    xp: Any, hit: Any, f: Any, a: Any, c: Any, labels: bool
) -> tuple[Any, Any, Any]:
    """Return the loss of each row, gradient and curvature in its probabilities."""
    if not labels:
        return xp.sum(f, axis=-1), a, c
    rest = xp.expand_dims(xp.where(a == a, xp.zeros_like(a), a), axis=-1)
    a, c = (xp.where(hit, xp.expand_dims(x, axis=-1), rest) for x in (a, c))
    return f, a, c
