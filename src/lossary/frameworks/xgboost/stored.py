"""What a booster of XGBoost's remembers of the loss that it was trained on.

It is stored and loaded with the trees, as one of the booster's attributes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossary.errors import LossaryError
from lossary.frameworks.boosting.probabilities import probabilities
from lossary.frameworks.bundle import RESPONSES, Array
from lossary.frameworks.xgboost.objective import Objective
from lossary.registry import get

_ATTRIBUTE = "lossary"


@dataclass(frozen=True)
class Trained:
    """What a stored booster has to say about its loss.

    Attributes
    ----------
    loss : Loss or str
        What it was trained on; its text, where no such loss is known any more.
    task : str
        "regression", "binary", "multiclass" or "ranking".
    link : str
        From raw scores to the response; see `lossary.frameworks.bundle.RESPONSES`.
    classes : list, optional
        The labels behind the numbers 0, 1, …
    offset : list, optional
        The start scores, where the booster has no place for them.
    """

    loss: Any
    task: str
    link: str
    classes: list[Any] | None = None
    offset: list[float] | None = None

    def write(self, booster: Any) -> None:
        """Write it into a booster, where it is stored and loaded with the trees."""
        booster.set_attr(
            **{_ATTRIBUTE: json.dumps({**vars(self), "loss": repr(self.loss)})}
        )

    @classmethod
    def read(cls, booster: Any) -> Trained | None:
        """Read it from a booster, if that was trained here."""
        text = booster.attr(_ATTRIBUTE)
        if text is None:
            return None
        found = cls(**json.loads(text))
        try:
            return replace(found, loss=get(found.loss))
        except LossaryError:  # a loss of one's own, which is not imported here
            return found

    def response(self, z: Array) -> Array:
        """Map raw scores to the response scale."""
        return RESPONSES[self.link](z)

    def probabilities(self, z: Array) -> Array:
        """Map raw scores of a loss of classes to probabilities."""
        if isinstance(self.loss, str):
            return self.response(z)
        objective = Objective(self.loss)
        return probabilities(objective.bundle, objective.unit * z.astype(np.float64))

    def margin(self, rows: int) -> Array | None:
        """Return the start scores of some rows, if XGBoost must be given them."""
        return None if self.offset is None else np.tile(self.offset, (rows, 1))
