"""Any loss as a LightGBM objective, with start score, link, weights and curvature.

LightGBM gives a custom objective raw scores, starts it at zero and returns raw
scores. `train` closes these gaps; `Objective` is the bare callable for code that
calls LightGBM itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import MissingExtraError
from lossary.frameworks.objective import Array, Bundle, checked_weight, scale_of

# LightGBM enlarges the curvature of some objectives of its own, to shorten the steps
# where the exact one would be too bold: exp(poisson_max_delta_step), by default 0.7.
_POISSON_DAMPING = math.exp(0.7)


@dataclass(frozen=True)
class Objective:
    """A loss as a custom objective of LightGBM 4 or newer.

    It serves ``lightgbm.train({"objective": Objective(loss)}, …)`` and
    ``LGBMRegressor(objective=Objective(loss))``: which of the two is calling shows
    in the arguments. Weights are applied once, here. Scores are raw: give LightGBM
    `start` as ``init_score`` and map its predictions by `response`, or use `train`,
    which does both.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses
    scale : float, optional
        A factor of gradient and curvature. It changes nothing but the meaning of
        ``min_sum_hessian_in_leaf``, ``lambda_l1``, ``lambda_l2`` and
        ``min_gain_to_split``: those of LightGBM's "regression" belong to
        ``Objective("squared_error", scale=0.5)``. By default 1, but where `train`
        meets a majorised curvature, whose unit is that of the target, it is set so
        that the mean curvature at the start is 1.
    damping : float, optional
        A factor of the curvature alone. By default LightGBM's own: exp(0.7) for
        ``poisson``, k / (k - 1) for scores of k classes, else 1.

    Examples
    --------
    >>> objective = Objective("poisson")
    >>> gradient, hessian = objective([1.0, 2.0], [0.0, 0.0])
    >>> gradient.tolist(), hessian.round(2).tolist()
    ([0.0, -1.0], [2.01, 2.01])
    """

    loss: Any
    scale: float | None = None
    damping: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", self.bundle.loss)

    @cached_property
    def bundle(self) -> Bundle:
        """The loss of a raw score, with start, curvature and response."""
        return Bundle(self.loss)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.loss, self.scale, self.damping)

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
        classes = z.shape[1] if z.ndim == 2 else None
        y = self.target(target, classes)
        w = None if weight is None else np.asarray(weight, dtype=np.float64)
        gradient, curvature = self.bundle.grad_and_hess(y, z, w)
        factor: Any = 1.0 if self.scale is None else self.scale
        if w is not None:
            factor = factor * (w if z.ndim == 1 else w[:, None])
        return factor * gradient, factor * self._damping(classes) * curvature

    def _damping(self, classes: int | None) -> float:
        if self.damping is not None:
            return self.damping
        if classes is not None:
            return classes / (classes - 1)
        return _POISSON_DAMPING if self.bundle.loss.name == "poisson" else 1.0

    def target(self, labels: ArrayLike, n_classes: int | None = None) -> NDArray[Any]:
        """Encode labels, checked before training, as the loss takes them."""
        if n_classes is None:
            return np.asarray(labels, dtype=np.float64)
        return self.bundle.target(labels, n_classes)

    def start(
        self,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        n_classes: int | None = None,
    ) -> Any:
        """Return the score that training should start from: the best constant."""
        target = self.bundle.target(y, n_classes)
        weight = checked_weight(sample_weight, len(target))
        return self.bundle.start(target, weight, n_classes)

    def response(self, scores: ArrayLike) -> Array:
        """Map raw scores to the response scale."""
        return self.bundle.response(np.asarray(scores, dtype=np.float64))


@dataclass(frozen=True)
class Boosted:
    """A trained booster that predicts on the response scale.

    Attributes
    ----------
    booster : lightgbm.Booster
        The trees; their raw scores lack `start`.
    objective : Objective
        What it was trained with.
    start : float or array, shape (k,)
        The score before the first tree.
    """

    booster: Any
    objective: Objective
    start: Any

    def scores(self, X: Any) -> Array:
        """Return raw scores, start included."""
        return np.asarray(self.start + self.booster.predict(X), dtype=np.float64)

    def predict(self, X: Any) -> Array:
        """Return predictions on the response scale, such as means or probabilities."""
        return self.objective.response(self.scores(X))


def train(
    loss: Any,
    X: Any,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    params: Mapping[str, Any] | None = None,
    num_boost_round: int = 100,
    n_classes: int | None = None,
    valid: Sequence[tuple[Any, ArrayLike]] = (),
    callbacks: Sequence[Callable[..., Any]] = (),
) -> Boosted:
    """Train LightGBM on any loss: the counterpart of ``lightgbm.train``.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective
    X : array or data frame, shape (n, d)
    y : array-like, shape (n,)
        Numbers; 0 and 1; or class numbers from 0.
    sample_weight : array-like, shape (n,), optional
    params : mapping, optional
        LightGBM's parameters.
    n_classes : int, optional
        The number of classes, where `y` may lack one.
    valid : sequence of (X, y)
        Data to evaluate the loss on while training, named ``valid_0``, …: with
        ``callbacks=[lightgbm.early_stopping(10)]`` training stops on them.

    Returns
    -------
    Boosted
        Whose ``predict`` is on the response scale.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = rng.poisson(np.exp(X[:, 0]))
    >>> model = train("poisson", X, y, params={"verbosity": -1, "num_threads": 1})
    >>> bool((model.predict(X) > 0).all())
    True
    """
    lightgbm = _lightgbm()
    objective = loss if isinstance(loss, Objective) else Objective(loss)
    bundle = objective.bundle
    labels = np.asarray(y)
    if bundle.task == "multiclass" and n_classes is None:
        n_classes = int(labels.max()) + 1
    target = bundle.target(labels, n_classes)
    weight = checked_weight(sample_weight, len(labels))
    scale = scale_of(bundle, target, weight, n_classes)
    if objective.scale is None and bundle.mode == "majorised":
        objective = replace(objective, scale=1 / scale.curvature)
    start = scale.start

    def dataset(X: Any, y: ArrayLike, w: Any = None, like: Any = None) -> Any:
        rows = np.broadcast_to(start, (len(np.asarray(y)), *np.shape(start)))
        return lightgbm.Dataset(
            X, np.asarray(y), weight=w, init_score=rows.copy(), reference=like
        )

    options = {**(params or {}), "objective": objective}
    if n_classes is not None:
        options["num_class"] = n_classes
    data = dataset(X, labels, weight)
    booster = lightgbm.train(
        options,
        data,
        num_boost_round,
        valid_sets=[dataset(*pair, like=data) for pair in valid],
        feval=_Evaluation(objective) if valid else None,
        callbacks=list(callbacks),
    )
    return Boosted(booster, objective, start)


@dataclass(frozen=True)
class _Evaluation:
    """The mean loss of a validation set, as LightGBM asks for it."""

    objective: Objective

    def __call__(self, scores: Any, data: Any) -> tuple[str, float, bool]:
        z = np.asarray(scores, dtype=np.float64)
        y = self.objective.target(data.get_label(), z.shape[1] if z.ndim == 2 else None)
        value, _ = self.objective.bundle.value_and_grad(y, z, data.get_weight())
        return self.objective.bundle.loss.name, value, False


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError:
        raise MissingExtraError(
            "training with LightGBM needs the package lightgbm, which is not "
            "installed; install lossary[compare]"
        ) from None
    except OSError as error:  # its wheel leaves OpenMP's run time to the system
        raise MissingExtraError(
            f"LightGBM is installed and cannot be loaded ({error}); install the "
            "system's OpenMP library (package libgomp1 on Debian and Ubuntu, libgomp "
            'on Fedora), or use model="linear"'
        ) from None
    return lightgbm
