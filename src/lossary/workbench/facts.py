"""What a target column looks like: the facts that a choice of loss rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import DataError, ParameterError, ShapeError, some_rows
from lossary.workbench.scores import Array

MAX_CODED_CLASSES = 20  # whole numbers with more levels than this are numbers
MIN_CLASS_SHARE = 0.01  # a rarer level speaks for a count with a tail
TYPICAL_COUNT = 30  # whole numbers mostly above this behave like real ones
OUTLIER = 3.5  # modified z-score of Iglewicz and Hoaglin (1993)


@dataclass(frozen=True)
class TargetFacts:
    """Facts of a target. Fields that do not apply are None.

    Attributes
    ----------
    kind : str
        A guess: "binary", "multiclass", "count", "fraction", "positive",
        "nonnegative" or "real".
    n : int
    classes : tuple of (label, rows)
        By label; empty for numbers.
    zeros, negatives : int
        Rows with such a target.
    outlier_share : float
        Share of rows more than 3.5 robust standard deviations from the median.
    robust_scale : float
        1.4826 times the median distance to the median; the standard deviation where
        that is 0.
    variance_to_mean : float
        About 1 for Poisson counts; only for targets that are never negative.
    smallest : float
        Smallest |y| as a share of the typical one.
    """

    kind: str
    n: int
    classes: tuple[tuple[str, int], ...] = ()
    zeros: int | None = None
    negatives: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    median: float | None = None
    skew: float | None = None
    outlier_share: float | None = None
    robust_scale: float | None = None
    variance_to_mean: float | None = None
    smallest: float | None = None

    @property
    def task(self) -> str:
        """The kind of problem: "regression", "binary" or "multiclass"."""
        return self.kind if self.classes else "regression"

    def numbers(self) -> dict[str, float]:
        """Give the facts that are numbers, with shares, for conditions and texts."""
        found = {k: v for k, v in asdict(self).items() if isinstance(v, int | float)}
        if self.zeros is not None:
            found["zeros_share"] = self.zeros / self.n
        if self.classes:
            counts = [count for _, count in self.classes]
            found["n_classes"] = len(counts)
            found["majority_share"] = max(counts) / self.n
            found["minority"] = min(counts)
            found["minority_share"] = min(counts) / self.n
        return found

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and text, ready for JSON."""
        return asdict(self) | {"task": self.task}

    def __str__(self) -> str:
        if self.classes:
            shown = ", ".join(f"{k} {c / self.n:.3g}" for k, c in self.classes[:6])
            more = ", …" if len(self.classes) > 6 else ""
            return f"{self.n} rows, {len(self.classes)} classes (shares: {shown}{more})"
        parts = [
            f"{self.n} rows, {self.kind}, {self.minimum:.4g} to {self.maximum:.4g}",
            f"median {self.median:.4g}",
            f"mean {self.mean:.4g}",
            f"skew {self.skew:.2g}",
        ]
        if self.zeros:
            parts.append(f"{100 * self.zeros / self.n:.2g} % zeros")
        if self.outlier_share:
            parts.append(f"{100 * self.outlier_share:.2g} % outliers")
        return ", ".join(parts)


def target_facts(y: ArrayLike, task: str | None = None) -> TargetFacts:
    """Look at a target: what kind it seems to be, and its shape.

    Parameters
    ----------
    y : array-like, shape (n,)
        Numbers, booleans or labels.
    task : {"regression", "classification"}, optional
        Settles what whole numbers are, which nobody can see from them: class codes
        or amounts. Without it the kind is a guess.

    Raises
    ------
    ShapeError
        `y` is not one-dimensional.
    DataError
        Targets that are missing or infinite (rows named), a single class, labels
        where numbers are needed.

    Examples
    --------
    >>> target_facts([0, 3, 1, 0, 2, 7]).kind
    'count'
    >>> target_facts(["no", "yes", "no"]).classes
    (('no', 2), ('yes', 1))
    """
    if task not in (None, "regression", "classification"):
        raise ParameterError(
            f"task must be 'regression' or 'classification'; got {task!r}"
        )
    values = _column(y)
    numeric = values.dtype.kind in "iufb"
    if task == "regression" and not numeric:
        raise DataError(
            f"a regression target holds numbers; got {values[0]!r} in row 0, which "
            "asks for a metric of classes, such as log_loss"
        )
    if task != "regression" and (
        task == "classification" or not numeric or _looks_like_classes(values)
    ):
        return _class_facts(values)
    return _number_facts(values.astype(np.float64))


