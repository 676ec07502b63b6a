"""How many threads: what users, joblib, PyTorch and containers set is obeyed."""

from __future__ import annotations

import math
import operator
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import joblib
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from lossary.errors import ParameterError
from lossary.kernels import limits
from lossary.kernels.limits import count, quota


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    for name in ("LOSSARY_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(limits, "_cores", lambda: 4)


def test_unasked_every_core_is_used():
    assert count() == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("3,2", 3), ("", 4), ("0", 4), ("-1", 4), ("all", 4)],
)
def test_the_variable_of_openmp_is_obeyed(monkeypatch, text, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert count() == expected


def test_our_own_variable_decides(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setitem(
        sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 1)
    )
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "9")
    assert count() == 9


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_wrong_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", text)
    with pytest.raises(ParameterError, match=f"LOSSARY_NUM_THREADS is '{text}'"):
        count()


@pytest.mark.parametrize("user_api", [None, "lossary"])
def test_threadpoolctl_limits_us(user_api):
    with threadpool_limits(1, user_api=user_api):
        assert count() == 1
        with threadpool_limits({"lossary": 2}):
            assert count() == 2
        assert count() == 1
    assert count() == 4


def test_a_limit_is_lifted_whole(monkeypatch):
    with threadpool_limits(1):
        pass
    monkeypatch.setattr(limits, "_cores", lambda: 8)
    assert count() == 8


def test_limits_of_blas_are_not_ours():
    with threadpool_limits(1, user_api="blas"):
        assert count() == 4


def test_no_limit_is_above_what_is_there():
    with threadpool_limits(100):
        assert count() == 4


def test_a_limit_is_for_the_thread_that_sets_it():
    found = []
    with threadpool_limits(1):
        other = threading.Thread(target=lambda: found.append(count()))
        other.start()
        other.join()
    assert found == [4]


def test_threadpoolctl_lists_us_once():
    (info,) = (i for i in threadpool_info() if i["user_api"] == "lossary")
    assert info["num_threads"] == 4


def test_a_limit_set_before_the_first_call_is_seen(monkeypatch):
    monkeypatch.setenv("LOSSARY_NUM_THREADS", "4")
    script = textwrap.dedent("""
        from threadpoolctl import threadpool_limits
        import lossary
        with threadpool_limits(1):
            from lossary.kernels import threads
            print(threads.count())
    """)
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"


def test_pytorch_limits_us(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert count() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork")  # other threads do not matter to it
def test_workers_of_a_data_loader_have_one_thread_each(monkeypatch, context):
    monkeypatch.setitem(sys.modules, "torch", torch)
    loader = torch.utils.data.DataLoader(
        [count] * 4,  # spawned workers cannot import a data set from a test
        batch_size=None,
        collate_fn=operator.call,
        num_workers=2,
        multiprocessing_context=context,
    )
    assert list(loader) == [1, 1, 1, 1]


def test_joblib_shares_the_machine_among_its_processes():
    with joblib.parallel_config("loky", inner_max_num_threads=3):
        found = joblib.Parallel(2)(joblib.delayed(count)() for _ in range(2))
    assert found == [3, 3]


GROUPS = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
    "sys/fs/cgroup/a/cpu.max": "250000 100000\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
}
OLDER = {
    "proc/self/cgroup": "3:memory:/a\n2:cpu,cpuacct:/a\n0::/\n",
    "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/a/cpu.max": "1 100000\n",
}
INSIDE = {  # the group's path is that outside, its folder the top one
    "proc/self/cgroup": "2:cpu:/docker/123\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [(GROUPS, 2.5), (OLDER, 1.5), (INSIDE, 0.5), ({}, math.inf)],
    ids=["version 2", "version 1", "inside a container", "no groups"],
)
def test_the_time_of_a_container_is_read(tmp_path, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path) == expected


@pytest.mark.parametrize(("time", "expected"), [(0.5, 1), (1.5, 2), (math.inf, 8)])
def test_part_of_a_core_counts_as_one(monkeypatch, time, expected):
    monkeypatch.setattr(limits.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(limits, "quota", lambda: time)
    limits._machine.cache_clear()
    try:
        assert limits._machine() == expected
    finally:
        limits._machine.cache_clear()
