"""One call's arrays, made ready: shapes agreed, values checked, rows removed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.arrays import Library, fused, library_of
from lossary.errors import (
    DomainError,
    KindError,
    LossaryError,
    LossaryWarning,
    ParameterError,
    ShapeError,
    some_rows,
)
from lossary.kernels.interval import Ranges
from lossary.kinds import Kind
from lossary.reduction import IN_ONE_PASS, Counting
from lossary.shapes import Signature, leading, paired

if TYPE_CHECKING:
    from lossary.loss import Loss

CHECKS = ("raise", "warn", "off")


@dataclass(slots=True)  # made at every call: freezing would cost a microsecond
class Batch:
    """Targets and predictions, ready to be computed with.

    Attributes
    ----------
    lib : Library
        The array library of the call.
    y, z
        Target and prediction in the dtype of the computation, with removed rows
        replaced by harmless values; as they came, where a device's kernel reads them.
    dtype, work
        The dtype that the prediction came in, and that of the computation.
    counting : Counting
        Weights and kept rows.
    signature : Signature
        The shapes that were recognised.
    compiled : bool
        Whether a compiled kernel computes the sums of this call.
    ranges
        What that kernel checks on its way: intervals of target and prediction.
    complain
        What it calls if a value lies outside: it names the rows.
    beside
        The parameters that are arrays, one value per prediction.
    """

    lib: Library
    y: Any
    z: Any
    dtype: Any
    work: Any
    counting: Counting
    signature: Signature
    compiled: bool = False
    ranges: Ranges = (None, None)
    complain: Callable[[], Any] | None = None
    beside: tuple[Any, ...] = ()

    def returned(self, x: Any) -> Any:
        """Give a gradient or per-item losses the dtype of the prediction."""
        return self.lib.cast(x, self.dtype)

    def wide(self, x: Any) -> Any:
        """Give target or prediction the dtype of the computation."""
        return self.lib.cast(x, self.work)


@dataclass(slots=True)
class Options:
    """How a call weighs, reduces and checks: its arguments of these names.

    `out` is where its gradient goes, if it says so.
    """

    sample_weight: Any
    mask: Any
    reduction: str
    empty: str
    check: str
    out: Any = None


def with_arrays(loss: Loss, options: dict[str, Any]) -> tuple[Loss, tuple[Any, ...]]:
    """Bind the numbers of a call; return the arrays that it gives as parameters."""
    arrays = {
        name: value
        for name, value in options.items()
        if name in loss.definition.params
        and not isinstance(value, (int, float, str))
        and library_of(value).autodiff
    }
    if not arrays:
        return loss.bind(**options), ()
    readable = loss.structure.readable(loss)
    for name in arrays:
        if name not in readable:
            raise ParameterError(
                f"{loss.name}: {name} must be a number, not an array; "
                + (f"arrays may be given for {', '.join(readable)}"
                   if readable else "none of its parameters may be an array")
            )  # fmt: skip
    loss = loss.bind(**{k: v for k, v in options.items() if k not in arrays})
    return replace(loss, read=tuple(arrays)), tuple(arrays.values())


def prepare(
    loss: Loss,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    mask: Any = None,
    check: str = "raise",
    reduction: str = "none",
    beside: tuple[Any, ...] = (),
) -> Batch:
    """Check and convert the arrays of one call.

    If all that is wanted are sums, a compiled kernel may compute the call; then the
    values are checked by that kernel, where it can, in the same pass.
    """
    if check not in CHECKS:
        raise ParameterError(f"check must be one of {CHECKS}, got {check!r}")
    lib = library_of(y_true, y_pred)
    y = _array(loss.name, "y_true", lib, y_true, y_pred)
    z = _array(loss.name, "y_pred", lib, y_pred, y_true)
    structure = loss.structure
    given, predicted = lib.shape(y), lib.shape(z)
    signature = paired(loss.name, structure.signatures, given, predicted)
    sizes = shape = structure.count_shape(given, predicted)
    if None in given or None in predicted:
        y = lib.sized(
            y, lib.sizes(z)[: len(given)],
            f"{loss.name}: the shape of y_true does not fit that of y_pred, and "
            "nothing is broadcast"
        )  # fmt: skip
        sizes = structure.count_shape(lib.sizes(y), lib.sizes(z))
    indexed = structure.indexed(signature)
    dtype, work, z = _floats(lib, y, z, indexed)
    kernel = structure.kernel_for(loss) if reduction in IN_ONE_PASS else None
    on_device = kernel is not None and lib.on_device(kernel, y, z, sample_weight)
    if not on_device:
        y, z = y if indexed else lib.cast(y, work), lib.cast(z, work)
        work = z.dtype
    counting = counting_of(
        loss.name, lib, z, work, shape, sizes, sample_weight, mask, check
    )
    compiled = on_device or (
        kernel is not None
        and dtype == work
        and lib.compiled(kernel, loss.formula, y, z, counting)
    )
    batch = Batch(lib, y, z, dtype, work, counting, signature, compiled)
    if beside:
        batch.beside = _beside(loss, lib, z, beside, check)
    if check != "off":
        batch.ranges = _check(loss, batch, check)
        if compiled:
            looked_at = replace(batch, compiled=False)
            batch.complain = partial(_check, loss, looked_at, check)
    return batch if compiled else without_removed(loss, batch)


def _array(name: str, argument: str, lib: Library, x: Any, like: Any) -> Any:
    """Turn one argument into an array of a library."""
    try:
        return lib.asarray(x, like)
    except LossaryError as error:
        raise type(error)(f"{name}: {argument} {error}") from None


def without_removed(loss: Loss, batch: Batch) -> Batch:
    """Put harmless values where a row is removed, before anything is computed.

    A compiled kernel does without: it never looks at such a row.
    """
    if batch.counting.keep is None:
        return batch
    indexed = loss.structure.indexed(batch.signature)
    y, z = _removed(batch.lib, batch.y, batch.z, batch.counting.keep, indexed)
    return replace(batch, y=y, z=z)


def _floats(lib: Library, y: Any, z: Any, indexed: bool) -> tuple[Any, Any, Any]:
    """Return the dtype of both arrays, one of at least 32 bits, and z as floats."""
    if not lib.is_floating(z):
        z = lib.cast(z, lib.default_float(z))
    dtype = z.dtype
    if not indexed and y.dtype != dtype and lib.is_floating(y):
        dtype = lib.wider(y, z)
    return dtype, dtype if lib.itemsize(dtype) >= 4 else lib.float32(z), z


def _beside(
    loss: Loss, lib: Library, z: Any, arrays: tuple[Any, ...], check: str
) -> tuple[Any, ...]:
    """Return parameters as arrays of the computation's dtype."""
    found = []
    for name, array in zip(loss.read, arrays, strict=True):
        if library_of(array) is not lib:
            raise KindError(
                f"{loss.name}: {name} is an array of {library_of(array).name} and the "
                f"data are of {lib.name}; convert one of them"
            )
        if lib.shape(array) not in ((), lib.shape(z)):
            raise ShapeError(
                f"{loss.name}: {name} has shape {lib.shape(array)}, but it must be one "
                f"number, shape (), or one per prediction, shape {lib.shape(z)}"
            )
        values = None if check == "off" else lib.concrete(array)
        if values is not None and values.size:
            param = loss.definition.params[name]
            for extreme in (values.min(), values.max()):
                param.checked(name, extreme, loss.name)
        found.append(lib.cast(array, z.dtype))
    return tuple(found)


