"""Figures: losses along the prediction, and the outcome of a comparison.

A figure is an Altair chart. `to_svg` renders it for the page, where ink and paper are
those of the page, in the light and in the dark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lossary.combination import terms_of
from lossary.errors import MissingExtraError, ParameterError
from lossary.report.curves import (
    Curve,
    is_class_loss,
    own_curves,
    shared_curves,
    usual_targets,
    window,
)
from lossary.report.tables import percent, unit

try:
    import altair as alt
    import vl_convert
except ImportError as error:
    raise MissingExtraError(
        f"plots need {error.name}, which is not installed; "
        "pip install 'lossary[compare]' brings it"
    ) from None

# Okabe and Ito (2008), told apart by colour-blind readers; yellow is left out, since
# it is lost on white. Grey is the control's, in every figure.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#848B94"
INK = "#1B1F24"  # replaced by the page's own colour in `to_svg`
FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [1, 3], [10, 4])
ROW_HEIGHT = 34
LETTER = 7.8
DOT: dict[str, Any] = {"size": 110, "filled": True, "opacity": 1}


def colours(names: Sequence[str], control: str | None = None) -> dict[str, str]:
    """Give each loss its colour, the control grey.

    Examples
    --------
    >>> colours(["a", "b"], control="a")
    {'a': '#848B94', 'b': '#0072B2'}
    """
    others = [name for name in names if name != control]
    found = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return {name: found.get(name, GREY) for name in names}


def loss_chart(
    losses: Sequence[Any],
    *,
    targets: Sequence[float] | None = None,
    span: tuple[float, float] | None = None,
    palette: Mapping[str, str] | None = None,
) -> Any:
    """Draw loss and gradient, side by side, over the prediction.

    Parameters
    ----------
    losses : sequence of Loss
        One is drawn over its own prediction. Several share an axis and a scale: each
        starts at its minimum and is divided by its mean absolute gradient.
    targets : sequence of float, optional
        The targets to draw at, a row of panels each (several losses only). Losses
        of classes are drawn for both labels.
    span : pair of float, optional
        The range of the prediction (several losses only).
    palette : mapping of name to colour, optional

    Raises
    ------
    ParameterError
        No loss, or losses of numbers and of classes together.

    Examples
    --------
    >>> import lossary as ls
    >>> chart = loss_chart([ls.huber])
    >>> sorted({row["target"] for row in chart.data.values})
    ['target 0']
    """
    distinct = list({repr(loss): loss for loss in losses}.values())
    if not distinct:
        raise ParameterError("a plot needs at least one loss; got none")
    classes = is_class_loss(distinct[0])
    if any(is_class_loss(loss) != classes for loss in distinct):
        raise ParameterError(
            "losses of numbers and losses of classes share no axis; plot them apart"
        )
    if len(distinct) == 1:
        return _panels(_single(distinct[0]), _axis(distinct[0]), {}, "target")
    plain = {usual_targets(loss) for loss in distinct}
    usual, *_ = plain if len(plain) == 1 else [(1.0, 3.0)]
    ranges = {window(loss) for loss in distinct}
    found = shared_curves(
        distinct,
        usual if classes or targets is None else targets,
        span or (ranges.pop() if len(ranges) == 1 else (0.05, 5.0)),
    )
    colour = dict(palette or colours([repr(loss) for loss in distinct]))
    axis = "score of the class" if classes else "prediction"
    return _panels(_rows(found), axis, colour, "loss", row="target")


def _axis(loss: Any) -> str:
    kind = terms_of(loss)[0][1].prediction
    return f"prediction ({kind.phrase})"


def _single(loss: Any) -> list[dict[str, Any]]:
    return _rows(own_curves(loss))


def _rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """List the points of curves; a point that is not finite breaks the line."""
    found = []
    for curve in curves:
        word = "label" if is_class_loss(curve.loss) else "target"
        shared = {"loss": repr(curve.loss), "target": f"{word} {curve.target:.4g}"}
        points = zip(curve.x, curve.value, curve.gradient, strict=True)
        found += [
            {**shared, "x": _number(x), "value": _number(v), "gradient": _number(g)}
            for x, v, g in points
        ]
    return found


def _number(value: float) -> float | None:
    # Six digits are more than a pixel, and make a small page.
    return float(f"{value:.6g}") if abs(value) < float("inf") else None


def _panels(
    rows: list[dict[str, Any]],
    axis: str,
    colour: Mapping[str, str],
    hue: str,
    row: str | None = None,
) -> Any:
    names = list(dict.fromkeys(r[hue] for r in rows))
    shade = _shade(hue, {**colours(names), **colour}, names)
    targets = list(dict.fromkeys(r["target"] for r in rows)) if row else [None]
    grid = [
        alt.hconcat(
            *(
                _panel(field, shade, _range(rows, field) if row else None)
                .encode(x=_x(axis if at == targets[-1] else None))
                .properties(title=title if at is None else f"{title}, {at}")
                .transform_filter(
                    f"datum.target === {json.dumps(at)}" if at else "true"
                )
                for field, title in (("value", "loss"), ("gradient", "gradient"))
            ),
            spacing=28,
        )
        for at in targets
    ]
    return _styled(alt.vconcat(*grid).properties(data=alt.InlineData(values=rows)))


def _panel(
    field: str, shade: Mapping[str, Any], domain: tuple[float, float] | None
) -> Any:
    scale = alt.Scale(domain=domain) if domain else alt.Scale()
    y = alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=5), scale=scale)
    line = alt.Chart().mark_line(strokeWidth=2, clip=bool(domain))
    return line.encode(y=y, **shade).properties(width=300, height=190)


def _x(title: str | None) -> alt.X:
    return alt.X("x:Q", title=title, scale=alt.Scale(nice=False, zero=False))


def _shade(hue: str, colour: Mapping[str, str], names: list[str]) -> dict[str, Any]:
    """Tell lines apart by colour and by dash: they often lie on top of each other."""
    one = len(names) == 1 and hue == "target"  # an only line needs no legend
    legend = alt.Legend(
        title=None, orient="top", columns=3, symbolType="stroke", columnPadding=20
    )
    dashes = [DASHES[i % len(DASHES)] for i in range(len(names))]
    ranges: dict[str, list[Any]] = {
        "color": [colour[name] for name in names],
        "strokeDash": dashes,
    }
    channels = {"color": alt.Color, "strokeDash": alt.StrokeDash}
    return {
        key: channel(
            f"{hue}:N",
            scale=alt.Scale(domain=names, range=ranges[key]),
            legend=None if one else legend,
        )
        for key, channel in channels.items()
    }


def _range(rows: list[dict[str, Any]], field: str) -> tuple[float, float]:
    """Give all panels one range, in which one steep loss does not flatten the rest."""
    values = sorted(r[field] for r in rows if r[field] is not None)
    cut = len(values) // 50
    return values[cut], values[-1 - cut]


def study_loss_chart(study: Any) -> Any:
    """Draw the candidates of a study at a low and a high target of its data.

    Parameters
    ----------
    study : lossary.workbench.study.Study
    """
    palette: dict[str, str] = {}
    for row in study.table:
        name = repr(study.definitions[row.loss])
        palette.setdefault(name, study_colours(study)[row.loss])
    losses = [study.definitions[name] for name in study.losses]
    facts = study.choice.facts
    if facts.classes:
        return loss_chart(losses, palette=palette)
    low, high = (facts.median + side * facts.robust_scale for side in (-1, 1))
    reach = 2.5 * facts.robust_scale
    span = (facts.median - reach, facts.median + reach)
    return loss_chart(
        losses,
        targets=(max(low, facts.minimum), min(high, facts.maximum)),
        span=(max(span[0], facts.minimum), min(span[1], facts.maximum)),
        palette=palette,
    )


def fold_chart(study: Any) -> Any:
    """Draw the score of every fold, a line per fold from loss to loss.

    Lines that run the same way are a difference that does not hang on the fold.

    Parameters
    ----------
    study : lossary.workbench.study.Study
    """
    shown = [row for row in study.table if row.mean is not None]
    size = percent(study.metric)
    rows = [
        {"loss": row.loss, "place": place, "fold": i, "x": size * score}
        for place, row in enumerate(shown)
        for i, score in enumerate(row.per_fold)
    ]
    means = [{"loss": row.loss, "x": size * row.mean} for row in shown]
    x, y = _measure(unit(study.metric), zero=False), _losses(shown)
    folds = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(color=GREY, strokeWidth=1, opacity=0.6)
        .encode(x=x, y=y, detail="fold:N", order="place:Q")
    )
    points = alt.Chart(alt.InlineData(values=means)).mark_point(**DOT)
    points = points.encode(x=x, y=y, color=_hue(study))
    return _styled((folds + points).properties(**_size(shown)))


def difference_chart(study: Any) -> Any:
    """Draw the difference of every loss to the control, with what counts as none.

    The bar is the interval that the verdict rests on, ticks are folds, and the band
    is the region of practical equivalence.

    Parameters
    ----------
    study : lossary.workbench.study.Study
    """
    shown = [row for row in study.table if row.comparison is not None]
    size = percent(study.metric)
    folds = [
        {"loss": row.loss, "x": size * difference}
        for row in shown
        for difference in row.comparison.fold_differences
    ]
    intervals = [
        {
            "loss": row.loss,
            "x": size * row.comparison.headline.low,
            "high": size * row.comparison.headline.high,
            "mean": size * row.comparison.difference,
        }
        for row in shown
    ]
    rope = size * max((row.comparison.rope for row in shown), default=0.0)
    title = f"{unit(study.metric)}: difference to {study.control}"
    x, y = _measure(title), _losses(shown)

    def layer(values: list[dict[str, Any]]) -> alt.Chart:
        return alt.Chart(alt.InlineData(values=values)).encode(x=x)

    bars = layer(intervals).encode(y=y, color=_hue(study))
    layers = (
        layer([{"x": -rope, "high": rope}])
        .mark_rect(color=GREY, opacity=0.25)
        .encode(x2="high:Q"),
        layer([{"x": 0}]).mark_rule(color=INK, opacity=0.6),
        layer(folds)
        .mark_tick(color=GREY, opacity=0.7, thickness=1.5, size=15)
        .encode(y=y),
        bars.mark_rule(strokeWidth=5, opacity=0.85).encode(x2="high:Q"),
        bars.mark_point(**DOT).encode(x=alt.X("mean:Q")),
    )
    return _styled(alt.layer(*layers).properties(**_size(shown)))


def to_svg(chart: Any, prefix: str = "figure") -> str:
    """Render a chart as an SVG that stands inside a page.

    Parameters
    ----------
    chart : Altair chart
    prefix : str
        Put before every id, so that figures on one page keep to their own.

    Examples
    --------
    >>> import lossary as ls
    >>> svg = to_svg(loss_chart([ls.huber]), "huber")
    >>> svg[:5], 'stroke="currentColor"' in svg, "http://www.w3.org/1999" in svg[80:]
    ('<svg ', True, False)
    """
    svg: str = vl_convert.vegalite_to_svg(chart.to_dict())
    svg = svg.replace(f'"{INK}"', '"currentColor"')
    svg = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", svg, count=2)
    # Ids are counted by the renderer over its whole life; here they start anew.
    ids = list(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))
    for i, old in enumerate(ids):
        svg = re.sub(
            rf'(\bid="|url\(#){re.escape(old)}(?=["\)])', rf"\g<1>{prefix}-{i}", svg
        )
    return re.sub(r' (?:aria-[a-z]+|role|pointer-events)="[^"]*"', "", svg)


def _measure(title: str, *, zero: bool = True) -> alt.X:
    scale = alt.Scale(zero=zero)
    return alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6))


def _losses(rows: Sequence[Any]) -> alt.Y:
    names = [row.loss for row in rows]
    # Room for the widest of the fonts that a page may end up with.
    room = LETTER * max(map(len, names), default=0)
    axis = alt.Axis(
        minExtent=room, labelLimit=room, ticks=False, domain=False, grid=False
    )
    return alt.Y("loss:N", title=None, sort=names, axis=axis)


def _size(rows: Sequence[Any]) -> dict[str, int]:
    return {"width": 440, "height": ROW_HEIGHT * max(1, len(rows))}


def _hue(study: Any) -> alt.Color:
    colour = study_colours(study)
    scale = alt.Scale(domain=list(colour), range=list(colour.values()))
    return alt.Color("loss:N", scale=scale, legend=None)


def study_colours(study: Any) -> dict[str, str]:
    """Give the losses of a study the colours that they have in all its figures."""
    return colours([row.loss for row in study.table], study.control)


def _styled(chart: Any) -> Any:
    return (
        chart.configure(background="transparent", font=FONT, padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            domainColor=INK,
            tickColor=INK,
            gridColor=INK,
            gridOpacity=0.1,
            domainOpacity=0.4,
            tickOpacity=0.4,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(
            labelColor=INK, titleColor=INK, labelFontSize=12, labelLimit=0
        )
        .configure_title(
            color=INK, fontSize=12, fontWeight=600, anchor="start", frame="group"
        )
    )
