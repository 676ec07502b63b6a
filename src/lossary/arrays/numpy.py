"""NumPy: the library of lists, numbers and data-frame columns too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lossary.arrays.standard import Library
from lossary.errors import KindError
from lossary.expr.graph import Node


class _NumPy(Library):
    name = "numpy"

    def namespace(self, *arrays: Any) -> Any:
        return np

    def asarray(self, x: Any, like: Any = None) -> Any:
        result = np.asarray(x)
        if result.dtype == object:
            raise KindError(
                f"{type(x).__name__} of mixed or missing values cannot be read as "
                "numbers; convert it to a numeric array first"
            )
        return result

    def is_floating(self, x: Any) -> bool:
        return bool(x.dtype.kind == "f")

    def is_boolean(self, x: Any) -> bool:
        return bool(x.dtype.kind == "b")

    def itemsize(self, dtype: Any) -> int:
        return int(np.dtype(dtype).itemsize)

    def concrete(self, x: Any) -> np.ndarray | None:
        return np.asarray(x)

    def total(self, x: Any, axis: Any = None) -> Any:
        return np.add.reduce(x, axis=axis, dtype=np.float64)

    def _compile(self, node: Node, arguments: tuple[str, ...]) -> Callable[..., Any]:
        run = super()._compile(node, arguments)

        def quiet(*args: Any) -> Any:
            # An infinity is a result here, not an accident to warn about.
            with np.errstate(all="ignore"):
                return run(*args)

        return quiet


LIBRARY = _NumPy()
