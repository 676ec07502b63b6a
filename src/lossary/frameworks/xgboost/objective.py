"""Any loss as the callable that XGBoost takes for an objective, and its metric.

XGBoost gives it raw scores (margins), starts them anywhere, multiplies nothing by the
weights and returns raw scores. The estimators of `lossary.frameworks.xgboost` and its
`train` close these gaps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import NameLookupError
from lossary.frameworks.boosting.objective import OfLoss
from lossary.frameworks.bundle import RESPONSES, Array, Bundle
from lossary.loss import Loss
from lossary.registry import get


@dataclass(frozen=True)
class Builtin:
    """XGBoost's own objective for a loss, and how it differs.

    Attributes
    ----------
    name : str
        What XGBoost calls it.
    options : mapping
        What it calls the loss's parameters.
    scale : float
        Its factor of the whole loss.
    squared : str, optional
        A parameter of the loss whose square is one more factor.
    damping : float
        What it multiplies the curvature by, to shorten steps that would be too bold.
    curvature : str, optional
        Where its curvature comes from, if not from where the loss declares it; see
        `lossary.frameworks.curvature.MODES`.
    only : mapping
        The parameters that the loss must have.
    columns : bool
        Whether it takes targets of several columns.
    by_name : bool
        Whether only XGBoost's name of the loss, factor included, asks for it.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0
    squared: str | None = None
    damping: float = 1.0
    curvature: str | None = None
    only: Mapping[str, float] = field(default_factory=dict)
    columns: bool = False
    by_name: bool = False

    def factor(self, loss: Loss) -> float:
        """Return the factor for the parameters of a loss."""
        other: float = loss.parameters[self.squared] ** 2 if self.squared else 1.0
        return self.scale * other


BUILTIN = {
    "squared_error": Builtin("reg:squarederror", scale=0.5, columns=True),
    "absolute_error": Builtin("reg:absoluteerror", columns=True),
    "pinball": Builtin("reg:quantileerror", {"tau": "quantile_alpha"}),
    # XGBoost adds up amounts, and the curvature vanishes as they grow.
    "squared_log_error": Builtin("reg:squaredlogerror", scale=0.5, by_name=True),
    "general_robust": Builtin(
        "reg:pseudohubererror", {"scale": "huber_slope"}, squared="scale",
        curvature="exact", only={"alpha": 1.0},
    ),
    "poisson": Builtin("count:poisson", damping=math.exp(0.7)),  # max_delta_step
    "tweedie": Builtin("reg:tweedie", {"power": "tweedie_variance_power"}),
    "binary_cross_entropy": Builtin("binary:logistic", columns=True),
    "hinge": Builtin("binary:hinge"),
    "cross_entropy": Builtin(
        "multi:softprob", damping=2.0, only={"label_smoothing": 0.0}
    ),
}  # fmt: skip
"""XGBoost's own objectives, by loss."""

_DAMPING_OF_CLASSES = 2.0  # XGBoost's, of scores that sum up to nothing in particular
_WRITTEN = re.compile(r"([0-9.e+-]+)\*([^+*]+)")


@lru_cache(maxsize=256)
def described(loss: Any) -> tuple[float | None, Loss | None, Builtin | None]:
    """Return the factor and the loss that a scaled loss is made of, and the built-in.

    Examples
    --------
    >>> factor, loss, builtin = described(get("reg:squarederror"))
    >>> factor, loss, builtin.name
    (0.5, squared_error, 'reg:squarederror')
    """
    factor: float | None = None
    if isinstance(loss, Loss) and loss.definition.family == "combination":
        written = _WRITTEN.fullmatch(loss.name)
        try:
            factor, loss = (
                (float(written[1]), get(written[2])) if written else (1, None)
            )
        except NameLookupError:  # the name of a loss of one's own
            loss = None
    if not isinstance(loss, Loss):
        return factor, None, None
    builtin = BUILTIN.get(loss.name)
    if builtin and any(loss.parameters[k] != v for k, v in builtin.only.items()):
        builtin = None
    return factor, loss, builtin


