"""One training run of XGBoost on any loss: start, gradients and metrics.

The stored booster is one of XGBoost's own kind, with an objective of XGBoost's that has
the loss's link, wherever there is one: it predicts on the response scale by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import MissingExtraError, ParameterError
from lossary.frameworks.boosting.leaves import slopes_of
from lossary.frameworks.boosting.ranking import Queries
from lossary.frameworks.boosting.tasks import check_rivals
from lossary.frameworks.bundle import Array, scale_of
from lossary.frameworks.curvature import kinked
from lossary.frameworks.xgboost.objective import (
    Metric,
    Objective,
    base_score,
    columns_of,
    described,
    read,
    transform_of,
)
from lossary.frameworks.xgboost.stored import Trained

try:
    import xgboost as xgboost
except ImportError:
    raise MissingExtraError(
        "training with XGBoost needs the package xgboost, which is not installed; "
        "install lossary[xgboost]"
    ) from None

_VERSION = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
VECTOR_START = _VERSION >= (3, 1)
"""Whether a booster keeps one start score per column."""


class Watch(xgboost.callback.TrainingCallback):
    """What has to happen around XGBoost's own steps."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def before_training(self, model: Any) -> Any:
        """Give the booster its objective, and metrics all their digits."""
        self.run.begin(model)
        model.eval_set = partial(exact, model)
        return model

    def after_training(self, model: Any) -> Any:
        """Give the booster its own method back."""
        vars(model).pop("eval_set", None)  # absent from what save_best cuts out
        return model


def exact(
    booster: Any,
    evals: Sequence[tuple[Any, str]],
    iteration: int = 0,
    feval: Callable[[Array, Any], list[tuple[str, float]]] | None = None,
    output_margin: bool = True,
) -> str:
    """Evaluate as ``Booster.eval_set`` does, which rounds functions to six decimals.

    A small loss would stop at once. Functions are given raw scores.
    """
    text: str = xgboost.Booster.eval_set(booster, evals, iteration)
    if feval is None:
        return text
    for data, name in evals:
        z = booster.predict(data, output_margin=True)
        for metric, value in feval(z, data):
            text += f"\t{name}-{metric}:{float(value)!r}"
    return text