def _column(y: ArrayLike) -> NDArray[Any]:
    values = np.asarray(y)
    if values.ndim != 1:
        raise ShapeError(
            f"a target is one column; got shape {values.shape} (y.ravel() makes (n, 1) "
            "one column)"
        )
    if not len(values):
        raise DataError("the target has no rows")
    if values.dtype.kind == "O":
        missing = np.array([_is_missing(v) for v in values])
        if not missing.any():
            values = np.asarray(values.tolist())
    elif values.dtype.kind == "f":
        missing = ~np.isfinite(values)
    else:
        missing = np.zeros(len(values), dtype=bool)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"the target is missing or infinite in {some_rows(rows)}; "
            "drop these rows or fill them in first"
        )
    return values


def _is_missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)  # NaN is not itself
    except TypeError:  # pandas.NA does not say whether it is
        return True


def _looks_like_classes(values: NDArray[Any]) -> bool:
    levels, counts = np.unique(values, return_counts=True)
    if values.dtype.kind == "b":
        return True
    if (levels != np.floor(levels)).any() or len(levels) > MAX_CODED_CLASSES:
        return False
    if len(levels) <= 2:
        return len(levels) == 2
    coded = levels[0] in (0, 1) and levels[-1] - levels[0] == len(levels) - 1
    return bool(coded and counts.min() >= max(2, MIN_CLASS_SHARE * len(values)))


def _class_facts(values: NDArray[Any]) -> TargetFacts:
    labels, counts = np.unique(values, return_counts=True)
    if values.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise DataError(
            f"class labels are whole numbers or words; got {values[0]:g} in row 0, "
            "which asks for a metric of numbers, such as mae"
        )
    if len(labels) < 2:
        raise DataError(
            f"the target holds one class only, {labels.tolist()[0]!r}; "
            "there is nothing to tell apart"
        )
    if values.dtype.kind in "iuf" and len(labels) > max(
        MAX_CODED_CLASSES, len(values) // 5
    ):
        raise DataError(
            f"the target holds {len(labels)} different numbers in {len(values)} rows, "
            "which are no classes; ask for a metric of numbers, such as mae"
        )
    return TargetFacts(
        kind="binary" if len(labels) == 2 else "multiclass",
        n=len(values),
        classes=tuple(
            (str(k), int(c)) for k, c in zip(labels.tolist(), counts, strict=True)
        ),
    )


def _number_facts(y: Array) -> TargetFacts:
    median, mean, spread = float(np.median(y)), float(y.mean()), float(y.std())
    mad = 1.4826 * float(np.median(np.abs(y - median)))
    far = np.abs(y - median) > OUTLIER * mad if mad > 0 else np.zeros(len(y))
    typical = float(np.median(np.abs(y)))
    return TargetFacts(
        kind=_number_kind(y, median),
        n=len(y),
        zeros=int((y == 0).sum()),
        negatives=int((y < 0).sum()),
        minimum=float(y.min()),
        maximum=float(y.max()),
        mean=mean,
        median=median,
        skew=float((((y - mean) / spread) ** 3).mean()) if spread > 0 else 0.0,
        outlier_share=float(far.mean()),
        robust_scale=mad or spread,
        variance_to_mean=spread**2 / mean if y.min() >= 0 and mean > 0 else None,
        smallest=float(np.abs(y).min()) / typical if typical > 0 else None,
    )


def _number_kind(y: Array, median: float) -> str:
    if y.min() < 0:
        return "real"
    if (y == np.floor(y)).all() and median <= TYPICAL_COUNT:
        return "count"
    if y.max() <= 1:
        return "fraction"
    return "positive" if y.min() > 0 else "nonnegative"
