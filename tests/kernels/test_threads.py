"""Our threads: every part once, the same bits, errors, many callers, fork."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lossary as ls
from lossary.errors import ParameterError
from lossary.kernels import pointwise, rows, threads
from lossary.kernels.sizes import CHUNK

MANY = threads.TIMED_BELOW
"""Parts from which helpers are asked at once."""


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "3")


def sample(loss, dtype):
    """Items of several chunks, the last one ragged."""
    n = 5 * CHUNK + 321
    rng = np.random.default_rng(0)
    z = rng.normal(size=n).astype(dtype)
    y = (rng.random(n) < 0.5).astype(dtype) + (loss.target.name == "nonzero")
    return y, np.abs(z) if loss.prediction.name == "above_minus_one" else z


POINTWISE = [name for name in ls.names() if ls.get(name).structure.name == "pointwise"]
CASES = [
    (name, what, ("float32", "float64")[(i + j) % 2], bool((i + j) % 3))
    for i, name in enumerate(POINTWISE)
    for j, what in enumerate(("total", "value_and_grad", "grad_and_hess"))
]


def bits(results):
    """What a kernel returned, to the last bit."""
    flat = results if isinstance(results, tuple) else (results,)
    return [r.tobytes() if isinstance(r, np.ndarray) else repr(r) for r in flat]


@pytest.mark.parametrize(("name", "what", "dtype", "weighted"), CASES)
def test_the_number_of_threads_changes_no_bit(monkeypatch, name, what, dtype, weighted):
    loss = ls.get(name)
    y, z = sample(loss, dtype)
    weight = np.abs(z) if weighted else None
    found = []
    for count in ("1", "2", "3", "7"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", count)
        kernel = getattr(pointwise, what)
        found.append(bits(kernel(loss.formula, loss.params, y, z, weight=weight)))
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("classes", [3, 100])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("cross_entropy", "labels"),
        ("cross_entropy", "distribution"),
        ("focal", "labels"),
        ("focal", "distribution"),
        ("kl_divergence", "distribution"),
    ],
)
def test_the_number_of_threads_changes_no_bit_of_rows(
    monkeypatch, name, target, classes
):
    loss, rng = ls.get(name), np.random.default_rng(0)
    z = rng.normal(size=(400_000 // classes, classes)).astype(np.float32)
    shares = abs(z) / abs(z).sum(axis=1, keepdims=True)
    y = np.argmax(shares, axis=1) if target == "labels" else shares
    found = []
    for count in ("1", "2", "3", "7"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", count)
        found.append(bits(rows.value_and_grad(loss.formula, loss.params, y, z)))
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("items", [2, 3, MANY - 1, MANY, 1000])
def test_every_item_is_done_once(items):
    seen = []
    threads.run(lambda a, b: (time.sleep(1e-4), seen.extend(range(a, b))), items)
    assert sorted(seen) == list(range(items))


def test_several_threads_work_at_a_time():
    barrier, names = threading.Barrier(3, timeout=30), set()

    def task(first, last):
        if threading.current_thread().name not in names:
            names.add(threading.current_thread().name)
            barrier.wait()

    threads.run(task, 10 * MANY)
    assert len(names) == 3


def test_few_slow_items_are_shared():
    names = set()

    def task(first, last):
        names.add(threading.current_thread().name)
        time.sleep(0.05)

    threads.run(task, 4)
    assert len(names) > 1


@pytest.mark.parametrize("items", [1, 2, MANY - 1])
def test_few_quick_items_stay_on_their_thread(items, monkeypatch):
    monkeypatch.setattr(threads, "PAYS", 60)
    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    seen = []
    threads.run(lambda a, b: seen.append((a, b)), items)
    assert sum(b - a for a, b in seen) == items
    assert threads._helpers.number == 0


def test_one_thread_starts_nothing(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    seen = []
    threads.run(lambda a, b: seen.append((a, b)), 1000)
    assert seen == [(0, 1000)]
    assert threads._helpers.number == 0


def test_parts_are_taken_from_large_to_small():
    parts = threads._parts(3, 1003, 8)[::-1]
    sizes = [last - first for first, last in parts]
    assert [i for first, last in parts for i in range(first, last)] == [*range(3, 1003)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (125, 1)


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_ends_the_work_and_is_raised(where):
    caller, done = threading.current_thread(), []

    def task(first, last):
        here = "caller" if threading.current_thread() is caller else "helper"
        if here == where:
            raise ZeroDivisionError(where)
        done.append(first)
        time.sleep(0.005)

    with pytest.raises(ZeroDivisionError, match=where):
        threads.run(task, 1000)
    assert len(done) < 3 * threads.PARTS_PER_THREAD


def test_nothing_runs_after_an_interrupt():
    caller, running = threading.current_thread(), []
    started = threading.Event()

    def task(first, last):
        if threading.current_thread() is caller:
            assert started.wait(30)
            signal.raise_signal(signal.SIGINT)
        else:
            running.append(first)
            started.set()
            time.sleep(0.05)
            running.remove(first)

    with pytest.raises(KeyboardInterrupt):
        threads.run(task, 1000)
    assert running == []
    seen = []
    threads.run(lambda a, b: seen.append(b - a), 1000)
    assert sum(seen) == 1000


def test_an_interrupted_caller_waits_for_its_helpers():
    caller, running, taken = threading.current_thread(), [], threading.Event()

    def task(first, last):
        if threading.current_thread() is caller:
            taken.wait(30)
        else:
            running.append(first)
            taken.set()
            time.sleep(0.05)  # until the caller has nothing left but to wait
            signal.pthread_kill(caller.ident, signal.SIGINT)
            time.sleep(0.05)
            running.remove(first)

    with pytest.raises(KeyboardInterrupt):
        threads.run(task, MANY)
    assert running == []


def test_late_helpers_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    gate = threading.Event()
    threads._helpers.ask(gate.wait, 2)  # all helpers are busy elsewhere
    seen = []
    threads.run(lambda a, b: seen.append(b - a), 1000)
    gate.set()
    assert sum(seen) == 1000


def test_arrays_are_let_go_once_the_work_is_done():
    array = np.zeros(3)
    threads.run(lambda a, b, array=array: None, 1000)
    gone = weakref.ref(array)
    del array
    deadline = time.monotonic() + 30
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)  # for a helper that comes late
    assert gone() is None


def test_callers_leave_each_other_their_cores(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "2")
    entered, leave, seen = threading.Event(), threading.Event(), []
    other = threading.Thread(
        target=threads.run, args=(lambda a, b: (entered.set(), leave.wait(30)), MANY)
    )
    other.start()
    try:
        assert entered.wait(30)
        threads.run(lambda a, b: seen.append((a, b)), 1000)
    finally:
        leave.set()
        other.join()
    assert seen == [(0, 1000)]


def results():
    """Values and gradients of two kernels."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400_000).astype(np.float32)
    y, labels = (z > 0).astype(np.float32), np.arange(4000) % 100
    formula = ls.binary_cross_entropy.formula
    one = pointwise.value_and_grad(formula, (), y, z, weight=abs(z))
    formula = ls.cross_entropy.formula
    return [
        *bits(one),
        *bits(rows.value_and_grad(formula, (), labels, z.reshape(4000, 100))),
    ]


