"""The commonest call, made ready: small arrays of NumPy, whose items all count.

What 32 items cost is the interpreter's time. So whatever does not depend on their
values is done once per loss, and shapes and values are looked at just enough to know
that there is nothing to say about them. All else is left to the loss itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossary import kernels
from lossary.arrays import fused, library, standard
from lossary.batch import Options
from lossary.kinds import Kind
from lossary.reduction import IN_ONE_PASS

if TYPE_CHECKING:
    from lossary.loss import Loss

_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_CHECKS = ("raise", "off")
_SAFE = 1e38  # no float32 overflows below it


class Plain:
    """A loss, ready for small arrays whose items all count.

    Parameters
    ----------
    loss : Loss
        One with no array among its parameters.
    """

    labels = False
    """Whether the target holds class numbers."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.ways: dict[tuple[Any, ...], Any] = {}

    def compute(self, what: str, y: Any, z: Any, how: Options) -> Any:
        """Compute a call; None where there is more to it.

        Parameters
        ----------
        what : {"value", "value_and_grad"}
            What is returned.
        y, z
            Target and prediction, of any type.
        how : Options
            The options of the call.
        """
        if (
            type(z) is not np.ndarray
            or type(y) is not np.ndarray
            or not 0 < z.size <= standard.SMALL
            or z.dtype not in _FLOATS
            or not self.takes(how)
        ):
            return None
        if not self.fits(y.shape, z.shape):
            return None
        y, weight = self.target(y, z), how.sample_weight
        if y is None:
            return None
        denominator: Any = 1.0 if how.reduction == "sum" else y.size
        if weight is not None:
            weight = _positive(weight, y.shape, z.dtype)
            if weight is None:
                return None
            if how.reduction == "mean":
                denominator = float(np.add.reduce(weight, axis=None, dtype=np.float64))
        way = self.way(what, z, weight is not None, how)
        return way.compute(y, z, weight, denominator)

    def fits(self, target: tuple[int, ...], prediction: tuple[int, ...]) -> bool:
        """Say whether shapes go together: a target per item, or per row."""
        raise NotImplementedError

    def target(self, y: Any, z: Any) -> Any:
        """Return the target as it is computed with, or None."""
        raise NotImplementedError

    def way(self, what: str, z: Any, weighted: bool, how: Options) -> Any:
        """Return how calls of one kind are computed, given a prediction of theirs."""
        raise NotImplementedError

    def takes(self, how: Options) -> bool:
        """Say whether the options of a call ask for nothing more."""
        return (
            how.mask is None and how.reduction in IN_ONE_PASS and how.check in _CHECKS
        )


class PlainItems(Plain):
    """The same of a pointwise loss."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self.bounded = loss.target.bounded or loss.prediction.bounded

    def fits(self, target: tuple[int, ...], prediction: tuple[int, ...]) -> bool:
        """Say whether shapes go together."""
        return target == prediction and len(target) > 0

    def target(self, y: Any, z: Any) -> Any:
        """Return the target in the prediction's dtype, if that is the wider one."""
        if y.dtype == z.dtype:
            return y
        return y.astype(z.dtype) if y.dtype.kind in "iub" else None

    def way(self, what: str, z: Any, weighted: bool, how: Options) -> _WayOfItems:
        """Return how calls of one kind are computed, given a prediction of theirs."""
        key = what, z.dtype, weighted, self.bounded and how.check != "off"
        way: _WayOfItems | None = self.ways.get(key)
        if way is None:
            way = self.ways[key] = _WayOfItems(self.loss, *key)
        return way


