"""What the objectives of the boosters share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import ParameterError
from lossary.frameworks.bundle import Array, Bundle, checked_weight
from lossary.frameworks.curvature import MODES


@dataclass(frozen=True)
class OfLoss:
    """A loss as a booster sees it, with a start and a response.

    Attributes
    ----------
    loss : Loss or a weighted sum of losses
    """

    loss: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", self.bundle.loss)
        mode = getattr(self, "curvature", None)
        if mode not in (None, *MODES):
            raise ParameterError(
                f"curvature must be one of {', '.join(map(repr, MODES))}, got {mode!r}"
            )

    @cached_property
    def bundle(self) -> Bundle:
        """The loss of a raw score, with start, curvature and response."""
        return Bundle(self.loss)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def start(
        self,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        n_classes: int | None = None,
    ) -> Any:
        """Return the score that training should start from: the best constant."""
        target = self.bundle.target(y, n_classes)
        weight = checked_weight(sample_weight, len(target))
        return self.best_score(target, weight, n_classes)

    def best_score(
        self, target: NDArray[Any], weight: Array | None, n_classes: int | None
    ) -> Any:
        """Return the best constant score for a checked target."""
        return self.bundle.start(target, weight, n_classes)

    def response(self, scores: ArrayLike) -> Array:
        """Map raw scores to the response scale."""
        return self.bundle.response(np.asarray(scores, dtype=np.float64))
