"""Fused kernels: value, gradient and sums in one pass over memory, on our own threads.

They need Numba. Nothing here imports it before a kernel is asked for, and whoever
asks goes through `available` first.
"""

from __future__ import annotations

import os
from functools import lru_cache


@lru_cache(maxsize=1)
def available() -> bool:
    """Say whether compiled kernels can be used: Numba is installed and not disabled."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False
    try:
        import numba  # noqa: F401
    except ImportError:  # also raised by a Numba that refuses the installed NumPy
        return False
    return True
