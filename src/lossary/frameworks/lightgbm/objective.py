"""Any loss as the callable that LightGBM takes for an objective.

LightGBM gives it raw scores, starts them at zero and returns raw scores. The
estimators of `lossary.frameworks.lightgbm` and its `train` close these gaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.frameworks.boosting.objective import OfLoss
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.curvature import kinked


@dataclass(frozen=True)
class Convention:
    """How LightGBM's own objective differs from the loss of the same name.

    Attributes
    ----------
    scale : float
        Its factor of the whole loss.
    damping : float
        What it multiplies the curvature by, to shorten steps that would be too bold.
    curvature : str, optional
        Where its curvature comes from, if not from the loss; see
        `lossary.frameworks.curvature.MODES`.
    start : str, optional
        The loss whose best constant it starts at, if not its own.
    """

    scale: float = 1.0
    damping: float = 1.0
    curvature: str | None = None
    start: str | None = None


CONVENTIONS = {
    "squared_error": Convention(scale=0.5),
    "huber": Convention(curvature="unit", start="squared_error"),
    "poisson": Convention(damping=math.exp(0.7)),  # poisson_max_delta_step
}
"""LightGBM's habits by loss; for losses that are not here it has none, or ours."""

OPTIONS = {
    "huber": {"delta": "alpha"},
    "pinball": {"tau": "alpha"},
    "tweedie": {"power": "tweedie_variance_power"},
}
"""What LightGBM calls the parameters of a loss."""

NATIVE = {
    "absolute_error": "regression_l1",
    "huber": "huber",
    "pinball": "quantile",
    "squared_error": "regression",
}
"""Losses that LightGBM trains faster by itself, to the same trees: it need not look at
a curvature of 1, and refits leaves as it goes.
"""


@dataclass(frozen=True)
class Objective(OfLoss):
    """A loss as a custom objective of LightGBM 4 or newer.

    It serves ``lightgbm.train({"objective": Objective(loss)}, …)`` and LightGBM's own
    ``LGBMRegressor(objective=Objective(loss))``: which of the two is calling shows
    in the arguments. Weights are applied once, here. Scores are raw: give LightGBM
    `start` as ``init_score`` and map its predictions by `response`, or use `train` or
    the estimators of `lossary.frameworks.lightgbm`, which do both.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses
    scale : float, optional
        A factor of gradient and curvature. It changes nothing but the meaning of
        ``min_sum_hessian_in_leaf``, ``lambda_l1``, ``lambda_l2`` and
        ``min_gain_to_split``. By default LightGBM's own, see `CONVENTIONS`: 0.5 for
        ``squared_error``, else 1; but where `train` meets a majorised curvature,
        whose unit is that of the target, it is set so that the mean curvature at the
        start is 1.
    damping : float, optional
        A factor of the curvature alone. By default LightGBM's own: exp(0.7) for
        ``poisson``, k / (k - 1) for scores of k classes, else 1.
    curvature : {"exact", "clipped", "majorised", "unit"}, optional
        Where the curvature comes from. By default LightGBM's own, which is 1 per row
        for ``huber``, else the loss's. Where `delta` is small against the residuals,
        ``Objective("huber(delta=0.1)", curvature="majorised")`` gets much further: it
        starts at its own best constant, and its steps do not shrink with `delta`.
        Losses that are linear on both sides of the target, such as
        ``absolute_error``, have a majorised curvature; `train` refits their leaves
        instead, unless the curvature is given.

    Examples
    --------
    >>> objective = Objective("poisson")
    >>> gradient, hessian = objective([1.0, 2.0], [0.0, 0.0])
    >>> gradient.tolist(), hessian.round(2).tolist()
    ([0.0, -1.0], [2.01, 2.01])
    """

    scale: float | None = None
    damping: float | None = None
    curvature: str | None = None

    @cached_property
    def convention(self) -> Convention:
        """What LightGBM's own objective does differently."""
        return CONVENTIONS.get(self.bundle.loss.name, Convention())

    @property
    def starting(self) -> Bundle:
        """The loss whose best constant training starts from."""
        other = self.convention.start if self.curvature is None else None
        return Bundle(other) if other else self.bundle

    @property
    def mode(self) -> str:
        """Where the curvature comes from."""
        return self.curvature or self.convention.curvature or self.bundle.mode

    @property
    def refits(self) -> bool:
        """Whether `train` refits the leaves: quantiles are found, not stepped to."""
        terms = self.bundle.terms
        return self.curvature is None and all(kinked(term) for _, term in terms)

    @property
    def native(self) -> dict[str, Any] | None:
        """The parameters of LightGBM's own objective, where it has a faster one."""
        loss = self.bundle.loss
        if loss.name not in NATIVE:
            return None
        options = OPTIONS.get(loss.name, {})
        given = {theirs: loss.parameters[ours] for ours, theirs in options.items()}
        return {"objective": NATIVE[loss.name], **given}

    def __call__(
        self, first: Any, second: Any, weight: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Return gradient and curvature, weighted.

        LightGBM calls ``(scores, dataset)``, its scikit-learn classes call
        ``(target, scores, weight)``.
        """
        if hasattr(second, "get_label"):
            target, scores, weight = second.get_label(), first, second.get_weight()
        else:
            target, scores = first, second
        z = np.asarray(scores, dtype=np.float64)
        y = self.target(target, z.shape[1] if z.ndim == 2 else None)
        w = None if weight is None else np.asarray(weight, dtype=np.float64)
        return self.pull(y, z, w)

    def pull(
        self,
        y: NDArray[Any],
        z: Array,
        weight: Array | None,
        mode: str | None = None,
        out: Any = (None, None),
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return gradient and curvature of an encoded target, weighted.

        `out` is a pair of arrays of another precision or layout to put them into.
        """
        found = self.bundle.grad_and_hess(y, z, weight, mode or self.mode)
        factor = self.convention.scale if self.scale is None else self.scale
        classes = z.shape[1] if self.bundle.task == "multiclass" else None
        factors = (factor, factor * self._damping(classes))
        gradient, curvature = (
            _times(x, f, weight, into)
            for x, f, into in zip(found, factors, out, strict=True)
        )
        return gradient, curvature

    def _damping(self, classes: int | None) -> float:
        if self.damping is not None:
            return self.damping
        return self.convention.damping if classes is None else classes / (classes - 1)

    def target(self, labels: ArrayLike, n_classes: int | None = None) -> NDArray[Any]:
        """Encode labels, checked before training, as the loss takes them."""
        if n_classes is None or self.bundle.task != "multiclass":
            return np.asarray(labels, dtype=np.float64)
        return self.bundle.target(labels, n_classes)

    def best_score(
        self, target: NDArray[Any], weight: Array | None, n_classes: int | None
    ) -> Any:
        """Return the best constant score for a checked target, of `starting`."""
        return self.starting.start(target, weight, n_classes)


def as_objective(loss: Any) -> Objective:
    """Return an objective as it is, or that of a loss."""
    return loss if isinstance(loss, Objective) else Objective(loss)


def _times(x: Array, factor: float, weight: Array | None, out: Any) -> NDArray[Any]:
    """Multiply a fresh array in its place, or on its way into another one.

    New memory costs as much as the loss.
    """
    if weight is not None:
        np.multiply(x, weight if x.ndim == 1 else weight[:, None], out=x)
    if out is not None or factor != 1:
        return np.multiply(x, factor, out=x if out is None else out, casting="unsafe")
    return x
