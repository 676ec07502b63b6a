"""Dask: lazy arrays; nothing is computed until the user asks."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary.arrays.standard import Library


class _Dask(Library):
    name = "dask"

    def concrete(self, x: Any) -> np.ndarray | None:
        return None

    def asarray(self, x: Any, like: Any = None) -> Any:
        import dask.array as da

        return x if isinstance(x, da.Array) else da.asarray(x)


LIBRARY = _Dask()
