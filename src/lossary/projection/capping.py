"""The soft cap and the penalty of the log-sum-exp: before the loss of a row, and after.

Both need two passes over a few rows of logits, `forward` and `backward`. A compiled
kernel takes them where it serves, and else array code does.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from lossary.arrays import Library, fused
from lossary.expr.formula import trace
from lossary.ops import exp, tanh


def _cap(y: Any, z: Any, cap: Any) -> Any:
    return cap * tanh(z / cap)


def _cap_slope(y: Any, z: Any, cap: Any) -> Any:
    # What is derived, 4·σ(2x)·σ(-2x), as exactly, and with one exponential.
    e = exp(-2 * abs(z / cap))
    return 4 * e / (1 + e) ** 2


CAPPED, STEEP = (trace(f, ("y", "z"), ("cap",)) for f in (_cap, _cap_slope))

PerRow = tuple[Any, Any]
"""Of each row a score, and a number that belongs to exponentials relative to it."""


def forward(lib: Library, softcap: float | None, z: Any, out: Any, sums: bool) -> Any:
    """Cap logits, and add up the exponentials of each row.

    Parameters
    ----------
    lib
        The library of the arrays.
    softcap
        Where given, logits become softcap·tanh(logits / softcap).
    z
        The raw logits of some rows.
    out
        Where the capped ones go; may be `z`. Without a cap nothing is written.
    sums
        Whether the exponentials are asked for.

    Returns
    -------
    PerRow or None
        The largest logit after the cap, and Σ exp(logits - largest).
    """
    if fused.serves("capped", z):
        return _kernels().forward(z, _transform(softcap), out, sums)
    if softcap is not None:
        out[...] = z = lib.run(CAPPED.value, ("z", "cap"))(z, softcap)
    return exponentials(lib, z) if sums else None


def backward(
    lib: Library, softcap: float | None, z: Any, gradient: Any, added: PerRow | None
) -> None:
    """Write the gradient in raw logits over them; that in capped ones is used up.

    Parameters
    ----------
    lib, softcap, z
        As for `forward`.
    gradient
        What the loss has given, in the logits after the cap.
    added
        Of each row the largest logit, and the factor of the exponentials relative to
        it that are added to the gradient.
    """
    if fused.serves("capped", z):
        _kernels().backward(z, _transform(softcap), gradient, added)
        return
    seen = steep = None
    if softcap is not None:
        texts = lib.run_all((CAPPED.value, STEEP.value), ("z", "cap"))
        seen, steep = texts(z, softcap)
    if added is not None:
        top, factor = (x[:, None] for x in added)
        e = lib.namespace(z).exp((z if seen is None else seen) - top)
        e *= factor
        gradient += e
    if steep is not None:
        gradient *= steep
    z[...] = gradient


def exponentials(lib: Library, z: Any) -> PerRow:
    """Return the largest logit of each row, and Σ exp(z - largest)."""
    xp = lib.namespace(z)
    top = lib.constant(xp.max(z, axis=-1))
    top = xp.where(abs(top) < math.inf, top, xp.zeros_like(top))
    return top, xp.sum(xp.exp(z - top[..., None]), axis=-1)


def log_sum(lib: Library, sums: PerRow) -> Any:
    """Return log Σ exp(z) of each row."""
    top, total = sums
    return top + lib.namespace(total).log(total)


def _transform(softcap: float | None) -> Any:
    """Return what the kernels are printed of."""
    return None if softcap is None else (CAPPED, STEEP, (softcap,))


def _kernels() -> Any:
    return importlib.import_module("lossary.kernels.capped")
