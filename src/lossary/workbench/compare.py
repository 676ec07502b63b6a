"""Comparing training losses on one data set: same splits, same seeds, honest errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError
from lossary.workbench.arms import AnyLoss, load_loss, make_arms
from lossary.workbench.baseline import baseline
from lossary.workbench.choose import Choice, choose
from lossary.workbench.data import Dataset, load
from lossary.workbench.metric import Metric
from lossary.workbench.metrics import get_metric
from lossary.workbench.models import Model, get_model
from lossary.workbench.plan import Plan
from lossary.workbench.store import Result, Store
from lossary.workbench.study import Study
from lossary.workbench.table import Results, decision_table
from lossary.workbench.trial import run_trial
from lossary.workbench.verdict import judge

__all__ = ["compare", "load_loss"]

Progress = Callable[[int, int, str], None]


def compare(
    X: Any,
    y: Any = None,
    *,
    target: str | None = None,
    metric: str | Metric,
    model: str | Model = "lightgbm",
    losses: Iterable[str | AnyLoss] | None = None,
    control: str | AnyLoss | None = None,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    store: str | Path | None = None,
    rope: float | None = None,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Study:
    """Train one model with several losses and say which loss the metric favours.

    Every loss sees the same splits and seeds; whatever is fitted is fitted inside the
    training part. A loss that fails is on record and does not stop the others.

    Parameters
    ----------
    X : Dataset, data frame, array, path or str
        The data: as `lossary.workbench.data.load` takes it. A Dataset may hold
        weights, which training and scores then use.
    y : array-like, shape (n,), optional
        The target, where `X` does not hold it.
    target : str, optional
        The column of `X` that is the target.
    metric : str or Metric
        What the model is judged by, such as ``"mape"``.
    model : str or Model, default "lightgbm"
        ``"lightgbm"`` or ``"linear"``, with settings where some are wanted:
        ``"linear(penalty='l1', alpha=0.01)"``.
    losses : iterable of str or Loss, optional
        Names, losses, or ``"mymodule:my_loss"``; a name may end in the transform of
        its predictions, as ``"binary_cross_entropy+threshold"``. Default: the
        candidates of `lossary.choose`.
    control : str or Loss, optional
        What the others are compared with; default: the library's default loss. It is
        trained with even where `losses` leaves it out.
    folds, repeats : int, default 5
        Of the repeated cross-validation.
    seed : int, default 0
        Equal seeds give equal numbers, whatever `n_jobs` is.
    store : str or Path, optional
        A folder where finished trials are kept: a run that was stopped resumes, and
        one with more losses or repeats computes what is new.
    rope : float, optional
        Differences up to this size count as none, in the unit of the metric (0.01 of
        MAPE is one percentage point); default: 1 % of the control's metric.
    n_jobs : int, optional
        Trials at a time, as joblib counts them; default: one per core. A surrounding
        `joblib.parallel_config` decides where they run; unasked, in threads.
    progress : callable, optional
        Called with (trials done, trials in all, what was done last).

    Returns
    -------
    Study
        Its `verdict` is a sentence; `table` has the numbers; `to_html` the report.

    Raises
    ------
    DataError
        A data set that cannot be used, a store that holds another study, or every
        loss failed.
    NameLookupError
        An unknown metric, model, loss, column or file; the nearest names are given.

    References
    ----------
    Nadeau and Bengio (2003), Inference for the generalization error, Machine
    Learning 52.

    Examples
    --------
    >>> import lossary as ls
    >>> study = ls.compare(
    ...     "diabetes", metric="mape", model="linear", folds=3, repeats=2,
    ...     losses=["absolute_percentage_error"],
    ... )
    >>> study.winner
    'absolute_percentage_error'
    """
    metric, model = get_metric(metric), get_model(model)
    data = load(X, target, y=y, task=_task(metric))
    choice = choose(_labels(data), metric)
    arms, base = make_arms(losses, control, choice)
    plan = Plan(data, metric, model, arms, base, folds, repeats, seed, rope)
    kept = Store(None if store is None else Path(store), plan.fixed, plan.asked)
    _run(plan, kept, n_jobs, progress)
    return _study(plan, kept, choice)


def _run(
    plan: Plan, store: Store, n_jobs: int | None, progress: Progress | None
) -> None:
    """Run the trials that are not in the store yet, and keep each as it ends."""
    experiment = plan.experiment
    # Split by split, so that a run that is stopped has all losses on the same splits.
    pairs = [(arm, split) for split in plan.splits for arm in plan.arms]
    todo = [pair for pair in pairs if experiment.key(*pair) not in store]
    held_out = {(s.repeat, s.fold): s.test for s in plan.splits}
    done = len(pairs) - len(todo)
    report = progress or (lambda done, total, label: None)
    report(done, len(pairs), "stored before" if done else "")
    for trial, p in _results(plan, todo, n_jobs):
        store.put(trial, held_out[trial.repeat, trial.fold], p)
        done += 1
        label = f"{trial.loss}, repeat {trial.repeat + 1}, fold {trial.fold + 1}"
        report(done, len(pairs), label)


def _results(plan: Plan, todo: list[Any], n_jobs: int | None) -> Iterator[Result]:
    from joblib import Parallel, cpu_count, delayed, effective_n_jobs

    if n_jobs is None and effective_n_jobs(None) == 1:  # else what the context says
        n_jobs = cpu_count()
    # Threads share the data and start at once, and boosters work outside the
    # interpreter lock: 100 small trials on 2 cores took 2.0 s in threads, 3.8 s one by
    # one and 5.0 s in fresh processes. Long trials of the linear model, whose solvers
    # hold the lock, gain from parallel_config("loky").
    parallel = Parallel(
        n_jobs=n_jobs, prefer="threads", return_as="generator_unordered"
    )
    yield from parallel(delayed(run_trial)(plan.experiment, *pair) for pair in todo)


def _study(plan: Plan, store: Store, choice: Choice) -> Study:
    results = _gathered(plan, store)
    control = plan.control.name
    rows = decision_table(results, control, plan.rope)
    if all(row.failures for row in rows):
        raise DataError(f"every loss failed; {rows[0].loss}: {rows[0].failures[0]}")

    def paired(loss: str, other: str) -> Any:
        return results.compare(loss, other, plan.rope)

    data, names = plan.data, [arm.name for arm in plan.arms]
    constant = baseline(plan.metric, data.y, data.weight, plan.splits, plan.n_classes)
    judgement = judge(plan.metric, rows, control, constant, paired)
    return Study(
        verdict=judgement.text,
        word=judgement.word,
        winner=judgement.winner,
        table=rows,
        metric=plan.metric,
        model=str(plan.model),
        control=control,
        losses=tuple(names),
        baseline=constant,
        choice=choice,
        data=_summary(data),
        protocol=plan.protocol,
        trials=tuple(trial for name in names for trial in results.trials[name]),
        oof={name: results.out_of_fold(name) for name in names},
        definitions={arm.name: arm.loss for arm in plan.arms},
        reproduce=plan.reproduce,
        path=store.path,
    )


def _gathered(plan: Plan, store: Store) -> Results:
    """Collect the trials in the plan's order, whatever order they ended in."""
    found = {
        arm.name: [store[plan.experiment.key(arm, split)] for split in plan.splits]
        for arm in plan.arms
    }
    return Results(
        experiment=plan.experiment,
        arms=plan.arms,
        splits=plan.splits,
        trials={k: tuple(trial for trial, _ in v) for k, v in found.items()},
        predictions={k: tuple(p for _, p in v) for k, v in found.items()},
    )


def _summary(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "target": data.target,
        "task": data.task,
        "rows": len(data.y),
        "features": data.X.shape[1],
        "weighted": data.weight is not None,
        "dropped": dict(data.dropped),
        "cautions": list(data.cautions),
        "sha256": data.sha256,
    }


def _labels(data: Dataset) -> NDArray[Any]:
    """Give the target as the user knows it: classes by their names."""
    return np.asarray(data.classes)[data.y] if data.classes else data.y


def _task(metric: Metric) -> str:
    return "regression" if "regression" in metric.tasks else "classification"
