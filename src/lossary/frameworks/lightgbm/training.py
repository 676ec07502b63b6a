"""One training run of LightGBM on any loss: start, gradients, leaves, evaluation.

Inside the run LightGBM's scores lack the start score, which joins the first trees at
the end: a stored model predicts raw scores by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError, MissingExtraError, ParameterError
from lossary.frameworks.boosting.leaves import Slopes, best_shifts, slopes_of
from lossary.frameworks.boosting.probabilities import probabilities
from lossary.frameworks.boosting.ranking import Queries
from lossary.frameworks.boosting.tasks import check_rivals
from lossary.frameworks.bundle import Array, scale_of
from lossary.frameworks.lightgbm.objective import OPTIONS, Objective, as_objective
from lossary.frameworks.lightgbm.settings import (
    METRIC_SETTINGS,
    NAMES,
    ORDERED,
    balanced,
    check_settings,
    setting,
)

try:
    import lightgbm as lightgbm
except ImportError:
    raise MissingExtraError(
        "training with LightGBM needs the package lightgbm, which is not installed; "
        "install lossary[compare]"
    ) from None
except OSError as error:  # its wheel leaves OpenMP's run time to the system
    raise MissingExtraError(
        f"LightGBM is installed and cannot be loaded ({error}); install the system's "
        "OpenMP library (package libgomp1 on Debian and Ubuntu, libgomp on Fedora), "
        'or use model="linear"'
    ) from None

Metric = tuple[str, float, bool]
"""A name, a value, and whether higher is better."""


@dataclass(eq=False)
class Rows:
    """A data set of the run, as the loss sees it.

    Attributes
    ----------
    data : lightgbm.Dataset
    X
        The features, where leaves are refitted.
    label : array, shape (n,)
        As LightGBM has it: the very array, by which the data set is recognised.
    target : array, shape (n,) or (n, k)
    weight : array, shape (n,), optional
    queries : Queries, optional
    scores : array, shape (n,)
        With all leaves refitted.
    """

    data: Any
    X: Any
    label: NDArray[Any]
    target: NDArray[Any]
    weight: Array | None
    queries: Queries | None = None
    scores: Any = None


class Run:
    """What LightGBM is given to train on a loss, and asked back.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective
        An objective is used as it is; of a loss LightGBM may have a faster one.
    params : mapping
        LightGBM's parameters.
    X, valid_X
        Features of the training set, and of every set to evaluate on.
    columns : int, optional
        The number of score columns, where there are several.
    decode : callable
        From LightGBM's labels to the target.
    ranks : bool
        Whether rows are documents of queries.
    metrics : sequence of str
        LightGBM's own metrics to evaluate beside the loss.
    functions : sequence of callable
        The user's, called with target and response, then weight and group.
    """

    def __init__(
        self,
        loss: Any,
        params: Mapping[str, Any],
        X: Any,
        valid_X: Sequence[Any] = (),
        *,
        columns: int | None = None,
        decode: Callable[[Any], Any] = np.asarray,
        ranks: bool = False,
        metrics: Iterable[str] = (),
        functions: Sequence[Callable[..., Any]] = (),
    ) -> None:
        self.objective, self.given = as_objective(loss), dict(params)
        self.X, self.valid_X = X, list(valid_X)
        self.columns, self.decode, self.ranks = columns, decode, ranks
        # LightGBM's metric of the loss's own name would be the same column twice.
        name = self.objective.bundle.loss.name
        self.metrics = [metric for metric in metrics if metric != name]
        self.functions = functions
        custom = ranks or isinstance(loss, Objective)
        self.native = None if custom else self.objective.native
        boosting = setting(params, "boosting")
        refits = self.objective.refits and not self.native and not ranks
        self.refits = refits and boosting != "dart"  # which rescales trees later
        self.booster: Any = None
        self.settled = 0
        self._room: Array | None = None
        self._out: Any = (None, None)
        check_rivals(self.objective.loss, OPTIONS.get(name, {}), params)
        check_settings(name, params, self.native is not None)
        step = setting(params, "poisson_max_delta_step")
        if name == "poisson" and step is not None and self.objective.damping is None:
            self.objective = replace(self.objective, damping=math.exp(step))

    # -- what LightGBM is given -------------------------------------------------------

    @property
    def params(self) -> dict[str, Any]:
        """The parameters to train with."""
        replaced = {*NAMES["objective"], *NAMES["metric"]}
        params = {k: v for k, v in self.given.items() if k not in replaced}
        params["metric"] = "None"  # all metrics are evaluated here
        # Without a feature that could be split LightGBM gives up on custom objectives.
        params.setdefault("feature_pre_filter", False)
        if self.columns is not None:
            params["num_class"] = self.columns
        own = {"objective": lambda scores, data: self.pull(scores)}
        return {**params, **(self.native or own)}

    @property
    def concrete(self) -> Any:
        """What trains in the end: the objective, or LightGBM's name of its own."""
        return self.native["objective"] if self.native else self.objective

    @property
    def evaluation(self) -> Callable[..., list[Metric]]:
        """The metrics, as LightGBM's scikit-learn classes ask for them."""

        # A function of its own: LightGBM copies what it is given, deeply.
        def evaluate(label: Any, scores: Any, weight: Any, group: Any) -> list[Metric]:
            return self.evaluate(label, scores, weight, group)

        return evaluate

    def feval(self, scores: Any, data: Any) -> list[Metric]:
        """Evaluate a data set, as ``lightgbm.train`` asks for it."""
        weight, group = data.get_weight(), data.get_group()
        return self.evaluate(data.get_label(), scores, weight, group)

    @property
    def callbacks(self) -> list[Callable[..., Any]]:
        """What to call around every round."""

        def before(env: Any) -> None:
            if self.booster is not env.model:
                self._begin(env.model)

        def after(env: Any) -> None:
            self._settle()

        vars(before).update(before_iteration=True, order=-100)
        vars(after).update(order=-100)
        return [before, after]

    def finish(self, booster: Any) -> None:
        """Add the start score to the first trees of the trained model."""
        if not np.any(self.start):
            return
        text = booster.model_to_string(num_iteration=1, start_iteration=0)
        leaves = [int(n) for n in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE)]
        for tree, shift in enumerate(np.atleast_1d(self.start)):
            for leaf in range(leaves[tree]):
                value = booster.get_leaf_output(tree, leaf) + shift
                booster.set_leaf_output(tree, leaf, value)

    # -- training ---------------------------------------------------------------------

    def _begin(self, booster: Any) -> None:
        """Look at the data that LightGBM is about to train on."""
        self.booster, self.settled = booster, booster.current_iteration()
        self.train = self._rows(booster.train_set, self.X)
        pairs = zip(booster.valid_sets, self.valid_X, strict=True)
        self.valid = [self._rows(data, X) for data, X in pairs]
        self.start: Any = 0.0
        continued = self.train.data.get_init_score() is not None
        if not (continued or self.native or self.ranks):
            self._measure()
        if setting(self.given, "boost_from_average") is False:
            self.start = 0.0 * self.start
        self.pulled = self.train.weight
        if not (self.native or self.ranks):
            bundle, y = self.objective.bundle, self.train.target
            self.pulled = balanced(bundle, y, self.pulled, self.given)
        for rows in [self.train, *self.valid] if self.refits else []:
            given = rows.data.get_init_score()
            rows.scores = self.start + (
                np.zeros(len(rows.label)) if given is None else given
            )

    def _rows(self, data: Any, X: Any) -> Rows:
        label, weight = data.get_label(), data.get_weight()
        w = None if weight is None else np.asarray(weight, dtype=np.float64)
        if self.ranks:
            queries = Queries(data.get_group())
            queries.targets(label)
            return Rows(data, X, label, label, w, queries)
        target = self.objective.bundle.target(self.decode(label), self.columns)
        return Rows(data, X, label, target, w)

    def _measure(self) -> None:
        """Find the start score, and the unit of a curvature that has the target's."""
        bundle, y, w = self.objective.bundle, self.train.target, self.train.weight
        stepped = self.objective.mode == "majorised" and not self.refits
        if self.objective.scale is None and stepped:
            scale = scale_of(bundle, y, w, self.columns)
            self.start = scale.start
            self.objective = replace(self.objective, scale=1 / scale.curvature)
        else:
            self.start = self.objective.starting.start(y, w, self.columns)

    def pull(self, scores: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return gradient and curvature of the training set."""
        rows, loss = self.train, self.objective.bundle.loss
        if rows.queries is not None:
            return rows.queries.grad_and_hess(loss, rows.target, scores, rows.weight)
        mode = "unit" if self.refits else None
        if self._room is None:  # kept, since new memory costs as much as the loss
            self._room = np.empty_like(scores)
            # LightGBM wants single precision, one class after the other.
            self._out = [np.empty(scores.shape, np.float32, "F") for _ in range(2)]
        z = rows.scores
        if not self.refits:
            z = np.add(scores, self.start, out=self._room)
        found = self.objective.pull(rows.target, z, self.pulled, mode, self._out)
        if self.refits:
            # A row that is right pulls nowhere, or no split might look useful.
            found[0][rows.target == z] = 0
        return found

    # -- leaves -----------------------------------------------------------------------

    @cached_property
    def _slopes(self) -> Slopes:
        rows = self.train
        return slopes_of(self.objective.bundle, rows.target, rows.weight)

    def _settle(self) -> None:
        """Refit the leaves of the trees that are new."""
        trees = self.booster.current_iteration() if self.refits else 0
        while self.settled < trees:
            self._refit(self.settled)
            self.settled += 1

    def _refit(self, tree: int) -> None:
        text = self.booster.model_to_string(num_iteration=1, start_iteration=tree)
        found = dict(re.findall(r"^(num_leaves|shrinkage)=(.+)$", text, re.MULTILINE))
        leaf = self._leaf(self.train, tree)
        residual = self.train.target - self.train.scores
        shifts = best_shifts(residual, leaf, int(found["num_leaves"]), self._slopes)
        shifts *= float(found["shrinkage"])
        for i, shift in enumerate(shifts):
            self.booster.set_leaf_output(tree, i, shift)
        self.train.scores += shifts[leaf]
        for rows in self.valid:
            rows.scores += shifts[self._leaf(rows, tree)]

    def _leaf(self, rows: Rows, tree: int) -> NDArray[np.integer]:
        threads = setting(self.given, "num_threads")
        options = {} if threads is None else {"num_threads": threads}
        leaf: NDArray[np.integer] = self.booster.predict(
            rows.X, pred_leaf=True, start_iteration=tree, num_iteration=1, **options
        )
        return leaf.reshape(-1)

    # -- evaluation -------------------------------------------------------------------

    def evaluate(
        self, label: Any, scores: Any, weight: Any = None, group: Any = None
    ) -> list[Metric]:
        """Return the loss, LightGBM's metrics and the user's, on one data set."""
        self._settle()
        every = [self.train, *self.valid]
        rows = next(rows for rows in every if rows.label is label)
        z = rows.scores.copy() if self.refits else scores + self.start
        bundle, response = self.objective.bundle, z
        if rows.queries is not None:
            value = rows.queries.value(bundle.loss, rows.target, z, rows.weight)
        else:
            value = bundle.value(rows.target, z, rows.weight)
            response = probabilities(bundle, z)
        found = [(bundle.loss.name, value, False)]
        for scored, ordered in ((response, False), (z, True)):
            names = [m for m in self.metrics if (m in ORDERED) == ordered]
            if names:
                found += named_metrics(names, rows, scored, self.params)
        target = label if rows.target.ndim == 1 else rows.target
        for function in self.functions:
            result = function(*(target, response, weight, group)[: _arity(function)])
            found += result if isinstance(result, list) else [result]
        return found


def _arity(function: Callable[..., Any]) -> int:
    return len(signature(function).parameters)


def named_metrics(
    names: Sequence[str], rows: Rows, response: Array, params: Mapping[str, Any]
) -> list[Metric]:
    """Evaluate LightGBM's own metrics on what they take predictions for.

    With an objective of one's own LightGBM shows its metrics raw scores, as means or
    probabilities. Here they get the response, as start score of a model without trees.
    """
    if rows.target.ndim == 2:
        raise ParameterError(
            f"LightGBM's metric {names[0]!r} takes one label per row, but the target "
            f"has {rows.target.shape[1]} columns; pass a function as eval_metric"
        )
    options = {k: v for k, v in params.items() if k in METRIC_SETTINGS}
    settings = {
        **options,
        "objective": "none",
        "metric": list(names),
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        np.zeros((len(rows.label), 1)),
        rows.label,
        weight=rows.data.get_weight(),
        group=rows.data.get_group(),
        init_score=response,
        params=settings,
    )
    probe = lightgbm.Booster(settings, data)
    return [(result[1], result[2], result[3]) for result in probe.eval_train()]


@contextmanager
def explained() -> Iterator[None]:
    """Say what is the matter where LightGBM's own message does not."""
    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        if "num_features" not in str(error):
            raise
        raise DataError(
            "no feature varies, so that there is nothing to split; pass X with at "
            "least one column of different values"
        ) from None
