"""Any loss in CatBoost's two protocols: a custom objective and a custom metric.

CatBoost maximises, so that it is given minus gradient and minus curvature, with the
weights in them, and asks for them in pieces: blocks of rows of a scalar score, or
one row at a time where there is a score per class or per target.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import catboost as cb
import numpy as np
from numpy.typing import NDArray

from lossary import kernels
from lossary.aliases import elsewhere
from lossary.arrays import library
from lossary.errors import ParameterError
from lossary.frameworks.boosting.objective import OfLoss
from lossary.frameworks.bundle import Array, Bundle
from lossary.frameworks.catboost import kernels as compiled
from lossary.frameworks.curvature import mode_of
from lossary.loss import Loss
from lossary.structures.rowwise import linear_in_target, smoothing

_EVERY_ROW = np.empty(0, np.float32)

# Compiling costs a second, once per machine: what so many calls cost without it.
_COMPILED_FROM = 1 << 11


@dataclass(frozen=True)
class Objective(OfLoss):
    """A loss as a custom objective of CatBoost 1.2.8 or newer.

    It serves as ``loss_function`` of CatBoost's own classes, with a `Metric` as
    ``eval_metric``. Their scores start at 0 and are raw: give CatBoost `start` as
    ``baseline`` and map raw predictions, with the start added, by `response`. The
    estimators of `lossary.frameworks.catboost` do all of it, and take an Objective
    for a loss.

    With llvmlite its derivatives are compiled; CatBoost is told not to try it itself.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses
    scale : float, optional
        A factor of gradient and curvature. It changes nothing but the meaning of
        ``l2_leaf_reg``. By default what makes the loss CatBoost's own, where there
        is one (0.5 for "squared_error"), else 1; an estimator that meets a majorised
        curvature, whose unit is that of the target, makes it large against
        ``l2_leaf_reg``.

    Raises
    ------
    ParameterError
        For a loss that compares more than one row.

    Examples
    --------
    >>> objective = Objective("poisson")
    >>> scores, targets = np.zeros(2), np.array([1.0, 3.0], np.float32)
    >>> objective.calc_ders_range(scores, targets, None)
    array([[ 0., -1.],
           [ 2., -1.]])
    """

    scale: float | None = None

    no_jit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for _, term in self.bundle.terms:
            if term.structure.name not in ("pointwise", "rowwise"):
                raise ParameterError(
                    f"{self.loss!r} compares whole arrays, and CatBoost hands an "
                    "objective a few rows at a time; use a loss of single rows, such "
                    "as 'binary_focal', or LightGBM, which hands over all"
                )
            if smoothing(term) and not linear_in_target(term.formula):
                raise ParameterError(
                    f"{term!r} is not linear in its target, and CatBoost's objective "
                    "smooths labels only where it is; leave label_smoothing out"
                )

    def __deepcopy__(self, memo: Any) -> Objective:
        return self  # CatBoost copies its parameters; this one cannot change

    @property
    def factor(self) -> float:
        """The factor of gradient and curvature."""
        if self.scale is not None:
            return self.scale
        rows = elsewhere(self.loss.name)
        return next((r.factor for r in rows if r.library == "CatBoost"), 1.0)

    def calc_ders_range(
        self, approxes: Any, targets: Any, weights: Any
    ) -> NDArray[np.float64]:
        """Return minus gradient and minus curvature, weighted, shape (n, 2)."""
        scores = np.asarray(approxes, dtype=np.float64)
        y = np.asarray(targets, dtype=np.float32)
        w = _EVERY_ROW if weights is None else np.asarray(weights, dtype=np.float32)
        out = np.zeros((scores.shape[0], 2))
        if self._compiles():
            if weights is None:
                w = np.ones(scores.shape[0], np.float32)
            scores, room = np.ascontiguousarray(scores), np.empty_like(out)
            for factor, kernel in self._blocks:
                kernel(scores.shape[0], factor, scores, y, w, out, room)
        else:
            self._plain_block(scores, y, w, out)
        return out

    @cached_property
    def _calls(self) -> Iterator[int]:
        return itertools.count()

    def _compiles(self) -> bool:
        """Count the calls, and say whether compiling is worth it by now."""
        return next(self._calls) >= _COMPILED_FROM and kernels.available()

    @cached_property
    def _blocks(self) -> list[tuple[float, compiled.Compiled]]:
        return [(f * self.factor, compiled.block(t)) for f, t in self.bundle.terms]

    def _plain_block(self, z: Array, y: Any, w: Any, out: Array) -> None:
        """Do what the kernels do, without them."""
        keep = w != 0 if w.size else np.ones(len(z), dtype=bool)
        if not keep.any():
            return
        weight = w[keep].astype(np.float64) if w.size else None
        target = y[keep].astype(np.float64)
        pair = np.stack(self.bundle.grad_and_hess(target, z[keep], weight), axis=1)
        out[keep] -= self.factor * (pair if weight is None else weight[:, None] * pair)

    def calc_ders_multi(
        self, approxes: Any, target: float, weight: float
    ) -> tuple[Array, Array]:
        """Return minus gradient and minus second derivatives of one row of classes.

        Their shapes are (k,) and (k, k).
        """
        scores = np.asarray(approxes, dtype=np.float64)
        k = scores.shape[0]
        first, second = np.zeros(k), np.zeros((k, k))
        if self._compiles():
            rows = zip(self._rows, self.bundle.terms, strict=True)
            for (factor, kernel), (_, term) in rows:
                for label, share in _counted_as(term, int(target), k):
                    w = factor * weight * share
                    kernel(k, w, scores, label, first, second, np.empty(k))
        elif weight:
            for factor, term in self.bundle.terms:
                for label, share in _counted_as(term, int(target), k):
                    w = self.factor * factor * weight * share
                    one, two = _row_derivatives(term, scores, label)
                    first -= w * one
                    second -= w * two
        return first, second

    @cached_property
    def _rows(self) -> list[tuple[float, compiled.Compiled]]:
        return [(f * self.factor, compiled.row(t)) for f, t in self.bundle.terms]


def _counted_as(loss: Loss, label: int, k: int) -> Iterator[tuple[int, float]]:
    """Yield the labels that a smoothed one counts as, and the share of each."""
    rate = smoothing(loss)
    for other in range(k) if rate else (label,):
        yield other, (1 - rate) * (other == label) + rate / k


def _row_derivatives(loss: Loss, z: Array, label: int) -> tuple[Array, Array]:
    """Do what the row kernel does: gradient and second derivatives of one row."""
    others = np.arange(len(z)) != label
    top = z[others].max()
    e = np.where(others, np.exp(np.where(others, z, top) - top), 0.0)
    q = e / e.sum()
    formula, lib = loss.formula, library("numpy")
    names, odds = (*formula.inputs, *formula.params), z[label] - top - np.log(e.sum())
    at = (np.ones(1), np.array([odds]), *loss.params)
    with lib.quiet():
        slope = float(lib.run(formula.gradient, names)(*at)[0])
        bend = float(lib.run(formula.curvature, names)(*at)[0])
    if mode_of(loss) == "clipped":
        bend = max(bend, abs(slope))
    v = np.where(others, -q, 1.0)
    spread = np.diag(q) - np.outer(q, q)
    return slope * v, bend * np.outer(v, v) - slope * spread


class MultiTargetObjective(Objective, cb.MultiTargetCustomObjective):  # type: ignore[misc]
    """A loss of single values, of several targets at once: their losses add.

    Its parameters are those of `Objective`; CatBoost tells the two by their class.

    Examples
    --------
    >>> objective = MultiTargetObjective("squared_error")
    >>> gradient, curvature = objective.calc_ders_multi([0.0, 0.0], [1.0, 2.0], 1.0)
    >>> gradient.tolist()
    [1.0, 2.0]
    """

    def calc_ders_multi(
        self, approxes: Any, target: Any, weight: float
    ) -> tuple[Array, Array]:
        """Return minus gradient and minus second derivatives of one row of targets."""
        pairs = self.calc_ders_range(approxes, target, None)
        return weight * pairs[:, 0], np.diag(weight * pairs[:, 1])


class Metric:
    """A loss as a custom metric of CatBoost: its mean under the weights.

    CatBoost shows it by the name of the loss. Less is better, whatever the name.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses

    Examples
    --------
    >>> metric = Metric("absolute_error")
    >>> metric.evaluate((np.zeros(2),), np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    (6.0, 4.0)
    >>> metric.get_final_error(6.0, 4.0), metric.is_max_optimal()
    (1.5, False)
    """

    no_jit = True
    bundle: Bundle

    def __new__(cls, loss: Any) -> Metric:
        """Make a class of the loss's name: CatBoost shows a metric by its class."""
        bundle = Bundle(loss)
        own = type(bundle.loss.name, (cls,), {"_made_of": cls})
        metric: Metric = super().__new__(own)
        metric.bundle = bundle
        return metric

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made_of, (self.bundle.loss,)  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: Any) -> Metric:
        return self

    def __repr__(self) -> str:
        return f"{self._made_of.__name__}({self.bundle.loss!r})"  # type: ignore[attr-defined]

    def __eq__(self, other: object) -> bool:
        return type(other).__mro__[1:] == type(self).__mro__[1:] and (
            self.bundle == other.bundle  # type: ignore[attr-defined]
        )

    def __hash__(self) -> int:
        return hash(self.bundle)

    def is_max_optimal(self) -> bool:
        """Return False: of a loss, less is better."""
        return False

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean of what `evaluate` added up."""
        return error / weight if weight else float("nan")

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return Σ w·l and Σ w of raw scores, one array per class or target."""
        z, y = self._columns(approxes, target)
        w = None if weight is None else np.asarray(weight, dtype=np.float64)
        if w is not None and not w.any():
            return 0.0, 0.0
        parts = [
            (factor, term.sums(y, z, sample_weight=w, check="off"))
            for factor, term in self.bundle.terms
        ]
        error = sum(factor * float(s.numerator) for factor, s in parts)
        return error, float(parts[0][1].denominator)

    def _columns(self, approxes: Any, target: Any) -> tuple[Any, Any]:
        if self.bundle.task == "multiclass":
            z = np.stack(approxes, axis=1)
            return z, self.bundle.target(target, z.shape[1])
        return np.asarray(approxes[0]), np.asarray(target, dtype=np.float64)


