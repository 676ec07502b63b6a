"""Where data comes from: embedded sets, files, frames and arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossary.errors import (
    DataError,
    MissingExtraError,
    NameLookupError,
    ShapeError,
    nearest,
)

if TYPE_CHECKING:
    import pandas as pd

EMBEDDED = ("breast_cancer", "diabetes", "digits", "wine")
"""Real data sets that come with scikit-learn, by name; their target is "target"."""


def read(source: Any) -> tuple[pd.DataFrame, str, str, str | None]:
    """Return a frame, its name, what reproduces it, and its target if known."""
    if isinstance(source, (str, Path)):
        if str(source) in EMBEDDED:
            return _embedded(str(source)), str(source), str(source), "target"
        path = Path(source)
        return _file(path), path.name, str(source), None
    return _in_memory(source), "data", "", None


def _embedded(name: str) -> pd.DataFrame:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise _missing(error) from None
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    frame = bunch.frame
    if name != "diabetes":
        frame["target"] = np.asarray(bunch.target_names).astype(str)[bunch.target]
    return frame


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f"reading data needs {error.name}, which is not installed; "
        "pip install 'lossary[compare]' brings it"
    )


def _file(path: Path) -> pd.DataFrame:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        files = [p.name for p in folder.iterdir() if p.suffix in READERS]
        raise NameLookupError(
            f"there is no file or embedded data set {str(path)!r}; "
            + nearest(path.name, [*EMBEDDED, *files])
        )
    try:
        reader = READERS[path.suffix.lower()]
    except KeyError:
        raise DataError(
            f"{path.name}: files are read by their ending, one of {', '.join(READERS)};"
            f" {path.suffix or 'none'!r} is not known"
        ) from None
    try:
        return reader(path)
    except ImportError as error:
        raise _missing(error) from None
    except Exception as error:  # pandas and pyarrow raise many kinds
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path.name} cannot be read as {path.suffix[1:].upper()} ({reason}); "
            "check the file, or load it yourself and pass the data frame"
        ) from None


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_csv(path)
    header = str(frame.columns[0])
    separators = [s for s in (";", "\t", "|") if s in header]
    if frame.shape[1] == 1 and separators:
        return pd.read_csv(path, sep=separators[0])
    return frame


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".pq": _parquet,
}
"""How a file is read, by its ending."""


def _in_memory(source: Any) -> pd.DataFrame:
    try:
        import narwhals as nw
        import pandas as pd
    except ImportError as error:
        raise _missing(error) from None

    frame = nw.from_native(source, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, nw.DataFrame):
        plain = frame.to_pandas().reset_index(drop=True)
        plain.columns = [str(c) for c in plain.columns]
        return plain
    values = np.asarray(source)
    if values.ndim != 2:
        raise ShapeError(
            f"X must be a table of shape (n, d), got shape {values.shape}"
            + ("; use X.reshape(-1, 1)" if values.ndim == 1 else "")
        )
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])
