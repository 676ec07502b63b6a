"""Where trials are kept as they finish: a folder, or memory alone.

::

    <folder>/study.json     what fixes the numbers, and what was asked for last
    <folder>/trials.jsonl   a line per finished trial
    <folder>/oof/<key>.npz  its held-out rows and their predictions

One process writes. Predictions are moved into place before the line that speaks of
them is appended, and a line cut short is no line: a killed run loses only the trials
that were under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError
from lossary.workbench.scores import Array
from lossary.workbench.trial import Trial

FORMAT = 1
_PARTIAL = ".part"

Result = tuple[Trial, Array | None]


class Store:
    """Finished trials by key.

    Parameters
    ----------
    path : Path or None
        A folder, made where there is none; None keeps the trials in memory.
    fixed : dict
        What must be equal for trials to belong together.
    asked : dict
        What may change from run to run: losses, repeats and how they are judged.

    Raises
    ------
    DataError
        The folder holds another study, or something else.
    """

    def __init__(
        self, path: Path | None, fixed: dict[str, Any], asked: dict[str, Any]
    ) -> None:
        self.path = path
        self._results: dict[str, Result] = {}
        if path is not None:
            _claim(path, fixed)
            settings = {"format": FORMAT, "fixed": fixed, "asked": asked}
            text = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
            _replace(path / "study.json", lambda file: file.write(text.encode()))
            (path / "oof").mkdir(exist_ok=True)
            self._results = _read(path)

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def __getitem__(self, key: str) -> Result:
        return self._results[key]

    def put(self, trial: Trial, rows: NDArray[np.intp], p: Array | None) -> None:
        """Keep a finished trial."""
        self._results[trial.key] = trial, p
        if self.path is None:
            return
        if p is not None:
            file = self.path / "oof" / f"{trial.key}.npz"
            _replace(file, lambda f: np.savez(f, rows=rows, predictions=p))
        _append(self.path / "trials.jsonl", json.dumps(trial.to_dict()))


def _claim(path: Path, fixed: dict[str, Any]) -> None:
    """Make the folder, or see that it is ours and holds the same study."""
    settings = path / "study.json"
    if settings.exists():
        kept = _settings(settings)
        if kept != fixed:
            raise DataError(
                f"{path} holds another study ({_difference(kept, fixed)}); "
                "give another folder, or the settings that it was made with"
            )
    elif path.exists() and not path.is_dir():
        raise DataError(f"{path} is a file; a study is stored in a folder")
    elif path.exists() and any(f.suffix != _PARTIAL for f in path.iterdir()):
        raise DataError(f"{path} holds other files; give a new or an empty folder")
    path.mkdir(parents=True, exist_ok=True)


def _settings(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text("utf-8"))
        version, fixed = kept["format"], kept["fixed"]
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{file} cannot be read as a study; give another folder"
        ) from None
    if version != FORMAT:
        raise DataError(
            f"{file} is of format {version} and this version of lossary reads format "
            f"{FORMAT}; give another folder"
        )
    result: dict[str, Any] = fixed
    return result


def _difference(kept: dict[str, Any], fixed: dict[str, Any]) -> str:
    """Name the settings that differ, with both values."""
    keys = [k for k in {**kept, **fixed} if kept.get(k) != fixed.get(k)]
    return "; ".join(f"{k} {kept.get(k)} there, {fixed.get(k)} here" for k in keys)


def _read(path: Path) -> dict[str, Result]:
    found: dict[str, Result] = {}
    file = path / "trials.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    for line in lines:
        try:
            trial = Trial(**json.loads(line))
        except ValueError:  # cut short by a kill
            continue
        predictions = path / "oof" / f"{trial.key}.npz"
        # A failure is on record and is tried again: its cause may have gone.
        if not trial.failure and predictions.exists():
            with np.load(predictions) as kept:
                found[trial.key] = trial, kept["predictions"]
    return found


def _replace(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file as a whole: nobody ever sees a part of it."""
    partial = file.with_name(f"{file.name}.{os.getpid()}{_PARTIAL}")
    with partial.open("wb") as handle:
        write(handle)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(file)


def _append(file: Path, line: str) -> None:
    with file.open("ab+") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            # A kill may have left a line without its end: close it first.
            line = line if handle.read(1) == b"\n" else f"\n{line}"
        handle.write(f"{line}\n".encode())
        handle.flush()
        os.fsync(handle.fileno())
