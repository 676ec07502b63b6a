"""Our own threads: a lazily made pool that survives fork and many callers.

Kernels run without the interpreter lock and never start threads themselves, so there
is no second parallel runtime beside those of NumPy, PyTorch or joblib.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from lossary.errors import ParameterError

# Several parts per thread, so that a thread whose core is busy does not hold up all.
PARTS_PER_THREAD = 4


def count() -> int:
    """Return the number of threads that a kernel may use.

    ``LOSSARY_NUM_THREADS`` decides; then ``OMP_NUM_THREADS``, with which joblib and
    others ask libraries to share the machine; then the cores of this process.
    """
    for name in ("LOSSARY_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
        if text and name.startswith("LOSSARY"):
            raise ParameterError(
                f"LOSSARY_NUM_THREADS is {text!r}, and should be a whole number of at "
                "least 1; unset it to use every core"
            )
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class _Pool:
    """One executor per process, remade when the number of threads changes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.workers = 0

    def of(self, workers: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or self.workers != workers:
                self.executor = ThreadPoolExecutor(workers, "lossary")
                self.workers = workers
            return self.executor


_pool = _Pool()


def _forget() -> None:
    # The threads of the parent do not exist here, and its lock may be held for ever.
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(task: Callable[[int, int], object], items: int) -> None:
    """Call ``task(first, last)`` over ``range(items)``, cut into parts.

    The caller's thread works too. With one thread or one item nothing is started.
    """
    threads = min(count(), items)
    if threads <= 1:
        task(0, items)
        return
    parts = min(items, threads * PARTS_PER_THREAD)
    borders = [items * i // parts for i in range(parts + 1)]
    executor = _pool.of(threads - 1)
    todo = list(pairwise(borders))

    def work() -> None:
        while todo:
            try:
                first, last = todo.pop()
            except IndexError:  # another thread was faster
                return
            task(first, last)

    futures = [executor.submit(work) for _ in range(threads - 1)]
    work()
    for future in futures:
        future.result()