def test_many_callers_at_once():
    expected = results()
    with ThreadPoolExecutor(4) as pool:
        assert all(r == expected for r in pool.map(lambda _: results(), range(8)))


def _child(queue):
    queue.put((results(), threads._helpers.number))


@pytest.mark.filterwarnings("ignore:.*fork")  # other threads do not matter to it
def test_a_forked_child_has_threads_of_its_own():
    expected = results()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    found, helpers = queue.get(timeout=60)
    child.join(60)
    assert (found, helpers, child.exitcode) == (expected, 2, 0)


def test_a_system_without_more_threads_is_enough(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []
    threads.run(lambda a, b: seen.append(b - a), 1000)
    assert sum(seen) == 1000


def test_the_interpreter_ends_while_helpers_wait():
    script = textwrap.dedent("""
        import atexit
        from lossary.kernels import threads
        seen = []
        work = lambda: threads.run(lambda a, b: seen.append(b - a), 1000)
        atexit.register(lambda: (work(), print(sum(seen))))
        work()
    """)
    environment = os.environ | {"LOSSARY_NUM_THREADS": "3"}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert (ran.stdout, ran.stderr) == ("2000\n", "")


def test_a_wrong_number_of_threads_is_refused(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "two")
    with pytest.raises(ParameterError, match="LOSSARY_NUM_THREADS is 'two'"):
        threads.run(lambda a, b: None, 2)
