"""Compiled kernels on disk, and whether any can be compiled at all."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

import lossary as ls
from lossary.kernels import available
from lossary.kernels.call import specialised
from lossary.kernels.llvm import cache, machine
from lossary.kernels.pointwise import Variant, printed


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(tmp_path))
    return tmp_path


def refuse():
    raise AssertionError("it was to be found")


def test_what_is_kept_is_found_again(folder):
    assert cache.kept("a", lambda: b"first") == b"first"
    assert cache.kept("a", refuse) == b"first"
    assert [file.name for file in folder.iterdir()] == ["a.kernel"]


def test_a_damaged_file_is_replaced(folder):
    cache.kept("a", lambda: b"first")
    for damage in (b"", b"short", (folder / "a.kernel").read_bytes() + b"x"):
        (folder / "a.kernel").write_bytes(damage)
        assert cache.kept("a", lambda: b"second") == b"second"
        assert cache.kept("a", refuse) == b"second"


def test_the_folder_does_not_grow_without_bound(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 3 * (32 + 100))
    for age, name in enumerate("abc"):
        cache.kept(name, lambda: bytes(100))
        os.utime(folder / f"{name}.kernel", (age, age))
    cache.kept("a", refuse)  # used just now
    cache.kept("d", lambda: bytes(100))
    assert sorted(file.stem for file in folder.iterdir()) == ["a", "c", "d"]


def test_without_a_folder_kernels_are_made_anew(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("LOSSARY_CACHE_DIR", str(blocked / "kernels"))
    assert cache.kept("a", lambda: b"first") == b"first"
    assert cache.kept("a", lambda: b"again") == b"again"


def test_a_read_only_folder_is_read(folder, monkeypatch):
    cache.kept("a", lambda: b"first")

    def refused(**options):
        raise PermissionError(options["dir"])

    monkeypatch.setattr(cache.tempfile, "mkstemp", refused)
    assert cache.kept("a", refuse) == b"first"
    assert cache.kept("b", lambda: b"made") == b"made"
    assert cache.kept("b", lambda: b"again") == b"again"


def test_many_processes_may_fill_it_at_once(folder):
    script = textwrap.dedent("""
        import numpy as np
        import lossary as ls
        from lossary.kernels import pointwise
        x = np.ones(4)
        totals, _ = pointwise.value_and_grad(ls.huber.formula, (1.0,), x, x + 1)
        assert totals.numerator == 2.0
    """)

    def run(_):
        return subprocess.run([sys.executable, "-c", script], check=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    (kept,) = folder.iterdir()
    assert kept.name.startswith("pointwise-value_and_grad-double-")


def text(loss):
    return printed(Variant(loss.formula, "value", "float", False, False, ("", "")))


def test_kernels_are_told_apart_by_their_text(folder):
    machine.load(text(ls.huber), "some")
    machine.load(text(ls.log_cosh), "some")
    machine.load(text(ls.huber), "some")
    assert len(list(folder.iterdir())) == 2


def test_kernels_are_told_apart_by_the_processor(folder, monkeypatch):
    machine.load(text(ls.huber), "some")
    monkeypatch.setattr(machine, "_versions", lambda: "another processor")
    machine.load(text(ls.huber), "some")
    assert len(list(folder.iterdir())) == 2


def test_a_second_process_compiles_nothing(folder, monkeypatch):
    script = textwrap.dedent("""
        from lossary.kernels import pointwise
        from lossary.kernels.llvm import machine
        import lossary as ls
        import numpy as np
        machine.compiled = None
        x = np.ones(4)
        print(pointwise.value_and_grad(ls.huber.formula, (1.0,), x, x)[0].numerator)
    """)
    command = [sys.executable, "-c", script]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert "'NoneType' object is not callable" in failed.stderr
    one = [sys.executable, "-c", script.replace("machine.compiled = None", "")]
    subprocess.run(one, check=True)
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0.0"]


def test_importing_the_kernels_does_not_import_the_compiler():
    script = "import sys, lossary.kernels; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def asked_anew():
    available.cache_clear()
    yield
    available.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_kernels_are_available():
    assert available()


@pytest.mark.usefixtures("asked_anew")
def test_without_llvmlite_there_are_no_kernels(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert not available()


@pytest.mark.usefixtures("asked_anew")
def test_an_old_llvm_is_not_used(monkeypatch):
    import llvmlite.binding as llvm

    monkeypatch.setattr(llvm, "llvm_version_info", (15, 0, 7))
    assert not available()


@pytest.mark.usefixtures("asked_anew")
def test_a_system_that_runs_no_new_code_has_no_kernels(monkeypatch):
    import llvmlite.binding as llvm

    def refused():
        raise OSError("no")

    monkeypatch.setattr(llvm, "check_jit_execution", refused)
    assert not available()


def test_whole_exponents_are_compiled_in():
    focal, huber = ls.binary_focal.formula, ls.huber.formula
    assert specialised(focal, (2.0,))[1] == ()
    assert specialised(focal, (1.7,)) == (focal, (1.7,))
    assert specialised(huber, (2.0,)) == (huber, (2.0,))
