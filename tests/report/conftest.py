"""A study made by hand: real statistics on made-up predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lossary as ls
from lossary.workbench.choose import choose
from lossary.workbench.metrics import get_metric
from lossary.workbench.splits import repeated_splits
from lossary.workbench.statistics import fold_scores, paired_comparison, with_holm
from lossary.workbench.study import Study
from lossary.workbench.table import Row
from lossary.workbench.verdict import judge

BIAS = {"squared_error": 1.0, "absolute_error": 0.97, "absolute_percentage_error": 0.8}
OTHERS = ("rmse", "mae", "bias")


def make_study(name: str = "diabetes", broken: bool = False) -> Study:
    """Judge predictions that are noisy, and biased by loss; one loss may fail."""
    rng = np.random.default_rng(0)
    y = rng.lognormal(5.0, 0.5, 120)
    metric = get_metric("mape")
    splits = repeated_splits(y, folds=3, repeats=2)
    folds = [(s.repeat, s.test) for s in splits]
    noise = rng.lognormal(0.0, 0.3, (2, 120))
    oof = {k: bias * y * noise ** (2 - bias) for k, bias in BIAS.items()}
    scores = {k: fold_scores(metric, y, p, folds) for k, p in oof.items()}
    compared = with_holm(
        paired_comparison(metric, y, oof[k], oof["squared_error"], folds,
                          names=(k, "squared_error"))
        for k in list(BIAS)[1:]
    )  # fmt: skip
    comparisons = dict(zip(list(BIAS)[1:], compared, strict=True))
    rows = [
        Row(
            loss=k,
            mean=float(scores[k].mean()),
            se_corrected=0.01,
            per_fold=tuple(scores[k].tolist()),
            comparison=comparisons.get(k),
            other_metrics={
                m: float(np.mean(fold_scores(m, y, oof[k], folds))) for m in OTHERS
            },
            seconds=0.1,
            failures=(),
            tier="A",
            reason="",
            transform="none",
            complexity=int(k != "squared_error"),
        )
        for k in BIAS
    ]
    rows.sort(key=lambda row: row.mean or 0.0)
    if broken:
        failed = {"mean": None, "se_corrected": None, "comparison": None}
        why = (f"the model trained with {name} predicts NaN",)
        rows.append(
            Row(**{**vars(rows[-1]), **failed, "loss": "huber", "failures": why})
        )
    judgement = judge(metric, rows, "squared_error", lambda a, b: comparisons[a])
    losses = tuple(row.loss for row in rows)
    return Study(
        verdict=judgement.text,
        word=judgement.word,
        winner=judgement.winner,
        table=tuple(rows),
        metric=metric,
        model="lightgbm",
        control="squared_error",
        losses=losses,
        baseline=0.5,
        choice=choose(y, metric),
        data={"name": name, "rows": 120},
        protocol={"folds": 3, "repeats": 2},
        trials=(),
        oof=oof,
        definitions={k: ls.get(k) for k in losses},
        reproduce={"command": f"lossary compare '{name}'", "python": "import lossary"},
    )


@pytest.fixture(scope="session")
def made() -> Callable[..., Study]:
    """Make a study; arguments are those of `make_study`."""
    return make_study


@pytest.fixture(scope="session")
def study() -> Study:
    """The usual one."""
    return make_study()
