"""The record of a metric: what a comparison has to know about it.

Targets of classification metrics are class codes: 0 and 1, or 0 … k-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DomainError, KindError, ShapeError, some_rows
from lossary.kinds import KINDS, Kind
from lossary.workbench import scores
from lossary.workbench.scores import Array, Rows, Statistic

Index = NDArray[np.intp]


def class_codes(n_classes: float = math.inf) -> Kind:
    """Give the kind of codes for so many classes."""
    upto = f"0 to {n_classes - 1:g}" if n_classes < math.inf else "0, 1, 2, …"
    return Kind(
        "class_code", f"class codes {upto}", low=0, high=n_classes - 1, whole=True
    )


@dataclass(frozen=True)
class Metric:
    """A metric as a record: everything that a comparison has to know about it.

    Attributes
    ----------
    name : str
        The spec that `get_metric` takes, parameters included.
    greater_is_better : bool or None
        The direction; None for a metric without one (`bias`, best at 1).
    tasks : tuple of str
        Among "regression", "binary" and "multiclass".
    functional : str
        What the metric elicits: the prediction that it rewards most.
    prediction : str
        What it is given: "response", "probability" or "label".
    unit : str
        "target", "target squared", "percent" (stored as a fraction), "nats", "none".
    y_kind, p_kind : Kind
        What targets and predictions must be; see `lossary.kinds`.
    per_row : callable or None
        ``(y, p) -> scores``; None when the metric is not a mean of row scores.

    Examples
    --------
    >>> from lossary.workbench.metrics import get_metric
    >>> get_metric("mape").value([10, 20], [11, 18])
    0.1
    """

    name: str
    title: str
    functional: str
    tasks: tuple[str, ...] = ("regression",)
    greater_is_better: bool | None = False
    prediction: Literal["response", "probability", "label"] = "response"
    unit: str = "none"
    y_kind: Kind = KINDS["real"]
    p_kind: Kind = KINDS["real"]
    needs: str = "at least one row"
    aliases: tuple[str, ...] = ()
    parameters: tuple[tuple[str, float], ...] = ()
    per_row: Rows | None = field(default=None, repr=False, compare=False)
    statistic: Statistic | None = field(default=None, repr=False, compare=False)

    def value(
        self, y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the metric of predictions `p` for targets `y`.

        Parameters
        ----------
        y : array-like, shape (n,)
        p : array-like, shape (n,) or, for class probabilities, (n, k)
        sample_weight : array-like, shape (n,), optional
            Not negative; a row of weight 0 is removed, whatever it holds.

        Raises
        ------
        DomainError
            A value outside the metric's domain, or a metric that these rows leave
            undefined (AUC of one class).
        """
        y, p, w = self.prepare(y, p, sample_weight)
        result = float(self.resampled(y, p, w[None, :])[0])
        if not math.isfinite(result):
            raise DomainError(
                f"metric {self.name} is not defined on these {len(y)} rows: "
                f"it needs {self.needs}"
            )
        return result

    def resampled(self, y: Array, p: Array, weights: Array) -> Array:
        """Compute the metric once for each row of `weights`, shape (b, n).

        Arrays are taken as `prepare` returned them; undefined values are NaN.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.statistic is not None:
                return self.statistic(y, p, weights)
            assert self.per_row is not None
            return scores.mean(self.per_row(y, p), weights)

    def prepare(
        self, y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Array, Array]:
        """Check targets, predictions and weights; drop the rows of weight 0."""
        y, p = _floats(y, "y"), _floats(p, "p")
        w = np.ones(len(y)) if sample_weight is None else _floats(sample_weight, "w")
        shapes = p.ndim in (1, 1 + ("multiclass" in self.tasks))
        if y.ndim != 1 or not shapes or len(p) != len(y) or w.shape != y.shape:
            raise ShapeError(
                f"metric {self.name} got y of shape {y.shape}, p of shape {p.shape} "
                f"and weights of shape {w.shape}; y and weights are (n,), p is (n,)"
                + (" or (n, classes)" if "multiclass" in self.tasks else "")
            )
        if offends(KINDS["count"], w).any() or not w.any():
            raise DomainError("weights must be finite, not negative and not all 0")
        rows = np.flatnonzero(w)
        y, p, w = y[rows], p[rows], w[rows]
        y_kind = self.y_kind if p.ndim == 1 else class_codes(p.shape[1])
        self._check("target", y, y_kind, rows)
        self._check("prediction", p, self.p_kind, rows)
        if p.ndim == 2:
            _check_simplex(p, rows, self.name)
        return y, p, w

    def _check(self, what: str, values: Array, kind: Kind, rows: Index) -> None:
        bad = offends(kind, values)
        if bad.any():
            first = values[bad].flat[0]
            raise DomainError(
                f"metric {self.name} takes {what}s that are {kind.phrase}; "
                f"got {first:g} in {some_rows(rows[np.unique(np.nonzero(bad)[0])])}"
            )

    def show(self, value: float, *, difference: bool = False) -> str:
        """Print a value of the metric with its unit and sensible digits.

        Examples
        --------
        >>> from lossary.workbench.metrics import get_metric
        >>> get_metric("mape").show(0.4063), get_metric("rmse").show(56.113)
        ('40.6 %', '56.11')
        >>> get_metric("accuracy").show(-0.015, difference=True)
        '-1.5 percentage points'
        """
        if self.unit != "percent":
            return f"{value:.4g}"
        return f"{100 * value:.3g} {'percentage points' if difference else '%'}"


def offends(kind: Kind, values: Array) -> NDArray[np.bool_]:
    """Mark the values that a kind does not allow; here NaN and ±inf are among them."""
    marked: NDArray[np.bool_] = ~np.isfinite(values) | kind.outside(values)
    return marked


def _floats(values: ArrayLike, name: str) -> Array:
    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError):
        raise KindError(
            f"metrics take numbers and {name} holds something else; encode classes "
            "as 0 … k-1 first"
        ) from None


def _check_simplex(p: Array, rows: Index, name: str) -> None:
    # Probabilities often come from float32 softmax: its rounding is not an offence.
    tolerance = math.sqrt(float(np.finfo(np.float32).eps))
    bad = np.abs(p.sum(axis=1) - 1) > tolerance
    if bad.any():
        raise DomainError(
            f"metric {name} takes class probabilities whose rows sum to 1; got a sum "
            f"of {p[bad][0].sum():.4g} in {some_rows(rows[bad])}"
        )
