"""XGBoost on our losses beside XGBoost on its own, in one run on one machine.

    python benchmarks/boosters_xgboost.py [--rows 1000000] [--rounds 8] [--repeats 3]

What is timed is a round of boosting, from callback to callback, on the same data with
the same settings and threads. Fits take turns, and medians over all their rounds are
compared, so that whatever else the machine does hits both. A plain name of a loss
that XGBoost has is trained by XGBoost's own objective; "gradient" is an `Objective`,
as for every other loss, whose gradient and curvature are ours.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
import xgboost as xgb

from lossary.frameworks import xgboost as ours
from lossary.kernels import threads

FEATURES, LIMIT = 20, 1.25
SETTINGS = {"max_depth": 6, "tree_method": "hist", "n_jobs": 2}
CASES = {
    "squared_error": ("reg:squarederror", "real"),
    "poisson": ("count:poisson", "count"),
    "binary_cross_entropy": ("binary:logistic", "label"),
    "cross_entropy": ("multi:softprob", "class"),
    "pinball(tau=0.9)": ("reg:quantileerror", "real"),
}


def data(rows: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw features, and a target of each kind around one signal."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    signal = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
    real = signal + rng.normal(size=rows)
    return X, {
        "real": real,
        "label": (real > 0).astype(int),
        "count": rng.poisson(np.exp(signal / 3)).astype(float),
        "class": np.digitize(real, [-1.5, -0.5, 0.5, 1.5]),
    }


class Stopwatch(xgb.callback.TrainingCallback):
    """Notes when a round ends."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Note the time."""
        self.moments.append(time.perf_counter())
        return False


def competitors(loss: str, rounds: int) -> dict[str, Any]:
    """Return the estimators that take turns."""
    theirs, kind = CASES[loss]
    settings: dict[str, Any] = {**SETTINGS, "n_estimators": rounds}
    classes = kind in ("label", "class")
    own = xgb.XGBClassifier if classes else xgb.XGBRegressor
    mine = ours.XGBClassifier if classes else ours.XGBRegressor
    alpha = {"quantile_alpha": 0.9} if theirs == "reg:quantileerror" else {}
    return {
        "XGBoost": own(objective=theirs, **alpha, **settings),
        "lossary": mine(loss, **settings),
        "gradient": mine(ours.Objective(loss), **settings),
    }


def round_times(model: Any, X: np.ndarray, y: np.ndarray) -> list[float]:
    """Fit, and return the seconds of each round but the first."""
    watch = Stopwatch()
    model.set_params(callbacks=[watch]).fit(X, y)
    return np.diff(watch.moments).tolist()


def main() -> None:
    """Print all ratios; a missed target is marked, and is not an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    X, targets = data(options.rows)
    print(
        f"XGBoost {xgb.__version__}, {options.rows:,} rows, {FEATURES} features, "
        f"{SETTINGS['n_jobs']} threads; kernels on {threads.count()}"
    )
    for loss, (_, kind) in CASES.items():
        models = competitors(loss, options.rounds)
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.repeats):
            for name, model in models.items():
                times[name] += round_times(model, X, targets[kind])
        floor = median(times.pop("XGBoost"))
        print(f"{loss:24}{1e3 * floor:9.1f} ms", end="")
        for name, found in times.items():
            ratio = median(found) / floor
            mark = "" if ratio <= LIMIT else " missed"
            print(f"   {name} {ratio:5.2f}x <= {LIMIT}x{mark}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
