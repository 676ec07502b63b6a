"""What was found: printed, and kept in files as it comes."""

from __future__ import annotations

import csv
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median

from speed.cases import Case
from speed.targets import of_floor, of_peer


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
    """

    folder: Path
    rows: list[Row] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

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

    def show(self, rows: list[Row]) -> None:
        """Print the rows of one case and size as one line."""
        ours = next(row for row in rows if row.competitor == "lossary")
        head = f"{ours.loss:46}{ours.items:12,}{ours.milliseconds:11.4f} ms"
        floor = f"{ours.of_floor:6.2f}x floor{_limit(ours, '<=')}"
        rest = []
        for row in rows:
            if row.competitor == "floor, split":
                rest.append(f"split floor {row.of_floor:.2f}")
            elif row.competitor not in ("floor", "lossary"):
                sign = "~" if row.written else ""
                rest.append(f"{sign}{row.competitor} {row.of_ours:.2f}{_limit(row)}")
        self.say(f"{head}{floor:26}{'  '.join(rest)}")
        for row in rows:
            if not row.met:
                self.missed.append(_sentence(row))


def _limit(row: Row, sign: str = ">=") -> str:
    """Print a target that was missed."""
    return "" if row.met else f" (MISSED {sign} {row.target:g})"


def _sentence(row: Row) -> str:
    where = f"{row.loss}, {row.what}, {row.dtype}, {row.items:,} items"
    if row.competitor == "lossary":
        return f"{where}: {row.of_floor:.2f}x the floor, at most {row.target:g}x"
    return f"{where}: {row.competitor} takes {row.of_ours:.2f}x of our time"


def rows_of(
    case: Case,
    seconds: dict[str, float],
    written: dict[str, bool],
    first: dict[str, float],
) -> list[Row]:
    """Return what was measured of a case, beside what was promised."""
    found = []
    for name, time in seconds.items():
        of_ours, floor = time / seconds["lossary"], time / seconds["floor"]
        target, met = None, True
        if name == "lossary":
            target = of_floor(case)
            met = target is None or floor <= target
        elif not name.startswith("floor"):
            target = of_peer(case, name, written[name])
            met = target is None or of_ours >= target
        found.append(
            Row(case.name, case.what, case.dtype, case.items, name, 1e3 * time, floor,
                of_ours, target, met, written.get(name, False), first.get(name, 0.0))
        )  # fmt: skip
    return found


def summary(results: Results) -> None:
    """Print what was missed, and how long the peers' first calls took."""
    results.say(f"\nMissed: {len(results.missed) or 'nothing'}")
    for sentence in results.missed:
        results.say(f"  {sentence}")
    results.say("\nFirst calls, compilation included (median and longest, s)")
    first: dict[str, list[float]] = {}
    for row in results.rows:
        if row.first_call_s:
            first.setdefault(row.competitor, []).append(row.first_call_s)
    for name, times in first.items():
        results.say(f"  {name:18}{median(times):8.3f}{max(times):8.3f}")
