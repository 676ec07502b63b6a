"""What a learner needs of a loss, whichever library it lives in.

A booster or a linear model adds up a raw score z. The bundle here says where z
starts, how it is pulled (gradient and curvature per row), and how it becomes a
prediction on the response scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.combination import Combination, terms_of
from lossary.errors import DataError, DomainError, ParameterError, some_rows
from lossary.frameworks.curvature import MODES, curved, mode_of, task_of
from lossary.loss import Loss
from lossary.registry import get

Array = NDArray[np.float64]

_SCORES = ("real", "logit", "log", "class_logits")  # predictions over the whole line
_PROBABILITIES = ("mean", "class probabilities", "half the log-odds")
_FARTHEST = math.log(1e15)  # a start score beyond this is a probability of 0 or 1


def sigmoid(z: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-z)), with all digits of a small result.

    Examples
    --------
    >>> float(sigmoid(-800.0)) == 0.0, float(sigmoid(0.0))
    (True, 0.5)
    """
    return np.exp(-np.logaddexp(0.0, -np.asarray(z, dtype=np.float64)))


def softmax(z: Array) -> Array:
    """Return the probabilities of one score per class, the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


RESPONSES: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "log": np.exp,
    "log1p": np.expm1,
    "logit": sigmoid,
    "half_logit": lambda z: sigmoid(2 * z),
    "softmax": softmax,
}
"""From the raw score to the response scale, by link."""


@dataclass(frozen=True)
class Bundle:
    """A loss as a learner sees it: of a raw score, with start, pull and response.

    Parameters
    ----------
    loss : str, Loss or a weighted sum of losses
        As `lossary.get` takes it.

    Examples
    --------
    >>> bundle = Bundle("poisson")
    >>> bundle.task, bundle.link, bundle.mode
    ('regression', 'log', 'exact')
    >>> Bundle("absolute_error").mode, Bundle("binary_focal").mode
    ('majorised', 'clipped')
    """

    loss: Any

    def __post_init__(self) -> None:
        loss = get(self.loss)
        if not isinstance(loss, (Loss, Combination)):
            raise ParameterError(
                f"{self.loss!r} is not a loss; pass a name such as 'huber', or a loss"
            )
        object.__setattr__(self, "loss", loss)
        kinds = {(task_of(term), term.definition.link) for _, term in self.terms}
        if len(kinds) > 1:
            raise ParameterError(
                f"{loss!r} cannot be trained, because its terms predict different "
                "things; add losses of the same task and link"
            )

    # -- what it is -------------------------------------------------------------------

    @cached_property
    def terms(self) -> tuple[tuple[float, Loss], ...]:
        """The weighted losses, each of the raw score."""
        return tuple((factor, _scored(term)) for factor, term in terms_of(self.loss))

    @property
    def task(self) -> str:
        """What is predicted: "regression", "binary" or "multiclass"."""
        return task_of(self.terms[0][1])

    @property
    def link(self) -> str:
        """From the response scale to the raw score; see `RESPONSES`."""
        return self.terms[0][1].definition.link

    @cached_property
    def mode(self) -> str:
        """The declared origin of the curvature; of a sum, the least literal one.

        ``"exact"``: the second derivative. ``"clipped"``: that, raised to the size of
        the gradient, so that no row asks for a step of more than 1. ``"majorised"``:
        of a quadratic that touches the loss and lies above it, for losses whose own
        curvature vanishes.
        """
        return max((mode_of(term) for _, term in self.terms), key=MODES.index)

    @property
    def calibrated(self) -> bool:
        """Whether a response of a classification loss is a probability."""
        return self.task == "regression" or all(
            term.definition.elicits in _PROBABILITIES for _, term in self.terms
        )

    # -- what it does -----------------------------------------------------------------

    def target(self, y: ArrayLike, n_classes: int | None = None) -> NDArray[Any]:
        """Check a target, and encode it as the loss takes it.

        Several columns of labels are as many targets of a loss of two classes.

        Raises
        ------
        DomainError
            Naming the first rows that the loss is not defined on.
        """
        name = repr(self.loss)
        if self.task == "multiclass":
            return self._codes(np.asarray(y), n_classes)
        try:
            values = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            raise DomainError(
                f"{name} takes targets that are {self.terms[0][1].target.phrase}, and "
                "these cannot be read as numbers; encode them first"
            ) from None
        for _, term in self.terms:
            kind = term.target
            bad = ~np.isfinite(values) | kind.outside(values)
            if bad.any():
                rows = np.unique(np.nonzero(bad)[0])
                raise DomainError(
                    f"{name} takes targets that are {kind.phrase}, but there is "
                    f"{values[bad][0]:g} in {some_rows(rows)}"
                    + (f"; {kind.hint}" if kind.hint else "")
                )
        return values

    def _codes(self, y: NDArray[Any], n_classes: int | None) -> NDArray[Any]:
        if y.ndim == 2:
            shares = y.astype(np.float64)
            bad = ~((shares >= 0).all(axis=1) & (abs(shares.sum(axis=1) - 1) < 1e-3))
            if bad.any():
                raise DomainError(
                    f"{self.loss!r} takes one probability per class as targets, which "
                    f"sum to 1, but not in {some_rows(np.flatnonzero(bad))}; divide "
                    "each row by its sum"
                )
            return shares
        k = int(y.max()) + 1 if n_classes is None else n_classes
        if not ((y >= 0) & (y < k) & (y == np.floor(y))).all():
            raise DomainError(
                f"{self.loss!r} takes class numbers from 0 to {k - 1} as targets; "
                "encode the classes first"
            )
        indexed = all(term.target.name == "class_index" for _, term in self.terms)
        codes = y.astype(np.int64)
        return codes if indexed else np.eye(k)[codes]

    def start(
        self,
        y: NDArray[Any],
        sample_weight: Array | None = None,
        n_classes: int | None = None,
    ) -> Any:
        """Return the best constant score, finite: a number, or one per column."""
        if self.task != "multiclass" and y.ndim == 2:
            return np.array([self.start(column, sample_weight) for column in y.T])
        if self.task == "multiclass" and y.ndim == 1 and n_classes is not None:
            y = np.eye(n_classes)[y]  # a class may be missing among these rows
        found = [_best_constant(term, y, sample_weight) for _, term in self.terms]
        if len(found) == 1 or self.task == "multiclass":
            factors = [factor for factor, _ in self.terms]
            best = np.average(np.stack(found), axis=0, weights=factors)
            return best if best.ndim else float(best)
        return self._between(y, sample_weight, min(found), max(found))

    def _between(self, y: Array, w: Array | None, low: float, high: float) -> float:
        """Bisect for the best constant of a sum: it is between those of the terms."""
        for _ in range(100):
            middle = (low + high) / 2
            _, slope = self.value_and_grad(y, np.full(len(y), middle), w)
            low, high = (low, middle) if slope.sum() > 0 else (middle, high)
        return (low + high) / 2

    def response(self, z: Array) -> Array:
        """Map raw scores to the response scale; a margin's boundary becomes 0.5."""
        margin = self.task == "binary" and self.link == "identity"
        return RESPONSES["logit" if margin else self.link](z)

    def value(
        self, y: NDArray[Any], z: Array, sample_weight: Array | None = None
    ) -> float:
        """Return the mean loss."""
        return sum(
            factor * float(term(y, z, sample_weight=sample_weight, check="off"))
            for factor, term in self.terms
        )

    def value_and_grad(
        self, y: NDArray[Any], z: Array, sample_weight: Array | None = None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient in the raw scores."""
        value, gradient = 0.0, np.zeros_like(z)
        for factor, term in self.terms:
            v, g = term.value_and_grad(y, z, sample_weight=sample_weight, check="off")
            value += factor * float(v)
            gradient += factor * g
        return value, gradient

    def grad_and_hess(
        self,
        y: NDArray[Any],
        z: Array,
        sample_weight: Array | None = None,
        mode: str | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and curvature per row, by default in the declared mode.

        They are not multiplied by the weights, which only say what is typical.
        """
        parts = [
            (factor, *curved(term, y, z, sample_weight, mode))
            for factor, term in self.terms
        ]
        if len(parts) == 1 and parts[0][0] == 1:
            return parts[0][1:]
        gradient, curvature = (
            sum(f * g for f, g, _ in parts),
            sum(f * h for f, _, h in parts),
        )
        return np.asarray(gradient), np.asarray(curvature)


def _scored(loss: Loss) -> Loss:
    """Return the loss as a function of a score over the whole line."""
    linked = loss.linked()
    if linked.form in _SCORES:
        return linked
    for option in ("from_logits", "from_log"):
        if option in loss.form_options():
            return loss.bind(**{option: True})
    raise ParameterError(
        f"{loss!r} takes {loss.prediction.phrase} as predictions, and a model adds up "
        "scores over the whole line; use another loss, or declare a form of this one "
        "for prediction='logit', 'log' or 'real'"
    )


def _best_constant(loss: Loss, y: NDArray[Any], w: Array | None) -> Any:
    if loss.structure.name == "overlap":
        # The best constant mask is all ones, where no gradient is left: start from
        # the share of positives instead.
        share = float(np.average(y, weights=w))
        best = np.log(share) - np.log1p(-share) if 0 < share < 1 else 0.0
    else:
        best = loss.best_constant(y, sample_weight=w)
    if loss.definition.link in ("identity", "log1p"):
        return np.asarray(best)
    return np.clip(best, -_FARTHEST, _FARTHEST)


# -- scale ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """What makes two losses comparable to a learner.

    Attributes
    ----------
    start
        The best constant score: where training begins.
    spread : float
        A typical distance of scores: the target's for a location, 1 for log-odds.
    slope : float
        Mean |gradient| at the start; a loss divided by slope·spread has one of 1.
    curvature : float
        Mean declared curvature at the start.
    """

    start: Any
    spread: float
    slope: float
    curvature: float


def scale_of(
    bundle: Bundle,
    y: NDArray[Any],
    sample_weight: Array | None = None,
    n_classes: int | None = None,
) -> Scale:
    """Measure a loss at its own best constant prediction.

    Examples
    --------
    >>> y = np.array([0.0, 2.0, 4.0])
    >>> scale = scale_of(Bundle("squared_error"), y)
    >>> scale.start, round(scale.slope, 4), scale.curvature
    (2.0, 2.6667, 2.0)
    """
    start = bundle.start(y, sample_weight, n_classes)
    z = np.broadcast_to(start, (len(y), *np.shape(start))).copy()
    gradient, curvature = bundle.grad_and_hess(y, z, sample_weight)
    return Scale(
        start,
        _spread(bundle, y, sample_weight),
        _typical(abs(gradient), sample_weight),
        _typical(curvature, sample_weight),
    )


def _typical(x: Array, w: Array | None) -> float:
    rows = x if x.ndim == 1 else x.mean(axis=-1)
    mean = float(np.average(rows, weights=w))
    return mean if mean > 0 and math.isfinite(mean) else 1.0


def _spread(bundle: Bundle, y: NDArray[Any], w: Array | None) -> float:
    if bundle.task != "regression" or bundle.link == "log":
        return 1.0
    z = np.log1p(y) if bundle.link == "log1p" else y
    centre = np.average(z, weights=w)
    spread = float(np.average(abs(z - centre), weights=w))
    return spread if spread > 0 else 1.0


def refuse_no_weight(sample_weight: Any) -> None:
    """Refuse weights that are all zero, which leave nothing to train on."""
    w = None if sample_weight is None else np.asarray(sample_weight)
    if w is not None and w.size and not w.any():
        raise DataError(
            "sample_weight is zero in every row, so that nothing counts; give some "
            "row a weight above 0"
        )


def checked_weight(sample_weight: ArrayLike | None, rows: int) -> Array | None:
    """Return weights as floats, or say what is wrong with them."""
    if sample_weight is None:
        return None
    try:
        w = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"sample_weight must hold {rows} numbers, and these cannot be read as such"
        ) from None
    if w.shape != (rows,):
        wrong = f"got shape {w.shape}"
    elif (bad := np.flatnonzero(~(np.isfinite(w) & (w >= 0)))).size:
        wrong = f"but there is {w[bad[0]]:g} in {some_rows(bad)}"
    elif not w.any():
        wrong = "but every one is zero"
    else:
        return w
    raise DataError(
        f"sample_weight must hold {rows} finite numbers, at least 0 and not all 0, "
        + wrong
    )
