"""The metrics that losses are judged by: the table, and finding one by its names."""

from __future__ import annotations

from functools import lru_cache, partial
from inspect import signature

from lossary.errors import KindError, NameLookupError, ParameterError, nearest
from lossary.kinds import KINDS
from lossary.workbench import scores
from lossary.workbench.metric import Metric, class_codes

__all__ = ["Metric", "get_metric", "metric_names"]

_CLASSES = ("binary", "multiclass")


def _pinball(alpha: float = 0.5) -> Metric:
    if not 0 < alpha < 1:
        raise ParameterError(f"pinball takes alpha between 0 and 1; got {alpha:g}")
    return Metric(
        name=f"pinball(alpha={alpha:g})",
        title=f"pinball loss at {alpha:g}",
        functional=f"{alpha:g}-quantile",
        unit="target",
        parameters=(("alpha", alpha),),
        per_row=partial(scores.pinball, alpha=alpha),
    )


def _tweedie(power: float = 1.5) -> Metric:
    if 0 < power < 1:
        raise ParameterError(f"no Tweedie family has a power in (0, 1); got {power:g}")
    return Metric(
        name=f"tweedie(power={power:g})",
        title=f"Tweedie deviance of power {power:g}",
        functional="mean",
        y_kind=KINDS["real" if power <= 0 else "count" if power < 2 else "positive"],
        p_kind=KINDS["real" if power == 0 else "positive"],
        parameters=(("power", power),),
        per_row=partial(scores.tweedie, power=power),
    )


_FAMILIES = {"pinball": _pinball, "tweedie": _tweedie}

_METRICS = (
    Metric(
        name="mse",
        title="mean squared error",
        functional="mean",
        unit="target squared",
        aliases=("mean_squared_error", "squared_error", "l2"),
        per_row=scores.squared,
    ),
    Metric(
        name="rmse",
        title="root mean squared error",
        functional="mean",
        unit="target",
        aliases=("root_mean_squared_error", "l2_root"),
        statistic=partial(scores.root_mean, rows=scores.squared),
    ),
    Metric(
        name="mae",
        title="mean absolute error",
        functional="median",
        unit="target",
        aliases=("mean_absolute_error", "absolute_error", "l1"),
        per_row=scores.absolute,
    ),
    Metric(
        name="mape",
        title="mean absolute percentage error",
        functional="median of the target reweighted by 1/|y|",
        unit="percent",
        y_kind=KINDS["nonzero"],
        aliases=("mean_absolute_percentage_error", "absolute_percentage_error"),
        per_row=scores.absolute_percentage,
    ),
    Metric(
        name="msle",
        title="mean squared logarithmic error",
        functional="exp(E log(1 + y)) - 1",
        y_kind=KINDS["above_minus_one"],
        p_kind=KINDS["above_minus_one"],
        aliases=("mean_squared_log_error", "squared_log_error"),
        per_row=scores.squared_log,
    ),
    Metric(
        name="rmsle",
        title="root mean squared logarithmic error",
        functional="exp(E log(1 + y)) - 1",
        y_kind=KINDS["above_minus_one"],
        p_kind=KINDS["above_minus_one"],
        aliases=("root_mean_squared_log_error",),
        statistic=partial(scores.root_mean, rows=scores.squared_log),
    ),
    Metric(
        name="poisson",
        title="Poisson deviance",
        functional="mean",
        y_kind=KINDS["count"],
        p_kind=KINDS["positive"],
        aliases=("poisson_deviance", "mean_poisson_deviance"),
        per_row=partial(scores.tweedie, power=1),
    ),
    Metric(
        name="r2",
        title="R² (share of the variance explained)",
        functional="mean",
        greater_is_better=True,
        needs="targets that are not all equal",
        aliases=("r2_score", "r_squared"),
        statistic=scores.r2,
    ),
    Metric(
        name="bias",
        title="mean prediction / mean target",
        functional="any prediction with the mean of the target",
        greater_is_better=None,
        needs="a mean target other than 0",
        statistic=scores.bias,
    ),
    Metric(
        name="log_loss",
        title="log loss",
        functional="class probabilities",
        tasks=_CLASSES,
        prediction="probability",
        unit="nats",
        y_kind=class_codes(2),
        p_kind=KINDS["probability"],
        aliases=("logloss", "cross_entropy", "binary_logloss", "multi_logloss"),
        per_row=scores.log_loss,
    ),
    Metric(
        name="brier",
        title="Brier score",
        functional="class probabilities",
        tasks=_CLASSES,
        prediction="probability",
        y_kind=class_codes(2),
        p_kind=KINDS["probability"],
        aliases=("brier_score", "brier_score_loss"),
        per_row=scores.brier,
    ),
    Metric(
        name="accuracy",
        title="accuracy",
        functional="most probable class",
        tasks=_CLASSES,
        greater_is_better=True,
        prediction="label",
        unit="percent",
        y_kind=class_codes(),
        p_kind=class_codes(),
        aliases=("acc", "accuracy_score"),
        per_row=scores.hit,
    ),
    Metric(
        name="f1",
        title="F1 score",
        functional="class 1 above a threshold of half the best F1",
        tasks=("binary",),
        greater_is_better=True,
        prediction="label",
        y_kind=class_codes(2),
        p_kind=class_codes(2),
        aliases=("f1_score", "f_measure"),
        statistic=scores.f1,
    ),
    Metric(
        name="auc",
        title="area under the ROC curve",
        functional="any increasing function of the probability",
        tasks=("binary",),
        greater_is_better=True,
        prediction="probability",
        y_kind=class_codes(2),
        needs="rows of both classes",
        aliases=("roc_auc", "roc_auc_score", "auroc"),
        statistic=scores.auc,
    ),
)

