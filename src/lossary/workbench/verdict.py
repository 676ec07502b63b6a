"""The verdict of a study: which loss to train with, in one or two plain sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lossary.workbench.metric import Metric
from lossary.workbench.metrics import get_metric
from lossary.workbench.statistics import Comparison, Verdict
from lossary.workbench.table import Row

GAINS = (Verdict.BETTER, Verdict.LIKELY_BETTER)
NOTABLE = 0.01  # other metrics that get worse by a smaller share are not mentioned
BIASED = 0.02  # mean predictions that are off by a smaller share are not mentioned
_ACRONYMS = {"mse", "rmse", "mae", "mape", "msle", "rmsle", "auc"}

Compare = Callable[[str, str], Comparison]


@dataclass(frozen=True)
class Judgement:
    """What a study ends in.

    Attributes
    ----------
    winner : str or None
        The loss to train with; None where nothing could be judged.
    word : Verdict or None
        Of the comparison that the text is about.
    text : str
    """

    winner: str | None
    word: Verdict | None
    text: str


def short(metric: Metric) -> str:
    """Name a metric briefly, the way people say it.

    Examples
    --------
    >>> short(get_metric("mape")), short(get_metric("poisson"))
    ('MAPE', 'Poisson deviance')
    """
    if metric.name in _ACRONYMS:
        return metric.name.upper()
    return metric.title.partition(" (")[0]


def judge(
    metric: Metric,
    rows: Sequence[Row],
    control: str,
    baseline: float | None,
    compare: Compare,
) -> Judgement:
    """Judge a table.

    The control is kept unless a loss is better, or likely so; among those that are
    better the simplest within one standard error of the best is taken.

    Parameters
    ----------
    metric : Metric
    rows : sequence of Row
        Best first.
    control : str
    baseline : float or None
        The score of the best constant prediction.
    compare : callable
        ``(loss, other) -> Comparison``.

    References
    ----------
    Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees:
    the one-standard-error rule.
    """
    base = next(row for row in rows if row.loss == control)
    if base.mean is None:
        text = (
            f"{control}, the control, failed: {base.failures[0].rstrip('.')}. Nothing "
            "can be compared with it; name another control."
        )
        return Judgement(None, None, text)
    judged = _judged(metric, rows, base, compare)
    if baseline is None or _beats(metric, rows[0].mean, baseline):
        return judged
    text = (
        f"No loss beats the best constant prediction, {metric.show(baseline)}, so "
        f"mind the model before its loss. {judged.text}"
    )
    return replace(judged, text=text)


def _beats(metric: Metric, mean: float | None, baseline: float) -> bool:
    if mean is None:
        return False
    return mean > baseline if metric.greater_is_better else mean < baseline


def _judged(
    metric: Metric, rows: Sequence[Row], base: Row, compare: Compare
) -> Judgement:
    assert base.mean is not None
    rivals = [row for row in rows if row.comparison is not None]
    if not rivals:
        text = f"Keep {base.loss}, with {short(metric)} {metric.show(base.mean)}: "
        return Judgement(base.loss, None, text + "no other loss could be compared.")
    for word in GAINS:
        gained = [row for row in rivals if _word(row) == word]
        if gained:
            return _gain(metric, _simplest(gained, compare), base)
    return _keep(metric, base, rivals)


def _word(row: Row) -> Verdict:
    assert row.comparison is not None
    return row.comparison.verdict


def _simplest(gained: Sequence[Row], compare: Compare) -> Row:
    """Apply the one-standard-error rule to losses that are better than the control."""
    best = gained[0]
    for row in sorted(gained, key=lambda r: r.complexity):
        if row.complexity < best.complexity:
            paired = compare(row.loss, best.loss).corrected
            if abs(paired.mean) <= paired.standard_error:
                return row
    return best


def _gain(metric: Metric, row: Row, base: Row) -> Judgement:
    assert row.comparison is not None and row.mean is not None and base.mean is not None
    text = (
        f"Train with {row.loss}: {short(metric)} {metric.show(row.mean)} against "
        f"{metric.show(base.mean)} for {base.loss}, {_effect(row.comparison)}"
    )
    costs = _costs(row, base)
    return Judgement(row.loss, _word(row), f"{text} {costs}" if costs else text)


def _keep(metric: Metric, base: Row, rivals: Sequence[Row]) -> Judgement:
    row = rivals[0]
    comparison = row.comparison
    assert comparison is not None and row.mean is not None and base.mean is not None
    said = f"{row.loss} is not shown to be better. It has"
    if len(rivals) > 1:
        said = f"no other loss is shown to be better. The best of them, {row.loss}, has"
    text = (
        f"Keep {base.loss}, with {short(metric)} {metric.show(base.mean)}: {said} "
        f"{metric.show(row.mean)}, {_effect(comparison)}"
    )
    if comparison.remedy:
        text = f"{text.removesuffix('.')}; {comparison.remedy}."
    return Judgement(base.loss, comparison.verdict, text)


def _effect(comparison: Comparison) -> str:
    """Say how large a difference is and how sure: size, interval and word."""
    metric, d = comparison.metric, comparison.difference
    low, high = comparison.headline.low, comparison.headline.high
    level = f"{100 * comparison.level:g} % interval"
    if low * high > 0:
        near, far = sorted((abs(low), abs(high)))
        interval = f"{metric.show(near).removesuffix(' %')} to {metric.show(far)}"
    else:
        interval = f"{_side(metric, low)} to {_side(metric, high)}"
    return f"{_side(metric, d)} ({level} {interval}): {comparison.verdict}."


def _side(metric: Metric, d: float) -> str:
    if not d:
        return "no difference"
    size = metric.show(abs(d), difference=True)
    return f"{size} {'lower' if d < 0 else 'higher'}"


def _costs(row: Row, base: Row) -> str:
    """Say what a loss costs elsewhere: the first metric that gets worse, and bias."""
    worse = (_worsening(name, row, base) for name in row.other_metrics)
    cost = next(filter(None, worse), "")
    parts = [f"costs {cost}"] if cost else []
    bias = row.other_metrics.get("bias")
    if bias is not None and abs(bias - 1) > BIASED:
        direction = "low" if bias < 1 else "high"
        parts.append(f"predicts {100 * abs(bias - 1):.0f} % {direction} on average")
    return f"It {' and '.join(parts)}." if parts else ""


def _worsening(name: str, row: Row, base: Row) -> str:
    metric = get_metric(name)
    before, after = base.other_metrics[name], row.other_metrics[name]
    if metric.greater_is_better is None or before is None or after is None:
        return ""
    worse = before - after if metric.greater_is_better else after - before
    if worse <= NOTABLE * abs(before):
        return ""
    return f"{metric.show(worse, difference=True)} in {short(metric)}"
