"""CatBoost on our losses beside CatBoost on its own, in one run on one machine.

    python benchmarks/boosters_catboost.py [--rows 1000000] [--repeats 5]

Each loss is trained three times in turns: by CatBoost alone, by our estimator (which
leaves the losses that CatBoost has to CatBoost), and by our estimator told to use the
callback, as it does for every other loss. Figures are medians of whole fits, and
their ratios to CatBoost alone. CatBoost asks a callback for one row at a time where
there is a score per class; there the callback has a twentieth of the rows, and is
compared with CatBoost on as many.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import catboost as cb
import numpy as np

from lossary.frameworks.catboost import (
    CatBoostClassifier,
    CatBoostRegressor,
    Objective,
)

TARGET = 1.25
SETTINGS = {
    "depth": 6,
    "learning_rate": 0.1,
    "leaf_estimation_method": "Newton",
    "thread_count": 2,
    "verbose": 0,
    "allow_writing_files": False,
    "metric_period": 1000,
}
CASES = {
    "RMSE": ("squared_error", "real", 1),
    "Logloss": ("binary_cross_entropy", "label", 10),
    "Poisson": ("poisson", "count", 10),
    "MultiClass": ("cross_entropy", "class", 1),
}


def targets(X: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a target of each kind around one signal."""
    signal = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
    return {
        "real": signal + rng.normal(size=len(X)),
        "label": (signal > rng.logistic(size=len(X))).astype(int),
        "count": rng.poisson(np.exp(signal / 3)),
        "class": np.digitize(signal + rng.normal(size=len(X)), [-2, -1, 0.5, 1.5]),
    }


def models(name: str, rounds: int) -> dict[str, Any]:
    """Return the competitors for one loss."""
    loss, kind, steps = CASES[name]
    settings = {**SETTINGS, "iterations": rounds, "leaf_estimation_iterations": steps}
    classes = kind in ("label", "class")
    theirs = cb.CatBoostClassifier if classes else cb.CatBoostRegressor
    ours = CatBoostClassifier if classes else CatBoostRegressor
    if kind == "class":
        settings["bootstrap_type"] = "Bayesian"
    return {
        "CatBoost": theirs(loss_function=name, **settings),
        "lossary": ours(loss=loss, **settings),
        "callback": ours(loss=Objective(loss), **settings),
    }


def seconds(models: dict[str, Any], X: Any, y: Any, repeats: int) -> dict[str, float]:
    """Return the median time of a fit, run in turns; the first compiles."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.copy().fit(X[:100_000], y[:100_000])
    for _ in range(repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.copy().fit(X, y)
            times[name].append(time.perf_counter() - start)
    return {name: median(found) for name, found in times.items()}


def report(name: str, found: dict[str, float]) -> None:
    """Print the ratios to CatBoost alone."""
    floor = found.pop("CatBoost")
    print(f"{name:12}{floor:8.2f} s", end="")
    for who, time_taken in found.items():
        mark = "" if time_taken <= TARGET * floor else "  missed"
        print(f"   {who} {time_taken / floor:6.2f}x{mark}", end="")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(args.rows, 20)).astype(np.float32)
    y = targets(X, rng)
    print(f"{args.rows} rows, 20 features, {args.rounds} trees of depth 6, 2 threads")
    for name, (_, kind, _) in CASES.items():
        competitors = models(name, args.rounds)
        few = slice(args.rows // 20)
        called = {who: competitors[who] for who in ("CatBoost", "callback")}
        whole = {who: competitors[who] for who in ("CatBoost", "lossary")}
        if kind != "class":
            report(name, seconds(competitors, X, y[kind], args.repeats))
        else:
            report(name, seconds(whole, X, y[kind], args.repeats))
            report(name, seconds(called, X[few], y[kind][few], args.repeats))


if __name__ == "__main__":
    main()
