"""A data set for the workbench: features, target and what was done to them.

Nothing is learnt from the rows here: missing features stay missing, and whatever a
model needs (encoding, imputing, scaling) it fits inside its training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossary.errors import (
    DataError,
    NameLookupError,
    ParameterError,
    ShapeError,
    nearest,
    some_rows,
)
from lossary.workbench.facts import target_facts
from lossary.workbench.scores import Array
from lossary.workbench.sources import read

if TYPE_CHECKING:
    import pandas as pd

MANY_LEVELS = 50  # a category with more is a caution
DISTINCT = 0.9  # words that differ in more of the rows than this are not categories


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and target of a supervised task.

    Attributes
    ----------
    X : pandas.DataFrame
        Numbers as float64, everything else as categories; missing values are kept.
    y : array, shape (n,)
        Numbers, or class numbers 0 … k-1.
    task : str
        "regression", "binary" or "multiclass".
    name, target : str
        What the data and its target column are called; `target` may be empty.
    source : str
        What to pass to `load` to get the data again; empty if it is in memory only.
    classes : tuple or None
        The labels that the class numbers stand for.
    weight : array, shape (n,), or None
    dropped : mapping of str to str
        The columns that were left out, and why.
    cautions : tuple of str
        What else should be known.
    """

    X: pd.DataFrame
    y: NDArray[Any]
    task: str
    name: str
    target: str = ""
    source: str = ""
    classes: tuple[Any, ...] | None = None
    weight: Array | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sha256(self) -> str:
        """A hash of features, target and weights: equal data, equal hash."""
        import pandas as pd

        digest = hashlib.sha256()
        for column in self.X:
            values = self.X[column]
            digest.update(f"{column}:{values.dtype.kind}\n".encode())
            rows = pd.util.hash_pandas_object(
                values.reset_index(drop=True), index=False
            )
            digest.update(rows.to_numpy().tobytes())
        digest.update(repr(self.classes).encode())
        for array in (self.y, self.weight):
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
        return digest.hexdigest()


