"""The tables of a study as text: one set of rows for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossary.workbench.metric import Metric
from lossary.workbench.metrics import get_metric
from lossary.workbench.verdict import short

MINUS = "−"
NONE = "–"


@dataclass(frozen=True)
class Line:
    """One loss of the decision table, every cell as text; empty where none applies."""

    loss: str
    tier: str
    is_control: bool
    is_winner: bool
    mean: str
    error: str
    difference: str
    interval: str
    p: str
    won: str
    worse: str
    same: str
    better: str
    verdict: str
    sentence: str
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """One loss in the table of other metrics: (value, change to the control)."""

    loss: str
    is_winner: bool
    cells: tuple[tuple[str, str], ...]
    seconds: str


def unit(metric: Metric) -> str:
    """Name a metric for the head of a column, with the unit of its numbers.

    Examples
    --------
    >>> unit(get_metric("mape")), unit(get_metric("rmse"))
    ('MAPE, %', 'RMSE')
    """
    return short(metric) + (", %" if metric.unit == "percent" else "")


def percent(metric: Metric) -> int:
    """Give what the numbers of a metric are multiplied by to be shown."""
    return 100 if metric.unit == "percent" else 1


def decision_lines(study: Any) -> list[Line]:
    """Write the decision table, a line per loss, best first."""
    digits = _Digits(study.metric, _decimals(study))
    return [_line(study, row, digits) for row in study.table]


def cost_table(study: Any) -> tuple[list[str], list[Cost]]:
    """Write the table of other metrics: the heads of its columns, and its lines."""
    names = list(study.table[0].other_metrics)
    metrics = [get_metric(name) for name in names]
    base = next(row for row in study.table if row.loss == study.control)
    columns = [
        _Digits(m, _four([row.other_metrics[m.name] for row in study.table], m))
        for m in metrics
    ]
    lines = []
    for row in study.table:
        cells = tuple(
            (
                digits(row.other_metrics[name]),
                ""
                if row is base
                else _change(row.other_metrics[name], base.other_metrics[name]),
            )
            for name, digits in zip(names, columns, strict=True)
        )
        seconds = f"{row.seconds:.2f}"
        lines.append(Cost(row.loss, row.loss == study.winner, cells, seconds))
    return [unit(m) for m in metrics], lines


def _decimals(study: Any) -> int:
    """Give the decimals that show two digits of the smallest error in the table."""
    errors = [row.se_corrected for row in study.table]
    errors += [c.headline.width / 4 for c in (r.comparison for r in study.table) if c]
    known = [e * percent(study.metric) for e in errors if e]
    return _places(min(known, default=1.0), 2)


def _four(values: Iterable[float | None], metric: Metric) -> int:
    """Give the decimals that show four digits of the largest value."""
    sizes = [abs(v) * percent(metric) for v in values if v and math.isfinite(v)]
    return _places(max(sizes, default=1.0), 4)


def _places(size: float, digits: int) -> int:
    return min(6, max(0, digits - 1 - math.floor(math.log10(size))))


class _Digits:
    """Prints the numbers of one column with the same decimals."""

    def __init__(self, metric: Metric, decimals: int) -> None:
        self.scale = percent(metric)
        self.decimals = decimals

    def __call__(self, value: float | None, sign: str = "") -> str:
        if value is None:
            return NONE
        text = f"{value * self.scale:{sign},.{self.decimals}f}"
        return text.replace("-", MINUS).replace(",", "\u2009")


def _line(study: Any, row: Any, digits: _Digits) -> Line:
    c = row.comparison
    worse, same, better = (f"{100 * p:.0f}" for p in c.probabilities) if c else [""] * 3
    return Line(
        loss=row.loss,
        tier=row.tier,
        is_control=row.loss == study.control,
        is_winner=row.loss == study.winner,
        mean="" if row.mean is None else digits(row.mean),
        error="" if row.se_corrected is None else digits(row.se_corrected),
        difference=digits(c.difference, "+") if c else "",
        interval=_interval(c, digits) if c else "",
        p=_p(c.p if c.p_holm is None else c.p_holm) if c else "",
        won=_won(c) if c else "",
        worse=worse,
        same=same,
        better=better,
        verdict=str(c.verdict) if c else "",
        sentence=c.sentence if c else "",
        failures=tuple(row.failures),
    )


def _interval(comparison: Any, digits: _Digits) -> str:
    low, high = comparison.headline.low, comparison.headline.high
    return f"{digits(low, '+')} to {digits(high, '+')}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _won(comparison: Any) -> str:
    """Count the folds on which the candidate was ahead."""
    sign = 1 if comparison.metric.greater_is_better else -1
    ahead = sum(sign * d > 0 for d in comparison.fold_differences)
    return f"{ahead}/{len(comparison.fold_differences)}"


def _change(value: float | None, base: float | None) -> str:
    if value is None or not base:
        return ""
    share = 100 * (value - base) / abs(base)
    return "0 %" if round(share, 1) == 0 else f"{share:+.1f} %".replace("-", MINUS)
