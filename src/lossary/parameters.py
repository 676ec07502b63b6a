"""Parameters of a loss: a default and the values that are allowed."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

from lossary.errors import ParameterError

_BOUNDS = {
    "gt": ("greater than", operator.gt),
    "ge": ("at least", operator.ge),
    "lt": ("less than", operator.lt),
    "le": ("at most", operator.le),
}


@dataclass(frozen=True)
class Param:
    """A parameter of a formula, with its default and its limits.

    Parameters
    ----------
    default
        The value that is used when none is given.
    gt, ge, lt, le
        Limits: greater than, at least, less than, at most.
    about
        What it does, in a few words.
    learn
        The open interval in which it may be learned with a model, if it may. A
        parameter named ``scale`` divides the residual, so that a likelihood can be
        made of the loss.

    Examples
    --------
    >>> Param(1.0, gt=0).checked("delta", 2, "huber")
    2.0
    """

    default: float
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    about: str = ""
    learn: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.checked("default", self.default, "Param")

    @property
    def limits(self) -> str:
        """The allowed values, in words; empty where every number is allowed."""
        parts = [
            f"{words} {getattr(self, key):g}"
            for key, (words, _) in _BOUNDS.items()
            if getattr(self, key) is not None
        ]
        return " and ".join(parts)

    def checked(self, name: str, value: object, owner: str) -> float:
        """Return the value as a float, or say what is allowed."""
        if getattr(value, "requires_grad", False):
            raise ParameterError(
                f"{owner}: {name} is a tensor that is learned, and binding it would "
                "cut its gradient off; pass it together with y_true and y_pred"
            )
        array = False
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number, array = math.nan, hasattr(value, "shape")
        holds = all(
            test(number, getattr(self, key))
            for key, (_, test) in _BOUNDS.items()
            if getattr(self, key) is not None
        )
        if not holds or math.isnan(number):
            allowed = f"a number {self.limits}".rstrip()
            raise ParameterError(
                f"{owner}: {name} must be {allowed}, got {value!r}"
                + ("; an array of JAX, PyTorch or TensorFlow is passed together with "
                   "y_true and y_pred" if array else "")
            )  # fmt: skip
        return number


@dataclass(frozen=True)
class Choice:
    """A parameter that is one of a few words; the first is the default.

    Examples
    --------
    >>> Choice(("image", "batch")).checked("over", "batch", "dice")
    'batch'
    """

    options: tuple[str, ...]
    about: str = ""

    @property
    def default(self) -> str:
        """The word that is used when none is given."""
        return self.options[0]

    @property
    def limits(self) -> str:
        """The allowed words."""
        return " or ".join(repr(o) for o in self.options)

    def checked(self, name: str, value: object, owner: str) -> str:
        """Return the word, or say what is allowed."""
        if value not in self.options:
            raise ParameterError(
                f"{owner}: {name} must be {self.limits}, got {value!r}"
            )
        return str(value)
