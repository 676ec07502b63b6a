"""What a metric asks for after prediction, fitted inside the training part.

A loss aims at one thing and a metric may reward another: labels need a threshold, a
mean needs the factor that a log target lost, a deviance needs predictions inside its
domain. Each is learnt from training rows alone; where in-sample predictions would
flatter, from predictions made out of fold within the training part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from lossary.combination import Combination, terms_of
from lossary.errors import DataError, DomainError, ParameterError, nearest
from lossary.loss import Loss
from lossary.workbench.choose import TUNED
from lossary.workbench.metric import Metric, offends
from lossary.workbench.scores import Array

NONE = "none"
TRANSFORMS = (NONE, "clip", *TUNED)
CUTS = 200  # thresholds that are tried, at quantiles of the score

# The lower end of the predictions that a link gives.
_LOW = {"identity": -math.inf, "log1p": -1.0, "log": 0.0}


@dataclass(frozen=True)
class Transform:
    """A fitted transform: what happens to the predictions of one model.

    Attributes
    ----------
    floor : float
        Lower predictions are raised to it.
    factor : float
        Of 1 + prediction: Duan's smearing on log(1 + y).
    threshold : float
        The score above which class 1 is predicted.

    Examples
    --------
    >>> Transform(floor=0.5).response(np.array([-1.0, 2.0]))
    array([0.5, 2. ])
    """

    floor: float = -math.inf
    factor: float = 1.0
    threshold: float = 0.5

    def response(self, p: Array) -> Array:
        """Transform predictions on the response scale."""
        if self.factor != 1:  # 1 + p - 1 would cost digits
            p = self.factor * (1 + p) - 1
        return np.maximum(p, self.floor) if self.floor > -math.inf else p

    def seen_by(self, metric: Metric, p: Array) -> Array:
        """Give transformed predictions the form that a metric takes."""
        if metric.prediction != "label":
            return p
        return labels(p, self.threshold)

    def changes(self) -> dict[str, float]:
        """Give what was fitted: the numbers that differ from doing nothing."""
        idle = asdict(Transform())
        return {k: v for k, v in asdict(self).items() if v != idle[k]}


def labels(p: Array, threshold: float | Array = 0.5) -> Array:
    """Decide on a class: the likeliest of several, or class 1 above a threshold."""
    picked = p.argmax(axis=-1) if p.ndim > 1 else p > threshold
    return picked.astype(np.float64)


def default_transform(loss: Loss | Combination, metric: Metric) -> str:
    """Name what a loss cannot do without under a metric.

    Examples
    --------
    >>> import lossary as ls
    >>> from lossary.workbench.metrics import get_metric
    >>> default_transform(ls.squared_error, get_metric("poisson"))
    'clip'
    >>> default_transform(ls.poisson, get_metric("poisson"))
    'none'
    """
    low = _LOW.get(link_of(loss), 0.0)
    needed = metric.prediction == "response" and low < metric.p_kind.low
    return "clip" if needed else NONE


def link_of(loss: Loss | Combination) -> str:
    """Name the link of what a loss predicts."""
    return terms_of(loss)[0][1].definition.link  # terms of a sum share their link


def split_spec(spec: str) -> tuple[str, str | None]:
    """Take the transform off a spec such as ``"binary_cross_entropy+threshold"``.

    Examples
    --------
    >>> split_spec("squared_log_error + smearing")
    ('squared_log_error', 'smearing')
    >>> split_spec("huber(delta=2)")
    ('huber(delta=2)', None)
    """
    found = re.fullmatch(rf"(.+?)\s*\+\s*({'|'.join(TRANSFORMS)})", spec.strip())
    return (found[1], found[2]) if found else (spec.strip(), None)


def check_transform(name: str, loss: Loss | Combination, metric: Metric) -> None:
    """Refuse a transform that the metric or the loss has no use for."""
    if name not in TRANSFORMS:
        raise ParameterError(
            f"there is no transform {name!r}; {nearest(name, TRANSFORMS)}"
        )
    fits = {
        NONE: True,
        "clip": metric.p_kind.low > -math.inf and metric.prediction == "response",
        "smearing": link_of(loss) == "log1p",
        "threshold": metric.prediction == "label" and "binary" in metric.tasks,
    }
    why = {
        "clip": f"metric {metric.name} takes any prediction",
        "smearing": f"{loss.name} does not work on log(1 + y)",
        "threshold": f"metric {metric.name} does not judge labels of two classes",
    }
    if not fits[name]:
        raise ParameterError(
            f"{loss!r} cannot be followed by {name}: {why[name]}; leave out '+{name}'"
        )


def fit_transform(
    name: str, metric: Metric, y: Array, w: Array, out_of_fold: Callable[[], Array]
) -> Transform:
    """Fit a transform on the training part.

    Parameters
    ----------
    name : str
        One of `TRANSFORMS`.
    metric : Metric
    y, w : array, shape (n,)
        Targets and weights of the training part.
    out_of_fold : callable
        Gives predictions for the training part by models that have not seen the
        row; called only by the transforms that need it.
    """
    fits: dict[str, Callable[[], Transform]] = {
        NONE: Transform,
        "clip": lambda: Transform(floor=_floor(metric, y)),
        "smearing": lambda: Transform(factor=_smearing(y, out_of_fold(), w)),
        "threshold": lambda: Transform(threshold=_cut(metric, y, out_of_fold(), w)),
    }
    return fits[name]()


def _floor(metric: Metric, y: Array) -> float:
    inside = y[~offends(metric.p_kind, y)]
    if not len(inside):
        raise DataError(
            f"no training target lies in the domain of metric {metric.name} "
            f"({metric.p_kind.phrase}), so predictions cannot be raised into it"
        )
    return float(inside.min())


def _smearing(y: Array, p: Array, w: Array) -> float:
    factor = float(np.average((1 + y) / (1 + p), weights=w))
    if not math.isfinite(factor):
        raise DomainError("smearing needs predictions above -1; one of them is not")
    return factor


def _cut(metric: Metric, y: Array, p: Array, w: Array) -> float:
    """Find the threshold that is best for the metric; nearest to 1/2 among equals."""
    levels = np.unique(np.quantile(p, np.linspace(0, 1, CUTS + 1), method="nearest"))
    middles = np.concatenate([(levels[1:] + levels[:-1]) / 2, [0.5]])
    cuts = middles[np.argsort(np.abs(middles - 0.5), kind="stable")]
    sign = 1 if metric.greater_is_better else -1
    values = [sign * metric.value(y, labels(p, cut), w) for cut in cuts]
    return float(cuts[int(np.argmax(values))])