@dataclass(frozen=True)
class Objective(OfLoss):
    """A loss as a custom objective of XGBoost 2.1 or newer.

    It serves ``xgboost.train(…, obj=Objective(loss))`` and XGBoost's own
    ``XGBRegressor(objective=Objective(loss))``: which of the two is calling shows in
    the arguments. XGBoost leaves the weights to an objective in both; they are
    applied once, here. Scores are raw: give XGBoost `start` as ``base_score`` (several
    scores: as ``base_margin`` before version 3.1) and map its predictions by
    `response`, or use `train` or the estimators of `lossary.frameworks.xgboost`,
    which do both.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses
    scale : float, optional
        A factor of gradient and curvature. It changes nothing but the meaning of
        ``min_child_weight``, ``reg_lambda``, ``reg_alpha`` and ``gamma``. By default
        XGBoost's own, see `BUILTIN`: 0.5 for ``squared_error``, else mostly 1; but
        where `train` meets a majorised curvature, whose unit is that of the target,
        it is set so that the mean curvature at the start is 1.
    damping : float, optional
        A factor of the curvature alone. By default XGBoost's own: exp(0.7) for
        ``poisson``, whose trees have ``max_delta_step=0.7``; 2 for scores of several
        classes; else 1.
    curvature : {"exact", "clipped", "majorised", "unit"}, optional
        Where the curvature comes from. By default XGBoost's own, which is exact for
        the pseudo-Huber loss, ``general_robust(alpha=1)``; else the loss's.

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

    # -- what XGBoost calls -----------------------------------------------------------

    def __call__(
        self, first: Any, second: Any, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Return gradient and curvature, weighted, one column per score.

        XGBoost calls ``(scores, dmatrix)``, its scikit-learn classes call
        ``(target, scores, sample_weight)``.
        """
        y, z, w = read(first, second, sample_weight)
        return self.pull(self.target(y, columns_of(z)), z, w)

    @property
    def metric(self) -> Metric:
        """The mean loss, as XGBoost takes metrics."""
        return Metric(self.loss)

    # -- what it is -------------------------------------------------------------------

    @property
    def builtin(self) -> Builtin | None:
        """XGBoost's own objective for the loss, up to a factor."""
        return described(self.loss)[2]

    @property
    def mode(self) -> str:
        """Where the curvature comes from."""
        builtin = self.builtin
        return self.curvature or (builtin and builtin.curvature) or self.bundle.mode

    @cached_property
    def factors(self) -> tuple[float, float]:
        """What gradient and curvature are multiplied by."""
        given, loss, builtin = described(self.loss)
        scale, damping = self.scale, self.damping
        if scale is None:
            scale = builtin.factor(loss) if builtin and loss and given is None else 1.0
        if damping is None:
            several = self.bundle.task == "multiclass"
            other = _DAMPING_OF_CLASSES if several else 1.0
            damping = builtin.damping if builtin else other
        return scale, scale * damping

    @property
    def unit(self) -> float:
        """The loss's score as a share of XGBoost's, whose logits are in full."""
        return 0.5 if self.bundle.link == "half_logit" else 1.0

    def pull(
        self, y: NDArray[Any], z: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        """Return gradient and curvature of an encoded target, weighted."""
        unit = self.unit
        scores = z if unit == 1 else unit * z
        found = self.bundle.grad_and_hess(y, scores, weight, self.mode)
        for x, factor, power in zip(found, self.factors, (1, 2), strict=True):
            if (total := factor * unit**power) != 1:
                np.multiply(x, total, out=x)
            if weight is not None:
                np.multiply(x, weight if x.ndim == 1 else weight[:, None], out=x)
        return found

    def target(self, labels: NDArray[Any], n_classes: int | None) -> NDArray[Any]:
        """Encode labels, checked before training, as the loss takes them."""
        if n_classes is None or self.bundle.task != "multiclass":
            return labels
        return self.bundle.target(labels, n_classes)

    def best_score(
        self, target: NDArray[Any], weight: Array | None, n_classes: int | None
    ) -> Any:
        """Return the best constant score for a checked target, in XGBoost's unit."""
        return super().best_score(target, weight, n_classes) / self.unit

    def response(self, scores: ArrayLike) -> Array:
        """Map raw scores to the response scale."""
        return super().response(self.unit * np.asarray(scores, dtype=np.float64))


# A metric whose name begins like one of these XGBoost takes for better when higher.
_HIGHER = ("auc", "map", "ndcg", "pre")


@dataclass(frozen=True)
class Metric:
    """The mean loss of raw scores, lower is better, as XGBoost takes metrics.

    It goes with an `Objective`, beside which XGBoost shows a metric raw scores: as
    ``custom_metric`` of ``xgboost.train``, and as ``eval_metric`` of its scikit-learn
    classes. XGBoost rounds to six decimals what a metric returns; the estimators
    here do not.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses

    Examples
    --------
    >>> metric = Metric("squared_error")
    >>> metric([1.0, 2.0], [1.0, 4.0])
    2.0
    """

    loss: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", Objective(self.loss).loss)

    @property
    def __name__(self) -> str:
        """The loss as one word, which XGBoost does not take for a score."""
        name = str(self.loss.name).replace(" ", "")
        return f"loss_{name}" if name.startswith(_HIGHER) else name

    def __call__(
        self, first: Any, second: Any, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Return the value; with its name if XGBoost calls ``(scores, dmatrix)``."""
        y, z, w = read(first, second, sample_weight)
        objective = Objective(self.loss)
        target = objective.target(y, columns_of(z))
        value = objective.bundle.value(target, objective.unit * z, w)
        return (self.__name__, value) if hasattr(second, "get_label") else value


def read(
    first: Any, second: Any, sample_weight: ArrayLike | None
) -> tuple[NDArray[Any], Array, Array | None]:
    """Return target, scores and weights of either way of calling."""
    if not hasattr(second, "get_label"):
        z = np.asarray(second)
        w = None if sample_weight is None else np.asarray(sample_weight)
        y = np.asarray(first)
    else:
        z, y, w = np.asarray(first), second.get_label(), second.get_weight()
    if y.size == z.size != len(z):  # several columns of targets come in one row
        y = y.reshape(z.shape)
    z = z if z.dtype.kind == "f" else z.astype(np.float64)
    return y, z, w if w is not None and w.size else None


def columns_of(z: Array) -> int | None:
    """Return the number of scores per row, where there are several."""
    return z.shape[1] if z.ndim == 2 else None


def transform_of(bundle: Bundle, labels: NDArray[Any]) -> str | None:
    """Name an objective of XGBoost with the same response, or None.

    A booster that is stored with it predicts on the response scale by itself, and
    shows that to XGBoost's metrics.
    """
    if bundle.task == "binary":
        return "binary:logistic"  # the boundary of margins is a half, too
    if bundle.link == "softmax":
        return "multi:softprob" if labels.ndim == 1 else None
    if bundle.link == "log":  # count:poisson limits max_delta_step
        return "count:poisson" if bundle.loss.name == "poisson" else "reg:gamma"
    return "reg:squarederror" if bundle.link == "identity" else None


def base_score(name: str, start: Any) -> Any:
    """Return a raw score as XGBoost takes the start of one of its objectives.

    Examples
    --------
    >>> base_score("count:poisson", 0.0), base_score("reg:squarederror", [1.0, 2.0])
    (1.0, [1.0, 2.0])
    """
    z = np.asarray(start, dtype=np.float64)
    if name == "binary:logistic":
        # In single precision, neither may be rounded to a certainty.
        z = np.clip(RESPONSES["logit"](z), 1e-30, 1 - 2.0**-24)
    elif name in ("count:poisson", "reg:gamma", "reg:tweedie"):
        z = np.exp(z)
    return z.tolist()
