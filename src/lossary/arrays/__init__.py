"""What lossary needs from an array library, one file per library.

The type of the array chooses the library; nothing is imported that the user has not
imported. `Library` is written against the array API standard and serves NumPy, Dask
and every conforming library; the autodiff libraries say how they differ.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from lossary.arrays.standard import Library
from lossary.errors import KindError
from lossary.expr.untraced import Table

_MODULES = {
    "numpy": "numpy",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "jaxlib": "jax",
    "dask": "dask",
}
_by_name: dict[str, Library] = {}
_records: list[tuple[type, tuple[str, ...]]] = []
Record = TypeVar("Record", bound=type)


def library(name: str) -> Library:
    """Return the glue of a library by name, importing the library.

    Parameters
    ----------
    name
        ``"numpy"``, ``"torch"``, ``"tensorflow"``, ``"jax"``, ``"dask"`` or
        ``"standard"`` for anything else that follows the array API.
    """
    if name not in _by_name:
        module = importlib.import_module(f"lossary.arrays.{name}")
        _by_name[name] = module.LIBRARY
        for declared in _records:
            module.LIBRARY.adopt(*declared)
    return _by_name[name]


def record(*arrays: str) -> Callable[[Record], Record]:
    """Declare a dataclass that losses return, and which of its fields hold arrays.

    To JAX it becomes a pytree, so that it leaves a compiled function, and enters one.
    """

    def declare(kind: Record) -> Record:
        _records.append((kind, arrays))
        for lib in _by_name.values():
            lib.adopt(kind, arrays)
        if "jax" in sys.modules:
            library("jax")  # so that the record may be made before a loss is called
        return kind

    return declare


def _recognise(kind: type) -> Library | None:
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        if root in _MODULES:
            return library(_MODULES[root])
    if hasattr(kind, "__array_namespace__"):
        return library("standard")
    return None


_BY_TYPE: Table[Library | None] = Table(_recognise)


def library_of(*arrays: Any) -> Library:
    """Return the one library that all these arrays belong to.

    Lists, numbers and data-frame columns count as NumPy.

    Raises
    ------
    KindError
        If the arrays belong to different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> library_of(np.zeros(3), [1, 2, 3]).name
    'numpy'
    """
    found: Library | None = None
    seen: type | None = None
    for array in arrays:
        if type(array) is seen:
            continue
        seen = type(array)
        owner = _BY_TYPE.of(seen)
        if owner is None or owner is found:
            continue
        if found is not None and owner.name in found.joins:
            continue
        if found is not None and found.name not in owner.joins:
            raise KindError(
                f"y_true and y_pred belong to different array libraries "
                f"({found.name} and {owner.name}); convert one of them, so that both "
                "are arrays of the same library"
            )
        found = owner
    return found or library("numpy")


__all__ = ["Library", "library", "library_of", "record"]
