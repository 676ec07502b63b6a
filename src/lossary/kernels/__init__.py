"""Fused kernels: value, gradient and sums in one pass over memory, on our own threads.

They are printed as LLVM code and compiled by llvmlite. Nothing here imports it before a
kernel is asked for, and whoever asks goes through `available` first.
"""

from __future__ import annotations

import sys
from functools import lru_cache

OLDEST = (20,)
"""The first LLVM that knows what is printed here, in llvmlite 0.45."""


@lru_cache(maxsize=1)
def available() -> bool:
    """Say whether kernels can be compiled here: by an llvmlite that is new enough."""
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError):  # not there, or not for this system
        return False
    if llvm.llvm_version_info < OLDEST:
        return False
    try:
        llvm.check_jit_execution()
    except OSError:  # the system runs no code that was made while running
        return False
    return True


if "threadpoolctl" in sys.modules:  # it is to know of us before it sets a limit
    from lossary.kernels import limits  # noqa: F401
