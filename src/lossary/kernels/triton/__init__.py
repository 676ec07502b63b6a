"""Kernels for a card, printed in Triton's language from the same formulas.

They compute what the compiled loops for a processor compute, with the same rounding
of every operation, whatever the card: a fused multiply-add stands where it is written
and nowhere else, and sums are taken in a fixed order. Nothing here imports Triton
before a kernel is asked for, and whoever asks goes through `available` first.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def available() -> bool:
    """Say whether Triton is installed, as it is with PyTorch for CUDA on Linux."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True
