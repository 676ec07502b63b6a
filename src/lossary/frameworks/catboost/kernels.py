"""Compiled derivatives of a loss, in the pieces that CatBoost asks for.

CatBoost asks for some hundred rows at a time, of a scalar score, or for one row, of
a score per class. NumPy would spend more on each call than on its rows, so the
formula is printed as a loop that starts in a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lossary.emit.numba import straight_line
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, lift, substitute, symbol
from lossary.frameworks.curvature import mode_of
from lossary.kernels.cache import load
from lossary.kernels.printing import (
    indented,
    printed_header,
    uniform_lines,
    uniform_values,
)
from lossary.loss import Loss

Array = NDArray[np.float64]

BLOCK = """
numbers, singles = read(types.float64), read(types.float32)


@njit(
    types.void(
        numbers, singles, singles, numbers, types.float64,
        types.Array(types.float64, 2, "C"),
    ),
    **blocks.compiled,
)
def kernel(scores, targets, weights, uniforms, factor, out):
{uniforms}
    n = scores.shape[0]
    slopes, bends, shares = np.empty(n), np.empty(n), np.ones(n)
    for i in range(weights.shape[0]):
        shares[i] = weights[i]
    for i in range(n):
        {y}, {z} = np.float64(targets[i]), scores[i]
{lines}
        slopes[i], bends[i] = {slope}, {bend}
{safety}
    for i in range(n):
        removed = shares[i] == 0.0
        out[i, 0] -= 0.0 if removed else factor * shares[i] * slopes[i]
        out[i, 1] -= 0.0 if removed else factor * shares[i] * bends[i]
"""

# As in `lossary.frameworks.curvature`, over the rows of one call.
CLIPPED = """\
    steepest, curved = 0.0, False
    for i in range(n):
        steepest = max(steepest, abs(slopes[i]))
        curved |= bends[i] != 0.0
    steepest = steepest if steepest > 0.0 else 1.0
    for i in range(n):
        bends[i] = max(bends[i], abs(slopes[i]) if curved else steepest)"""

MAJORISED = """\
    pull, away = 0.0, 0.0
    for i in range(n):
        if shares[i] != 0.0:
            pull += shares[i] * abs(slopes[i])
            away += shares[i] * abs(slopes[i]) * abs(scores[i] - targets[i])
    typical = max(away / pull if pull > 0.0 else 1.0, {tiny})
    for i in range(n):
        {y}, {z} = np.float64(targets[i]), scores[i]
        distance = max(abs({z} - {y}), typical)
        held = -distance if {z} < {y} else distance
        {at} = {y} + held
{lines}
        bends[i] = {bend}"""

# With q the shares of the other classes among themselves and u the log-odds of the
# true class, u is z - log Σ e^z of the others: its gradient v is 1 there and -q at
# the others, its curvature -(diag q - q·q') at the others.
ROW = """
square = types.Array(types.float64, 2, "C")


@njit(
    types.void(
        read(types.float64), types.int64, types.float64, read(types.float64),
        written(types.float64), square,
    ),
    **blocks.compiled,
)
def kernel(scores, label, weight, uniforms, first, second):
    if weight == 0.0:
        return
{uniforms}
    k = scores.shape[0]
    q, v, top, mass = np.empty(k), np.empty(k), -inf, 0.0
    for j in range(k):
        if j != label:
            top = max(top, scores[j])
    for j in range(k):
        q[j] = 0.0 if j == label else exp_of(scores[j] - top)
        mass += q[j]
    for j in range(k):
        q[j] /= mass
        v[j] = 1.0 if j == label else -q[j]
    {z} = scores[label] - top - log_of(mass)
{lines}
    slope, bend = {slope}, {bend}
{safety}
    for i in range(k):
        first[i] -= weight * slope * v[i]
        for j in range(k):
            spread = (q[i] if i == j else 0.0) - q[i] * q[j]
            second[i, j] -= weight * (bend * v[i] * v[j] - slope * spread)
"""

_HELD = "held_at"  # no formula has an input of this name


@dataclass(frozen=True)
class Compiled:
    """The derivatives of one loss: a kernel, and what it is called with."""

    kernel: Callable[..., None]
    uniforms: Array


def block(loss: Loss) -> Compiled:
    """Return the kernel of a pointwise loss of a raw score.

    It subtracts ``factor·w·`` gradient and curvature from the two columns of ``out``:
    ``kernel(scores, targets, weights, uniforms, factor, out)``, with empty weights
    where all rows count alike.
    """
    return _block(loss)


@lru_cache(maxsize=64)
def _block(loss: Loss) -> Compiled:
    formula, mode = loss.formula, mode_of(loss)
    y, z = formula.inputs
    if mode == "majorised":
        bend, names = _majoriser(loss)
        lines = straight_line(formula.gradient).lines
    else:
        bend, names = formula.curvature, formula.params
        lines = straight_line(formula.gradient, bend).lines
    code = straight_line(formula.gradient, bend)
    slope, result = code.results
    safety = {"exact": "", "clipped": CLIPPED, "majorised": MAJORISED}[mode].format(
        y=y,
        z=z,
        at=_HELD,
        lines=indented(code.lines, 2),
        bend=result,
        tiny=np.finfo(np.float64).tiny ** 0.5,
    )
    text = BLOCK.format(
        uniforms=indented(uniform_lines(code), 1),
        y=y,
        z=z,
        lines=indented(lines, 2),
        slope=slope,
        bend="0.0" if mode == "majorised" else result,
        safety=safety,
    )
    text = printed_header(code, "float64") + text
    whole = Formula(bend, formula.inputs, names)
    values = tuple(loss.parameters[name] for name in names)
    kernel = load(text, f"catboost_{mode}")
    return Compiled(kernel, uniform_values(whole, code, values))


def _majoriser(loss: Loss) -> tuple[Node, tuple[str, ...]]:
    """Return the curvature of a bound from above, at the point that is held."""
    formula, declared = loss.formula, loss.definition.majoriser
    y, z = formula.inputs
    point = {symbol(z): symbol(_HELD)}
    if declared is None:  # the secant: the tightest quadratic of an even loss
        slope = substitute(formula.gradient, point)
        bend = abs(slope / (lift(symbol(_HELD)) - symbol(y)))
        return bend, formula.params
    bend = substitute(declared.value, {symbol(declared.inputs[1]): symbol(_HELD)})
    return bend, tuple(dict.fromkeys((*formula.params, *declared.params)))


@lru_cache(maxsize=64)
def row(loss: Loss) -> Compiled:
    """Return the kernel of one row of a loss of class scores.

    It subtracts ``weight·`` gradient and the whole matrix of second derivatives:
    ``kernel(scores, label, weight, uniforms, first, second)``.
    """
    formula = loss.formula.at(**{loss.formula.inputs[0]: 1.0})
    code = straight_line(formula.gradient, formula.curvature)
    slope, bend = code.results
    clipped = mode_of(loss) == "clipped"
    text = ROW.format(
        uniforms=indented(uniform_lines(code), 1),
        z=formula.inputs[1],
        lines=indented(code.lines, 1),
        slope=slope,
        bend=bend,
        safety="    bend = max(bend, abs(slope))" if clipped else "",
    )
    header = printed_header(code, "float64") + "".join(
        f'{name}_of = vecmath.functions("float64")["{name}"]\n'
        for name in ("exp", "log")
    )
    params = tuple(loss.parameters[name] for name in formula.params)
    return Compiled(
        load(header + text, "catboost_row"), uniform_values(formula, code, params)
    )
