"""The record of a finished comparison: what a report, a terminal and JSON show."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

from lossary.workbench.arms import AnyLoss
from lossary.workbench.choose import Choice, Refusal
from lossary.workbench.metric import Metric
from lossary.workbench.scores import Array
from lossary.workbench.statistics import Verdict
from lossary.workbench.table import Row
from lossary.workbench.trial import Trial
from lossary.workbench.verdict import short


@dataclass(frozen=True, eq=False)
class Study:
    """What `lossary.compare` found. Printed, it is the verdict and the table.

    Attributes
    ----------
    verdict : str
        One or two sentences: which loss to train with, how sure that is, and what
        it costs.
    word : Verdict or None
        The word of the verdict; None where nothing could be compared.
    winner : str or None
        The loss to train with.
    table : tuple of Row
        A row per loss, best first, failed ones last.
    metric : Metric
    model, control : str
    losses : tuple of str
        In the order in which they were asked for.
    baseline : float or None
        The metric of the best constant prediction.
    choice : Choice
        What `lossary.choose` says of this target and metric.
    data, protocol : dict
        What was compared on, and how: plain numbers and text.
    trials : tuple of Trial
        A record per loss, repeat and fold.
    oof : dict
        Loss → out-of-fold predictions on the response scale, transform applied, of
        shape (repeats, n) or (repeats, n, classes); NaN where a trial failed.
    definitions : dict
        Loss → the `Loss` that was trained.
    reproduce : dict
        "command" (empty where the data has no path) and "python".
    path : Path or None
        The folder that the trials are stored in.
    """

    verdict: str
    word: Verdict | None
    winner: str | None
    table: tuple[Row, ...]
    metric: Metric
    model: str
    control: str
    losses: tuple[str, ...]
    baseline: float | None
    choice: Choice
    data: Mapping[str, Any]
    protocol: Mapping[str, Any]
    trials: tuple[Trial, ...] = field(repr=False)
    oof: Mapping[str, Array] = field(repr=False)
    definitions: Mapping[str, AnyLoss] = field(repr=False)
    reproduce: Mapping[str, str] = field(repr=False)
    path: Path | None = None

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """Losses that do not fit the target or the metric, with the reason."""
        return self.choice.refusals

    def to_html(self, path: str | Path) -> Path:
        """Write the report: one page that needs no network.

        Parameters
        ----------
        path : str or Path
            Such as ``"report.html"``.
        """
        # The report stands above the workbench, so it is reached by name.
        page: str = importlib.import_module("lossary.report.page").render(self)
        file = Path(path)
        file.write_text(page, encoding="utf-8")
        return file

    def to_dict(self) -> dict[str, Any]:
        """Give everything but predictions as plain numbers and text, ready for JSON."""
        return {
            "verdict": self.verdict,
            "word": None if self.word is None else str(self.word),
            "winner": self.winner,
            "metric": self.metric.name,
            "model": self.model,
            "control": self.control,
            "losses": list(self.losses),
            "baseline": self.baseline,
            "table": [row.to_dict() for row in self.table],
            "data": dict(self.data),
            "protocol": dict(self.protocol),
            "choice": self.choice.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "reproduce": dict(self.reproduce),
        }

    def __str__(self) -> str:
        return "\n".join(_page(self))


def _page(study: Study) -> Iterator[str]:
    metric = study.metric
    yield fill(study.verdict, 80)
    yield ""
    width = max(len(row.loss) for row in study.table)
    yield f"{'loss':{width}}  {short(metric):>16}  difference to {study.control}"
    for row in study.table:
        score = _with_error(metric, row)
        compared = "" if row.comparison is None else _difference(row)
        yield f"{row.loss:{width}}  {score:>16}  {compared}".rstrip()
    if study.baseline is not None:
        name = "constant"
        yield f"{name:{width}}  {metric.show(study.baseline):>16}"
    for row in study.table:
        for failure in row.failures:
            yield fill(f"{row.loss} failed: {failure}", 80, subsequent_indent="  ")


def _with_error(metric: Metric, row: Row) -> str:
    if row.mean is None or row.se_corrected is None:
        return "failed"
    return f"{metric.show(row.mean)} ± {metric.show(row.se_corrected)}"


def _difference(row: Row) -> str:
    comparison = row.comparison
    assert comparison is not None
    scale = 100 if comparison.metric.unit == "percent" else 1
    headline = comparison.headline
    shown = (comparison.difference, headline.low, headline.high)
    d, low, high = (f"{scale * x:+.3g}" for x in shown)
    return f"{d} [{low}, {high}] {comparison.verdict}"