class Run:
    """What XGBoost is given to train on a loss.

    Parameters
    ----------
    objective : Objective
    labels : array, shape (n,) or (n, k)
        Numbers, or class numbers from 0, as XGBoost is given them.
    weight : array, shape (n,), optional
    params : mapping
        XGBoost's parameters, as the user gave them.
    columns : int, optional
        The number of scores per row, of a loss of classes.
    direct : bool
        Whether XGBoost's own objective trains the loss, where it has it.
    ranks : bool
        Whether rows are documents of queries.
    classes : array, optional
        The labels behind class numbers, to be stored.
    first : Booster, optional
        The model that is trained further.

    Attributes
    ----------
    own : mapping, optional
        XGBoost's own objective for the loss and its parameters, if that trains.
    train_weight : array, shape (n,), optional
        The weights that XGBoost is given for the rows to train on.
    trained : Trained
        What is stored with the booster.
    """

    def __init__(
        self,
        objective: Objective,
        labels: NDArray[Any],
        weight: Array | None,
        params: Mapping[str, Any],
        *,
        columns: int | None = None,
        direct: bool = True,
        ranks: bool = False,
        classes: Any = None,
        first: Any = None,
    ) -> None:
        self.labels, self.columns, self.ranks = labels, columns, ranks
        self.target = labels if ranks else objective.bundle.target(labels, columns)
        self.weight = self.train_weight = weight
        _, loss, builtin = described(objective.loss)
        check_rivals(loss, builtin.options if builtin else {}, params)
        self.own: dict[str, Any] | None = None
        if direct and not ranks:
            self.own = own_of(objective, labels) or self._quantile(objective)
        step = params.get("max_delta_step")
        if objective.loss.name == "poisson" and step and objective.damping is None:
            objective = replace(objective, damping=math.exp(step))
        self.objective, self.bundle = objective, objective.bundle
        self._balance(params.get("scale_pos_weight"))
        self.start = 0.0 if ranks else self._measured()
        self.fresh = first is None
        self.trained = self._described(classes, first, params.get("base_score"))
        self.data: Any = None
        if self.own is None and not ranks:  # XGBoost computes in single precision
            self.target, self.weight = single(self.target), single(self.weight)

    # -- what is trained --------------------------------------------------------------

    def _quantile(self, objective: Objective) -> dict[str, Any] | None:
        """Leave a loss that is linear on both sides to XGBoost, which refits leaves.

        It is a quantile of rows that weigh as much as their loss has a kink; on
        average, as much as they did, so that its unit is no regularisation.
        """
        linear = all(kinked(term) for _, term in objective.bundle.terms)
        if not linear or self.target.ndim == 2:
            return None
        slopes = slopes_of(objective.bundle, self.target, self.weight)
        shares = slopes.low[slopes.mass > 0] / slopes.mass[slopes.mass > 0]
        if np.ptp(shares) > 1e-9:  # every row has a quantile of its own
            return None
        rows = len(self.target) if self.weight is None else self.weight.sum()
        self.train_weight = slopes.mass * (rows / slopes.mass.sum())
        tau = float(shares.mean())
        if abs(tau - 0.5) < 1e-9:
            return {"objective": "reg:absoluteerror"}
        return {"objective": "reg:quantileerror", "quantile_alpha": tau}

    def _balance(self, factor: float | None) -> None:
        """Weigh positives by ``scale_pos_weight``, as XGBoost's own objectives do."""
        if factor in (None, 1) or self.bundle.task != "binary":
            return
        ones = np.where(self.target == 1, factor, 1.0)
        if ones.ndim == 2:
            raise ParameterError(
                f"{self.objective.loss!r} cannot be trained on several labels with "
                f"scale_pos_weight={factor}, which belongs to one; pass sample_weight"
            )
        self.weight = ones if self.weight is None else self.weight * ones

    def _measured(self) -> Any:
        """Find the start score, and the unit of a curvature that has the target's."""
        bundle, y, w = self.bundle, self.target, self.weight
        if self._amounts:
            return float(bundle.loss.best_constant(y, sample_weight=w))
        unscaled = self.own is None and self.objective.scale is None
        if unscaled and self.objective.mode == "majorised":
            scale = scale_of(bundle, y, w, self.columns)
            self.objective = replace(self.objective, scale=1 / scale.curvature)
            return scale.start
        return bundle.start(y, w, self.columns) / self.objective.unit

    def _described(self, classes: Any, first: Any, base: Any) -> Trained:
        """Say what the booster will have to remember."""
        bundle = self.bundle
        link = "logit" if bundle.task == "binary" else bundle.link
        if self.ranks or self._amounts:
            link = "identity"
        names = None if classes is None else np.asarray(classes).tolist()
        offset = None
        if first is not None:
            before = Trained.read(first)
            offset = None if before is None else before.offset
        elif np.ndim(self.start) and not VECTOR_START and base is None:
            offset = np.asarray(self.start).tolist()
        task = "ranking" if self.ranks else bundle.task
        return Trained(bundle.loss, task, link, names, offset)

    @property
    def _amounts(self) -> bool:
        """Whether scores are predictions, although the loss has a link."""
        return self.own is not None and self.bundle.link == "log1p"

    @property
    def _transform(self) -> str | None:
        """XGBoost's objective with the same response, or None."""
        if self.own is not None:
            return str(self.own["objective"])
        return "rank:ndcg" if self.ranks else transform_of(self.bundle, self.labels)

    # -- what XGBoost is given --------------------------------------------------------

    def configured(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return XGBoost's parameters."""
        given = {k: v for k, v in params.items() if k not in ("loss", "eval_metric")}
        given |= {"objective": "reg:squarederror", **(self.own or {})}
        if self.own is None:
            given.pop("scale_pos_weight", None)
        started = given.get("base_score") is not None or self.trained.offset is not None
        if self.fresh and not started:
            given["base_score"] = base_score(self._transform or "", self.start)
        if self.trained.task == "multiclass" and self.labels.ndim == 1:
            given["num_class"] = self.columns
        names = metric_names(params.get("eval_metric"))
        if names and self._transform is None:
            raise ParameterError(
                f"XGBoost's metric {names[0]!r} would see raw scores of "
                f"{self.objective.loss!r}, since XGBoost has no objective with its "
                "link; pass a function as eval_metric, or leave it out to see the loss"
            )
        shown = {"eval_metric": names} if names else {"disable_default_eval_metric": 1}
        return {**given, **shown}

    def begin(self, booster: Any) -> None:
        """Give the booster, not yet trained, the objective that it is stored with."""
        if self.own is None:
            booster.set_param({"objective": self._transform or "reg:squarederror"})

    def pull(self, scores: Any, data: Any = None) -> tuple[Array, Array]:
        """Return gradient and curvature of the rows to train on."""
        if self.ranks:
            y, _, w = read(scores, self.data, None)
            loss, queries = self.bundle.loss, queries_of(self.data)
            return queries.grad_and_hess(loss, y, scores, w)
        return self.objective.pull(self.target, scores, self.weight)

    def finish(self, booster: Any) -> Trained:
        """Write into the booster what only lossary reads, and return it."""
        self.trained.write(booster)
        if self.ranks:  # whose score() asks for XGBoost's default metric
            booster.set_param({"disable_default_eval_metric": 0})
        return self.trained

    # -- metrics ----------------------------------------------------------------------

    def metric(self, asked: Callable[..., Any] | None, named: bool) -> Any:
        """Return XGBoost's ``custom_metric``: the loss, and a function of the user's.

        A function sees what it would see beside an objective of XGBoost's own. As
        XGBoost's own default metric does, the loss gives way to metrics by name.
        """
        if asked is None and named:
            return None

        def evaluate(z: Array, data: Any) -> list[tuple[str, float]]:
            found: list[tuple[str, float]] = []
            if not named:
                found.append((Metric(self.bundle.loss).__name__, self._value(z, data)))
            if asked is not None:
                answer = asked(z if self.ranks else self._shown(z), data)
                found += answer if isinstance(answer, list) else [answer]
            return found

        return evaluate

    def _shown(self, z: Array) -> Array:
        classes = self.bundle.task != "regression"
        return self.trained.probabilities(z) if classes else self.trained.response(z)

    def _value(self, z: Array, data: Any) -> float:
        """Return the mean loss on a data set of XGBoost's."""
        loss = self.bundle.loss
        y, z, w = read(z, data, None)
        if self.ranks:
            return queries_of(data).value(loss, y, z, w)
        if self._amounts:
            p = np.maximum(z, -1 + 1e-6)  # as XGBoost's own metric has it
            return float(loss(y, p, sample_weight=w, check="off"))
        y = self.objective.target(y, columns_of(z))
        return self.bundle.value(y, self.objective.unit * z, w)


def own_of(objective: Objective, labels: NDArray[Any]) -> dict[str, Any] | None:
    """Return XGBoost's own objective for a loss and its parameters, or None."""
    given, loss, builtin = described(objective.loss)
    if loss is None or builtin is None or (labels.ndim == 2 and not builtin.columns):
        return None
    factor = builtin.factor(loss)
    if given is None and builtin.by_name:
        return None
    if given is not None and not math.isclose(given, factor, rel_tol=1e-5):
        return None
    options = {
        theirs: loss.parameters[ours] for ours, theirs in builtin.options.items()
    }
    return {"objective": builtin.name, **options}


def metric_names(asked: Any) -> list[str]:
    """List the metrics that are asked for by name."""
    every = [asked] if isinstance(asked, str) else asked or ()
    return [name for name in every if isinstance(name, str)]


def single(x: Any) -> Any:
    """Return floats in single precision; class numbers and None as they are."""
    return x if x is None or x.dtype.kind != "f" else x.astype(np.float32)


def queries_of(data: Any) -> Queries:
    """Return the queries of a data set of XGBoost's."""
    return Queries(np.diff(data.get_uint_info("group_ptr")))
