"""The truth at 50 digits: formulas read by mpmath, structures written out in loops."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from laws.cases import by_labels, edges
from lossary.expr.graph import Node, parameter, symbol
from lossary.expr.reference import Mpmath, evaluate
from lossary.loss import Loss

M = Mpmath(120)
"""Enough that 50 digits are left of 1 - p where p is 1 - exp(-100)."""

FAR = 1e60
"""Stands in for an infinity where a formula at infinity is of the form 0·inf."""


def at(loss: Loss, node: Node, **values: float) -> Any:
    """Evaluate one of a loss's formulas at one point."""
    formula = loss.formula
    points: dict[Node, Any] = {symbol(k): v for k, v in values.items()}
    points |= {
        parameter(p): v for p, v in zip(formula.params, loss.params, strict=True)
    }
    return evaluate(node, points, M)


def rounded(x: Any, dtype: Any) -> float:
    """Round a true value to a dtype; beyond its range it is infinite."""
    if abs(x) > np.finfo(dtype).max:
        return float(M.sign(x)) * np.inf
    return float(np.asarray(float(x)).astype(dtype))


@lru_cache(maxsize=1024)
def truth(loss: Loss, dtype: str) -> tuple[list[Any], Any, Any]:
    """Return value, gradient and curvature on the edge grid, as mpmath numbers."""
    inputs = edges(loss, dtype)
    if loss.structure.name == "pairwise":
        return _pairs(loss, inputs.y, inputs.z)
    solve = {"pointwise": _pointwise, "rowwise": _row, "overlap": _image}
    rows = [
        solve[loss.structure.name](loss, y, z)
        for y, z in zip(inputs.y, inputs.z, strict=True)
    ]
    if loss.structure.name == "overlap" and loss.parameters["over"] == "batch":
        rows = [_image(loss, inputs.y.ravel(), inputs.z.ravel())]
    values, gradients, curvatures = zip(*rows, strict=True)
    return list(values), list(gradients), list(curvatures)


def _pointwise(loss: Loss, y: float, z: float) -> tuple[Any, Any, Any]:
    f = loss.formula
    nodes = (f.value, f.gradient, f.curvature)
    return tuple(_limit(loss, n, float(y), float(z)) for n in nodes)  # type: ignore


def _limit(loss: Loss, node: Node, y: float, z: float) -> Any:
    exact = at(loss, node, y=y, z=z)
    if exact == exact or not np.isinf(z):
        return exact
    near = at(loss, node, y=y, z=float(np.clip(z, -FAR, FAR)))
    return near if abs(near) < FAR / 1e6 else M.sign(near) * M.inf


def beside(loss: Loss, node: Node, y: float, z: float, dtype: str) -> list[Any]:
    """Return the truth a rounding to either side: a jump may fall in between."""
    eps = 4 * float(np.finfo(dtype).eps)
    step = eps * max(abs(y), abs(z))
    sides = [at(loss, node, y=y, z=z + way) for way in (-step, step)]
    return [t for t in sides if t == t]


def _row(loss: Loss, y: Any, z: np.ndarray) -> tuple[Any, list[Any], list[Any]]:
    """Differentiate Σ_k f(y_k, u_k(z)) by the chain rule, class by class."""
    K, mp, f = len(z), M.mp, loss.formula
    rate = mp.mpf(loss.parameters.get("label_smoothing", 0.0))
    given = np.eye(K)[y] if by_labels(loss) else y
    target = [(1 - rate) * mp.mpf(float(t)) + rate / K for t in given]
    if loss.form == "class_probability":
        terms = [
            [at(loss, n, y=target[k], z=float(z[k]))
             for n in (f.value, f.gradient, f.curvature)]
            for k in range(K)
        ]  # fmt: skip
        return sum(t[0] for t in terms), [t[1] for t in terms], [t[2] for t in terms]
    e = [mp.exp(mp.mpf(float(v))) for v in z]
    value, gradient, curvature = mp.mpf(0), [mp.mpf(0)] * K, [mp.mpf(0)] * K
    for k in range(K):
        if target[k] == 0:
            continue
        others = sum(e[j] for j in range(K) if j != k)
        u = mp.mpf(float(z[k])) - mp.log(others) if e[k] else -M.inf
        v, a, c = (at(loss, n, y=target[k], z=u)
                   for n in (f.value, f.gradient, f.curvature))  # fmt: skip
        value += v
        for j in range(K):
            r = e[j] / others
            slope = mp.mpf(1) if j == k else -r
            bend = mp.mpf(0) if j == k else -r * (1 - r)
            gradient[j] += a * slope
            curvature[j] += c * slope**2 + a * bend
    return value, gradient, curvature


