"""Keras's habits of shape: which columns it adds, drops and repeats.

Shapes here may have sizes that are not known yet, None.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from lossary.loss import Loss
from lossary.shapes import leading


def aligned(loss: Loss, y: Any, z: Any) -> tuple[Any, Any]:
    """Bring target and prediction to the shapes that a loss declares.

    Class numbers may come as a column. Of two shapes that differ by a last axis of
    one, rows of single numbers become columns, and anything longer loses that axis.
    """
    target, prediction = len(y.shape), len(z.shape)
    if loss.structure.name == "pairwise":
        return y, z
    if target == prediction and target > 1 and _is_class_column(loss, y, z):
        return ops.squeeze(y, axis=-1), z
    if loss.structure.name == "rowwise" or abs(target - prediction) != 1:
        return y, z
    if target > prediction:
        z, y = _columns(z, y)
    else:
        y, z = _columns(y, z)
    return y, z


def _is_class_column(loss: Loss, y: Any, z: Any) -> bool:
    if loss.structure.name == "rowwise":
        return bool(y.shape[-1] == 1)
    takes_classes = any(map(loss.structure.indexed, loss.structure.signatures))
    return takes_classes and y.shape[-1] == 1 and z.shape[-1] != 1


def _columns(short: Any, long: Any) -> tuple[Any, Any]:
    if long.shape[-1] != 1:
        return short, long
    if len(short.shape) == 1:
        return ops.expand_dims(short, axis=-1), long
    return short, ops.squeeze(long, axis=-1)


def of_rows(loss: Loss, z: Any) -> Any:
    """Return an array of the shape that Keras has losses in, one per row and step.

    A regression loss is averaged over the last axis, unless that is the only one.
    """
    if loss.structure.name == "pointwise" and len(z.shape) == 1:
        return z
    return z[..., 0]


def narrowed(x: Any, axes: int) -> Any:
    """Drop last axes of one, down to a number of axes."""
    while x is not None and len(x.shape) > axes and x.shape[-1] == 1:
        x = ops.squeeze(x, axis=-1)
    return x


def broad_enough(loss: Loss, argument: str, x: Any, rows: Any) -> Any:
    """Return weights or a mask with as many axes as the losses have.

    One value per row is repeated over the axes that follow.

    Raises
    ------
    ShapeError
        If the shapes cannot belong to each other.
    """
    if x is None:
        return None
    items = tuple(rows.shape)
    x = narrowed(x, len(items))
    given = tuple(x.shape)
    if len(given) != len(items) or not all(map(_repeats, given, items)):
        if given:
            leading(loss.name, argument, given, items)
        for _ in range(len(items) - len(given)):
            x = ops.expand_dims(x, axis=-1)
        x = ops.broadcast_to(x, ops.shape(rows))
    return x


def _repeats(size: int | None, other: int | None) -> bool:
    """Say whether Keras takes one size for the other."""
    return size == other or size in (1, None) or other is None


def both(a: Any, b: Any) -> Any:
    """Return where two masks keep; one that is None keeps all."""
    if a is None or b is None:
        return b if a is None else a
    short, long = (a, b) if len(a.shape) < len(b.shape) else (b, a)
    for _ in range(len(long.shape) - len(short.shape)):
        short = ops.expand_dims(short, axis=-1)
    return ops.logical_and(short, long)
