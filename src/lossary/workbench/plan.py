"""The plan of a comparison: everything that is settled before the first trial."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from lossary.workbench.data import Dataset
from lossary.workbench.metric import Metric, offends
from lossary.workbench.metrics import get_metric
from lossary.workbench.models import Model
from lossary.workbench.splits import Split, digest, repeated_splits
from lossary.workbench.statistics import ROPE_SHARE
from lossary.workbench.trial import INNER_FOLDS, Arm, Experiment

# Reported beside the chosen metric, where the target allows it.
OTHERS = {
    "regression": ("rmse", "mae", "mape", "rmsle", "r2", "bias"),
    "binary": ("log_loss", "brier", "accuracy", "f1", "auc"),
    "multiclass": ("log_loss", "brier", "accuracy"),
}
LIBRARIES = ("numpy", "scikit-learn", "lightgbm")


@dataclass(frozen=True)
class Plan:
    """What is compared, on what, and how; see `lossary.compare` for the fields."""

    data: Dataset
    metric: Metric
    model: Model
    arms: tuple[Arm, ...]
    control: Arm
    folds: int
    repeats: int
    seed: int
    rope: float | None

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The splits that every loss is trained on."""
        return repeated_splits(
            self.data.y,
            folds=self.folds,
            repeats=self.repeats,
            seed=self.seed,
            stratify=self.stratify,
        )

    @property
    def n_classes(self) -> int | None:
        """The number of classes; None for a target of numbers."""
        return len(self.data.classes) if self.data.classes else None

    @property
    def stratify(self) -> bool:
        """Whether every part gets its share of each class."""
        return self.n_classes is not None

    @property
    def fixed(self) -> dict[str, Any]:
        """What trials must agree in to belong to one study."""
        return {
            "data": self.data.sha256,
            "model": str(self.model),
            "metric": self.metric.name,
            "folds": self.folds,
            "seed": self.seed,
            "lossary": version("lossary"),
            **self.versions,
        }

    @property
    def asked(self) -> dict[str, Any]:
        """What may change while the trials stay as they are."""
        return {
            "data": self.data.name,
            "target": self.data.target,
            "losses": [arm.name for arm in self.arms],
            "control": self.control.name,
            "repeats": self.repeats,
            "rope": self.rope,
        }

    @property
    def versions(self) -> dict[str, str]:
        """The libraries whose release the numbers depend on."""
        return {name: version(name) for name in LIBRARIES}

    @cached_property
    def experiment(self) -> Experiment:
        """What all trials share."""
        return Experiment(
            X=self.data.X,
            y=self.data.y,
            w=self.data.weight,
            model=self.model,
            metric=self.metric,
            others=tuple(self._others()),
            n_classes=self.n_classes,
            identity=json.dumps(self.fixed, sort_keys=True),
        )

    def _others(self) -> list[Metric]:
        beside = [get_metric(name) for name in OTHERS[self.data.task]]
        y = self.data.y
        return [
            metric
            for metric in beside
            # A multiclass target is checked against the classes of the prediction.
            if metric != self.metric
            and (self.data.task == "multiclass" or not offends(metric.y_kind, y).any())
        ]

    @property
    def protocol(self) -> dict[str, Any]:
        """Say how it was compared, for the reader of a report."""
        kind = "repeated stratified K-fold" if self.stratify else "repeated K-fold"
        share = f"{100 * ROPE_SHARE:g} % of the control's {self.metric.name}"
        return {
            "splitter": kind,
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "splits": digest(self.splits),
            "region_of_equivalence": share if self.rope is None else "as given",
            "intervals": "the wider of two: folds with the Nadeau–Bengio correction, "
            "and paired rows; p-values after Holm",
            "tuning": "none: every loss is trained with the same settings, from its "
            "own best constant and with gradients brought to one scale",
            "transforms": "fitted inside each training part, on predictions out of "
            f"{INNER_FOLDS} inner folds where the part's own would flatter",
            "estimand": "the average over training sets of this size, not one fitted "
            "model",
            "limits": "one data set; rows are taken to be independent, and new data to "
            "be like these",
            "versions": {"lossary": version("lossary"), **self.versions},
        }

    @property
    def reproduce(self) -> dict[str, str]:
        """Say how to get the same numbers, as a command and in Python."""
        others = [arm for arm in self.arms if arm is not self.control]
        return {"command": self._command(others), "python": self._python(others)}

    @property
    def _source(self) -> str:
        """What the data is loaded by; weights come with no path or name."""
        return self.data.source if self.data.weight is None else ""

    def _command(self, others: list[Arm]) -> str:
        losses, control = [_named(arm) for arm in others], _named(self.control)
        if not all([self._source, control, *losses]):
            return ""  # an object of a program has no name on a command line
        options = {
            "target": self.data.target,
            "metric": self.metric.name,
            "model": str(self.model),
            "control": control,
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "rope": self.rope,
        }
        words = ["lossary", "compare", self._source]
        for name, value in options.items():
            words += [f"--{name}", str(value)] if value not in (None, "") else []
        for loss in losses:
            words += ["--loss", loss]
        return shlex.join(words)

    def _python(self, others: list[Arm]) -> str:
        losses = ", ".join(_written(arm) for arm in others)
        lines = [
            f"{self._source!r}," if self._source else "X, y,",
            f"target={self.data.target!r}," if self._source else "",
            f"metric={self.metric.name!r},",
            f"model={str(self.model)!r},",
            f"losses=[{losses}],",
            f"control={_written(self.control)},",
            f"folds={self.folds}, repeats={self.repeats}, seed={self.seed},",
            "" if self.rope is None else f"rope={self.rope!r},",
        ]
        body = "".join(f"    {line}\n" for line in lines if line)
        return f"import lossary as ls\n\nstudy = ls.compare(\n{body})"


def _named(arm: Arm) -> str:
    """Name a loss and its transform the way they can be asked for again."""
    end = arm.name.removeprefix(repr(arm.loss))
    return f"{arm.source}{end}" if arm.source else ""


def _written(arm: Arm) -> str:
    """Write a loss in Python: its name, or the expression that gives the object."""
    return repr(_named(arm)) if arm.source else repr(arm.loss)
