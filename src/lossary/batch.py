"""One call's arrays, made ready: shapes agreed, values checked, rows removed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.arrays import Library, library_of
from lossary.errors import DomainError, LossaryWarning, ParameterError, some_rows
from lossary.kinds import Kind
from lossary.reduction import Counting
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
        replaced by harmless values.
    dtype
        The dtype that the prediction came in.
    counting : Counting
        Weights and kept rows.
    signature : Signature
        The shapes that were recognised.
    """

    lib: Library
    y: Any
    z: Any
    dtype: Any
    counting: Counting
    signature: Signature

    def returned(self, x: Any) -> Any:
        """Give a gradient or per-item losses the dtype of the prediction."""
        return self.lib.cast(x, self.dtype)


def prepare(
    loss: Loss,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    mask: Any = None,
    check: str = "raise",
) -> Batch:
    """Check and convert the arrays of one call."""
    if check not in CHECKS:
        raise ParameterError(f"check must be one of {CHECKS}, got {check!r}")
    lib = library_of(y_true, y_pred)
    y, z = lib.asarray(y_true, y_pred), lib.asarray(y_pred, y_true)
    structure = loss.structure
    signature = paired(loss.name, structure.signatures, lib.shape(y), lib.shape(z))
    dtype, y, z = _same_float(lib, y, z, structure.indexed(signature))
    shape = structure.count_shape(lib.shape(y), lib.shape(z))
    counting = _counting(loss.name, lib, z, shape, sample_weight, mask, check)
    if check != "off":
        _check(loss, lib, y, z, signature, counting, check)
    if counting.keep is not None:
        y, z = _removed(lib, y, z, counting.keep, structure.indexed(signature))
    return Batch(lib, y, z, dtype, counting, signature)


def _same_float(lib: Library, y: Any, z: Any, indexed: bool) -> tuple[Any, Any, Any]:
    """Bring both arrays to one floating dtype of at least 32 bits."""
    if not lib.is_floating(z):
        z = lib.cast(z, lib.default_float(z))
    dtype = z.dtype
    if not indexed and y.dtype != dtype and lib.is_floating(y):
        dtype = lib.wider(y, z)
    work = dtype if lib.itemsize(dtype) >= 4 else lib.float32(z)
    z = lib.cast(z, work)
    return dtype, y if indexed else lib.cast(y, work), z


def _counting(
    name: str,
    lib: Library,
    z: Any,
    shape: tuple[int, ...],
    sample_weight: Any,
    mask: Any,
    check: str,
) -> Counting:
    if sample_weight is None and mask is None:
        return Counting(lib, shape)
    weight = keep = None
    axes = 0
    if sample_weight is not None:
        weight = lib.asarray(sample_weight, z)
        leading(name, "sample_weight", lib.shape(weight), shape)
        weight = lib.cast(weight, z.dtype)
        _check_weight(name, lib, weight, check)
        axes = len(lib.shape(weight))
        weight = _expanded(lib, weight, shape)
        keep = weight != 0
    if mask is not None:
        mask = lib.asarray(mask, z)
        leading(name, "mask", lib.shape(mask), shape)
        kept = _expanded(lib, mask if lib.is_boolean(mask) else mask != 0, shape)
        keep = kept if keep is None else keep & kept
    if isinstance(keep, np.ndarray) and keep.all():
        keep = None
    return Counting(lib, shape, weight, keep, axes)


def _expanded(lib: Library, x: Any, shape: tuple[int, ...]) -> Any:
    """Repeat a value per row over the axes that follow."""
    missing = len(shape) - len(lib.shape(x))
    if missing == 0:
        return x
    xp = lib.namespace(x)
    return xp.broadcast_to(xp.reshape(x, (*lib.shape(x), *[1] * missing)), shape)


def _removed(lib: Library, y: Any, z: Any, keep: Any, indexed: bool) -> Any:
    """Put harmless values where a row is removed, before anything is computed."""
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


def _check_weight(name: str, lib: Library, weight: Any, check: str) -> None:
    values = lib.concrete(weight) if check != "off" else None
    if values is None:
        return
    bad = ~(values >= 0) | (values == np.inf)
    if bad.any():
        _report(name, "sample_weight", bad, values, "finite numbers, at least 0",
                "use weight 0 to leave a row out", check)  # fmt: skip


def _check(
    loss: Loss,
    lib: Library,
    y: Any,
    z: Any,
    signature: Signature,
    counting: Counting,
    check: str,
) -> None:
    target, prediction = loss.structure.kinds(loss, signature)
    for argument, kind, array in (("y_true", target, y), ("y_pred", prediction, z)):
        if kind.bounded:
            values = lib.concrete(array)
            if values is not None:
                check_kind(loss.name, argument, kind, values, counting, check)
    for finding in loss.structure.suspicions(loss, lib, y, z, signature, counting):
        complain(finding, check)


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
