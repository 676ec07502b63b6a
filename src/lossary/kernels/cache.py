"""Printed kernels: from source text to a compiled function, kept on disk.

Numba caches what lives in a file, and does not notice when a function that was
inlined into it changes. So every kernel is a module of its own, named by a hash of
its text, of the files of this folder that it inlines, and of Numba's version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

INLINED = ("precision.py", "vecmath.py", "blocks.py", "sizes.py")

_lock = threading.RLock()


def user_directory() -> Path:
    """Return the folder for compiled kernels: ``LOSSARY_CACHE_DIR``, or the user's."""
    chosen = os.environ.get("LOSSARY_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "lossary"


@lru_cache(maxsize=1)
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="lossary-"))


@lru_cache(maxsize=1)
def _surroundings() -> bytes:
    import numba

    folder = Path(__file__).parent
    inlined = b"".join((folder / name).read_bytes() for name in INLINED)
    return str(numba.__version__).encode() + inlined


def _write(text: str, name: str) -> Path:
    try:
        return _write_in(user_directory(), text, name)
    except (OSError, RuntimeError):  # read-only, full, or a user without a home
        return _write_in(_temporary(), text, name)


def _write_in(folder: Path, text: str, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    if not path.exists():
        # Moved into place whole: another process may be looking for it.
        with tempfile.NamedTemporaryFile(
            "w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        os.replace(file.name, path)
    if not os.access(folder, os.W_OK):  # Numba must write beside it
        raise PermissionError(folder)
    return path


def load(text: str, name: str) -> Callable[..., Any]:
    """Return the function ``kernel`` of a printed module, compiled.

    Parameters
    ----------
    text
        The whole module.
    name
        The beginning of its file name, for people who look into the folder.
    """
    digest = hashlib.sha256(_surroundings() + text.encode()).hexdigest()[:20]
    name = f"{name}_{digest}"
    with _lock:
        spec = importlib.util.spec_from_file_location(name, _write(text, name))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Numba unpickles what it cached by importing the module by its name.
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module.kernel  # type: ignore[no-any-return]
