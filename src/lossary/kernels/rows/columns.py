"""What a vector of rows costs, given a vector for every class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan

from lossary.kernels import vecmath
from lossary.kernels.llvm.lanes import Type, Value, choose
from lossary.kernels.rows.parts import (
    Call,
    Known,
    added,
    below,
    beside,
    finite,
    larger,
    tree,
)
from lossary.kernels.spelling import computed

Results = tuple[Value, list[list[Value]]]
"""The loss of each row, and what is written for each class of each output."""


@dataclass(frozen=True)
class Columns:
    """Scores of some rows, and what multiplies their gradients.

    Attributes
    ----------
    call, known
        The call, and the uniform parts of its formula.
    z
        Scores, a vector for every class.
    scale
        The factor of the gradient of each row, in float64.
    """

    call: Call
    known: Known
    z: list[Value]
    scale: Value

    @property
    def what(self) -> str:
        """What is computed."""
        return self.call.variant.what

    @property
    def type(self) -> Type:
        """What a vector of scores is."""
        return self.z[0].type


def of_labels(rows: Columns, label: Value, known: Value) -> Results:
    """Compute rows of class numbers."""
    hits = [label == k for k in range(len(rows.z))]
    solve = _log_loss_of_labels if rows.call.variant.likely else _formula_of_labels
    return solve(rows, hits, known)


def _picked(hits: list[Value], columns: list[Value]) -> Value:
    """Return of each row what belongs to its class; NaN if there is no such class."""
    own = columns[0].like(nan)
    for hit, x in zip(hits, columns, strict=True):
        own = choose(hit, x, own)
    return own


def _formula_of_labels(rows: Columns, hits: list[Value], _: Value) -> Results:
    """Compute rows of class numbers; the formula is evaluated once.

    Its input has more digits than the scores: a tail such as e^-u would lose as many
    as u has before the point. In float64 they are there; in float32 the formula is
    evaluated at the rounded number, and corrected by derivative times what was lost.
    """
    call, z = rows.call, rows.z
    top = z[0].like(-inf)
    for hit, x in zip(hits, z, strict=True):
        top = larger(choose(hit, -inf, x), top)
    shift = finite(top)
    e = [
        choose(hit, 0.0, vecmath.fall(below(x - shift)))
        for hit, x in zip(hits, z, strict=True)
    ]
    mass = tree(e, added)
    if call.variant.narrow:
        first, *second = _corrected(rows, _picked(hits, z), top, vecmath.log(mass))
    else:
        mass = mass.to("double")
        ahead = _picked(hits, z).to("double") - top.to("double")
        seen = call.inputs(None, ahead - vecmath.log(mass))
        first, *second = computed(call.roots, {**rows.known, **seen})
    if rows.what == "value":
        return first, []
    if rows.what == "grad_and_hess":
        return first, _bent(hits, e, mass, first, second[0])
    own = rows.scale.to(mass.type.kind) * second[0]
    # No other class, or none in reach: nothing to share the slope.
    others = choose(mass != 0.0, -own / mass, 0.0 * own).to(rows.type.kind)
    own = own.to(rows.type.kind)
    slopes = [choose(hit, own, others * x) for hit, x in zip(hits, e, strict=True)]
    return first, [slopes]


def _corrected(rows: Columns, own: Value, top: Value, log: Value) -> list[Value]:
    """Evaluate a formula at own - top - log, all but the last of its derivatives."""
    ahead, lost = _difference(own, top)
    odds, more = _difference(ahead, log)
    lost = lost + more
    lost = choose(lost == lost, lost, 0.0)  # infinite odds lose nothing
    seen = {**rows.known, **rows.call.inputs(None, odds)}
    found = computed(rows.call.roots, seen)
    return [x + choose(lost == 0.0, 0.0, slope * lost) for x, slope in pairwise(found)]


def _difference(a: Value, b: Value) -> tuple[Value, Value]:
    """Return a - b, rounded, and what was lost of it (Knuth's way)."""
    difference = a - b
    near = difference - a
    return difference, (a - (difference - near)) - (b + near)


def _bent(
    hits: list[Value], e: list[Value], mass: Value, slope: Value, bend: Value
) -> list[list[Value]]:
    """Chain gradient and curvature of the true class to the others' shares."""
    kind = e[0].type.kind
    inverse = choose(mass != 0.0, 1.0 / mass, 0.0 * slope).to(kind)
    mass, slope, bend = (x.to(kind) for x in (mass, slope, bend))
    rest, _ = beside(e)
    gradient, curvature = [], []
    for hit, x in zip(hits, e, strict=True):
        r = x * inverse
        miss = choose(x == 1.0, rest, mass - x) * inverse
        gradient.append(choose(hit, slope, -slope * r))
        curvature.append(choose(hit, bend, bend * r * r - slope * r * miss))
    return [gradient, curvature]


@dataclass(frozen=True)
class _Softmax:
    """Exponentials of rows, relative to the largest of each.

    Attributes
    ----------
    lost
        How far each score is below the largest.
    e
        The exponential of that, 1 for the largest.
    rest, mass
        Their sum without one of the largest, and with it.
    """

    lost: list[Value]
    e: list[Value]
    rest: Value
    mass: Value


def _softmax(z: list[Value]) -> _Softmax:
    top = z[0].like(-inf)
    for x in z:
        top = larger(x, top)
    lost = [choose(x == top, 0.0, x - top) for x in z]
    e = _decays(lost)
    rest, mass = beside(e)
    rest = choose(top == -inf, nan, rest)  # every class is ruled out
    return _Softmax(lost, e, rest, mass)


def _decays(lost: list[Value]) -> list[Value]:
    if len(lost) != 2:
        return [vecmath.fall(x) for x in lost]
    low = vecmath.fall(lost[0] + lost[1])  # one of them is 0
    return [choose(x == 0.0, 1.0, low) for x in lost]


def _log_loss_of_labels(rows: Columns, hits: list[Value], known: Value) -> Results:
    """Compute -log p of one class a row.

    Of the largest class, 1 - p is what the others make up, without rounding.
    """
    soft = _softmax(rows.z)
    away = _picked(hits, soft.lost)
    loss = _log1p_rest(soft) - away
    term = rows.call.target_term(rows.known)
    loss = tree([loss, *term(loss.like(1.0))], added)
    if rows.what == "value":
        return loss, []
    inverse = choose(known, 1.0 / soft.mass, nan)
    miss = soft.rest * inverse
    own = choose(away == 0.0, -miss, _picked(hits, soft.e) * inverse - 1.0)
    if rows.what == "grad_and_hess":
        p = [x * inverse for x in soft.e]
        slopes = [choose(hit, own, x) for hit, x in zip(hits, p, strict=True)]
        bends = [
            x * choose(e == 1.0, miss, 1.0 - x) for x, e in zip(p, soft.e, strict=True)
        ]
        return loss, [slopes, bends]
    scale = rows.scale.to(rows.type.kind)
    own, inverse = scale * own, scale * inverse
    return loss, [
        [choose(hit, own, x * inverse) for hit, x in zip(hits, soft.e, strict=True)]
    ]


def _log1p_rest(soft: _Softmax) -> Value:
    """Return log(1 + rest): of two classes, the rest is at most 1."""
    few = len(soft.e) <= 2
    return vecmath.log1p_unit(soft.rest) if few else vecmath.log1p(soft.rest)


def of_smoothed(rows: Columns, label: Value, known: Value) -> Results:
    """Compute rows of smoothed labels: distributions, NaN for no class."""
    spread = choose(known, rows.call.real("spread", rows.type), nan)
    whole = spread + rows.call.real("kept", rows.type)
    return of_shares(
        rows, [choose(label == k, whole, spread) for k in range(len(rows.z))]
    )


def of_shares(rows: Columns, y: list[Value]) -> Results:
    """Compute rows of distributions."""
    solve = _log_loss if rows.call.variant.likely else _any_formula
    return solve(rows, y, _softmax(rows.z))


def _log_loss(rows: Columns, y: list[Value], soft: _Softmax) -> Results:
    """Compute -Σ y·log p, with one logarithm a row."""
    whole = tree(y, added)
    dots = [choose(t == 0.0, 0.0, t * x) for t, x in zip(y, soft.lost, strict=True)]
    loss = whole * _log1p_rest(soft) - tree(dots, added)
    term = rows.call.target_term(rows.known)
    loss = tree([loss, *(x for t in y for x in term(t))], added)
    if rows.what == "value":
        return loss, []
    scale = rows.scale.to(rows.type.kind)
    inverse = 1.0 / soft.mass
    miss = soft.rest * inverse
    gradient = []
    for t, x in zip(y, soft.e, strict=True):
        p = x * inverse
        # Of the largest class, by what 1 - p is without rounding.
        slope = choose(x == 1.0, (whole - t) * p - t * miss, whole * p - t)
        gradient.append(scale * slope)
    return loss, [gradient]


def _any_formula(rows: Columns, y: list[Value], soft: _Softmax) -> Results:
    """Evaluate the formula of every class; see `shares.AnyFormula`."""
    call, scale = rows.call, rows.scale.to(rows.type.kind)
    inverse = 1.0 / soft.mass
    losses, slopes, ratios = [], [], []
    for t, d, x in zip(y, soft.lost, soft.e, strict=True):
        others = choose(x == 1.0, soft.rest, soft.mass - x)
        seen = call.inputs(t, d - vecmath.log(others))
        loss, *slope = computed(call.roots, {**rows.known, **seen})
        losses.append(loss)
        for a in slope:
            q = others * inverse
            slopes.append(a)
            ratios.append(choose(q == 0.0, 0.0, a / q))
    if not slopes:
        return tree(losses, added), []
    whole = tree(ratios, added)
    gradient = [
        scale * (a - x * inverse * (whole - b))
        for a, x, b in zip(slopes, soft.e, ratios, strict=True)
    ]
    return tree(losses, added), [gradient]
