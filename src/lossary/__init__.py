"""A glossary of loss functions that runs: one formula per loss, interpreted everywhere.

Examples
--------
>>> import lossary as ls
>>> float(ls.huber([0.0, 0.0], [1.0, 3.0], delta=2.0))
2.25
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossary import ops
from lossary.errors import LossaryError, LossaryWarning, nearest
from lossary.loss import Loss
from lossary.parameters import Param
from lossary.reduction import Sums
from lossary.registry import get, names, registry
from lossary.structures.overlap import overlap
from lossary.structures.pairwise import pairwise
from lossary.structures.pointwise import pointwise
from lossary.structures.rowwise import rowwise

if TYPE_CHECKING:
    from lossary.projection.cross_entropy import linear_cross_entropy
    from lossary.workbench.choose import choose
    from lossary.workbench.compare import compare

_LOSSES = registry()
_LATER = {
    "choose": "lossary.workbench.choose",
    "compare": "lossary.workbench.compare",
    "linear_cross_entropy": "lossary.projection.cross_entropy",
}

__all__ = [
    "Loss",
    "LossaryError",
    "LossaryWarning",
    "Param",
    "Sums",
    "choose",
    "compare",
    "get",
    "linear_cross_entropy",
    "names",
    "ops",
    "overlap",
    "pairwise",
    "pointwise",
    "rowwise",
    *_LOSSES,
]


def __getattr__(name: str) -> Any:
    if name in _LOSSES:
        return _LOSSES[name]
    if name in _LATER:  # the workbench loads SciPy and more: only when asked for
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"lossary has no {name!r}; {nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
