"""Compiled kernels on disk: found again by their name, never too many of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

LIMIT = 64 << 20
"""Bytes that the folder may hold: some thousand kernels."""

_SUFFIX = ".kernel"


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


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what is kept under a name, making and keeping it where it is not.

    What cannot be kept, because the folder is read-only or full or there is no home,
    is made again by every process. A damaged file is replaced.
    """
    try:
        path = user_directory() / (name + _SUFFIX)
    except RuntimeError:  # a user without a home
        return make()
    content = _read(path)
    if content is None:
        content = make()
        with contextlib.suppress(OSError):
            _write(path, content)
    return content


def _read(path: Path) -> bytes | None:
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, content = whole[:32], whole[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    with contextlib.suppress(OSError):  # so that what is in use is not the oldest
        os.utime(path)
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Moved into place whole: another process may be looking for it.
    handle, beside = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    _trim(path.parent)


def _trim(folder: Path) -> None:
    """Remove what was not used for the longest time, beyond the limit."""
    found = []
    for file in folder.glob("*" + _SUFFIX):
        with contextlib.suppress(OSError):  # another process was faster
            state = file.stat()
            found.append((state.st_mtime, state.st_size, file))
    excess = sum(size for _, size, _ in found) - LIMIT
    for _, size, file in sorted(found, key=lambda entry: entry[0]):
        if excess <= 0:
            break
        excess -= size
        with contextlib.suppress(OSError):
            file.unlink()
