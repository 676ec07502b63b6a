"""Parameters of a loss that are learned with a model.

A framework keeps unconstrained raw values; here they become parameters inside their
interval, and the loss the negative log-likelihood that learning needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossary.arrays import library_of
from lossary.errors import ParameterError
from lossary.expr.formula import Formula
from lossary.expr.graph import apply, parameter, symbol
from lossary.expr.untraced import Table, lazy, unconverted
from lossary.loss import Loss
from lossary.parameters import Param

_OFFSET = "log_partition"
Interval = tuple[float, float]


@unconverted
@dataclass(frozen=True)
class Learning:
    """A loss with some of its parameters learned.

    Parameters
    ----------
    loss : Loss or Combination
        Its bound values are where learning starts.
    names : sequence of str, or a single one
        The learned parameters; with none of them it computes the loss as it is.

    Examples
    --------
    >>> import lossary as ls
    >>> import numpy as np
    >>> learning = Learning(ls.general_robust(scale=2.0), ("scale",))
    >>> raw = {k: np.array(v) for k, v in learning.start().items()}
    >>> print(learning.values(raw)["scale"])
    2.0
    """

    loss: Any
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        given = self.names
        names = (given,) if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "names", names)
        if not self.names:
            return
        if not isinstance(self.loss, Loss):
            raise ParameterError(
                f"{self.loss!r} is a sum of losses, and parameters are learned of a "
                "single loss; learn them of its terms"
            )
        possible = learnable(self.loss)
        for name in self.names:
            if name not in possible:
                raise ParameterError(
                    f"{self.loss.name}: {name!r} cannot be learned; "
                    + (f"these can: {', '.join(possible)}" if possible
                       else "none of its parameters can")
                )  # fmt: skip
            low, high = possible[name]
            if not low < self.loss.parameters[name] < high:
                raise ParameterError(
                    f"{self.loss.name}: {name} is learned between {low:g} and "
                    f"{high:g}, and cannot start at {self.loss.parameters[name]:g}"
                )
        self.loss.structure.check_learnable(self.loss, names)

    def start(self) -> dict[str, float]:
        """Return the raw values at which the parameters are those of the loss."""
        return {
            name: _raw(self.loss.parameters[name], self._interval(name))
            for name in self.names
        }

    def values(self, raw: Any) -> dict[str, Any]:
        """Return the parameters, inside their intervals, of raw arrays."""
        return {name: _inside(raw[name], self._interval(name)) for name in self.names}

    def __call__(self, y_true: Any, y_pred: Any, raw: Any, **options: Any) -> Any:
        """Compute the loss at raw values, through which gradients flow.

        Options are those of a loss's call. A pointwise loss comes as the negative
        log-likelihood -log(exp(-loss) / ∫ exp(-loss)).
        """
        if not self.names:
            return self.loss(y_true, y_pred, **options)
        return self.objective(y_true, y_pred, **self.parameters(raw), **options)

    def sums(self, y_true: Any, y_pred: Any, raw: Any, **options: Any) -> Any:
        """Return what merges, at raw values; as `Loss.sums`."""
        if not self.names:
            return self.loss.sums(y_true, y_pred, **options)
        return self.objective.sums(y_true, y_pred, **self.parameters(raw), **options)

    def parameters(self, raw: Any) -> dict[str, Any]:
        """Return what `objective` reads: parameters, and what normalises them."""
        values = self.values(raw)
        log_partition = self.loss.structure.log_partition
        if log_partition is None:
            return values
        return {**values, _OFFSET: log_partition(self.loss, values)}

    @lazy
    def objective(self) -> Any:
        """The loss that is minimised, with the log-partition as a parameter."""
        return _OBJECTIVES.of(self.loss) if self.names else self.loss

    def _interval(self, name: str) -> Interval:
        return learnable(self.loss)[name]


def learnable(loss: Any) -> dict[str, Interval]:
    """Return the parameters that can be learned, with the intervals they stay in.

    Examples
    --------
    >>> import lossary as ls
    >>> learnable(ls.general_robust)
    {'alpha': (0.001, 1.999), 'scale': (0, inf)}
    """
    if not isinstance(loss, Loss):
        return {}
    return {
        name: param.learn
        for name, param in loss.definition.params.items()
        if isinstance(param, Param) and param.learn is not None
    }


def _shifted(loss: Loss) -> Loss:
    """Add the log-partition to a loss that needs one to be a likelihood."""
    if loss.structure.log_partition is None:
        return loss
    formula = loss.definition.forms[loss.form]
    value = formula.value + parameter(_OFFSET)
    shifted = Formula(value, formula.inputs, (*formula.params, _OFFSET))
    params = {**loss.definition.params, _OFFSET: Param(0.0)}
    definition = replace(loss.definition, forms={loss.form: shifted}, params=params)
    return replace(loss, definition=definition, values=(*loss.values, 0.0))


_OBJECTIVES: Table[Loss] = Table(_shifted)


def _raw(value: float, interval: Interval) -> float:
    """Return the unconstrained number of a value inside an interval."""
    low, high = interval
    if math.isinf(low):  # the whole line
        return value
    if math.isinf(high):
        return math.log(value - low)
    return math.log(value - low) - math.log(high - value)


def _inside(raw: Any, interval: Interval) -> Any:
    """Map the whole line into an interval: by exp, by the sigmoid, or as it is."""
    formula = _INSIDE.of(*interval)
    lib = library_of(raw)
    if lib.itemsize(raw.dtype) < 4:  # half precision cannot hold the log-partition
        raw = lib.cast(raw, lib.float32(raw))
    return lib.elementwise(formula.value, formula, ())(lib.constant(raw), raw)


def _bounded(low: float, high: float) -> Formula:
    z = symbol("z")
    if math.isinf(low):
        return Formula(z, ("y", "z"))
    grown = apply("exp", z) if math.isinf(high) else (high - low) * apply("sigmoid", z)
    return Formula(low + grown, ("y", "z"))


_INSIDE: Table[Formula] = Table(_bounded)
