"""Threads, processes and the folder of compiled kernels."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lossary as ls
from lossary.errors import ParameterError
from lossary.kernels import available, cache, pointwise, rows, threads
from lossary.kernels.printing import specialised

FORMULA = ls.binary_cross_entropy.formula


def data(n=400_000):
    rng = np.random.default_rng(0)
    return (rng.random(n) < 0.5).astype(np.float32), rng.normal(size=n).astype("f4")


def results():
    y, z = data()
    totals, gradient = pointwise.value_and_grad(FORMULA, (), y, z, weight=abs(z))
    labels = np.arange(4000) % 100
    more, slopes = rows.value_and_grad(
        ls.cross_entropy.formula, (), labels, z.reshape(4000, 100)
    )
    return totals, gradient.tobytes(), more, slopes.tobytes()


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    found = []
    for count in ("1", "2", "3"):
        monkeypatch.setenv("LOSSARY_NUM_THREADS", count)
        found.append(results())
    assert found[0] == found[1] == found[2]


def test_all_parts_are_done_once_and_by_several_threads(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "3")
    barrier, seen, names = threading.Barrier(3, timeout=30), [], set()

    def task(first, last):
        if threading.current_thread().name not in names:
            names.add(threading.current_thread().name)
            barrier.wait()
        seen.extend(range(first, last))

    threads.run(task, 100)
    assert sorted(seen) == list(range(100))
    assert len(names) == 3


def test_small_inputs_stay_on_their_thread(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "3")
    before = threading.active_count()
    seen = []
    threads.run(lambda a, b: seen.append((a, b, threading.current_thread())), 1)
    assert seen == [(0, 1, threading.current_thread())]
    assert threading.active_count() == before


def test_errors_in_other_threads_are_raised(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "2")

    def task(first, last):
        if first == 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.run(task, 10)


def test_many_callers_at_once(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "2")
    expected = results()
    with ThreadPoolExecutor(4) as pool:
        assert all(r == expected for r in pool.map(lambda _: results(), range(8)))


def _child(queue):
    queue.put(results())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")  # other threads do not matter to it
def test_a_forked_child_computes_with_threads_of_its_own(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "2")
    expected = results()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_wrong_number_of_threads_is_refused(monkeypatch, text):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", text)
    with pytest.raises(ParameterError, match="LOSSARY_NUM_THREADS is"):
        threads.count()


def test_joblib_shares_the_machine(monkeypatch):
    monkeypatch.delenv("LOSSARY_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.count() == 5


TEXT = """
from numba import njit, types

@njit(types.int64(types.int64), cache=True)
def kernel(x):
    return x + {n}
"""


def test_kernels_are_kept_and_told_apart_by_their_text(monkeypatch, tmp_path):
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(tmp_path))
    assert cache.load(TEXT.format(n=1), "plus")(1) == 2
    assert cache.load(TEXT.format(n=2), "plus")(1) == 3
    assert len(list(tmp_path.glob("plus_*.py"))) == 2
    assert not list(tmp_path.glob("*.tmp"))
    again = cache.load(TEXT.format(n=2), "plus")
    assert sum(again.stats.cache_hits.values()) == 1


def test_what_is_inlined_is_part_of_the_name(monkeypatch, tmp_path):
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(tmp_path))
    cache.load(TEXT.format(n=1), "plus")
    monkeypatch.setattr(cache, "_surroundings", lambda: b"another vecmath.py")
    cache.load(TEXT.format(n=1), "plus")
    assert len(list(tmp_path.glob("plus_*.py"))) == 2


def test_a_folder_that_cannot_be_written_is_replaced(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(blocked / "kernels"))
    assert cache.load(TEXT.format(n=5), "plus")(1) == 6
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    read_only.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(read_only))
    assert cache.load(TEXT.format(n=6), "plus")(1) == 7


def test_a_second_process_compiles_nothing(tmp_path):
    script = textwrap.dedent("""
        import numpy as np
        import lossary as ls
        from lossary.kernels import pointwise
        x = np.ones(4)
        print(pointwise.value_and_grad(ls.huber.formula, (1.0,), x, x)[0].numerator)
        (kernel,) = pointwise._kernels.values()
        print(sum(kernel.stats.cache_hits.values()))
    """)
    environment = os.environ | {"LOSSARY_CACHE_DIR": str(tmp_path)}
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert printed == [["0.0", "0"], ["0.0", "1"]]


def test_importing_the_kernels_does_not_import_numba():
    script = "import sys, lossary.kernels; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_numba_there_are_no_kernels(monkeypatch):
    available.cache_clear()
    assert available()
    available.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not available()
    monkeypatch.undo()
    available.cache_clear()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert not available()
    available.cache_clear()


def test_whole_exponents_are_compiled_in():
    focal, huber = ls.binary_focal.formula, ls.huber.formula
    assert specialised(focal, (2.0,))[1] == ()
    assert specialised(focal, (1.7,)) == (focal, (1.7,))
    assert specialised(huber, (2.0,)) == (huber, (2.0,))