class MultiTargetMetric(Metric, cb.MultiTargetCustomMetric):  # type: ignore[misc]
    """A loss of single values as a metric of several targets: their mean.

    Its parameters are those of `Metric`.
    """

    def _columns(self, approxes: Any, target: Any) -> tuple[Any, Any]:
        return np.stack(approxes, axis=1), np.stack(target, axis=1).astype(np.float64)


# CatBoost computes a percentage of max(1, |y|).
_FLOORED = "absolute_percentage_error"
_FOCAL = "binary_focal"  # of labels alone, and of a positive gamma
_SEVERAL_TARGETS = {
    "squared_error": "MultiRMSE",
    "binary_cross_entropy": "MultiLogloss",
}


def builtin(bundle: Bundle, y: NDArray[Any]) -> str | None:
    """Name CatBoost's own objective that is a loss, up to a factor, on these targets.

    Examples
    --------
    >>> builtin(Bundle("pinball(tau=0.9)"), np.array([1.0, 2.0]))
    'Quantile:alpha=0.9'
    >>> builtin(Bundle("hinge"), np.array([0.0, 1.0])) is None
    True
    """
    if len(bundle.terms) > 1:
        return None
    loss = bundle.terms[0][1]
    shares = bundle.task == "binary" and bool(((y > 0) & (y < 1)).any())
    if y.ndim == 2 and bundle.task != "multiclass":
        name = _SEVERAL_TARGETS.get(loss.name)
        return "MultiCrossEntropy" if name == "MultiLogloss" and shares else name
    if loss.name == _FLOORED and (abs(y) < 1).any():
        return None
    if loss.parameters.get("label_smoothing"):
        return None
    if loss.name == _FOCAL and (shares or not loss.parameters["gamma"]):
        return None
    for row in elsewhere(loss.name):
        if row.library == "CatBoost":
            names = [name.removeprefix("catboost.") for name in row.names]
            options = [
                f"{theirs}={loss.parameters.get(option.ours, option.default)!r}"
                for theirs, option in row.options.items()
                if option.ours or option.required
            ]
            name = names[-1] if shares else names[0]
            return ":".join([name, ";".join(options)]) if options else name
    return None
