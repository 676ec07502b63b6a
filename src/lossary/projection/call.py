"""One call's arrays, checked and brought together, and what its sums are divided by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lossary.arrays import Library, library_of
from lossary.batch import CHECKS, Options, complain, counting_of, only_counted
from lossary.errors import (
    KindError,
    LossaryError,
    ParameterError,
    ShapeError,
    some_rows,
)
from lossary.projection.chunks import Projection
from lossary.projection.rows import RowLoss
from lossary.reduction import Counting, checked_policy, quotient

NAME = "linear_cross_entropy"


@dataclass(frozen=True)
class Call:
    """The arrays of one call.

    Attributes
    ----------
    lib : Library
        Their library.
    hidden, weight, bias, labels
        As they were given, with rows in one axis: (n, d), (k, d), (k,) or None, (n,).
    counting : Counting
        Weights and kept rows, in the shape of the labels.
    dtype, work, product
        The dtype that the inputs share, that of logits and sums, and that in which
        matrices are multiplied.
    reduction, empty
        As in a call of a loss.
    """

    lib: Library
    hidden: Any
    weight: Any
    bias: Any
    labels: Any
    counting: Counting
    dtype: Any
    work: Any
    product: Any
    reduction: str
    empty: str

    @property
    def each(self) -> bool:
        """Whether losses are asked for one by one."""
        return self.reduction == "none"

    def denominator(self) -> Any:
        """Return what the sum is divided by; 1 for sums and single losses."""
        if self.reduction in ("sum", "none"):
            return 1.0
        return self.counting.denominator(self.reduction, self._like())

    def value(self, total: Any, denominator: Any) -> Any:
        """Return the reduced loss, given Σ w·l or w·l per row."""
        if self.each:
            items = self.lib.cast(total, self.dtype)
            return self.lib.namespace(items).reshape(items, self.counting.shape)
        value = quotient(total, denominator, self.empty)
        if isinstance(value, (float, np.floating)):
            return self.work.type(value)
        return self.lib.cast(value, self.work)

    def shares(self) -> Any:
        """Return the weight of each row in the sum, or None where all count alike."""
        counting, like = self.counting, self._like()
        scale = counting.row_scale(self.reduction, like)
        if counting.weight is None and scale is None:
            return None
        shares = counting.weights(like)
        shares = shares if scale is None else scale * shares
        return self.lib.namespace(shares).reshape(shares, (-1,))

    def _like(self) -> Any:
        xp = self.lib.namespace(self.hidden)
        shape = self.counting.shape
        return xp.zeros(shape, dtype=self.work, device=self.hidden.device)

    def constant(self) -> Call:
        """Return the same call of arrays without gradients."""
        arrays = self.hidden, self.weight, self.bias, self.counting.weight
        hidden, weight, bias, of_rows = (
            None if x is None else self.lib.constant(x) for x in arrays
        )
        counting = replace(self.counting, weight=of_rows, total=None)
        return replace(self, hidden=hidden, weight=weight, bias=bias, counting=counting)

    def projection(self, rows: RowLoss, memory: int | None) -> Projection:
        """Return what is computed chunk by chunk, without the rows that are removed."""
        lib, keep = self.lib, self.counting.keep
        kept = None
        if keep is not None:
            xp = lib.namespace(keep)
            kept = xp.nonzero(xp.reshape(keep, (-1,)))[0]
        return Projection(
            lib=lib,
            rows=rows,
            hidden=self.hidden,
            weight=self.weight,
            bias=self.bias,
            labels=self.labels,
            shares=self.shares(),
            kept=kept,
            work=self.work,
            product=self.product,
            memory=memory,
        )


class Given(NamedTuple):
    """The arrays of a call, beside weights of rows, as its arguments name them."""

    hidden: Any
    weight: Any
    labels: Any
    bias: Any
    class_weight: Any


def prepare(given: Given, ignore_index: int | None, how: Options) -> Call:
    """Check the arrays of one call, and convert them."""
    checked_policy(how.reduction, how.empty)
    if how.check not in CHECKS:
        raise ParameterError(f"check must be one of {CHECKS}, got {how.check!r}")
    lib = library_of(given.hidden)
    if lib.name not in ("numpy", "torch"):
        raise KindError(
            f"{NAME} takes NumPy arrays or PyTorch tensors, and hidden is an array of "
            f"{lib.name}; convert it, or compute the logits and call cross_entropy"
        )
    hidden, weight, labels, bias, class_weight = _converted(lib, given, how.check)
    dtype = lib.wider(hidden, weight)
    wide = dtype if lib.itemsize(dtype) >= 4 else lib.float32(hidden)
    of_rows = lib.cast(lib.constant(hidden[..., 0]), wide)
    work = of_rows.dtype
    counting = _counting(lib, of_rows, labels, ignore_index, how)
    _check_labels(lib, labels, weight.shape[0], counting, how.check)
    xp = lib.namespace(hidden)
    labels = lib.cast(labels, xp.int64)
    if class_weight is not None:
        _weigh(counting, labels, lib.cast(class_weight, work))
    return Call(
        lib,
        xp.reshape(hidden, (-1, hidden.shape[-1])),
        weight,
        bias,
        xp.reshape(labels, (-1,)),
        counting,
        dtype,
        work,
        lib.multiplied_in(dtype, work, hidden),
        how.reduction,
        how.empty,
    )


def _converted(lib: Library, given: Given, check: str) -> Given:
    """Return the arrays as those of one library, of shapes that go together."""
    hidden = _array(lib, "hidden", given.hidden, None)
    found = Given(
        hidden,
        *(
            None if x is None else _array(lib, name, x, hidden)
            for name, x in zip(Given._fields[1:], given[1:], strict=True)
        ),
    )
    _check_class_weight(lib, found.class_weight, check)
    _check_shapes(lib, found)
    hidden, weight = (
        x if lib.is_floating(x) else lib.cast(x, lib.default_float(x))
        for x in found[:2]
    )
    return found._replace(hidden=hidden, weight=weight)


def _counting(
    lib: Library, like: Any, labels: Any, ignore_index: int | None, how: Options
) -> Counting:
    """Return which rows count, and how much."""
    shape, of_rows = lib.shape(labels), (how.sample_weight, how.mask, how.check)
    counting = counting_of(NAME, lib, like, like.dtype, shape, shape, *of_rows)
    if ignore_index is not None:
        _without(counting, labels != ignore_index)
    return counting


def _array(lib: Library, argument: str, x: Any, like: Any) -> Any:
    """Return an argument as an array of the library of the hidden states."""
    owner = library_of(x)
    if owner is not lib and not isinstance(x, Sequence):
        raise KindError(
            f"{NAME}: {argument} is an array of {owner.name} and hidden is one of "
            f"{lib.name}; convert one of them"
        )
    try:
        return lib.asarray(x, like)
    except LossaryError as error:
        raise type(error)(f"{NAME}: {argument} {error}") from None


def _check_shapes(lib: Library, x: Given) -> None:
    given, wide = lib.shape(x.hidden), lib.shape(x.weight)
    if len(wide) != 2 or not given or given[-1] != wide[1] or not wide[1]:
        raise ShapeError(
            f"{NAME}: hidden has shape {given} and weight has shape {wide}, but they "
            "must be (*b, d) and (k, d), with one row of weight per class; a weight of "
            "shape (d, k) is transposed, weight.T"
        )
    if wide[0] < 2:
        raise ShapeError(
            f"{NAME}: weight has shape {wide}, which is {wide[0]} classes; there must "
            "be at least two to choose from"
        )
    if lib.shape(x.labels) != given[:-1]:
        raise ShapeError(
            f"{NAME}: labels has shape {lib.shape(x.labels)} and hidden has shape "
            f"{given}, but there must be one class number per row of hidden, shape "
            f"{given[:-1]}; distributions need their logits stored, and go to "
            "cross_entropy"
        )
    for argument, array in (("bias", x.bias), ("class_weight", x.class_weight)):
        if array is not None and lib.shape(array) != wide[:1]:
            raise ShapeError(
                f"{NAME}: {argument} has shape {lib.shape(array)}, but it must have "
                f"one value per class, shape {wide[:1]}"
            )


def _check_class_weight(lib: Library, class_weight: Any, check: str) -> None:
    if class_weight is None or check == "off":
        return
    values = lib.concrete(class_weight)
    if values is not None and not ((values >= 0) & (values < np.inf)).all():
        bad = ~((values >= 0) & (values < np.inf))
        complain(
            f"{NAME}: class_weight must hold finite numbers, at least 0, but there is "
            f"{values[bad].flat[0]:g} for class {int(np.flatnonzero(bad)[0])}; use "
            "weight 0 to leave a class out",
            check,
        )


def _without(counting: Counting, keep: Any) -> None:
    """Leave more rows out."""
    counting.total = None
    counting.keep = keep if counting.keep is None else counting.keep & keep


def _weigh(counting: Counting, labels: Any, class_weight: Any) -> None:
    """Multiply the weight of each row by that of its class."""
    xp = counting.lib.namespace(labels)
    known = (labels >= 0) & (labels < class_weight.shape[0])
    weight = class_weight[xp.where(known, labels, xp.zeros_like(labels))]
    _without(counting, weight != 0)
    given = counting.weight
    counting.weight = weight if given is None else given * weight


def _check_labels(
    lib: Library, labels: Any, classes: int, counting: Counting, check: str
) -> None:
    """Report the counted rows whose label names no class."""
    values = None if check == "off" else lib.concrete(labels)
    if values is None:
        return
    bad = ~((values >= 0) & (values < classes) & (values == np.floor(values)))
    bad = only_counted(bad, counting)
    if bad.any():
        rows = sorted({int(i[0]) for i in np.argwhere(bad)}) if bad.ndim else [0]
        complain(
            f"{NAME}: labels must hold class numbers from 0 to {classes - 1}, but "
            f"there is {values[bad].flat[0]:g} in {some_rows(rows)}; rows to ignore "
            "are left out by ignore_index or mask",
            check,
        )