def _pairs(loss: Loss, y: np.ndarray, z: np.ndarray) -> tuple[Any, Any, Any]:
    """Return the loss of every row, and the gradient of their sum in the vectors z.

    The gradient is a difference quotient over 1e-40 of a vector's own length.
    """
    mp, n = M.mp, len(z)
    tau = mp.mpf(loss.parameters["temperature"])
    bias = mp.mpf(loss.parameters.get("bias", 0.0))

    def length(v: list[Any]) -> Any:
        return mp.sqrt(sum(x * x for x in v))

    def similarity(a: list[Any], b: list[Any]) -> Any:
        dot = sum(s * t for s, t in zip(a, b, strict=True))
        if loss.parameters["similarity"] == "dot":
            return dot
        size = length(a) * length(b)
        return dot / size if size else mp.mpf(0)

    def row(scores: list[Any], i: int) -> Any:
        if loss.structure.each == "pair":
            return sum(at(loss, loss.formula.value, y=float(j == i), z=s)
                       for j, s in enumerate(scores))  # fmt: skip
        others = mp.log(sum(mp.exp(s) for j, s in enumerate(scores) if j != i))
        return at(loss, loss.formula.value, y=1.0, z=scores[i] - others)

    def items(queries: list[list[Any]]) -> list[Any]:
        scores = [[similarity(q, k) / tau + bias for k in keys] for q in queries]
        found = [row(scores[i], i) for i in range(n)]
        if loss.parameters.get("direction", "forward") == "forward":
            return found
        back = [row([scores[j][i] for j in range(n)], i) for i in range(n)]
        return [(a + b) / 2 for a, b in zip(found, back, strict=True)]

    keys, queries = ([[mp.mpf(float(x)) for x in v] for v in a] for a in (y, z))
    flat = loss.parameters["similarity"] == "cosine"
    gradient = [[mp.mpf(0)] * len(v) for v in queries]
    for i, v in enumerate(queries):
        if flat and not length(v):  # a vector of zeros has no direction to turn in
            continue
        for k in range(len(v)):
            step = mp.mpf("1e-40") * (length(v) or 1)
            moved = [[*q] for q in queries]
            moved[i][k] += step
            up = sum(items(moved))
            moved[i][k] -= 2 * step
            gradient[i][k] = (up - sum(items(moved))) / (2 * step)
    return items(queries), gradient, []


def _image(loss: Loss, y: np.ndarray, z: np.ndarray) -> tuple[Any, Any, Any]:
    from lossary.expr.derivative import derivative

    mp, f = M.mp, loss.formula
    logits = loss.form == "logit"
    p = [M.sigmoid(mp.mpf(float(v))) if logits else mp.mpf(float(v)) for v in z]
    counts = {
        "tp": sum(mp.mpf(float(a)) * b for a, b in zip(y, p, strict=True)),
        "y": mp.mpf(float(y.sum())),
        "p": sum(p, mp.mpf(0)),
    }
    nothing = [mp.mpf(0)] * len(p)
    if counts["y"] + counts["p"] == 0:
        return mp.mpf(0), nothing, nothing

    def d(*names: str) -> Any:
        node = f.value
        for name in names:
            node = derivative(node, symbol(name))
        return at(loss, node, **counts)

    gradient, curvature = [], []
    for a, b in zip(y, p, strict=True):
        t = mp.mpf(float(a))
        slope = d("tp") * t + d("p")
        bend = d("tp", "tp") * t**2 + 2 * d("tp", "p") * t + d("p", "p")
        steep = b * (1 - b)
        if logits:
            bend = bend * steep**2 + slope * steep * (1 - 2 * b)
            slope = slope * steep
        gradient.append(slope)
        curvature.append(bend)
    return at(loss, f.value, **counts), gradient, curvature