def load(
    source: Any,
    target: str | None = None,
    *,
    y: ArrayLike | None = None,
    weight: str | ArrayLike | None = None,
    task: str | None = None,
) -> Dataset:
    """Read a data set and check that a model can be trained on it.

    Parameters
    ----------
    source : str, path, data frame, array, (X, y) or Dataset
        An embedded data set ("diabetes", "breast_cancer", "wine", "digits"); a CSV or
        Parquet file; a frame of pandas, Polars or any library that narwhals knows; an
        array of shape (n, d).
    target : str, optional
        The column to predict; needed for files, and for frames without `y`.
    y : array-like, shape (n,), optional
        The target, where `source` does not hold it.
    weight : str or array-like, shape (n,), optional
        A column of weights, or the weights.
    task : {"regression", "classification"}, optional
        Settles what whole numbers are; otherwise it is guessed.

    Raises
    ------
    NameLookupError
        No such file or column; the nearest names are given.
    DataError
        Data that cannot be used, and how to mend it.

    Examples
    --------
    >>> data = load("diabetes")
    >>> data.X.shape, data.task
    ((442, 10), 'regression')
    >>> load("wine").classes
    ('class_0', 'class_1', 'class_2')
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, tuple) and len(source) == 2 and y is None:
        source, y = source
    frame, name, origin, known = read(source)
    if y is None:
        target = _column(frame, target or known, "target")
        y, frame = frame[target], frame.drop(columns=[target])
    elif target is not None:
        raise ParameterError("pass the target as y or as a column's name, not both")
    if isinstance(weight, str):
        column = _column(frame, weight, "weight")
        weight, frame = frame[column], frame.drop(columns=[column])
    labels = _labels(y, target)
    if len(labels) != len(frame):
        raise ShapeError(
            f"X has {len(frame)} rows and y has {len(labels)}; they must have as many"
        )
    codes, classes, kind = _encoded(labels, task, target)
    X, dropped, cautions = _features(frame)
    return Dataset(
        X=X,
        y=codes,
        task=kind,
        name=name,
        target=target or "",
        source=origin,
        classes=classes,
        weight=_weights(weight, len(codes)),
        dropped=dropped,
        cautions=cautions,
    )


def _column(frame: pd.DataFrame, name: str | None, what: str) -> str:
    columns = list(map(str, frame.columns))
    if name is None:
        raise ParameterError(
            f"which column is the {what}? pass {what}=…, one of "
            + ", ".join(columns[:12])
        )
    if name not in columns:
        raise NameLookupError(
            f"the data has no column {name!r} to use as the {what}; "
            + nearest(name, columns)
        )
    return name


# -- target and weights ---------------------------------------------------------------


def _labels(y: Any, target: str | None) -> NDArray[Any]:
    """Return the target as an array, and name the rows where it is missing."""
    import pandas as pd

    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        raise ShapeError(f"y must have shape (n,), got {values.shape}; use y.ravel()")
    missing = np.flatnonzero(pd.isna(values) if values.ndim == 1 else False)
    if len(missing):
        drop = f"df.dropna(subset=[{target!r}])" if target else "a mask"
        raise DataError(
            f"the target {target or 'y'} is missing in {some_rows(missing)}; nothing "
            f"can be learnt from such rows: remove them, for example by {drop}"
        )
    if values.dtype.kind in "Mm" or isinstance(values.flat[0] if values.size else 0,
                                               pd.Timestamp):  # fmt: skip
        raise DataError(
            f"the target {target or 'y'} holds dates; turn them into numbers first"
        )
    return np.asarray(values.tolist()) if values.dtype.kind == "O" else values


def _encoded(
    labels: NDArray[Any], task: str | None, target: str | None
) -> tuple[NDArray[Any], tuple[Any, ...] | None, str]:
    if task == "regression" and labels.ndim == 1 and labels.dtype.kind not in "iufb":
        raise DataError(
            f"the target {target or 'y'} holds {labels.tolist()[0]!r} in row 0, and a "
            "metric of numbers needs numbers; use a metric of classes, such as "
            "log_loss, or encode the target"
        )
    facts = target_facts(labels, task)
    if facts.kind not in ("binary", "multiclass"):
        if labels.min() == labels.max():
            raise DataError(
                f"the target {target or 'y'} is {labels[0]:g} in all {len(labels)} "
                "rows; there is nothing to predict"
            )
        return labels.astype(np.float64), None, "regression"
    classes, codes = np.unique(labels, return_inverse=True)
    return codes, tuple(classes.tolist()), facts.kind


def _weights(weight: Any, rows: int) -> Array | None:
    if weight is None:
        return None
    w = np.asarray(weight, dtype=np.float64)
    if w.shape != (rows,) or not (np.isfinite(w) & (w >= 0)).all() or not w.any():
        raise DataError(
            f"weights must be {rows} finite numbers, at least 0 and not all 0; got "
            f"shape {w.shape}"
        )
    return w


# -- features -------------------------------------------------------------------------


def _features(
    frame: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, str], tuple[str, ...]]:
    """Make every column a number or a category; drop what is neither."""
    import pandas as pd

    columns: dict[str, Any] = {}
    dropped: dict[str, str] = {}
    cautions: list[str] = []
    for position, label in enumerate(frame.columns):
        name, values = str(label), frame.iloc[:, position]
        reason = _unusable(values)
        if reason:
            dropped[name] = reason
            cautions.append(f"column {name!r} is left out: {reason}")
            continue
        if pd.api.types.is_numeric_dtype(values):
            columns[name] = _finite(name, values)
        else:
            columns[name] = _category(values)
            levels = len(columns[name].cat.categories)
            if levels > MANY_LEVELS:
                cautions.append(
                    f"column {name!r} has {levels} categories; a model may learn rows "
                    "by heart from it"
                )
        if _looks_like_identifier(values):
            cautions.append(
                f"column {name!r} counts the rows; an identifier should not be a "
                "feature"
            )
    if not columns:
        raise DataError(
            "no feature is left to predict from"
            + (f": {'; '.join(cautions)}" if cautions else "; pass more columns")
        )
    return pd.DataFrame(columns, index=range(len(frame))), dropped, tuple(cautions)


def _unusable(values: pd.Series) -> str:
    """Say why a column is no feature; nothing where it is one."""
    import pandas as pd

    present = values.dropna()
    if not len(present):
        return "it holds no value"
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(values) or kinds.is_timedelta64_dtype(values):
        return "it holds dates; derive numbers such as the month or an age from it"
    if kinds.is_numeric_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return ""
    try:
        distinct = present.nunique()
    except TypeError:
        return "it holds lists or other objects"
    if distinct > MANY_LEVELS and distinct > DISTINCT * len(present):
        return "nearly all its values differ, as in free text or identifiers"
    return ""


def _finite(name: str, values: pd.Series) -> Array:
    numbers: Array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isinf(numbers))
    if len(bad):
        raise DataError(
            f"column {name!r} holds infinity in {some_rows(bad)}; replace it by a "
            "number, or by a missing value"
        )
    return numbers


def _category(values: pd.Series) -> pd.Series:
    """Return categories named by text, sorted, so that the order of rows is nothing."""
    text = values.astype(object).where(values.notna(), None)
    words = text.map(str, na_action="ignore")
    return words.reset_index(drop=True).astype("category")


def _looks_like_identifier(values: pd.Series) -> bool:
    if values.dtype.kind not in "iu" or len(values) < MANY_LEVELS:
        return False
    steps = np.diff(values.to_numpy())
    return bool((steps == 1).all())
