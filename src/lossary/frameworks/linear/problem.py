"""What a solver of a linear model minimises, and what it returns.

Every solver sees the same dimensionless problem: columns of unit size, scores in
units of their spread, the loss divided by its mean gradient at the best constant.
Rates and tolerances so mean the same for every loss, target and unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.frameworks.bundle import Array, Bundle, Scale
from lossary.frameworks.linear.design import Design


@dataclass(frozen=True, eq=False)  # its arrays have no one answer to ==
class Problem:
    """Mean loss of ``start + spread · A θ``, times a factor, plus a penalty on θ.

    Attributes
    ----------
    design : Design
        Scaled columns A, with one of ones where there is an intercept.
    l1, l2 : array, shape (p, 1)
        The penalty is ``Σ l1·|θ| + l2·θ²/2``.
    outputs : int
        Scores per row; θ has shape (p, outputs).
    """

    bundle: Bundle
    design: Design
    y: NDArray[Any]
    weight: Array | None
    start: Any
    spread: float
    factor: float
    l1: Array
    l2: Array
    outputs: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of θ."""
        return self.design.width, self.outputs

    @property
    def several(self) -> bool:
        """Whether a row has one score per class."""
        return self.bundle.task == "multiclass"

    @cached_property
    def share(self) -> Any:
        """What a row's loss counts for: factor·w/Σw, one number where all are alike."""
        if self.weight is None:
            return self.factor / len(self.y)
        return self.factor * self.weight / self.weight.sum()

    # -- from coefficients to scores and back -----------------------------------------

    def along(self, direction: Array) -> Array:
        """Return how the scores change with θ, shape (n,) or (n, k)."""
        z = self.design.scores(direction if self.several else direction[:, 0])
        z *= self.spread
        return z

    def scores(self, theta: Array) -> Array:
        """Return the scores at θ."""
        if not theta.any():
            shape = (len(self.y), self.outputs) if self.several else (len(self.y),)
            return np.broadcast_to(self.start, shape).astype(np.float64)
        z = self.along(theta)
        z += self.start
        return z

    def pull(self, slope: Array) -> Array:
        """Return the gradient in θ of the gradient in the scores."""
        pulled = self.design.pull(slope).reshape(self.shape)
        return self.spread * pulled

    # -- values -----------------------------------------------------------------------

    def penalty(self, theta: Array) -> float:
        """Return the penalty at θ."""
        return float(np.sum(self.l1 * abs(theta) + self.l2 * theta * theta / 2))

    def value(self, theta: Array) -> float:
        """Return the whole objective."""
        loss = self.bundle.value(self.y, self.scores(theta), self.weight)
        return self.factor * loss + self.penalty(theta)

    def smooth_part(
        self, theta: Array, bundle: Bundle | None = None
    ) -> tuple[float, Array]:
        """Return value and gradient of everything but the L1 penalty."""
        ridge = self.l2 * theta
        value, slope = (bundle or self.bundle).value_and_grad(
            self.y, self.scores(theta), self.weight
        )
        value = self.factor * value + 0.5 * float(np.sum(ridge * theta))
        return value, ridge + self.factor * self.pull(slope)

    def steepness(self, gradient: Array, theta: Array) -> float:
        """Return the largest entry of the subgradient of least size."""
        if not self.l1.any():
            return float(abs(gradient).max(initial=0.0))
        moved = gradient + self.l1 * np.sign(theta)
        rest = np.maximum(abs(gradient) - self.l1, 0)
        return float(abs(np.where(theta == 0, rest, moved)).max(initial=0.0))


@dataclass(frozen=True)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    theta : array, shape (p, outputs)
    iterations : int
        Steps, or passes over the rows.
    converged : bool
    value : float
        The objective there.
    """

    theta: Array
    iterations: int
    converged: bool
    value: float


def problem_of(
    design: Design, y: NDArray[Any], weight: Array | None, bundle: Bundle,
    scale: Scale, penalty: str | None, alpha: float,
) -> Problem:  # fmt: skip
    """Make the problem dimensionless."""
    factor = 1 / (scale.slope * scale.spread)
    strength = np.zeros((2, design.width, 1))
    if penalty is not None:
        order = 1 if penalty == "l1" else 2
        units = (scale.spread / design.size) ** order
        strength[order - 1, : len(units), 0] = factor * alpha * units
    return Problem(
        bundle, design, y, weight,
        start=scale.start if design.intercept else np.zeros_like(scale.start),
        spread=scale.spread, factor=factor, l1=strength[0], l2=strength[1],
        outputs=np.size(scale.start),
    )  # fmt: skip
