"""Pictures of a run: time per item over the size, peers, and ratios to the floor."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import pandas as pd

from speed.cases import VALUE
from speed.results import Row
from speed.targets import LARGE

FEW = ("squared_error", "huber", "binary_cross_entropy", "poisson")
SPLIT = "floor, split"

COLORS = {
    "lossary": "#d62728",
    "lossary, tensors": "#ff9896",
    "floor": "black",
    SPLIT: "#9a9a9a",
    "NumPy": "#8c564b",
    "PyTorch": "#ff7f0e",
    "torch.compile": "#bcbd22",
    "JAX": "#1f77b4",
    "TensorFlow XLA": "#2ca02c",
    "scikit-learn": "#9467bd",
}


def draw(rows: list[Row], folder: Path, stem: str) -> list[Path]:
    """Write the pictures that the rows are enough for; return their files."""
    if not rows:
        return []
    table = pd.DataFrame(rows)
    large = table[table["items"].between(LARGE // 2, 2 * LARGE)]
    charts = {
        "sizes": _sizes(_usual(table)),
        "peers": _peers(_usual(large)),
        "floor": _floor(large),
    }
    written = []
    for name, chart in charts.items():
        if chart is not None:
            written.append(folder / f"{stem}-{name}.svg")
            chart.save(written[-1])
    return written


def _usual(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table.what == VALUE) & (table.dtype == "float32")]


def _color(table: pd.DataFrame) -> alt.Color:
    here = [name for name in COLORS if name in set(table.competitor)]
    colors = [COLORS[name] for name in here]
    return alt.Color("competitor:N").title(None).scale(domain=here, range=colors)


def _sizes(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Draw nanoseconds per item over the number of items: flat is linear."""
    some = table[table.loss.isin(FEW)].copy()
    if some["items"].nunique() < 2:
        return None
    some["ns"] = 1e6 * some.milliseconds / some["items"]
    lines: alt.Chart = (
        alt.Chart(some)
        .mark_line(point=alt.OverlayMarkDef(size=25))
        .encode(
            alt.X("items:Q")
            .scale(type="log")
            .title("items")
            .axis(format="~s", values=[10**i for i in range(2, 9)]),
            alt.Y("ns:Q")
            .scale(type="log")
            .title("nanoseconds an item")
            .axis(format="~g", values=[10.0**i for i in range(-2, 7)]),
            _color(some),
        )
        .properties(width=340, height=260)
    )
    title = "Value + gradient, float32: time an item, where a flat line is linear cost"
    facet = alt.Facet("loss:N").title(None).sort(list(FEW))
    return lines.facet(facet=facet, columns=2, title=title)


def _peers(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Draw the time of each competitor at the large size, in units of the floor."""
    table = table[table.competitor != "floor"]
    if table.empty:
        return None
    points: alt.Chart = (
        alt.Chart(table)
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(
            alt.X("of_floor:Q")
            .scale(type="log", nice=False, padding=12)
            .title("time in units of the floor, np.add over the same bytes")
            .axis(format="~g", values=[0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]),
            alt.Y("loss:N").title(None).sort(None).axis(grid=True, labelLimit=300),
            _color(table),
            alt.Shape("written:N")
            .title("formula written out")
            .scale(domain=[False, True], range=["circle", "triangle-up"]),
        )
        .properties(width=560, height=alt.Step(17))
    )
    title = f"Value + gradient, float32, {LARGE:,} items"
    return (_line_at_one() + points).properties(title=title)


def _floor(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Draw our ratio to the floor at the large size, beside what was promised."""
    ours = table[(table.competitor == "lossary") & table.target.notna()].copy()
    if ours.empty:
        return None
    ours["what"] = ours.what + ", " + ours.dtype
    base = alt.Chart(ours).encode(
        alt.Y("loss:N").title(None).sort(None).axis(labelLimit=300)
    )
    bars = base.mark_bar(height=9).encode(
        alt.X("of_floor:Q").title("time in units of the floor"),
        alt.Color("met:N")
        .title("within the target (tick)")
        .scale(domain=[True, False], range=["#4c78a8", "#e45756"]),
    )
    ticks = base.mark_tick(color="black", thickness=2, size=14).encode(x="target:Q")
    layers = alt.layer(bars, ticks).properties(width=230, height=alt.Step(15))
    facet = alt.Facet("what:N").title(None).sort(None)
    title = f"lossary against its floor, {LARGE:,} items"
    charts: alt.FacetChart = layers.facet(
        facet=facet, columns=2, title=title
    ).resolve_scale(y="independent")
    return charts


def _line_at_one() -> alt.Chart:
    one = alt.Chart(pd.DataFrame({"of_floor": [1]}))
    line: alt.Chart = one.mark_rule(color="black").encode(x="of_floor:Q")
    return line
