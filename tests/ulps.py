"""Errors of elementary functions, in units of the last place."""

from __future__ import annotations

import numpy as np

ORACLES = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "decay": lambda x: np.exp(-abs(x)),
    "log1p_unit": np.log1p,
    "pow": np.power,
    "xlogy": lambda x, y: np.where(x == 0, 0 * x, x * np.log(y)),
}

UNARY = ("exp", "expm1", "log", "log1p", "log1p_unit", "tanh", "decay")


def ulps(got: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Return errors in units of the last place, 0 where both overflow or are NaN."""
    with np.errstate(all="ignore"):
        rounded = wide.astype(got.dtype)
        unit = np.spacing(abs(rounded)).astype(wide.dtype)
        off = abs(got.astype(wide.dtype) - wide) / unit
    same = (got == rounded) | ((got != got) & (rounded != rounded))
    return np.where(np.isfinite(rounded), off, np.where(same, 0, np.inf))
