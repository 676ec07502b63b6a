"""Fused kernels of rowwise losses: softmax and loss, a few rows at a time in cache.

The formula sees the log-odds of a class against all others, u = z - log Σ_others e^z.
Where labels are given, the others' maximum is subtracted, never the true class's own
score, so that a confident row keeps all its digits and nothing underflows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossary.expr.formula import Formula
from lossary.kernels import threads
from lossary.kernels.cache import load
from lossary.kernels.printing import (
    Scale,
    Totals,
    What,
    coded,
    flat,
    indented,
    prepared,
    printed_header,
    specialised,
    tidy,
    uniform_lines,
    uniform_values,
    weigh,
)
from lossary.kernels.sizes import BLOCK, CHUNK

KERNEL = """

real, whole = np.{dtype}, np.{whole}
mask, lowest = whole(np.iinfo(whole).max), real(-inf).view(whole)
real_type = blocks.real_types["{dtype}"]
matrix = types.Array(real_type, 2, "C", readonly=True)
decay_of = vecmath.functions("{dtype}")["decay"]
log_of = vecmath.functions("{precision}")["log"]


@njit(
    types.void(
        {target_type}, matrix, read(real_type), read(types.uint8), types.float64,
        read(types.float64), types.int64, types.int64, types.int64, types.int64,
        written(types.float64), written(types.uint8), types.Array(real_type, 2, "C"),
    ),
    **blocks.compiled,
)
def kernel(
    targets, scores, weight, keep, scale, uniforms, step, size, first, last,
    sums, outside, slopes,
):
{uniforms}
    rows, classes = scores.shape
    shares, work = np.ones(step, real), np.empty(step * classes, real)
    words = scores.view(whole)
{buffers}
    for chunk in range(first, last):
        total = 0.0
        stop = min(rows, (chunk + 1) * size)
        for row in range(chunk * size, stop, step):
            count = min(step, stop - row)
            if weight.size or keep.size:
                blocks.effective(weight, keep, row, row + count, shares)
{body}
        sums[chunk] = total
"""

# What a label's row needs of the formula is evaluated in float64, once per row.
ODDS = """\
            for r in range(count):
                here, label = slice(r * classes, (r + 1) * classes), targets[row + r]
                known = 0 <= label < classes
                if not known and shares[r] != 0.0:
                    outside[chunk] = 1
                cut = label if known else classes
                bits = words[row + r]
                top = blocks.largest(bits[:cut], lowest, mask)
                top = blocks.largest(bits[cut + 1 :], top, mask)
                blocks.lower_by(scores[row + r], whole(top).view(real), work[here])
                ahead[r] = nan
                if known:
                    own = scores[row + r, label]
                    ahead[r] = np.float64(own) - np.float64(whole(top).view(real))
                    work[r * classes + label] = -inf
            for i in range(count * classes):
                work[i] = decay_of(work[i])
            for r in range(count):
                others[r] = blocks.added(work[r * classes : (r + 1) * classes])
            for r in range(count):
                {target}, {score} = 1.0, ahead[r] - log_of(others[r])
{lines}
                values[r], slope[r] = {first}, {second}
"""

LABELS = (
    ODDS
    + """\
            for r in range(count):
                w = np.float64(shares[r])
                removed = w == 0.0
                if not removed:
                    total += w * values[r]
                if slopes.shape[0] and removed:
                    slopes[row + r, :] = zero
                elif slopes.shape[0]:
                    own = scale * w * slope[r]
                    # No other class, or none in reach: nothing to share the slope.
                    factor = real(-own / others[r] if others[r] != 0.0 else 0.0 * own)
                    filled = slopes[row + r]
                    for k in range(classes):
                        filled[k] = factor * work[r * classes + k]
                    if 0 <= targets[row + r] < classes:
                        filled[targets[row + r]] = own