def counting_of(
    name: str,
    lib: Library,
    z: Any,
    work: Any,
    shape: tuple[int, ...],
    sizes: tuple[Any, ...],
    sample_weight: Any,
    mask: Any,
    check: str,
) -> Counting:
    """Say which rows of a shape count, and how much, in the dtype of the work."""
    if sample_weight is None and mask is None:
        return Counting(lib, shape)
    weight = keep = total = None
    axes = 0
    if sample_weight is not None:
        weight = _array(name, "sample_weight", lib, sample_weight, z)
        leading(name, "sample_weight", lib.shape(weight), shape)
        weight = lib.cast(weight, work)
        weighed = _weighed(name, lib, weight, check)
        axes = len(lib.shape(weight))
        weight = _expanded(name, "sample_weight", lib, weight, sizes)
        if weighed is None or weighed.counted < np.size(weight):
            keep = weight != 0
        if weighed is not None and mask is None and axes == len(sizes):
            total = weighed.total
    if mask is not None:
        mask = _array(name, "mask", lib, mask, z)
        leading(name, "mask", lib.shape(mask), shape)
        kept = mask if lib.is_boolean(mask) else mask != 0
        kept = _expanded(name, "mask", lib, kept, sizes)
        keep = kept if keep is None else keep & kept
    if isinstance(keep, np.ndarray) and keep.all():
        keep = None
    return Counting(lib, shape, weight, keep, axes, total)


