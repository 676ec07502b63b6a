"""LightGBM on our losses beside LightGBM on its own, in one run on one machine.

    python benchmarks/boosters_lightgbm.py [--rows 1000000] [--rounds 8] [--repeats 3]

What is timed is a round of boosting, from callback to callback, on the same data with
the same settings and threads. Fits take turns, and medians over all their rounds are
compared, so that whatever else the machine does hits both. Each line is an estimator
of ours and one of LightGBM's; to compare another booster is to add its pairs.

LightGBM trains squared errors, Huber losses and quantiles by its own objectives. What
it saves shows in the line "our gradient" (it need not look at a curvature of 1) and in
the lines "refitted": from outside, leaves are refitted at a price.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np

import lossary as ls
from lossary.frameworks import lightgbm as ours
from lossary.kernels import threads

FEATURES, LIMIT = 20, 1.25
SETTINGS = {
    "num_leaves": 31, "n_jobs": 2, "verbosity": -1, "force_col_wise": True,
}  # fmt: skip


class Pair(NamedTuple):
    """An estimator of ours, the library's own, and the target of both."""

    name: str
    target: str
    ours: Any
    theirs: Any


def pairs(rounds: int) -> list[Pair]:
    """List what is compared."""
    options = {**SETTINGS, "n_estimators": rounds}

    def regression(
        name: str, loss: Any, target: str = "real", **objective: Any
    ) -> Pair:
        theirs = lgb.LGBMRegressor(**objective, **options)
        return Pair(name, target, ours.LGBMRegressor(loss, **options), theirs)

    def classes(name: str, loss: str, target: str) -> Pair:
        theirs = lgb.LGBMClassifier(**options)
        return Pair(name, target, ours.LGBMClassifier(loss, **options), theirs)

    quantile = {"objective": "quantile", "alpha": 0.9}
    return [
        regression("squared_error", "squared_error", objective="regression"),
        regression(
            "squared_error, our gradient",
            ours.Objective("squared_error"),
            objective="regression",
        ),
        regression("huber", "huber(delta=0.9)", objective="huber"),
        regression("poisson", "poisson", "count", objective="poisson"),
        regression("tweedie", "tweedie", "count", objective="tweedie"),
        classes("binary_cross_entropy", "binary_cross_entropy", "label"),
        classes("cross_entropy, 5 classes", "cross_entropy", "class"),
        regression("absolute_error", "absolute_error", objective="l1"),
        regression("pinball(tau=0.9)", "pinball(tau=0.9)", **quantile),
        regression("2*pinball(tau=0.9), refitted", 2 * ls.pinball(tau=0.9), **quantile),
        regression(
            "absolute_percentage_error, refitted",
            "absolute_percentage_error",
            "positive",
            objective="mape",
        ),
    ]


def data(rows: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw features, and a target of each kind around one signal."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, FEATURES))
    signal = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
    real = signal + rng.normal(size=rows)
    return X, {
        "real": real,
        "positive": 1 + np.exp(real / 2),
        "label": (real > 0).astype(int),
        "count": rng.poisson(np.exp(signal / 3)).astype(float),
        "class": np.digitize(real, [-1.5, -0.5, 0.5, 1.5]),
    }


def round_times(model: Any, X: np.ndarray, y: np.ndarray) -> list[float]:
    """Fit, and return the seconds of each round but the first."""
    moments: list[float] = []

    def stamp(env: Any) -> None:
        moments.append(time.perf_counter())

    model.fit(X, y, callbacks=[stamp])
    return np.diff(moments).tolist()


def main() -> None:
    """Print all ratios; a missed target is marked, and is not an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    X, targets = data(options.rows)
    print(
        f"LightGBM {lgb.__version__}, {options.rows:,} rows, {FEATURES} features, "
        f"{SETTINGS['n_jobs']} threads; kernels on {threads.count()}"
    )
    for pair in pairs(options.rounds):
        found: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(options.repeats):
            for side, times in found.items():
                times += round_times(getattr(pair, side), X, targets[pair.target])
        a, b = (1e3 * median(times) for times in found.values())
        mark = "" if a <= LIMIT * b else "  missed"
        print(
            f"{pair.name:40}{a:9.1f} ms{b:9.1f} ms{a / b:7.2f}x  <= {LIMIT}x{mark}",
            flush=True,
        )


if __name__ == "__main__":
    main()
