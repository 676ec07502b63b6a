"""The words and tables of the terminal, readable in 80 columns.

A console that shows them has markup off: names of users are printed as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossary.aliases import elsewhere
from lossary.combination import terms_of
from lossary.loss import Loss
from lossary.parameters import Param
from lossary.report import braille, formula
from lossary.report.curves import is_class_loss, own_curves
from lossary.report.tables import decision_lines, unit

_STYLES = {
    "BETTER": "bold green",
    "LIKELY BETTER": "green",
    "WORSE": "bold red",
    "LIKELY WORSE": "red",
    "FAILED": "bold red",
}
PLOT_WIDTH = 29


def loss_list(losses: Iterable[Loss]) -> RenderableType:
    """List losses by family, each with the line that says what it is."""
    listed = sorted(losses, key=lambda loss: (loss.definition.family, loss.name))
    table = _columns()
    family = None
    for loss in listed:
        if loss.definition.family != family:
            family = loss.definition.family
            if table.row_count:
                table.add_row()
            table.add_row(Text(family, "bold underline"))
        table.add_row(Text(loss.name, "bold"), paragraphs(loss.definition.doc)[0])
    return table


def loss_page(loss: Any) -> RenderableType:
    """Say what a loss is: purpose, formula, facts, names elsewhere, and a plot."""
    single = isinstance(loss, Loss)
    texts = paragraphs(loss.definition.doc) if single else ["A weighted sum of losses."]
    facts = _columns()
    for label, text in _details(loss):
        facts.add_row(Text(label, "cyan"), text)
    title = Text(repr(loss), "bold")
    parts: list[RenderableType] = [title]
    for text in texts:
        parts += [text, ""]
    return Group(*parts, facts, "", *_plots(loss))


def study_page(study: Any) -> RenderableType:
    """Show the decision table, and the verdict in words."""
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("Trained with", overflow="fold")
    table.add_column(f"{unit(study.metric)} ± SE", justify="right", no_wrap=True)
    table.add_column("Difference, interval", justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    failures = []
    for line in decision_lines(study):
        score = f"{line.mean} ± {line.error}" if line.error else line.mean
        change = f"{line.difference} [{line.interval}]" if line.difference else ""
        word = line.verdict or ("FAILED" if line.failures else "")
        shown = Text(word, _STYLES.get(word, "")) if word else Text("control", "dim")
        style = "bold" if line.is_winner else ""
        # A long name is broken before its transform, not anywhere.
        name = re.sub(r"(?<=\S{20})\+(?=\S)", "\n  +", line.loss)
        table.add_row(Text(name, style), score, change, shown)
        failures += [f"{line.loss} failed: {text}" for text in line.failures]
    end: list[RenderableType] = [table, ""]
    if study.baseline is not None:
        end += [f"The best constant: {study.metric.show(study.baseline)}", ""]
    for text in failures:
        end += [text, ""]
    return Group(*end, Text(study.verdict, "bold"))


def paragraphs(doc: str) -> list[str]:
    r"""Give the prose of a docstring, without its sections, a string per paragraph.

    Examples
    --------
    >>> paragraphs("One line.\n\nTwo\nlines.\n\nExamples\n--------\n>>> 1")
    ['One line.', 'Two lines.']
    """
    prose = re.split(r"\n\s*\w+\n\s*-{3,}\n", doc)[0]
    found = [" ".join(text.split()) for text in re.split(r"\n\s*\n", prose)]
    return [text.replace("`", "") for text in found if text] or ["(no description)"]


def _columns() -> Table:
    """Make a plain table of two columns; the first is not wrapped."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    return table


_READABLE = 600  # letters of a formula that anyone would still read


def _details(loss: Any) -> Iterator[tuple[str, str]]:
    yield "Formula", formula.written(loss)
    gradient = formula.written(loss, "gradient")
    if len(gradient) > _READABLE:
        gradient = "a long formula: print loss.latex('gradient')"
    if gradient:
        yield "Gradient", gradient
    if formula.legend(loss):
        yield "Letters", formula.legend(loss)
    first = terms_of(loss)[0][1]
    yield "Target", first.target.phrase
    yield "Prediction", first.prediction.phrase
    if not isinstance(loss, Loss):
        return
    if loss.definition.params:
        yield "Parameters", "; ".join(_parameters(loss))
    yield "Facts", "; ".join(_facts(loss))
    yield from zip(chain(["Elsewhere"], repeat("")), _elsewhere(loss), strict=False)


def _parameters(loss: Loss) -> Iterator[str]:
    for name, param in loss.definition.params.items():
        limits = param.limits if isinstance(param, Param) else ""
        value = loss.parameters[name]
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        yield f"{name} = {shown}" + (f" ({limits})" if limits else "")


def _facts(loss: Loss) -> Iterator[str]:
    facts = loss.facts
    yield "convex" if facts.convex else "not convex"
    if facts.gradient_bound is not None:
        bounded = facts.gradient_bound < float("inf")
        size = f"at most {facts.gradient_bound:.4g}" if bounded else "unbounded"
        yield f"gradient {size}"
    sides = "classes" if is_class_loss(loss) else "sides"
    yield f"both {sides} cost alike" if facts.symmetric else f"{sides} cost differently"
    if facts.elicits:
        yield f"estimates: {facts.elicits}"
    yield f"link: {facts.link}"


def _elsewhere(loss: Loss) -> Iterator[str]:
    """Give the names in other libraries, those of one meaning together."""
    named: dict[str, list[str]] = {}
    for row in elsewhere(loss.name):
        named.setdefault(row.meaning, []).extend(row.names)
    for meaning, names in named.items():
        end = "" if meaning == loss.name else f" = {meaning}"
        yield ", ".join(names) + end


def _plots(loss: Any) -> Iterator[RenderableType]:
    """Draw loss and gradient beside each other, at one target."""
    curve = own_curves(loss)[0]
    word = "label" if is_class_loss(loss) else "target"
    at = f"{word} {curve.target:g}"
    panels = [
        braille.plot(curve.x, [line], PLOT_WIDTH)
        for line in (curve.value, curve.gradient)
    ]
    widths = [len(panel[0]) for panel in panels]
    titles = (f"loss, {at}", f"gradient, {at}")
    low, high = f"{curve.x[0]:g}", f"{curve.x[-1]:g}"
    yield Text(_beside(titles, widths), "bold")
    for pair in zip(*panels, strict=True):
        yield Text(_beside(pair, widths))
    axis = low + f"{high:>{PLOT_WIDTH - len(low)}}"
    yield Text(_beside([f"{axis:>{w}}" for w in widths], widths), "dim")


def _beside(pair: Iterable[str], widths: Iterable[int]) -> str:
    return "   ".join(
        f"{text:<{w}}" for text, w in zip(pair, widths, strict=True)
    ).rstrip()
