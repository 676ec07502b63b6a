"""Linear models beside scikit-learn's own, on the same objective, in one run.

    python benchmarks/sklearn_peers.py [--turns 5] [--only logistic] [--largest 20000]

A peer takes the loosest tolerance at which its coefficients are within 1e-4 of the
optimum (relative to the largest), as ours must be; peers that never are do not count.
Competitors take turns and the least time of each counts: whatever else the machine does
only adds; BLAS has one thread (`--threads`). The last column is our time in units of
the fastest peer's.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn import linear_model as skl
from sklearn.base import clone
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

import lossary as ls
from lossary.frameworks.sklearn import LossClassifier, LossRegressor

SIZES = (
    (200, 5, 1.0),
    (2_000, 20, 1.0),
    (200, 2_000, 1.0),
    (20_000, 50, 1.0),
    (20_000, 5_000, 0.01),
    (200_000, 20, 1.0),
)
"""Rows, columns, and the share of entries that are not 0: sparse below 1."""

MODERATE = 1000
"""Columns, beyond which scikit-learn's Newton method takes minutes."""
CLOSE = 1e-4
PATIENCE = 20.0
"""Seconds: a peer that takes longer is not asked again at a larger size."""


@dataclass
class Case:
    """One objective: our estimator, the peers, and the data."""

    name: str
    ours: Any
    peers: dict[str, Any]
    X: Any
    y: np.ndarray


def columns(rng: np.random.Generator, n: int, d: int, density: float) -> Any:
    """Return correlated columns, some heavy-tailed, some of two values, in units.

    Sparse ones are counts, as of words.
    """
    if density < 1:
        counts = sp.random(n, d, density=density, rng=rng, format="csr")
        counts.data = 1.0 + rng.poisson(0.5, size=counts.nnz)
        return counts
    common = rng.normal(size=(n, 3)) @ rng.normal(size=(3, d))
    X = 0.5 * common + rng.normal(size=(n, d))
    X[:, ::4] = np.exp(0.5 * X[:, ::4])
    X[:, 1::4] = X[:, 1::4] > 1
    return (X - X.mean(axis=0)) / X.std(axis=0) * rng.uniform(0.5, 2, d) + 1.0


def cases(n: int, d: int, density: float) -> Iterator[Case]:
    """Yield the objectives that have one minimum, and peers that reach it in time."""
    rng = np.random.default_rng(0)
    X = columns(rng, n, d, density)
    linear = X @ rng.normal(size=d)
    linear = (linear - linear.mean()) / linear.std()
    y = 10 + 3 * linear + rng.standard_t(3, size=n)
    count = rng.poisson(np.exp(0.7 * linear)).astype(float)
    amount = count * rng.gamma(2.0, size=n)
    label = (2 * linear + rng.logistic(size=n) > 0.5).astype(int)
    other = X @ rng.normal(size=(d, 4)) / np.sqrt(d)
    several = (other + rng.gumbel(size=(n, 4))).argmax(axis=1)
    C, alpha, l1 = 1.0, 1.0 / n, 0.1 if density == 1 else 0.005

    if n > d and density == 1:
        yield Case(
            "squared_error",
            LossRegressor(),
            {
                "LinearRegression": skl.LinearRegression(),
                "Ridge, alpha=0": skl.Ridge(alpha=0.0),
            },
            X,
            y,
        )
    yield Case(
        "squared_error + l2",
        LossRegressor(penalty="l2", alpha=20.0 / n),
        {"Ridge": skl.Ridge(alpha=10.0)},
        X,
        y,
    )
    yield Case(
        "0.5*squared_error + l1",
        LossRegressor("0.5*squared_error", penalty="l1", alpha=l1),
        {"Lasso": skl.Lasso(alpha=l1)},
        X,
        y,
    )
    settings = {"alpha": 1e-4 if n > d else 10.0, "max_iter": 1000}
    huber = skl.HuberRegressor(tol=1e-7, **settings).fit(X, y)
    delta, strength = huber.epsilon * huber.scale_, huber.alpha * huber.scale_ / n
    yield Case(
        "huber + l2",
        LossRegressor(ls.huber(delta=delta), penalty="l2", alpha=strength),
        {"HuberRegressor": skl.HuberRegressor(**settings)},
        X,
        y,
    )
    if density == 1:
        yield Case(
            "pinball + l1",
            LossRegressor(ls.pinball(tau=0.8), penalty="l1", alpha=0.01),
            {"QuantileRegressor": skl.QuantileRegressor(quantile=0.8, alpha=0.01)},
            X,
            y,
        )
    glm: dict[str, Any] = {"max_iter": 10_000, "alpha": 1e-3}
    of_glm = ("lbfgs", "newton-cholesky") if d <= MODERATE else ("lbfgs",)
    yield Case(
        "poisson + l2",
        LossRegressor("poisson", penalty="l2", alpha=1e-3),
        {
            f"PoissonRegressor, {s}": skl.PoissonRegressor(solver=s, **glm)
            for s in of_glm
        },
        X,
        count,
    )
    yield Case(
        "tweedie + l2",
        LossRegressor(ls.tweedie(power=1.5), penalty="l2", alpha=1e-3),
        {
            f"TweedieRegressor, {s}": skl.TweedieRegressor(power=1.5, solver=s, **glm)
            for s in of_glm
        },
        X,
        amount,
    )
    solvers = ("lbfgs", "newton-cg", *of_glm[1:])
    logistic = {
        f"LogisticRegression, {s}": skl.LogisticRegression(
            C=C, solver=s, max_iter=10_000
        )
        for s in solvers
    }
    yield Case(
        "logistic + l2", LossClassifier(penalty="l2", alpha=alpha), logistic, X, label
    )
    yield Case(
        "multinomial + l2",
        LossClassifier(penalty="l2", alpha=alpha),
        logistic,
        X,
        several,
    )
    for loss in ("hinge", "squared_hinge"):
        ours = LossClassifier(loss, penalty="l2", alpha=alpha, fit_intercept=False)
        svm = LinearSVC(
            loss=loss,
            C=C,
            fit_intercept=False,
            dual="auto",
            max_iter=100_000,
            random_state=0,
        )
        yield Case(f"{loss} + l2", ours, {"LinearSVC": svm}, X, label)  # fmt: skip


