"""Shapes are declared: which target goes with which prediction.

A signature such as ``"*b, *b k -> *b"`` says that the prediction has one axis more
than the target, and that there is one loss per target.
"""

from __future__ import annotations

from dataclasses import dataclass

from lossary.errors import ShapeError
from lossary.expr.untraced import lazy

Shape = tuple[int, ...]
"""Sizes of axes; one that is known only when the call runs is None."""


@dataclass(frozen=True)
class Signature:
    """A parsed shape signature.

    Examples
    --------
    >>> s = Signature("*b, *b k -> *b")
    >>> s.fits((5,), (5, 3)), s.fits((5, 3), (5, 3))
    (True, False)
    """

    text: str

    @property
    def axes(self) -> tuple[str, str]:
        """The two sides before the arrow: target and prediction."""
        target, prediction = self.text.split("->")[0].split(",")
        return target.strip(), prediction.strip()

    @lazy
    def named(self) -> tuple[int, int]:
        """How many axes follow the batch ``*b`` in target and prediction."""
        target, prediction = self.axes
        return len(target.split()) - 1, len(prediction.split()) - 1

    def fits(self, target: Shape, prediction: Shape) -> bool:
        """Say whether two shapes agree with the signature."""
        own, other = self.named
        if "*" not in self.text:  # as many axes as are named
            same = _may_equal(target, prediction) and len(target) == own + 1
            return same and own == other and 0 not in prediction[1:]
        if len(target) < own or len(prediction) < other:
            return False
        cut, end = len(target) - own, len(prediction) - other
        if 0 in prediction[end:] or not _may_equal(target[:cut], prediction[:end]):
            return False
        if own and other:
            return _may_equal(target[cut:], prediction[end:])
        # One class is not a choice: (n,) against (n, 1) is a mistake, not a loss of 0.
        return 1 not in prediction[end:]


def _may_equal(one: Shape, other: Shape) -> bool:
    """Say whether two shapes agree, or may when their sizes are known."""
    if one == other:
        return True
    return len(one) == len(other) and all(
        a == b or None in (a, b) for a, b in zip(one, other, strict=True)
    )


def paired(
    loss: str, signatures: tuple[Signature, ...], target: Shape, prediction: Shape
) -> Signature:
    """Return the signature that two shapes agree with.

    Raises
    ------
    ShapeError
        Naming both shapes, what is allowed, and the fix.
    """
    for signature in signatures:
        if signature.fits(target, prediction):
            return signature
    allowed = " or ".join(f"({', '.join(s.axes)})" for s in signatures)
    raise ShapeError(
        f"{loss}: y_true has shape {target} and y_pred has shape {prediction}, but "
        f"their shapes must be {allowed}, nothing is broadcast"
        f"{_fix(signatures, target, prediction)}"
    )


def _fix(signatures: tuple[Signature, ...], target: Shape, prediction: Shape) -> str:
    chosen = any(own < other for own, other in (s.named for s in signatures))
    if chosen and target == prediction[:-1] and prediction[-1] in (0, 1):
        return "; there must be at least two classes to choose from"
    if prediction == (*target, 1):
        return f"; use y_pred.reshape({_args(target)})"
    if target == (*prediction, 1):
        return f"; use y_true.reshape({_args(prediction)})"
    if len(target) == len(prediction) and target[0] != prediction[0]:
        return "; they have different numbers of rows"
    return ""


def _args(shape: Shape) -> str:
    return "-1" if len(shape) == 1 else ", ".join(map(str, shape))


def leading(loss: str, name: str, given: Shape, items: Shape) -> None:
    """Check that weights or a mask have the items' shape or its leading axes."""
    if given and _may_equal(given, items[: len(given)]):
        return
    options = " or ".join(str(items[: i + 1]) for i in range(len(items))) or "()"
    raise ShapeError(
        f"{loss}: {name} has shape {given}, but it must have one value per loss or "
        f"per row, shape {options}"
    )
