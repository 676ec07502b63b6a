"""What a call is given, as arrays of the backend."""

from __future__ import annotations

from typing import Any

from keras import ops

from lossary.arrays import library_of
from lossary.combination import Combination, terms_of
from lossary.errors import KindError, LossaryError, ShapeError
from lossary.loss import Loss


def tensor(loss: Loss | Combination, argument: str, x: Any, dtype: str) -> Any:
    """Return one argument in the dtype of the loss; weights may be missing.

    Class numbers stay integers, since half precision counts no further than 256.

    Raises
    ------
    KindError
        If it is not one dense array of numbers.
    ShapeError
        If it has no axis that could be the batch, or nobody knows how many it has.
    """
    if x is None and argument == "sample_weight":
        return None
    given = getattr(x, "dtype", None)
    classes = argument == "y_true" and "int" in str(given) and _takes_classes(loss)
    try:
        array = ops.convert_to_tensor(x, dtype=None if classes else dtype)
    except Exception as error:  # each backend has its own
        raise KindError(
            f"{loss.name}: {argument} must be one array of numbers, got "
            f"{type(x).__name__}{'' if given is None else f' of {given}'}; encode "
            "classes as numbers, and pad rows to one length"
        ) from error
    try:
        array = library_of(array).asarray(array)
    except LossaryError as error:
        raise type(error)(f"{loss.name}: {argument} {error}") from None
    if not len(array.shape) and argument != "sample_weight":
        raise ShapeError(
            f"{loss.name}: {argument} has shape (), but Keras calls a loss with a "
            "batch; its first axis is that of the rows"
        )
    return array


def _takes_classes(loss: Loss | Combination) -> bool:
    structures = (term.structure for _, term in terms_of(loss))
    return any(any(map(s.indexed, s.signatures)) for s in structures)
