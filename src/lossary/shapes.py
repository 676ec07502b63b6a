"""Shapes are declared: which target goes with which prediction.

A signature such as ``"*b, *b k -> *b"`` says that the prediction has one axis more
than the target, and that there is one loss per target.
"""

from __future__ import annotations

from dataclasses import dataclass

from lossary.errors import ShapeError

Shape = tuple[int, ...]


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

    def fits(self, target: Shape, prediction: Shape) -> bool:
        """Say whether two shapes agree with the signature."""
        (y, ky), (z, kz) = (
            _split(a, s) for a, s in zip(self.axes, (target, prediction), strict=True)
        )
        return y == z and None not in (ky, kz) and (ky == kz or () in (ky, kz))


def _split(axes: str, shape: Shape) -> tuple[Shape, Shape | None]:
    """Split a shape into the batch (``*b``) and the named axes after it."""
    named = len(axes.split()) - 1
    if len(shape) < named:
        return shape, None
    cut = len(shape) - named
    return shape[:cut], shape[cut:]


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
        f"{_fix(target, prediction)}"
    )


def _fix(target: Shape, prediction: Shape) -> str:
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
    if given == items[: len(given)] and given:
        return
    options = " or ".join(str(items[: i + 1]) for i in range(len(items))) or "()"
    raise ShapeError(
        f"{loss}: {name} has shape {given}, but it must have one value per loss or "
        f"per row, shape {options}"
    )
