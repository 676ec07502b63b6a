"""What an array holds: the kinds of targets and predictions, as one table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossary.errors import ParameterError, nearest
from lossary.expr.untraced import lazy
from lossary.kernels.interval import Interval


@dataclass(frozen=True)
class Kind:
    """One kind of values, and the range that they lie in.

    Attributes
    ----------
    name : str
        The kind, as a loss declares it.
    phrase : str
        What such an array holds, as a noun phrase for messages.
    low, high : float
        The closed range of legal values.
    excluded : float, optional
        One value inside the range that is not legal (an open end, or a pole).
    hint : str
        How to mend an array that does not fit.
    whole : bool
        Whether only whole numbers are legal.
    """

    name: str
    phrase: str
    low: float = -math.inf
    high: float = math.inf
    excluded: float | None = None
    hint: str = ""
    whole: bool = False

    @lazy
    def bounded(self) -> bool:
        """Whether any number is illegal."""
        return self.low > -math.inf or self.high < math.inf or self.excluded is not None

    @lazy
    def interval(self) -> Interval | None:
        """What a kernel checks on its way; None where every number is legal."""
        if not self.bounded:
            return None
        return Interval(self.low, self.high, self.whole, self.excluded)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Mark the values that this kind does not allow; NaN is never marked."""
        bad = np.asarray((values < self.low) | (values > self.high))
        if self.excluded is not None:
            bad |= values == self.excluded
        if self.whole:
            bad |= (values != np.floor(values)) & (values == values)
        return bad

    @property
    def range(self) -> str:
        """The legal values, in words."""
        if self.whole:
            return f"{self.low:g} or {self.high:g}"
        left = "(" if self.low in (-math.inf, self.excluded) else "["
        right = ")" if self.high in (math.inf, self.excluded) else "]"
        text = f"in {left}{self.low:g}, {self.high:g}{right}"
        inside = self.excluded is not None and self.low < self.excluded < self.high
        return f"{text} and not {self.excluded:g}" if inside else text


_RATE = "a count or an amount cannot be negative"
_LOGITS = "pass logits with from_logits=True (the default), or map them to [0, 1]"

KINDS = {
    kind.name: kind
    for kind in (
        Kind("real", "real numbers"),
        Kind("nonzero", "numbers other than zero", excluded=0.0,
             hint="drop these rows, or choose a loss that is not relative to y_true"),
        Kind("positive", "positive numbers", low=0.0, excluded=0.0,
             hint="pass the logarithm with from_log=True (the default)"),
        Kind("count", "counts or amounts", low=0.0, hint=_RATE),
        Kind("above_minus_one", "numbers above -1", low=-1.0, excluded=-1.0,
             hint="log(1 + x) is defined above -1; clip or shift these values"),
        Kind("log", "logarithms of a positive mean"),
        Kind("embedding", "one vector per row"),
        Kind("logit", "logits"),
        Kind("probability", "probabilities", low=0.0, high=1.0, hint=_LOGITS),
        Kind("fraction", "probabilities of the positive class", low=0.0, high=1.0,
             hint="labels are 0 or 1; map -1 and 1 by (y + 1) / 2"),
        Kind("label", "labels", low=0.0, high=1.0, whole=True,
             hint="map -1 and 1 by (y + 1) / 2"),
        Kind("class_logits", "one logit per class"),
        Kind("class_probability", "one probability per class", low=0.0, high=1.0,
             hint=_LOGITS),
        Kind("class_index", "class numbers from 0"),
        Kind("distribution", "one probability per class", low=0.0, high=1.0,
             hint="each row of y_true must be a distribution over the classes"),
    )
}  # fmt: skip


def kind(name: str) -> Kind:
    """Look a kind up by name."""
    try:
        return KINDS[name]
    except KeyError:
        raise ParameterError(
            f"there is no kind of values called {name!r}; {nearest(name, KINDS)}"
        ) from None
