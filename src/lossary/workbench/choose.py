"""Which losses to train with for a metric and a target: candidates with reasons.

The knowledge is in ``choose.toml``; here it is held against the data. The theory
is asymptotic and asks for a rich model, so `choose` proposes and `compare` decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from math import inf
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossary.errors import DataError, ParameterError, some_rows
from lossary.kinds import Kind
from lossary.registry import get
from lossary.workbench.facts import TargetFacts, target_facts
from lossary.workbench.metric import Metric, offends
from lossary.workbench.metrics import get_metric
from lossary.workbench.scores import Array

TIERS = {
    "A": "consistent with the metric",
    "B": "calibrated, or consistent after the step named",
    "C": "heuristic",
}
TUNED = ("smearing", "threshold")  # transforms that change what is estimated
HUBER_EFFICIENCY = 1.345  # scales of the error: 95 % efficient under the normal


@dataclass(frozen=True)
class Candidate:
    """A loss worth training with, and why.

    Attributes
    ----------
    loss : str
        As `lossary.get` takes it.
    tier : str
        "A", "B" or "C"; see `TIERS`.
    functional : str
        What the loss estimates.
    transform : str
        What is done to its predictions: "none", "clip", "smearing" or "threshold",
        always fitted inside the training part.
    default : bool
        Whether this is what a library would use unasked: the control.
    """

    loss: str
    tier: str
    functional: str
    transform: str
    precondition: str
    side_effects: str
    reason: str
    citation: str
    default: bool = False

    @property
    def name(self) -> str:
        """The loss, with the transform where there is one."""
        return (
            self.loss if self.transform == "none" else f"{self.loss}+{self.transform}"
        )


@dataclass(frozen=True)
class Refusal:
    """A loss, or the metric itself, that does not fit, and why."""

    subject: str
    reason: str
    citation: str = ""


@dataclass(frozen=True)
class Choice:
    """What `choose` found. Printed, it is a page of plain text."""

    metric: Metric
    facts: TargetFacts
    candidates: tuple[Candidate, ...]
    cautions: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    @property
    def control(self) -> Candidate | None:
        """The library's default, which the others are compared with."""
        return next((c for c in self.candidates if c.default), None)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and text, ready for JSON."""
        return {
            "metric": self.metric.name,
            "facts": self.facts.to_dict(),
            "candidates": [asdict(c) | {"name": c.name} for c in self.candidates],
            "cautions": list(self.cautions),
            "refusals": [asdict(r) for r in self.refusals],
        }

    def __str__(self) -> str:
        return "\n".join(_page(self))


def choose(
    y: ArrayLike, metric: str | Metric = "mape", *, max_candidates: int = 5
) -> Choice:
    """Propose training losses for a metric, from what the target looks like.

    The library's default is always among them, and so are a loss of the best tier
    that the metric has and a proper loss with a tuned transform where the metric
    asks for one. Losses that the target rules out are listed with the reason.

    Parameters
    ----------
    y : array-like, shape (n,)
        The target: numbers, or labels for a metric of classes.
    metric : str or Metric, default "mape"
        As `lossary.workbench.metrics.get_metric` takes it.
    max_candidates : int, default 5
        At least 3.

    Raises
    ------
    DataError
        Missing targets (rows named), or a target that is not of the metric's task.
    NameLookupError
        An unknown metric; the nearest names are given.

    References
    ----------
    Gneiting (2011), Making and evaluating point forecasts, JASA 106.

    Examples
    --------
    >>> [c.loss for c in choose([3.0, 1.0, 2.0], metric="mae").candidates][:2]
    ['absolute_error', 'squared_error']
    """
    if max_candidates < 3:
        raise ParameterError(
            f"max_candidates is at least 3 (default, consistent loss, transform); "
            f"got {max_candidates}"
        )
    metric = get_metric(metric)
    entry = _entry(metric)
    facts = target_facts(y, _task(metric))
    _check_task(metric, facts)
    # Classes are encoded for a loss; numbers are what they are, and may not fit it.
    numbers = np.asarray(y if facts.task == "regression" else [], dtype=np.float64)
    misfit = _misfit(numbers, metric.y_kind)
    if misfit:
        reason = f"{misfit}; choose by {entry['instead']} instead"
        refusal = Refusal(f"metric {metric.name}", reason)
        return Choice(metric, facts, (), (), (refusal,))
    known = _context(metric, facts)
    candidates, refusals = [], []
    for row in _rows_for(facts.task, entry["candidates"]):
        name = row["loss"].partition("(")[0]
        misfit = _misfit(numbers, get(name).target)
        if misfit:
            refusals.append(Refusal(name, misfit))
        elif _holds(row, known):
            candidates.append(_candidate(row, known))
    refusals += [
        Refusal(row["loss"], row["reason"], _cited(row))
        for row in _rows_for(facts.task, entry.get("refused", ()))
    ]
    cautions = tuple(
        row["text"].format(**known)
        for row in entry.get("cautions", ())
        if _holds(row, known)
    )
    chosen = _first(candidates, max_candidates)
    return Choice(metric, facts, chosen, cautions, tuple(refusals))


def _task(metric: Metric) -> str:
    return "regression" if "regression" in metric.tasks else "classification"


def _check_task(metric: Metric, facts: TargetFacts) -> None:
    if facts.task not in metric.tasks:
        raise DataError(
            f"metric {metric.name} is for {' and '.join(metric.tasks)} targets; this "
            f"one has {len(facts.classes)} classes; accuracy, brier and log_loss are "
            "for any number of them"
        )


@cache
def _table() -> dict[str, Any]:
    text = files("lossary.workbench").joinpath("choose.toml").read_text("utf-8")
    return tomllib.loads(text)


def _entry(metric: Metric) -> dict[str, Any]:
    table = _table()
    name = metric.name.partition("(")[0]
    name = table["same_as"].get(name, name)
    if name not in table["metrics"]:
        known = ", ".join(sorted([*table["metrics"], *table["same_as"]]))
        raise ParameterError(
            f"no loss aims at metric {metric.name}; choose by one of {known}"
        )
    entry: dict[str, Any] = table["metrics"][name]
    return entry


def _context(metric: Metric, facts: TargetFacts) -> dict[str, Any]:
    """Collect everything that conditions and texts of the table may mention."""
    known: dict[str, Any] = dict(facts.numbers()) | dict(metric.parameters)
    if facts.classes:
        known["positive"] = facts.classes[-1][0]
    if facts.robust_scale is not None:
        known["huber_delta"] = HUBER_EFFICIENCY * (facts.robust_scale or 1.0)
    if "alpha" in known:
        known["tail_rows"] = facts.n * min(known["alpha"], 1 - known["alpha"])
    return known


def _holds(row: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    return all(
        fact in known
        and bound.get("above", -inf) < known[fact] < bound.get("below", inf)
        for fact, bound in row.get("when", {}).items()
    )


def _loss(name: str) -> dict[str, str]:
    found: dict[str, str] = _table()["losses"][name]
    return found


def _rows_for(task: str, rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if _loss(row["loss"].partition("(")[0]).get("task", "regression") == task:
            yield row


def _misfit(y: Array, kind: Kind) -> str:
    """Say which targets are not of the kind that is needed; nothing if all are."""
    bad = np.flatnonzero(offends(kind, y))
    if not len(bad):
        return ""
    verb = "target is" if len(bad) == 1 else "targets are"
    return f"it takes {kind.phrase}, and {len(bad)} {verb} not ({some_rows(bad)})"


def _cited(row: Mapping[str, Any]) -> str:
    key = row.get("citation") or _loss(row["loss"].partition("(")[0])["citation"]
    found: str = _table()["citations"][key]
    return found


def _candidate(row: Mapping[str, Any], known: Mapping[str, Any]) -> Candidate:
    name = row["loss"].partition("(")[0]
    loss, table = _loss(name), _table()
    transform = row.get("transform", "none")
    task = loss.get("task", "regression")
    spec = row["loss"].format(**known)
    found, numeric = get(spec), task == "regression"
    return Candidate(
        loss=spec,
        tier=row["tier"],
        functional=loss.get("functional", found.definition.elicits),
        transform=transform,
        precondition=f"targets are {found.target.phrase}" if numeric else "",
        side_effects=row.get("side_effects", loss["side_effects"]),
        reason=row["reason"],
        citation=_cited(row),
        default=name == table["defaults"][task] and transform not in TUNED,
    )


def _first(candidates: list[Candidate], most: int) -> tuple[Candidate, ...]:
    """Keep the best, but always the default, a consistent loss and a tuned one."""
    wanted = (
        lambda c: c.default,
        lambda c: c.tier == "A",
        lambda c: c.transform in TUNED,
    )
    musts = [next((c for c in candidates if fits(c)), None) for fits in wanted]
    others = [c for c in candidates if c not in musts]
    kept = [c for c in candidates if c in musts]
    kept += others[: most - len(kept)]
    return tuple(c for c in candidates if c in kept)


def _page(choice: Choice) -> Iterator[str]:
    metric = choice.metric
    yield f"Losses to train with for {metric.title} ({metric.name})"
    yield from _lines("  ", f"The metric rewards: {metric.functional}.")
    yield from _lines("  ", f"The target: {choice.facts}.")
    if choice.candidates:
        yield ""
        yield "Candidates"
    for c in choice.candidates:
        yield from _lines(f"  {c.tier}  ", c.name + ("  (the default)" * c.default))
        yield from _lines("     ", f"{_upper(c.reason)}.")
        yield from _lines("     ", f"Estimates: {c.functional}.")
        if c.transform != "none":
            yield from _lines("     ", f"Then: {_table()['transforms'][c.transform]}.")
        yield from _lines("     ", f"Mind: {c.side_effects}.")
        yield from _lines("     ", f"Source: {c.citation}.")
    if choice.candidates:
        yield from _lines("  ", "; ".join(f"{k}: {v}" for k, v in TIERS.items()) + ".")
    for title, lines in (
        ("Cautions", [f"{_upper(text)}." for text in choice.cautions]),
        ("Refused", [_refused(r) for r in choice.refusals]),
    ):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from _lines("  - ", line)


def _refused(refusal: Refusal) -> str:
    source = f" Source: {refusal.citation}." if refusal.citation else ""
    return f"{refusal.subject}: {refusal.reason}.{source}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lines(lead: str, text: str) -> Iterator[str]:
    yield fill(text, 80, initial_indent=lead, subsequent_indent=" " * len(lead))
