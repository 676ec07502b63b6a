"""What was found: printed, and kept in files as it comes."""

from __future__ import annotations

import csv
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from math import floor, log10
from pathlib import Path
from statistics import median
from textwrap import fill

from speed.cases import Case
from speed.targets import of_floor, of_peer, reason


@dataclass(frozen=True)
class Row:
    """One competitor at one case and size."""

    loss: str
    what: str
    dtype: str
    items: int
    competitor: str
    milliseconds: float
    of_floor: float
    of_ours: float
    target: float | None
    met: bool
    written: bool
    first_call_s: float


def processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found[1].strip() if found else platform.machine()


def slug(name: str) -> str:
    """Return a name as a part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@dataclass
class Results:
    """A text and a table of a run, in a folder, under the processor's name.

    Attributes
    ----------
    folder
        Where they go.
    rows
        What was found so far.
    failed
        What could not be measured.
    columns
        The competitors of the table that is being printed.
    """

    folder: Path
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"kernels-{slug(processor())}"
        self.text, self.table = (self.folder / f"{stem}{x}" for x in (".txt", ".csv"))
        self.text.write_text("")
        with self.table.open("w", newline="") as file:
            csv.writer(file).writerow(f.name for f in fields(Row))

    def say(self, line: str = "") -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        with self.text.open("a") as file:
            file.write(line + "\n")

    def add(self, found: Iterable[Row]) -> None:
        """Keep rows."""
        new = list(found)
        self.rows += new
        with self.table.open("a", newline="") as file:
            csv.writer(file).writerows(asdict(row).values() for row in new)

    def head(self, text: str, competitors: Iterable[str]) -> None:
        """Print the heading of a table with a column for each competitor."""
        self.columns = list(competitors)
        names = [HEADS.get(name, name) for name in self.columns]
        cells = "".join(f"{name:>{WIDTH}}" for name in names)
        self.say(f"\n{text}")
        self.say(f"{'':{NAME}}{'items':>7}{'ms':>8}{'floor':>8}{'split':>6}{cells}")

    def show(self, rows: list[Row]) -> None:
        """Print the rows of one case and size as one line."""
        found = {row.competitor: row for row in rows}
        ours, split = found["lossary"], found.get("floor, split")
        cells = [
            f"{ours.loss:{NAME}}{short(ours.items):>7}{figures(ours.milliseconds):>8}",
            _cell(ours, ours.of_floor, 8),
            f"{figures(split.of_floor) if split else '':>6}",
        ]
        for name in self.columns:
            row = found.get(name)
            cells.append(_cell(row, row.of_ours, WIDTH) if row else f"{'-':>{WIDTH}}")
        self.say("".join(cells).rstrip())


NAME, WIDTH = 37, 8
HEADS = {
    "torch.compile": "compile",
    "TensorFlow XLA": "TF XLA",
    "scikit-learn": "sklearn",
    "lossary, tensors": "tensors",
}
"""What stands over a column of eight characters."""


def figures(number: float) -> str:
    """Print a number with three figures or more, and no exponent."""
    return f"{number:.{max(0, 2 - max(-3, floor(log10(max(number, 1e-9)))))}f}"


def short(items: int) -> str:
    """Print a number of items."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if items >= size:
            return f"{items / size:.3g}{unit}"
    return str(items)


def _cell(row: Row, ratio: float, width: int) -> str:
    """Print a ratio; the last place of its column is for the mark of a miss."""
    mark = " " if row.met else "!"
    return f"{'~' * row.written + figures(ratio) + mark:>{width}}"


def rows_of(
    case: Case,
    seconds: dict[str, float],
    written: dict[str, bool],
    first: dict[str, float],
) -> list[Row]:
    """Return what was measured of a case, beside what was promised."""
    found = []
    for name, time in seconds.items():
        of_ours, ratio = time / seconds["lossary"], time / seconds["floor"]
        target, met = None, True
        if name == "lossary":
            target = of_floor(case)
            met = target is None or ratio <= target
        elif not name.startswith(("floor", "lossary")):
            target = of_peer(case, name, written[name])
            met = target is None or of_ours >= target
        found.append(
            Row(case.name, case.what, case.dtype, case.items, name, 1e3 * time, ratio,
                of_ours, target, met, written.get(name, False), first.get(name, 0.0))
        )  # fmt: skip
    return found


def summary(results: Results) -> None:
    """Print what was missed and why, and how long the peers' first calls took."""
    _misses(results)
    for sentence in results.failed:
        results.say(f"Failed: {sentence}")
    results.say("\nFirst calls, compilation included, nothing kept on disk (s)")
    results.say(f"  {'':18}{'median':>8}{'longest':>9}{'together':>10}")
    first: dict[str, list[float]] = {}
    for row in results.rows:
        if row.first_call_s:
            first.setdefault(row.competitor, []).append(row.first_call_s)
    for name, times in first.items():
        line = f"  {name:18}{median(times):8.3f}{max(times):9.3f}{sum(times):10.1f}"
        results.say(line)


def _misses(results: Results) -> None:
    """Print what was missed: a line for a loss and a rival, and the reason."""
    promised = sum(row.target is not None for row in results.rows)
    missed: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in results.rows:
        if not row.met:
            against = "floor" if row.competitor == "lossary" else row.competitor
            key = row.loss, row.what, row.dtype, against
            missed.setdefault(key, []).append(row)
    number = sum(map(len, missed.values()))
    results.say(f"\nMissed: {number} of {promised} promises")
    table = None
    for key, rows in missed.items():
        if table != (table := key[1:3]):
            results.say(f"  {', '.join(table)}")
        why = reason(*key)
        line = f"    {key[0]:{NAME}}{', '.join(map(_sentence, rows))}"
        results.say(line if why else f"{line}: no reason found yet")
        if why:
            margin = " " * 8
            results.say(fill(why, 112, initial_indent=margin, subsequent_indent=margin))


def _sentence(row: Row) -> str:
    where = f"at {short(row.items)} (promised {row.target:g})"
    if row.competitor == "lossary":
        return f"{figures(row.of_floor)} of the floor {where}"
    return f"{row.competitor} takes {figures(row.of_ours)} of ours {where}"
