"""One trial: train with one loss on one training part, predict and score the rest."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.combination import Combination, terms_of
from lossary.errors import DomainError, LossaryError
from lossary.loss import Loss
from lossary.workbench.choose import TUNED
from lossary.workbench.metric import Metric
from lossary.workbench.models import Fitted, Model
from lossary.workbench.scores import Array
from lossary.workbench.splits import Split, digest, repeated_splits
from lossary.workbench.transforms import NONE, Transform, fit_transform, link_of

INNER_FOLDS = 5  # within a training part, for what is tuned there


@dataclass(frozen=True)
class Arm:
    """A candidate as it is run: a loss, and what is done to its predictions.

    `source` is the text that `load_loss` finds the loss by, empty where there is none.
    """

    loss: Loss | Combination
    transform: str = NONE
    tier: str = ""
    reason: str = ""
    source: str = ""

    @property
    def name(self) -> str:
        """The loss as a spec, with the transform where there is one."""
        end = "" if self.transform == NONE else f"+{self.transform}"
        return f"{self.loss!r}{end}"

    @property
    def fingerprint(self) -> str:
        """What was trained, by value: a formula of the user's that changed differs."""
        parts = [
            (factor, loss.formula.value, d.link, d.majoriser)
            for factor, loss in terms_of(self.loss)
            for d in [loss.definition]
        ]
        return f"{self.name}: {parts!r}"

    @property
    def tuned(self) -> bool:
        """Whether anything but the loss itself has to be set or learnt."""
        terms = terms_of(self.loss)
        return (
            self.transform in TUNED
            or len(terms) > 1
            or any(loss.params for _, loss in terms)
        )


@dataclass(frozen=True)
class Experiment:
    """What all trials of a study share.

    Attributes
    ----------
    X, y, w : data frame and arrays
        Features, targets (class codes for classes) and weights; `w` may be None.
    model : Model
    metric : Metric
        The one that the losses are judged by.
    others : tuple of Metric
        Reported beside it.
    n_classes : int or None
        None for a target of numbers.
    identity : str
        What fixes the numbers, the loss and the split aside.
    """

    X: Any
    y: NDArray[Any]
    w: Array | None
    model: Model
    metric: Metric
    others: tuple[Metric, ...]
    n_classes: int | None
    identity: str

    def key(self, arm: Arm, split: Split) -> str:
        """Name a trial by everything that its numbers depend on."""
        parts = (self.identity, arm.fingerprint, digest([split]))
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def weights(self, rows: NDArray[np.intp]) -> Array:
        """Give the weights of some rows."""
        return np.ones(len(rows)) if self.w is None else self.w[rows]


@dataclass(frozen=True)
class Trial:
    """What came out of one trial, predictions aside.

    Attributes
    ----------
    key, loss : str
    repeat, fold : int
    scores : dict
        Metric → score on the held-out rows; None where it is not defined.
    seconds : float
        Of training, tuning and predicting.
    fitted : dict
        What the transform learnt, such as its threshold.
    info : dict
        What the model tells about its training.
    failure : str
        A sentence; empty where all went well.
    """

    key: str
    loss: str
    repeat: int
    fold: int
    scores: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    fitted: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def threshold(self) -> float:
        """The score above which class 1 was predicted."""
        return self.fitted.get("threshold", Transform.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain numbers and text, ready for JSON."""
        return asdict(self)


def run_trial(
    experiment: Experiment, arm: Arm, split: Split
) -> tuple[Trial, Array | None]:
    """Run one trial; an error becomes a sentence, so that the others still run.

    Returns
    -------
    trial : Trial
    predictions : array, shape (rows of split.test,) or (rows, classes), or None
        On the response scale, transform applied; None after a failure.
    """
    key = experiment.key(arm, split)
    identity = (key, arm.name, split.repeat, split.fold)
    start = time.perf_counter()
    try:
        fitted, transform, p = _predictions(experiment, arm, split)
        scores = _scores(experiment, arm, transform, p, split)
    except Exception as error:  # a user's formula or a library may raise anything
        seconds = time.perf_counter() - start
        return Trial(*identity, seconds=seconds, failure=_sentence(error)), None
    seconds, info = time.perf_counter() - start, _plain(fitted.info)
    return Trial(*identity, scores, seconds, transform.changes(), info), p


def _predictions(
    experiment: Experiment, arm: Arm, split: Split
) -> tuple[Fitted, Transform, Array]:
    """Train on the training part, fit the transform there, predict the test part."""
    train = split.train
    transform = fit_transform(
        arm.transform,
        experiment.metric,
        experiment.y[train],
        experiment.weights(train),
        lambda: _out_of_fold(experiment, arm, split),
    )
    fitted = _fit(experiment, arm, train, split.seed)
    p = transform.response(_predict(experiment, arm, fitted, split.test))
    return fitted, transform, p


def _fit(experiment: Experiment, arm: Arm, rows: NDArray[np.intp], seed: int) -> Fitted:
    w = None if experiment.w is None else experiment.w[rows]
    X, y = experiment.X.iloc[rows], experiment.y[rows]
    return experiment.model.fit(
        arm.loss, X, y, sample_weight=w, seed=seed, n_classes=experiment.n_classes
    )


def _predict(
    experiment: Experiment, arm: Arm, fitted: Fitted, rows: NDArray[np.intp]
) -> Array:
    p = np.asarray(fitted.predict(experiment.X.iloc[rows]), dtype=np.float64)
    bad = (~np.isfinite(p)).reshape(len(p), -1).any(axis=1)
    if bad.any():
        raise DomainError(
            f"the model trained with {arm.name} predicts NaN or infinity in "
            f"{bad.sum()} of {len(p)} rows"
        )
    return p


def _out_of_fold(experiment: Experiment, arm: Arm, split: Split) -> Array:
    """Predict the training part by models that have not seen the row."""
    y = experiment.y[split.train]
    folds = INNER_FOLDS
    stratify = experiment.n_classes is not None
    if stratify:
        folds = min(folds, int(np.unique(y, return_counts=True)[1].min()))
    inner = repeated_splits(
        y, folds=folds, repeats=1, seed=split.seed, stratify=stratify
    )
    p = np.empty(len(y))
    for part in inner:
        fitted = _fit(experiment, arm, split.train[part.train], part.seed)
        p[part.test] = _predict(experiment, arm, fitted, split.train[part.test])
    return p


def _scores(
    experiment: Experiment,
    arm: Arm,
    transform: Transform,
    p: Array,
    split: Split,
) -> dict[str, float | None]:
    """Score the test part; beside the chosen metric, one may be undefined."""
    y, w = experiment.y[split.test], experiment.weights(split.test)

    def score(metric: Metric) -> float:
        # Classes without a link: a margin, of which only the side has a meaning.
        if metric.p_kind.name == "probability" and link_of(arm.loss) == "identity":
            raise DomainError(
                f"{arm.name} gives a score and no probability, which metric "
                f"{metric.name} needs"
            )
        return metric.value(y, transform.seen_by(metric, p), w)

    found: dict[str, float | None] = {experiment.metric.name: score(experiment.metric)}
    for metric in experiment.others:
        try:
            found[metric.name] = score(metric)
        except LossaryError:
            found[metric.name] = None
    return found


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, LossaryError) else f"{type(error).__name__}: {text}"
    )


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """Turn NumPy scalars into numbers that JSON knows."""
    return {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in info.items()
        if isinstance(v, str | int | float | bool | np.generic | None)
    }