class Way:
    """How plain calls of one kind are computed: by a kernel, where there are any.

    Parameters
    ----------
    what : {"value", "value_and_grad"}
        What is returned.
    dtype : dtype
        That of the prediction.
    """

    def __init__(self, what: str, dtype: Any) -> None:
        self.scalar = dtype.type
        self.graded = what == "value_and_grad"
        self._kernel: Any = None

    def load(self) -> Any:
        """Return a kernel of `lossary.kernels.small`."""
        raise NotImplementedError

    def trusts(self, z: Any) -> bool:
        """Say whether a kernel sees all that may be wrong with values like these."""
        raise NotImplementedError

    @property
    def kernel(self) -> Any:
        """The kernel, or None where none can be compiled."""
        if self._kernel is None and kernels.available():
            self._kernel = self.load()
        return self._kernel

    def compiled(self, kernel: Any, arrays: list[Any], denominator: Any) -> Any:
        """Compute a call of some arrays, the prediction the second of them."""
        gradient = None
        if self.graded:
            gradient = np.empty(arrays[1].shape, self.scalar)
            arrays.append(gradient)
        total = kernel(arrays, 1 / denominator)
        if total is None:
            return None
        value = self.number(total / denominator)
        return (value, gradient) if self.graded else value

    def number(self, value: float) -> Any:
        """Return a number of the dtype; an infinity is a result, not an accident."""
        if -_SAFE < value < _SAFE:
            return self.scalar(value)
        with np.errstate(all="ignore"):
            return self.scalar(value)


class _WayOfItems(Way):
    """The same of a pointwise loss: without a kernel, in NumPy."""

    def __init__(
        self, loss: Loss, what: str, dtype: Any, weighted: bool, check: bool
    ) -> None:
        super().__init__(what, dtype)
        formula = loss.formula
        self.call = formula, loss.params, what, dtype, weighted
        nodes = (formula.value, *([formula.gradient] if self.graded else []))
        arguments = (*formula.inputs, *formula.params)
        self.run = library("numpy").run_all(nodes, arguments)
        self.kinds = [
            kind if check and kind.bounded else None
            for kind in (loss.target, loss.prediction)
        ]
        self.ranges = tuple(k and k.interval(dtype.itemsize) for k in self.kinds)
        seen = zip(self.kinds, self.ranges, strict=True)
        self.unseen = [None if interval else kind for kind, interval in seen]
        self.seen = not any(self.unseen)

    def compute(self, y: Any, z: Any, weight: Any, denominator: Any) -> Any:
        """Compute a call; None where a value may be illegal."""
        kernel = self.kernel
        if kernel is None:
            legal = _legal(self.kinds, (y, z))
            return self._interpreted(y, z, weight, denominator) if legal else None
        if not (self.seen or _legal(self.unseen, (y, z))):
            return None
        arrays = [y, z] if weight is None else [y, z, weight]
        return self.compiled(kernel, arrays, denominator)

    def load(self) -> Any:
        """Return the kernel."""
        return fused.small_kernel("SmallKernel", *self.call, self.ranges)

    def trusts(self, z: Any) -> bool:
        """Say whether the kernel compares target and prediction with their ranges."""
        return self.seen

    def _interpreted(self, y: Any, z: Any, weight: Any, denominator: Any) -> Any:
        with np.errstate(all="ignore"):
            found = self.run(y, z, *self.call[1])
            items, slopes = found if self.graded else (found, None)
            if weight is not None:
                items = items * weight
            total = np.add.reduce(items, axis=None, dtype=np.float64)
            value = self.scalar(total / denominator)
            if not self.graded:
                return value
            if weight is not None:
                slopes = slopes * weight
            return value, slopes * (1 / denominator)


def _positive(weight: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return weights, one per item, if all are sure to count."""
    if type(weight) is not np.ndarray or weight.shape != shape:
        return None
    if weight.dtype != dtype:
        if weight.dtype.kind not in "iuf":
            return None
        weight = weight.astype(dtype)
    low = np.minimum.reduce(weight, axis=None)
    high = np.maximum.reduce(weight, axis=None)
    return weight if low > 0 and high < np.inf else None


def _legal(kinds: list[Kind | None], arrays: tuple[Any, Any]) -> bool:
    """Say whether all values are surely legal; NaN is left to those who look closer."""
    for kind, values in zip(kinds, arrays, strict=True):
        if kind is None:
            continue
        if kind.low > -np.inf and not np.minimum.reduce(values, axis=None) >= kind.low:
            return False
        if kind.high < np.inf and not np.maximum.reduce(values, axis=None) <= kind.high:
            return False
        if kind.excluded is not None and (values == kind.excluded).any():
            return False
        if kind.whole and (values != np.floor(values)).any():
            return False
    return True
