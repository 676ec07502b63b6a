"""Pictures of a run: time per item over the size, and ratios to the floor."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import pandas as pd

from speed.cases import VALUE
from speed.results import Row
from speed.targets import LARGE

FEW = ("squared_error", "huber", "binary_cross_entropy", "poisson")


def draw(rows: list[Row], folder: Path, stem: str) -> list[Path]:
    """Write the pictures that the rows are enough for; return their files."""
    if not rows:
        return []
    table = pd.DataFrame(rows)
    table = table[(table.what == VALUE) & (table.dtype == "float32")]
    charts = {"sizes": _sizes(table), "peers": _peers(table)}
    written = []
    for name, chart in charts.items():
        if chart is not None:
            written.append(folder / f"{stem}-{name}.svg")
            chart.save(written[-1])
    return written


def _sizes(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Draw nanoseconds per item over the number of items: flat is linear."""
    some = table[table.loss.isin(FEW) & (table.competitor != "floor, split")].copy()
    if some["items"].nunique() < 2:
        return None
    some["ns"] = 1e6 * some.milliseconds / some["items"]
    lines = (
        alt.Chart(some)
        .mark_line(point=alt.OverlayMarkDef(size=20))
        .encode(
            alt.X("items:Q").scale(type="log").title("items").axis(format="~s"),
            alt.Y("ns:Q").scale(type="log").title("nanoseconds an item"),
            alt.Color("competitor:N").title(None).sort(_order(some)),
        )
        .properties(width=300, height=220)
    )
    title = "Value and gradient, float32: time an item"
    return lines.facet(facet=alt.Facet("loss:N").title(None), columns=2, title=title)


def _peers(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Draw the time of each competitor at the large size, in units of the floor."""
    large = table[(table["items"] >= LARGE // 2) & (table["items"] < 2 * LARGE)]
    large = large[~large.competitor.str.startswith("floor")]
    if large.empty:
        return None
    return (
        alt.Chart(large)
        .mark_point(filled=True, size=45)
        .encode(
            alt.X("of_floor:Q").scale(type="log").title("time in units of the floor"),
            alt.Y("loss:N").title(None).sort(None),
            alt.Color("competitor:N").title(None).sort(_order(large)),
            alt.Shape("written:N").title("formula written out"),
        )
        .properties(width=420, title=f"Value and gradient, float32, {LARGE:,} items")
    )


def _order(table: pd.DataFrame) -> list[str]:
    rest = sorted(set(table.competitor) - {"floor", "lossary"})
    return ["lossary", "floor", *rest]
