"""A model that trains at once, and a study of it for a process that gets killed.

``python toy.py FOLDER SECONDS`` runs the study with that long a wait in each fit.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from lossary.workbench import models
from lossary.workbench.compare import compare

fits: list[str] = []
pause = 0.0


def train(task, settings):
    """Predict the best constant on each side of the first feature's median."""
    fits.append(repr(task.bundle.loss))
    time.sleep(pause)
    middle = task.X.iloc[:, 0].median()
    right = (task.X.iloc[:, 0] > middle).to_numpy()
    target = task.bundle.target(task.y, task.n_classes)
    scores = [task.bundle.start(target[side]) for side in (~right, right)]

    def predict(X):
        side = (X.iloc[:, 0] > middle).to_numpy().astype(int)
        return task.bundle.response(np.array(scores, dtype=float)[side])

    return predict, {"converged": True, "iterations": 1}


TOY = models.Model("toy", {}, train)


def data(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.exp(0.8 * (X[:, 0] > 0) + rng.normal(size=n) * 0.7)


def study(**options):
    X, y = data()
    given = {"metric": "mape", "model": "toy", "folds": 4, "repeats": 3, "n_jobs": 1}
    return compare(X, y, **(given | options))


if __name__ == "__main__":
    models.MODELS["toy"] = TOY
    pause = float(sys.argv[2])
    study(store=sys.argv[1])
