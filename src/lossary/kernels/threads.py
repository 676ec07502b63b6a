"""Our own threads: few, made when first needed, and shared by all who call.

Kernels run without the interpreter lock and never start threads themselves, so there
is no second parallel runtime beside those of NumPy, PyTorch or joblib. The caller
works and others may help: no call waits for a thread that has not begun, so that
threads of several callers, a busy core or a fork can make it slower and never stop it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter

from lossary.kernels.limits import count as count

# A part is this fraction of a thread's share of what is left. So parts are few, and
# the last ones small: all end together, however late or slow a thread is.
PARTS_PER_THREAD = 4

# To wake a thread takes 5 to 100 µs, and as long to have the interpreter back from it.
# Of fewer items than these the first is timed, and help is asked for only if the others
# would take longer than that.
TIMED_BELOW = 16
PAYS = 250e-6

Task = Callable[[int, int], object]


class _Helpers:
    """The threads of this process that wait to be asked, and who is calling."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.number = 0
        self.callers: set[int] = set()

    def ask(self, help: Callable[[], None], number: int) -> None:
        """Have threads call a function; there may be fewer threads than asked for."""
        with self.lock:
            try:
                while self.number < number:
                    # A daemon: it never keeps the interpreter from ending.
                    threading.Thread(
                        target=_serve,
                        args=(self.asked,),
                        name=f"lossary_{self.number}",
                        daemon=True,
                    ).start()
                    self.number += 1
            except RuntimeError:  # the system allows no more, or Python is ending
                number = self.number
        for _ in range(number):
            self.asked.put(help)


def _serve(asked: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        asked.get()()


_helpers = _Helpers()


def _forget() -> None:
    # The threads of the parent do not exist here, and its locks may be held for ever.
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(task: Task, items: int) -> None:
    """Call ``task(first, last)`` over ``range(items)``, cut into parts.

    Parts come in any order, on the caller's thread and on others; when this returns
    or raises, no part is running. Callers share the threads that `count` allows: each
    leaves those out that others call from.

    Parameters
    ----------
    task
        What is called, once for each item; results must not depend on the cuts.
    items
        How many items there are.

    Raises
    ------
    BaseException
        What a part raised; parts that had not begun are left out.
    """
    if items <= 1:
        task(0, items)
        return
    callers, caller = _helpers.callers, threading.get_ident()
    callers.add(caller)
    try:
        threads = min(count() - len(callers) + 1, items)
        if threads <= 1:
            task(0, items)
        elif items >= TIMED_BELOW:
            _together(task, 0, items, threads)
        else:
            start = perf_counter()
            task(0, 1)
            if (perf_counter() - start) * (items - 1) < PAYS:
                task(1, items)
            else:
                _together(task, 1, items, min(threads, items - 1))
    finally:
        callers.discard(caller)


def _parts(first: int, last: int, divisor: int) -> list[tuple[int, int]]:
    """Cut items into parts, to be taken from the end: ever smaller ones."""
    parts = []
    while first < last:
        begin = first
        first += -(-(last - first) // divisor)
        parts.append((begin, first))
    return parts[::-1]


def _together(task: Task, first: int, last: int, threads: int) -> None:
    """Do the items with the help of other threads."""
    todo = _parts(first, last, threads * PARTS_PER_THREAD)
    errors: list[BaseException] = []
    # Who helps takes a seat. The caller takes those left when nothing is to be done,
    # which waits for helpers at work and turns away who comes late.
    seats = [threading.RLock() for _ in range(threads - 1)]
    free = list(seats)

    def work() -> None:
        while todo:
            try:
                part = todo.pop()
            except IndexError:  # another thread was faster
                return
            task(*part)

    def help() -> None:
        seat = free.pop()
        if not seat.acquire(blocking=False):
            return
        try:
            work()
        except BaseException as error:
            errors.append(error)
            todo.clear()
        finally:
            seat.release()

    try:
        _helpers.ask(help, threads - 1)
        work()
    except BaseException as error:
        todo.clear()
        errors.insert(0, error)
    while True:  # even if interrupted: helpers at work write to the caller's memory
        try:
            for seat in seats:
                seat.acquire()
            break
        except BaseException as error:
            todo.clear()
            errors.insert(0, error)
    if errors:
        raise errors[0]
