"""The report of a study: one page that needs no network and no JavaScript.

The same study gives the same bytes: no time of day, no random id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossary.report import plots
from lossary.report.tables import cost_table, decision_lines, unit
from lossary.workbench.choose import TIERS

# Tones of the verdict's word; the word itself is always written out.
_TONES = {
    "BETTER": "good",
    "LIKELY BETTER": "good",
    "WORSE": "bad",
    "LIKELY WORSE": "bad",
}


def render(study: Any) -> str:
    """Write the report of a study as HTML.

    Parameters
    ----------
    study : lossary.workbench.study.Study

    Returns
    -------
    str
        A whole page. Everything that comes from the user is escaped, and no value
        of a row is shown.
    """
    environment = Environment(
        loader=PackageLoader("lossary.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sentence": sentence, "tied": tied}
    template = environment.get_template("page.html.j2")
    heads, costs = cost_table(study)
    headline, more = split_verdict(study.verdict)
    return template.render(
        study=study,
        unit=unit(study.metric),
        tone=tone,
        lines=decision_lines(study),
        rope=_rope(study),
        level=_level(study),
        cost_heads=heads,
        costs=costs,
        figures=_figures(study),
        tiers=TIERS,
        colours=plots.study_colours(study),
        facts=list(_protocol(study)),
        headline=headline,
        more=more,
    )


def tone(word: object) -> str:
    """Give the tone of a verdict's word: good, bad or plain.

    Examples
    --------
    >>> tone("BETTER"), tone("EQUIVALENT")
    ('good', 'plain')
    """
    return _TONES.get(str(word), "plain")


def split_verdict(text: str) -> tuple[str, str]:
    """Split a verdict after its first sentence.

    Examples
    --------
    >>> split_verdict("Train with a: 0.1 lower. It costs 0.2.")
    ('Train with a: 0.1 lower.', 'It costs 0.2.')
    """
    first, *rest = re.split(r"(?<=\.) (?=[A-Z])", text, maxsplit=1)
    return first, " ".join(rest)


def sentence(text: str) -> str:
    """Begin with a capital, end with a stop, and leave the rest as it is.

    Examples
    --------
    >>> sentence("the mean of MAPE")
    'The mean of MAPE.'
    """
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def tied(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\u00a0%")


def _comparisons(study: Any) -> list[Any]:
    return [row.comparison for row in study.table if row.comparison is not None]


def _rope(study: Any) -> str:
    found = _comparisons(study)
    return study.metric.show(found[0].rope, difference=True) if found else ""


def _level(study: Any) -> str:
    found = _comparisons(study)
    return f"{100 * found[0].level:g} %" if found else ""


def _figures(study: Any) -> dict[str, Markup]:
    """Draw what there is to draw; a figure without data is left out."""
    charts = {}
    if any(row.mean is not None for row in study.table):
        charts["folds"] = plots.fold_chart(study)
    if _comparisons(study):
        charts["differences"] = plots.difference_chart(study)
    charts["losses"] = plots.study_loss_chart(study)
    # The SVG is ours, and what the user wrote is escaped in it.
    return {k: Markup(plots.to_svg(chart, k)) for k, chart in charts.items()}


def _protocol(study: Any) -> Iterator[tuple[str, str]]:
    """State what an honest report must state, as label and text."""
    metric = study.metric
    better = "higher" if metric.greater_is_better else "lower"
    yield "Metric", f"{metric.title} ({metric.name}); {better} is better"
    yield "It rewards", metric.functional
    yield from _told(study.data)
    yield "Target values", str(study.choice.facts)
    yield "Model", study.model
    yield from _told(study.protocol)
    if study.baseline is not None:
        shown = metric.show(study.baseline)
        yield "Best constant prediction", f"{shown}, fitted on each training part"
    if _rope(study):
        yield "Counts as no difference", f"up to {_rope(study)}"


def _told(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if value in (None, "", [], (), {}):
            continue
        label = key.replace("_", " ")
        yield label[:1].upper() + label[1:], _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
