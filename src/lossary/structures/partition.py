"""The log-partition of a loss: what is added to make it a negative log-likelihood.

A parameter cannot be learned from the loss alone: it would run to where every loss is
small. The density ∝ exp(-loss) has to be normalised, and then the parameters settle
where the residuals are likely (Barron 2019, A general and adaptive robust loss
function, CVPR, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossary.arrays import library, library_of
from lossary.errors import ParameterError
from lossary.expr.formula import Formula
from lossary.expr.untraced import Table
from lossary.loss import Loss

_REACH, _NODES = 4.0, 256


def _doubly_exponential() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of a quadrature over the whole line.

    The trapezoid rule in t for x = sinh(π/2 · sinh t) serves tails like exp(-x²) and
    like 1/x² alike (Takahasi and Mori 1974): 4e-13 at worst for `general_robust`. The
    farthest node, 2e18, has a square that float32 still holds.
    """
    step = _REACH / _NODES
    t = (np.arange(-_NODES, _NODES) + 0.5) * step
    s = math.pi / 2 * np.sinh(t)
    return np.sinh(s), step * math.pi / 2 * np.cosh(t) * np.cosh(s)


_QUADRATURE = _doubly_exponential()


def log_partition(loss: Loss, values: Mapping[str, Any]) -> Any:
    """Return log ∫ exp(-loss(0, x)) dx at some values of the parameters.

    Parameters
    ----------
    loss : Loss
        Pointwise; its other parameters are as bound.
    values : mapping of str to array
        Learned parameters, arrays of shape () through which gradients flow.

    Examples
    --------
    >>> import lossary as ls
    >>> import numpy as np
    >>> gaussian = ls.general_robust(alpha=2.0)
    >>> round(float(log_partition(gaussian, {"scale": np.array(3.0)})), 6)
    2.017551
    >>> round(float(np.log(3 * np.sqrt(2 * np.pi))), 6)
    2.017551
    """
    lib = library_of(*values.values())
    like = next(iter(values.values()))
    bound = {k: v for k, v in loss.parameters.items() if k not in values}
    scale = values.get("scale", bound.get("scale", 1.0))
    read = [name for name in values if name != "scale"]
    formula = _UNSCALED.of(loss, tuple(read))
    nodes, weights = (lib.cast(lib.asarray(x, like), like.dtype) for x in _QUADRATURE)
    xp = lib.namespace(nodes)
    density = lib.elementwise(
        formula.value, formula, tuple(bound[p] for p in formula.params)
    )
    arrays = (xp.broadcast_to(values[n], lib.shape(nodes)) for n in read)
    shares = weights * xp.exp(-density(xp.zeros_like(nodes), nodes, *arrays))
    total = xp.log(lib.total(shares))
    if isinstance(scale, float):
        return total + math.log(scale)
    return total + xp.log(scale)


def _unscaled(loss: Loss, read: tuple[str, ...]) -> Formula:
    formula = loss.definition.forms[loss.form]
    if "scale" in formula.params:
        formula = formula.at(scale=1.0)
    return formula.reading(*read)


_UNSCALED: Table[Formula] = Table(_unscaled)


def check_normalisable(loss: Loss, names: tuple[str, ...]) -> None:
    """Refuse to learn from a loss whose exp(-loss) has no integral.

    Raises
    ------
    ParameterError
        For a bounded loss, such as ``general_robust(alpha=-2.0)``.
    """
    nodes, weights = _QUADRATURE
    with library("numpy").quiet():
        ends = loss(np.zeros(2), nodes[[0, -1]], reduction="none")
        if (weights[[0, -1]] * np.exp(-ends) < 1e-6).all():
            return
    raise ParameterError(
        f"{loss!r} cannot learn {', '.join(names)}, because exp(-loss) has no integral "
        "and so is no density: the loss of a far outlier must keep growing"
    )