_FAMILY_ALIASES = {
    "pinball_loss": "pinball",
    "mean_pinball_loss": "pinball",
    "quantile": "pinball",
    "tweedie_deviance": "tweedie",
    "mean_tweedie_deviance": "tweedie",
}

_PARAMETER_ALIASES = {"tau": "alpha", "quantile": "alpha", "p": "power"}

_BY_NAME = {name: m for m in _METRICS for name in (m.name, *m.aliases)}


def metric_names() -> list[str]:
    """List the metrics by their own names.

    Examples
    --------
    >>> metric_names()[:3]
    ['accuracy', 'auc', 'bias']
    """
    return sorted([*(m.name for m in _METRICS), *_FAMILIES])


def get_metric(spec: str | Metric) -> Metric:
    """Find a metric by any name that people use for it.

    Parameters
    ----------
    spec : str or Metric
        A name, with parameters where the metric has some: ``"mae"``,
        ``"neg_mean_absolute_error"``, ``"pinball(alpha=0.9)"``. scikit-learn's
        ``neg_`` is ignored: the direction is a property of the metric.

    Raises
    ------
    NameLookupError
        No metric has that name; the nearest names are given.
    ParameterError
        A parameter that the metric does not have, or a value out of range.

    Examples
    --------
    >>> get_metric("neg_mean_absolute_error").name
    'mae'
    >>> get_metric("pinball(alpha=0.9)").functional
    '0.9-quantile'
    """
    if isinstance(spec, Metric):
        return spec
    if not isinstance(spec, str):
        raise KindError(
            f"a metric is given by name, such as 'mae'; got a {type(spec).__name__}"
        )
    return _find(spec)


@lru_cache(maxsize=256)
def _find(spec: str) -> Metric:
    head, _, tail = spec.strip().partition("(")
    name = head.strip().lower().replace("-", "_").replace(" ", "_")
    name = name.removeprefix("neg_")
    name = _FAMILY_ALIASES.get(name, name)
    if name not in _FAMILIES and name not in _BY_NAME:
        hint = nearest(name, [*_BY_NAME, *_FAMILIES, *_FAMILY_ALIASES])
        raise NameLookupError(f"there is no metric {spec!r}; {hint}")
    values = _parameters(spec, tail)
    if name in _BY_NAME:
        if values:
            raise ParameterError(f"metric {name} has no parameters; got {spec!r}")
        return _BY_NAME[name]
    known = set(signature(_FAMILIES[name]).parameters)
    if set(values) - known:
        raise ParameterError(
            f"metric {name} takes only {', '.join(known)}; got {spec!r}"
        )
    return _FAMILIES[name](**values)


def _parameters(spec: str, tail: str) -> dict[str, float]:
    """Read the ``alpha=0.9)`` of a spec."""
    inside = tail.strip()
    try:
        if inside and not inside.endswith(")"):
            raise ValueError
        pairs = (pair.split("=") for pair in inside[:-1].split(",") if pair.strip())
        read = {key.strip(): float(value) for key, value in pairs}
    except ValueError:
        raise ParameterError(
            f"cannot read the metric {spec!r}; write it like 'pinball(alpha=0.9)'"
        ) from None
    return {_PARAMETER_ALIASES.get(key, key): value for key, value in read.items()}