def _expanded(
    name: str, argument: str, lib: Library, x: Any, sizes: tuple[Any, ...]
) -> Any:
    """Repeat a value per row over the axes that follow."""
    axes = len(lib.shape(x))
    x = lib.sized(
        x, sizes[:axes],
        f"{name}: {argument} must have one value per loss or per row"
    )  # fmt: skip
    if axes == len(sizes):
        return x
    xp = lib.namespace(x)
    alone = (*lib.sizes(x), *[1] * (len(sizes) - axes))
    return xp.broadcast_to(xp.reshape(x, alone), sizes)


def _removed(lib: Library, y: Any, z: Any, keep: Any, indexed: bool) -> Any:
    return tuple(
        _where_kept(lib, keep, x, 0 if i == 0 and indexed else 1)
        for i, x in enumerate((y, z))
    )


def _where_kept(lib: Library, keep: Any, x: Any, harmless: int) -> Any:
    xp = lib.namespace(x)
    if len(lib.shape(keep)) < len(lib.shape(x)):
        keep = xp.expand_dims(keep, axis=-1)
    return xp.where(keep, x, xp.zeros_like(x) + harmless)


# -- checks of values -----------------------------------------------------------------


def _weighed(name: str, lib: Library, weight: Any, check: str) -> Any:
    """Check weights; return what a kernel has found out about those of NumPy."""
    weighed = fused.weighed(weight)
    if weighed is not None and weighed.legal:
        return weighed
    values = lib.concrete(weight) if check != "off" else None
    if values is None or not values.size:
        return None
    bad = ~(values >= 0) | (values == np.inf)
    if bad.any():
        _report(name, "sample_weight", bad, values, "finite numbers, at least 0",
                "use weight 0 to leave a row out", check)  # fmt: skip
    return None


def _check(loss: Loss, batch: Batch, check: str) -> Ranges:
    """Check the values, and return the intervals that are left to a kernel."""
    lib, riding, left = batch.lib, batch.compiled, []
    target, prediction = loss.structure.kinds(loss, batch.signature)
    sides = (("y_true", target, batch.y), ("y_pred", prediction, batch.z))
    for argument, kind, array in sides:
        left.append(kind.interval if riding else None)
        if kind.bounded and not riding:
            values = lib.concrete(array)
            if values is not None:
                check_kind(loss.name, argument, kind, values, batch.counting, check)
    for finding in loss.structure.suspicions(loss, batch):
        complain(finding, check)
    return left[0], left[1]


def check_kind(
    name: str,
    argument: str,
    kind: Kind,
    values: np.ndarray,
    counting: Counting,
    check: str,
) -> None:
    """Report the counted values that a kind does not allow."""
    bad = kind.outside(values)
    if not bad.any():
        return
    bad = only_counted(bad, counting)
    if bad.any():
        _report(name, argument, bad, values, f"{kind.phrase} {kind.range}",
                kind.hint, check)  # fmt: skip


def only_counted(bad: np.ndarray, counting: Counting) -> np.ndarray:
    """Forget what was found in removed rows."""
    keep = None if counting.keep is None else counting.lib.concrete(counting.keep)
    if keep is None:
        return bad
    return np.asarray(bad & (keep if keep.ndim == bad.ndim else keep[..., None]))


def _report(
    name: str,
    argument: str,
    bad: np.ndarray,
    values: np.ndarray,
    allowed: str,
    hint: str,
    check: str,
) -> None:
    first = np.argwhere(bad)
    rows = sorted({int(i[0]) for i in first}) if bad.ndim else []
    where = f" in {some_rows(rows)}" if rows else ""
    complain(
        f"{name}: {argument} must hold {allowed}, but there is "
        f"{values[bad].flat[0]:g}{where}; {hint}",
        check,
    )


def complain(sentence: str, check: str) -> None:
    """Raise or warn, by the caller's choice."""
    if check == "raise":
        raise DomainError(f'{sentence} (check="warn" or check="off" lets it pass)')
    warnings.warn(sentence, LossaryWarning, stacklevel=5)
