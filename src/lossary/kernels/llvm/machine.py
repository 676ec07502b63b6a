"""From the text of a function to its address: compiled by LLVM for this processor."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from lossary.kernels.llvm import cache

_lock = threading.RLock()
_engines: list[Any] = []
"""Kept for ever: they own the memory of the functions."""


@lru_cache(maxsize=1)
def _processor() -> tuple[str, str, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know them on this system
        features = ""
    return triple, llvm.get_host_cpu_name(), features


@lru_cache(maxsize=1)
def _target() -> Any:
    triple, name, features = _processor()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(
        cpu=name, features=features, opt=2, reloc="pic", jit=True
    )


def compiled(text: str) -> bytes:
    """Return the object code of a module."""
    target = _target()
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # What is a vector is printed as one; what is a loop is meant to stay one.
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = False
    with llvm.create_pass_builder(target, options) as passes:
        passes.getModulePassManager().run(module, passes)
    code: bytes = target.emit_object(module)
    return code


@lru_cache(maxsize=1)
def _versions() -> str:
    return repr((llvmlite.__version__, llvm.llvm_version_info, _processor()))


_kernel_type = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
)


def load(text: str, name: str) -> Callable[[Any, Any, int, int], None]:
    """Return the function ``kernel`` of a module: its slots, its reals, first, last.

    It runs without the interpreter lock. Object code is kept on disk, by a hash of
    the whole text, of the processor and of the compiler.

    Parameters
    ----------
    text
        The module.
    name
        The beginning of the file's name, for people who look into the folder.
    """
    with _lock:
        digest = hashlib.sha256((_versions() + text).encode()).hexdigest()[:24]
        code = cache.kept(f"{name}-{digest}", lambda: compiled(text))
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        address = engine.get_function_address("kernel")
    return _kernel_type(address)
