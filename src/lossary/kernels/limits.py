"""How many threads a kernel may use: whoever shares out the machine is obeyed.

Kernels run on threads of our own, which no other library sees. So the limits that
users, joblib, Dask, PyTorch and containers set are read where they are set.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from lossary.errors import ParameterError


class _Here(threading.local):
    limit: int | None = None


_here = _Here()


def count() -> int:
    """Return the number of threads that a kernel called from this thread may use.

    In this order:

    - ``LOSSARY_NUM_THREADS`` decides where it is set;
    - otherwise ``OMP_NUM_THREADS``, with which joblib, Dask and users share out a
      machine, or else the cores: those this process may run on, and no more than its
      container has time for;
    - and no more than PyTorch uses, once it is imported: ``torch.set_num_threads`` is
      obeyed, and the workers of a ``DataLoader`` have one thread each.

    ``threadpoolctl.threadpool_limits`` lowers any of these, in the thread that calls
    it, under the ``user_api`` named ``"lossary"``.

    Raises
    ------
    ParameterError
        Where ``LOSSARY_NUM_THREADS`` is no whole number of at least 1.
    """
    allowed = _allowed()
    return allowed if _here.limit is None else min(_here.limit, allowed)


def lower(limit: int) -> None:
    """Limit the kernels that this thread calls; what lowers nothing lifts a limit."""
    _here.limit = max(1, limit) if limit < _allowed() else None


def _allowed() -> int:
    text = os.environ.get("LOSSARY_NUM_THREADS")
    if text:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        raise ParameterError(
            f"LOSSARY_NUM_THREADS is {text!r}, and should be a whole number of at "
            "least 1; unset it to use every core"
        )
    # A list is for nested regions; what OpenMP would not understand it ignores.
    outer = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    asked = int(outer) if outer.isdecimal() else 0
    torch = sys.modules.get("torch")
    of_torch = getattr(torch, "get_num_threads", None)  # None while being imported
    return min(asked or _cores(), of_torch() if of_torch else sys.maxsize)


def _cores() -> int:
    try:
        return min(len(os.sched_getaffinity(0)), _machine())
    except AttributeError:  # not on macOS and Windows
        return _machine()


@lru_cache(maxsize=1)
def _machine() -> int:
    cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(cores, quota()))))


def quota(root: Path = Path("/")) -> float:
    """Return the cores that the processor time of a Linux container amounts to.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    float
        The least limit of this process's control group and of those around it, of
        either version; infinite where there is none.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    found = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        group = top / path.strip("/")
        around = (g for g in group.parents if g.is_relative_to(top))
        found += [_share(g) for g in (group, *around)]
    return min(found)


def _share(group: Path) -> float:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            text = " ".join((group / name).read_text() for name in names)
            share, period = map(float, text.split())
        except (OSError, ValueError):  # no such file; "max" is no limit
            continue
        if share > 0:  # -1 is no limit
            return share / period
    return math.inf


def _register() -> None:
    """Let threadpoolctl limit us, where it is installed.

    It is not loaded for that by ``import lossary``: where it is not loaded yet, it
    knows of us from the first kernel on.

    It looks for libraries among the files that a process has loaded. Kernels have no
    file of their own, so they go under that of the arrays they read: NumPy's.
    """
    try:
        from threadpoolctl import (  # type: ignore[import-untyped, unused-ignore]
            LibController,
            register,
        )
    except ImportError:  # or older than 3.2
        return

    class Kernels(LibController):  # type: ignore[misc, unused-ignore]
        user_api = internal_api = "lossary"
        filename_prefixes = ("_multiarray_umath",)

        def get_num_threads(self) -> int:
            return count()

        def set_num_threads(self, num_threads: int) -> None:
            lower(num_threads)

        def get_version(self) -> Any:
            return None

    register(Kernels)


_register()