"""
)

# Gradient a and curvature c of the true class are chained to the others, of share r
# each: -a·r and c·r² - a·r·(1 - r), where 1 - r of the largest is the sum of the rest.
# Curvatures go below the gradients, into rows of their own.
CURVED = (
    ODDS
    + """\
            for r in range(count):
                own, bend, mass = values[r], slope[r], others[r]
                inverse = 1.0 / mass if mass != 0.0 else 0.0 * own
                beside = work[r * classes : (r + 1) * classes]
                leader, rest = 0, 0.0
                for k in range(1, classes):
                    leader = k if beside[k] > beside[leader] else leader
                for k in range(classes):
                    rest += 0.0 if k == leader else np.float64(beside[k])
                filled, bent = slopes[row + r], slopes[rows + row + r]
                for k in range(classes):
                    part = np.float64(beside[k]) * inverse
                    miss = rest * inverse if k == leader else 1.0 - part
                    filled[k] = real(-own * part)
                    bent[k] = real(bend * part * part - own * part * miss)
                if 0 <= targets[row + r] < classes:
                    filled[targets[row + r]] = real(own)
                    bent[targets[row + r]] = real(bend)
"""
)

# A distribution's formula is evaluated once per class, in the dtype of the scores.
DISTRIBUTION = """\
            items = count * classes
            for r in range(count):
                here, bits = slice(r * classes, (r + 1) * classes), words[row + r]
                top = blocks.largest(bits, lowest, mask)
                blocks.lower_by(scores[row + r], whole(top).view(real), work[here])
            for i in range(items):
                share[i] = decay_of(work[i])
            for r in range(count):
                here = slice(r * classes, (r + 1) * classes)
                blocks.against_others(
                    work[here], share[here], miss[here], log_of
                )
            given = targets[row * classes : row * classes + items]
            for i in range(items):
                {target}, {score} = given[i], work[i] - log_of(miss[i])
{lines}
                values[i] = {first}
                bent[i] = {second}
            for r in range(count):
                w, here = np.float64(shares[r]), slice(r * classes, (r + 1) * classes)
                if w == 0.0:
                    if slopes.shape[0]:
                        slopes[row + r, :] = 0.0
                    continue
                total += w * blocks.added(values[here])
                if slopes.shape[0]:
                    blocks.chain(
                        bent[here], share[here], miss[here], values[here],
                        real(scale * w), slopes[row + r],
                    )
