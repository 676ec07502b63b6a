"""Compiled derivatives of a loss, in the pieces that CatBoost asks for.

CatBoost asks for some hundred rows at a time, of a scalar score, or for one row, of
a score per class. NumPy would spend more on each call than on its rows, so the
formula is printed as a loop that starts in a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_double, c_int64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.emit.lowering import lower
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, lift, substitute, symbol
from lossary.frameworks.curvature import mode_of
from lossary.kernels.call import address, evaluated
from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import INDEX, POINTER, Type, Value, choose
from lossary.kernels.llvm.machine import load
from lossary.kernels.llvm.walk import SIGNATURE
from lossary.kernels.spelling import computed, uniform
from lossary.kernels.vecmath import exp, log
from lossary.loss import Loss

Array = NDArray[np.float64]

NUMBER, SINGLE = Type("double"), Type("float")

_HELD = "held_at"  # no formula has an input of this name


@dataclass(frozen=True)
class Compiled:
    """The derivatives of one loss: a kernel, and the numbers it is called with."""

    kernel: Callable[[Any, Any, int, int], None]
    uniforms: tuple[float, ...]

    def __call__(self, count: int, number: float, *arrays: NDArray[Any] | int) -> None:
        """Run over `count` rows or classes; each array is one, or a plain number."""
        slots = [x if isinstance(x, int) else address(x) for x in arrays]
        numbers = (number, *self.uniforms)
        self.kernel(
            (c_int64 * len(slots))(*slots),
            (c_double * len(numbers))(*numbers),
            0,
            count,
        )


@dataclass(frozen=True)
class _Printer:
    """A function in the making: its formulas, and what they read."""

    function: Function
    uniforms: dict[Node, Value]

    def compute(self, *roots: Node, **inputs: Value) -> list[Value]:
        """Print expressions of the given inputs."""
        known = {symbol(name): value for name, value in inputs.items()}
        return computed(map(lower, roots), self.uniforms | known)

    def array(self, slot: int) -> Value:
        """Return where an array begins."""
        return self.function.load(self.function["slots"], POINTER, slot)


def _printer(*roots: Node) -> tuple[_Printer, Value]:
    """Begin a function of one number, which is returned, and of some formulas."""
    function = Function(SIGNATURE)
    parts = uniform(map(lower, roots))
    number, *values = (
        function.load(function["reals"], NUMBER, i) for i in range(1 + len(parts))
    )
    return _Printer(function, dict(zip(parts, values, strict=True))), number


# -- blocks of rows of a scalar score -------------------------------------------------


@lru_cache(maxsize=64)
def block(loss: Loss) -> Compiled:
    """Return the kernel of a pointwise loss of a raw score.

    It subtracts ``factor·w·`` gradient and curvature from the two columns of ``out``:
    ``kernel(n, factor, scores, targets, weights, out, room)``. Scores and ``room``, as
    large as ``out``, are float64; targets and weights float32.
    """
    formula, mode = loss.formula, mode_of(loss)
    bend, names = formula.curvature, formula.params
    if mode == "majorised":
        bend, names = _majoriser(loss)
    printer, factor = _printer(formula.gradient, bend)
    rows = _Rows(printer, formula.inputs)
    {"exact": _exact, "clipped": _clipped, "majorised": _majorised}[mode](
        rows, formula.gradient, bend
    )
    rows.give(factor)
    values = dict(zip(names, (loss.parameters[n] for n in names), strict=True))
    roots = tuple(map(lower, (formula.gradient, bend)))
    return Compiled(
        load(printer.function.text(), f"catboost-{mode}"), evaluated(roots, values)
    )


class _Rows:
    """The rows of a block, one at a time."""

    def __init__(self, printer: _Printer, inputs: tuple[str, ...]) -> None:
        self.printer, self.inputs = printer, inputs
        self.function = printer.function
        self.scores, self.targets, self.weights, self.out, self.room = (
            printer.array(slot) for slot in range(5)
        )
        self.count = self.function["last"]

    def row(self, i: Value) -> dict[str, Value]:
        """Return target and score of a row."""
        target = self.function.load(self.targets, SINGLE, i).to("double")
        score = self.function.load(self.scores, NUMBER, i)
        return dict(zip(self.inputs, (target, score), strict=True))

    def weight(self, i: Value) -> Value:
        """Return the weight of a row."""
        return self.function.load(self.weights, SINGLE, i).to("double")

    def keep(self, i: Value, slope: Value | None, bend: Value | None) -> None:
        """Keep the derivatives of a row."""
        for column, x in enumerate((slope, bend)):
            if x is not None:
                self.function.store(x, self.room, i * 2 + column)

    def kept(self, i: Value) -> tuple[Value, Value]:
        """Return the derivatives that were kept of a row."""
        slope, bend = (
            self.function.load(self.room, NUMBER, i * 2 + column) for column in range(2)
        )
        return slope, bend

    def give(self, factor: Value) -> None:
        """Print what hands the kept derivatives over."""
        with self.function.loop(0, self.count) as i:
            weight = self.weight(i)
            for column, x in enumerate(self.kept(i)):
                before = self.function.load(self.out, NUMBER, i * 2 + column)
                after = before - choose(weight == 0.0, 0.0, factor * weight * x)
                self.function.store(after, self.out, i * 2 + column)


def _exact(rows: _Rows, slope: Node, bend: Node) -> None:
    with rows.function.loop(0, rows.count) as i:
        rows.keep(i, *rows.printer.compute(slope, bend, **rows.row(i)))


def _larger(a: Value, b: Value) -> Value:
    return choose(a > b, a, b)


def _clipped(rows: _Rows, slope: Node, bend: Node) -> None:
    """Do as `lossary.frameworks.curvature` does, over the rows of one call."""
    _exact(rows, slope, bend)
    function = rows.function
    steepest = function.variable(function.constant(0.0, NUMBER))
    curved = function.variable(function.constant(0.0, NUMBER))
    with function.loop(0, rows.count) as i:
        first, second = rows.kept(i)
        steepest.set(_larger(abs(first), steepest.get()))
        curved.set(_larger(abs(second), curved.get()))
    top = steepest.get()
    top = choose(top > 0.0, top, 1.0)
    flat = curved.get() == 0.0
    with function.loop(0, rows.count) as i:
        first, second = rows.kept(i)
        rows.keep(i, None, _larger(second, choose(flat, top, abs(first))))


def _majorised(rows: _Rows, slope: Node, bend: Node) -> None:
    """Do as `lossary.frameworks.curvature` does, over the rows of one call."""
    function, (y, z) = rows.function, rows.inputs
    pull = function.variable(function.constant(0.0, NUMBER))
    away = function.variable(function.constant(0.0, NUMBER))
    with function.loop(0, rows.count) as i:
        row = rows.row(i)
        (first,) = rows.printer.compute(slope, **row)
        rows.keep(i, first, None)
        weight = rows.weight(i)
        force = choose(weight == 0.0, 0.0, weight * abs(first))
        gap = choose(weight == 0.0, 0.0, abs(row[z] - row[y]))
        pull.set(pull.get() + force)
        away.set(away.get() + force * gap)
    some = pull.get() > 0.0
    typical = choose(some, away.get() / pull.get(), 1.0)
    typical = _larger(typical, typical.like(float(np.finfo(np.float64).tiny ** 0.5)))
    with function.loop(0, rows.count) as i:
        row = rows.row(i)
        distance = _larger(abs(row[z] - row[y]), typical)
        held = row[y] + choose(row[z] < row[y], -distance, distance)
        (second,) = rows.printer.compute(bend, **row, **{_HELD: held})
        rows.keep(i, None, second)


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


# -- one row of a score per class -----------------------------------------------------


@lru_cache(maxsize=64)
def row(loss: Loss) -> Compiled:
    """Return the kernel of one row of a loss of class scores.

    It subtracts ``weight·`` gradient and the whole matrix of second derivatives:
    ``kernel(k, weight, scores, label, first, second, room)``, where ``room`` holds 2·k
    numbers.

    With q the shares of the other classes among themselves and u the log-odds of the
    true class, u is z - log Σ e^z of the others: its gradient v is 1 there and -q at
    the others, its curvature -(diag q - q·q') at the others.
    """
    formula: Formula = loss.formula.at(**{loss.formula.inputs[0]: 1.0})
    roots = formula.gradient, formula.curvature
    printer, weight = _printer(*roots)
    function, k = printer.function, printer.function["last"]
    scores, first, second, shares = (printer.array(slot) for slot in (0, 2, 3, 4))
    label = function.load(function["slots"], INDEX, 1)
    with function.when(weight != 0.0):
        odds = _log_odds(function, scores, label, shares, k)
        slope, bend = printer.compute(*roots, **{formula.inputs[1]: odds})
        if mode_of(loss) == "clipped":
            bend = _larger(bend, abs(slope))
        with function.loop(0, k) as i:
            q, v = _share(function, shares, label, i)
            function.store(
                function.load(first, NUMBER, i) - weight * slope * v, first, i
            )
            with function.loop(0, k) as j:
                p, u = _share(function, shares, label, j)
                spread = choose(i == j, q, 0.0) - q * p
                place = i * k + j
                change = weight * (bend * v * u - slope * spread)
                function.store(
                    function.load(second, NUMBER, place) - change, second, place
                )
    params = {name: loss.parameters[name] for name in formula.params}
    return Compiled(
        load(function.text(), "catboost-row"),
        evaluated(tuple(map(lower, roots)), params),
    )


def _share(
    function: Function, shares: Value, label: Value, i: Value
) -> tuple[Value, Value]:
    """Return q and v of a class."""
    q = function.load(shares, NUMBER, i)
    return q, choose(i == label, 1.0, -q)


def _log_odds(
    function: Function, scores: Value, label: Value, shares: Value, k: Value
) -> Value:
    """Fill the shares of the other classes; return the true class's log-odds."""
    top = function.variable(function.constant(-np.inf, NUMBER))
    with function.loop(0, k) as j:
        z = function.load(scores, NUMBER, j)
        top.set(choose((j == label) | ~(z > top.get()), top.get(), z))
    mass = function.variable(function.constant(0.0, NUMBER))
    with function.loop(0, k) as j:
        e = exp(function.load(scores, NUMBER, j) - top.get())
        e = choose(j == label, 0.0, e)
        function.store(e, shares, j)
        mass.set(mass.get() + e)
    with function.loop(0, k) as j:
        function.store(function.load(shares, NUMBER, j) / mass.get(), shares, j)
    return function.load(scores, NUMBER, label) - top.get() - log(mass.get())