def coefficients(model: Any) -> np.ndarray:
    coef = np.atleast_2d(model.coef_)
    return coef - coef.mean(axis=0) if len(coef) > 1 else coef


def distance(model: Any, best: np.ndarray) -> float:
    return float(abs(coefficients(model) - best).max() / abs(best).max())


def tuned(peer: Any, case: Case, best: np.ndarray) -> tuple[Any, float, float]:
    """Return the peer at the loosest tolerance that is close, and how close it is."""
    model = clone(peer)
    for _ in range(5):
        start = time.perf_counter()
        model.fit(case.X, case.y)
        took = time.perf_counter() - start
        off = distance(model, best)
        if off <= CLOSE or took > PATIENCE or "tol" not in model.get_params():
            break
        model = clone(model).set_params(tol=model.tol / 100)
    return model, off, took


def least(models: dict[str, Any], case: Case, turns: int) -> dict[str, float]:
    """Return the least time of a fit in ms, taken in turns."""
    times: dict[str, float] = dict.fromkeys(models, np.inf)
    for _ in range(turns):
        for name, model in models.items():
            start = time.perf_counter()
            clone(model).fit(case.X, case.y)
            times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
    return times


def report(case: Case, turns: int, slow: set[tuple[str, str]]) -> None:
    tight = clone(case.ours).set_params(tol=1e-9).fit(case.X, case.y)
    best = coefficients(tight)
    models, offs = {"lossary": case.ours}, {}
    for name, peer in case.peers.items():
        if (case.name, name) in slow:
            continue
        models[name], offs[name], took = tuned(peer, case, best)
        if took > PATIENCE:
            slow.add((case.name, name))
    once = any((case.name, name) in slow for name in models)
    times = least(models, case, 1 if once else turns)
    offs["lossary"] = distance(clone(case.ours).fit(case.X, case.y), best)
    n, d = case.X.shape
    print(f"\n{case.name}, {n} x {d}  ({tight.solver_}, {tight.n_iter_} steps)")
    reached = [times[name] for name in case.peers
               if name in times and offs[name] <= CLOSE]  # fmt: skip
    for name, ms in times.items():
        print(f"  {name:40}{ms:12.2f} ms   off by {offs[name]:.1e}", end="")
        if name == "lossary" and reached:
            ratio = ms / min(reached)
            print(f"{ratio:8.2f}x{'' if ratio <= 1.5 else '  missed'}", end="")
        print()


def main() -> None:
    """Print every case; a missed target is marked, and is not an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--largest", type=int, default=SIZES[-1][0])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    slow: set[tuple[str, str]] = set()
    warnings.simplefilter("ignore")
    with threadpool_limits(options.threads):
        for n, d, density in SIZES:
            for case in cases(n, d, density) if n <= options.largest else ():
                if options.only in case.name:
                    report(case, options.turns, slow)


if __name__ == "__main__":
    main()