"""

BUFFERS = {
    True: ("ahead", "others", "values", "slope"),
    False: ("share", "miss", "values", "bent"),
}


def printed(
    formula: Formula, labels: bool, dtype: str, what: What = "value_and_grad"
) -> str:
    """Print the module of one kernel.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    labels
        Whether the target is a class number per row, or a distribution over classes.
    dtype
        ``"float32"`` or ``"float64"``.
    what
        ``"value_and_grad"``, or ``"grad_and_hess"`` of class numbers.
    """
    if labels:
        formula = formula.at(**{formula.inputs[0]: 1.0})
    code = coded(formula, what)
    precision = "float64" if labels else dtype
    size = "step" if labels else "step * classes"
    buffers = [f"{b} = np.empty({size}, np.{precision})" for b in BUFFERS[labels]]
    target, score = formula.inputs
    first, second = code.results
    template = CURVED if what == "grad_and_hess" else LABELS
    body = (template if labels else DISTRIBUTION).format(
        target=target,
        score=score,
        lines=indented(code.lines, 4),
        first=first,
        second=second,
    )
    text = KERNEL.format(
        dtype=dtype,
        whole=dtype.replace("float", "int"),
        precision=precision,
        target_type="read(types.int64)" if labels else "read(real_type)",
        uniforms=indented(uniform_lines(code), 1),
        buffers=indented(buffers, 1),
        body=body.rstrip(),
    )
    return printed_header(code, precision) + text


Key = tuple[Formula, bool, str, What]

_kernels: dict[Key, Callable[..., Any]] = {}
_served: set[Key] = set()


def ready(
    formula: Formula, dtype: Any, what: What = "value_and_grad", labels: bool = True
) -> bool:
    """Say whether a kernel is in memory, so that calling it compiles nothing.

    One kernel gives the value alone and the value with its gradient.
    """
    return (formula, labels, np.dtype(dtype).name, _pass(what)) in _served


def _pass(what: What) -> What:
    return "grad_and_hess" if what == "grad_and_hess" else "value_and_grad"


def _kernel(key: Key) -> Callable[..., Any]:
    if key not in _kernels:
        _, labels, dtype, what = key
        kind = "labels" if labels else "distribution"
        curved = "_curved" if what == "grad_and_hess" else ""
        _kernels[key] = load(printed(*key), f"rows_{kind}{curved}_{dtype}")
    return _kernels[key]


def total(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
) -> Totals:
    """Add up the losses of the rows; see `value_and_grad`."""
    z = tidy(z)
    nothing = np.empty((0, z.shape[-1]), z.dtype)
    return _run(formula, params, target, z, (weight, keep), 1.0, nothing)


def value_and_grad(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    *,
    weight: Any = None,
    keep: Any = None,
    scale: Scale = 1.0,
    out: Any = None,
) -> tuple[Totals, Any]:
    """Add up the losses of the rows, and write scale·w·gradient.

    Parameters
    ----------
    formula
        The loss of a class, given its target and its log-odds.
    params
        Its parameters, in the formula's order.
    target
        A class number per row, or a distribution over the classes per row.
    z
        Class scores, float32 or float64, the class axis last.
    weight, keep
        A weight per row; True where a row counts.
    scale
        A number, or a function of Σw and the count that gives it.
    out
        Where the gradient goes: a contiguous array of the shape and dtype of `z`.

    Returns
    -------
    Totals
        ``outside`` says that a counted label names no class; its row costs NaN.
    numpy.ndarray
        The gradient in `z`.
    """
    z = tidy(z)
    out = np.empty(z.shape, z.dtype) if out is None else out
    return _run(formula, params, target, z, (weight, keep), scale, out), out


def grad_and_hess(
    formula: Formula, params: Sequence[float], target: Any, z: Any
) -> tuple[Any, Any]:
    """Return gradient and diagonal curvature in the class scores, of class numbers.

    Parameters are those of `value_and_grad`.
    """
    z = tidy(z)
    both = np.empty((2, *z.shape), z.dtype)
    _run(formula, params, target, z, (None, None), 1.0, both, "grad_and_hess")
    return both[0], both[1]


def _run(
    formula: Formula,
    params: Sequence[float],
    target: Any,
    z: Any,
    counting: tuple[Any, Any],
    scale: Scale,
    gradient: Any,
    what: What = "value_and_grad",
) -> Totals:
    classes, labels = z.shape[-1], np.ndim(target) < z.ndim
    _served.add((formula, labels, z.dtype.name, what))
    formula, params = specialised(formula, tuple(params))
    targets = flat(target, np.int64 if labels else z.dtype)
    scores, slopes = z.reshape(-1, classes), gradient.reshape(-1, classes)
    weight, keep = prepared(*counting, z.dtype)
    denominator, count = weigh(weight, keep, scores.shape[0])
    factor = scale(denominator, count) if callable(scale) else scale
    kernel = _kernel((formula, labels, z.dtype.name, what))
    seen = formula.at(**{formula.inputs[0]: 1.0}) if labels else formula
    uniforms = uniform_values(seen, coded(seen, what), params)
    step = max(1, 4 * BLOCK // classes)
    size = step * max(1, CHUNK // (step * classes))
    chunks = -(-scores.shape[0] // size)
    sums, outside = np.zeros(chunks), np.zeros(chunks, np.uint8)

    def part(first: int, last: int) -> None:
        kernel(
            targets, scores, weight, keep, factor, uniforms, step, size, first, last,
            sums, outside, slopes,
        )  # fmt: skip

    threads.run(part, chunks)
    return Totals(float(sums.sum()), denominator, count, bool(outside.any()))
