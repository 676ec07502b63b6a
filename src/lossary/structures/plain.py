"""The commonest calls, made ready: small arrays of NumPy.

What 32 items cost is the interpreter's time. So whatever does not depend on their
values is done once per loss, and shapes and values are looked at just enough to know
that there is nothing to say about them. All else is left to the loss itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary import kernels
from lossary.arrays import fused, library, standard
from lossary.batch import Options
from lossary.expr.untraced import lazy
from lossary.kernels.call import OUTPUTS, address
from lossary.kinds import Kind
from lossary.reduction import IN_ONE_PASS

if TYPE_CHECKING:
    from lossary.loss import Loss

_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_CHECKS = ("raise", "off")
_SAFE = 1e38  # no float32 overflows below it
_LONG = 1 << 10  # losses that take long enough for other threads to go on meanwhile

Shape = tuple[int, ...]


class Way:
    """How small calls of one kind are computed: by a kernel, where there are any.

    Parameters
    ----------
    loss : Loss
        The loss.
    what : {"value", "value_and_grad", "grad_and_hess"}
        What is returned.
    dtype : dtype
        That of the prediction.
    reduction, check : str
        The options of the call.
    weighted, masked : bool
        Whether there are a weight and a mask per item.
    classes : int
        The number of classes, of a loss over classes.
    """

    def __init__(
        self,
        loss: Loss,
        what: str,
        dtype: Any,
        reduction: str,
        check: str,
        weighted: bool,
        masked: bool,
        classes: int,
    ) -> None:
        self.loss = loss
        self.call = loss.formula, loss.params, what, dtype, weighted, masked
        self.dtype, self.what, self.outputs = dtype, what, OUTPUTS[what]
        self.shared, self.weighted, self.masked = weighted or masked, weighted, masked
        self.reduction, self.check, self.classes = reduction, check != "off", classes

    @lazy
    def kernel(self) -> Any:
        """A kernel of `lossary.kernels.small`, or None where none can be compiled."""
        return self.load() if kernels.available() else None

    @lazy
    def weigher(self) -> Any:
        """The kernel that adds up the weights, or counts those that are not 0."""
        counted = self.reduction != "mean"
        return fused.small_kernel("of_weights", self.dtype, self.masked, counted)

    def load(self) -> Any:
        """Return the kernel."""
        raise NotImplementedError

    def without_kernel(self, y: Any, z: Any) -> Any:
        """Compute a call in NumPy, or return None."""
        return None

    def compute(self, y: Any, z: Any, how: Options) -> Any:
        """Compute a call; None where a value may be illegal, or nothing is left."""
        if self.kernel is None:
            few = z.size < fused.COMPILED_FROM
            return self.without_kernel(y, z) if few and how.out is None else None
        arrays, count = [np.ascontiguousarray(y), np.ascontiguousarray(z)], y.size
        if self.shared:
            shares = self._shares(how, y.shape)
            if shares is None or not (count := self._divisor(shares)):
                return None
            arrays += shares
        outputs = self._outputs(arrays, how.out, z.shape)
        if outputs is None:
            return None
        arrays += outputs
        value = self.at(y.size, [address(x) for x in arrays], count)
        if value is None:
            return None
        if self.what == "grad_and_hess":
            return tuple(outputs)
        value = self.dtype.type(value)
        return (value, *outputs) if outputs else value

    def _outputs(
        self, arrays: list[Any], out: Any, shape: Shape
    ) -> list[np.ndarray[Any, Any]] | None:
        """Return contiguous arrays for what is written; None if that needs a look.

        What may lie over the data is not written to: data are read again where a value
        may be illegal.
        """
        if out is None:
            return [np.empty(shape, self.dtype) for _ in range(self.outputs)]
        if (
            type(out) is not np.ndarray
            or out.dtype != self.dtype
            or out.shape != shape
            or not (out.flags.c_contiguous and out.flags.writeable)
            or any(np.may_share_memory(out, x) for x in arrays)
        ):
            return None
        return [out]

    def at(self, items: int, places: Sequence[int], count: float) -> float | None:
        """Compute a call of contiguous arrays, given where they begin.

        Parameters
        ----------
        items
            The number of losses.
        places
            Where target, prediction, weight, mask and outputs begin, as there are.
        count
            What a mean is divided by.

        Returns
        -------
        float
            A number of the dtype, or nearly; None if a value may be illegal, or is NaN.
        """
        divisor = 1.0 if self.reduction == "sum" else count
        kernel = self.kernel.at if items < _LONG else self.kernel.unlocked
        value: float = kernel(items, 1 / divisor, *places) / divisor
        if -_SAFE < value < _SAFE:
            return value
        with np.errstate(all="ignore"):  # an infinity is a result, not an accident
            return None if value != value else float(self.dtype.type(value))

    def _shares(self, how: Options, shape: Shape) -> list[Any] | None:
        """Return weight and mask, one per item, as a kernel reads them."""
        found, weight, mask = [], how.sample_weight, how.mask
        if self.weighted:
            if type(weight) is not np.ndarray or weight.dtype.kind not in "iuf":
                return None
            found.append(np.ascontiguousarray(weight, self.dtype))
        if self.masked:
            if type(mask) is not np.ndarray or mask.dtype.kind != "b":
                return None
            found.append(np.ascontiguousarray(mask))
        return found if all(x.shape == shape for x in found) else None

    def _divisor(self, shares: list[Any]) -> float:
        """Return what a mean is divided by; 0 for illegal weights, and for nothing."""
        if not self.weighted:
            return int(np.count_nonzero(shares[0]))
        total: float = self.weigher(shares, 0.0)
        return 0 if total != total else total


class _WayOfItems(Way):
    """The same of a pointwise loss: without a kernel, in NumPy."""

    def __init__(self, loss: Loss, *kind: Any) -> None:
        super().__init__(loss, *kind)
        self.kinds = [
            kind if self.check and kind.bounded else None
            for kind in (loss.target, loss.prediction)
        ]

    @lazy
    def run(self) -> Any:
        """The text of the formula, and of its gradient if that is asked for."""
        formula = self.loss.formula
        nodes = (formula.value, formula.gradient)[: 1 + self.outputs]
        arguments = (*formula.inputs, *formula.params)
        return library("numpy").run_all(nodes, arguments)

    def load(self) -> Any:
        """Return the kernel, which compares all values with what is legal."""
        ranges = tuple(kind and kind.interval for kind in self.kinds)
        return fused.small_kernel("of_items", *self.call, ranges)

    def without_kernel(self, y: Any, z: Any) -> Any:
        """Compute a call all of whose items count; None where a value is illegal."""
        curved = self.what == "grad_and_hess"
        if self.shared or curved or not _legal(self.kinds, (y, z)):
            return None
        divisor = 1.0 if self.reduction == "sum" else y.size
        with np.errstate(all="ignore"):
            found = self.run(y, z, *self.call[1])
            items = found[0] if self.outputs else found
            total = np.add.reduce(items, axis=None, dtype=np.float64)
            value = self.dtype.type(total / divisor)
            return (value, found[1] * (1 / divisor)) if self.outputs else value


class Plain:
    """A loss, ready for small arrays.

    Parameters
    ----------
    loss : Loss
        One with no array among its parameters.
    """

    labels = False
    """Whether the target holds class numbers."""
    kind: type[Way]
    """How its calls are computed."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.ways: dict[tuple[Any, ...], Way] = {}

    def compute(self, what: str, y: Any, z: Any, how: Options) -> Any:
        """Compute a call; None where there is more to it.

        Parameters
        ----------
        what : {"value", "value_and_grad", "grad_and_hess"}
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
            or not self.fits(y.shape, z.shape)
        ):
            return None
        y, way = self.target(y, z), self.way(what, z.dtype, z.shape, how)
        if y is None or way is None:
            return None
        return way.compute(y, z, how)

    def fits(self, target: Shape, prediction: Shape) -> bool:
        """Say whether shapes go together: a target per item, or per row."""
        raise NotImplementedError

    def target(self, y: Any, z: Any) -> Any:
        """Return the target as it is computed with, or None."""
        raise NotImplementedError

    def way(self, what: str, dtype: Any, shape: Shape, how: Options) -> Way | None:
        """Return how calls of one kind are computed; None where they ask for more.

        Parameters
        ----------
        what, how
            As for `compute`.
        dtype, shape
            Those of the prediction.
        """
        key = (
            what, dtype, how.reduction, how.check,
            how.sample_weight is not None, how.mask is not None,
            shape[-1] if self.labels else 0,
        )  # fmt: skip
        way: Way | None = self.ways.get(key)
        if way is None and (
            dtype in _FLOATS and how.reduction in IN_ONE_PASS and how.check in _CHECKS
        ):
            way = self.ways[key] = self.kind(self.loss, *key)
        return way


class PlainItems(Plain):
    """The same of a pointwise loss."""

    kind = _WayOfItems

    def fits(self, target: Shape, prediction: Shape) -> bool:
        """Say whether shapes go together."""
        return target == prediction and len(target) > 0

    def target(self, y: Any, z: Any) -> Any:
        """Return the target in the prediction's dtype, if that is the wider one."""
        if y.dtype == z.dtype:
            return y
        return y.astype(z.dtype) if y.dtype.kind in "iub" else None


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
