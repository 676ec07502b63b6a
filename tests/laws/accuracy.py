"""How far values and derivatives are from 50 digits, on the edge grid.

``make accuracy`` prints the worst case per loss × framework × dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from laws.cases import VARIANTS, edges
from laws.frameworks import FRAMEWORKS, Framework
from laws.oracle import beside, rounded, truth
from lossary.loss import Loss

LIMITS = {
    ("value", "float64"): 1e-14,
    ("gradient", "float64"): 1e-14,
    ("curvature", "float64"): 1e-12,
    ("value", "float32"): 1e-6,
    ("gradient", "float32"): 1e-6,
    ("curvature", "float32"): 1e-6,
}


def limit(loss: Loss, what: str, dtype: str) -> float:
    """Return the largest error that is allowed.

    A similarity is rounded before the temperature divides it.
    """
    return LIMITS[what, dtype] / min(1.0, loss.parameters.get("temperature", 1.0))


@dataclass(frozen=True)
class Worst:
    """The largest error of one quantity, and where it is."""

    error: float
    place: str = ""


def error(got: float, true: Any, dtype: str, far_out: bool = False) -> float:
    """Return the relative error; near a root, the absolute one where it is smaller.

    Far out a tiny value is no root but a tail: 3.7e-44 is the loss of a logit of 100,
    and 0 would be no digit of it.
    """
    expected = rounded(true, dtype)
    if got == expected or (got != got and expected != expected):
        return 0.0
    if not (np.isfinite(got) and np.isfinite(expected)):
        return _next_to_overflow(got, expected, dtype)
    off = abs(float(got) - true) if abs(expected) else abs(float(got))
    relative = off / abs(true) if true else off
    kind = np.finfo(dtype)
    tail = far_out and kind.tiny <= abs(true) < np.sqrt(kind.eps)
    return float(relative if tail else min(off, relative))


def _next_to_overflow(got: float, expected: float, dtype: str) -> float:
    """Allow either of the largest number and infinity where rounding decides."""
    top = float(np.finfo(dtype).max)
    near = [x for x in (got, expected) if np.isfinite(x)]
    same_sign = np.sign(got) == np.sign(expected)
    return 0.0 if near and same_sign and abs(near[0]) > 0.99 * top else np.inf


def measure(loss: Loss, framework: Framework, dtype: str) -> dict[str, Worst]:
    """Return the worst error of value, gradient and curvature."""
    inputs = edges(loss, dtype)
    values, gradients, curvatures = truth(loss, dtype)
    found = {
        "value": (framework.items(loss, inputs.y, inputs.z), values),
        "gradient": (framework.gradient(loss, inputs.y, inputs.z), gradients),
    }
    if framework.curvature is not None and loss.structure.name != "pairwise":
        bends = framework.curvature(loss, inputs.y, inputs.z)
        found["curvature"] = bends, curvatures
    # Autodiff through a structure's sums cannot keep the tails of a second derivative.
    tails = {"value", "gradient"}
    if loss.structure.name == "pointwise" or framework.derives:
        tails.add("curvature")
    return {
        what: _worst(loss, what, inputs, *pair, dtype, what in tails)
        for what, pair in found.items()
    }


def _worst(
    loss: Loss,
    what: str,
    inputs: Any,
    got: np.ndarray,
    true: Any,
    dtype: str,
    tails: bool,
) -> Worst:
    """Return the largest error of one quantity."""
    flat = [t for row in true for t in (row if isinstance(row, list) else [row])]
    got = np.asarray(got, dtype=np.float64).ravel()
    assert got.size == len(flat), f"{got.size} results for {len(flat)} true values"
    width = max(got.size // len(inputs.z), 1)
    places = np.arange(got.size) // width
    far = [tails and abs(inputs.z[i]).max() >= 10 for i in places]
    errors = [error(g, t, dtype, f) for g, t, f in zip(got, flat, far, strict=True)]
    if loss.structure.name == "pointwise":
        node = getattr(loss.formula, what)
        for i, e in enumerate(errors):
            if not e <= LIMITS[what, dtype] and np.isfinite(inputs.z[i]):
                sides = beside(
                    loss, node, float(inputs.y[i]), float(inputs.z[i]), dtype
                )
                others = (error(got[i], t, dtype, far[i]) for t in sides)
                errors[i] = min(e, *others)
    i = int(np.nanargmax([np.inf if e != e else e for e in errors]))
    row = places[i]
    place = f"y={inputs.y[row]} z={inputs.z[row]}: {got[i]!r}, true {float(flat[i])!r}"
    return Worst(errors[i], place)


def main() -> None:
    """Print the table."""
    heads = "".join(f"{what:>10}" for what in ("value", "gradient", "curvature"))
    print(f"{'loss':42} {'framework':11} {'dtype':8}{heads}")
    for loss in VARIANTS:
        for framework in FRAMEWORKS.values():
            for dtype in ("float64", "float32"):
                worst = measure(loss, framework, dtype)
                cells = "".join(f"{w.error:10.1e}" for w in worst.values())
                print(f"{loss!r:42} {framework.name:11} {dtype:8}{cells}")
                for what, w in worst.items():
                    if w.error > limit(loss, what, dtype):
                        print(f"    {what} beyond its limit at {w.place}")


if __name__ == "__main__":
    main()
