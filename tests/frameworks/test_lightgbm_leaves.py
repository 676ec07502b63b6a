"""Losses linear on both sides of the target: leaves are refitted to a quantile."""

from __future__ import annotations

import inspect

import lightgbm as lgb
import numpy as np
import pytest

import lossary as ls
from lossary.frameworks.boosting.leaves import best_shifts, slopes_of
from lossary.frameworks.bundle import Bundle
from lossary.frameworks.lightgbm import LGBMRegressor, Objective, train

# LightGBM 4.6 names the columns of an array, and newer scikit-learn misses the names.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

PARAMS = {"verbosity": -1, "n_jobs": 1}
RNG = np.random.default_rng(0)
N = 800
X = RNG.normal(size=(N, 5))
SIGNAL = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
HEAVY = SIGNAL + 0.5 * RNG.standard_t(2, N)
WEIGHT = RNG.uniform(0.2, 3.0, N)

# What LightGBM has no objective for: the same loss, but not by its own hand.
OWN = {tau: 2 * ls.pinball(tau=tau) for tau in (0.05, 0.5, 0.9)}


def judged(X, y):
    """Name data to evaluate on as the installed version does: ``eval_X`` is of 4.7."""
    if "eval_X" in inspect.signature(lgb.LGBMModel.fit).parameters:
        return {"eval_X": X, "eval_y": y}
    pairs = zip(X, y, strict=True) if isinstance(X, tuple) else [(X, y)]
    return {"eval_set": list(pairs)}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("tau", [0.05, 0.25, 0.5, 0.95])
def test_quantiles_have_the_trees_of_the_builtin(tau, scale, weight):
    y = scale * HEAVY
    ours = LGBMRegressor(ls.pinball(tau=tau), n_estimators=50, **PARAMS)
    theirs = lgb.LGBMRegressor(
        objective="quantile", alpha=tau, n_estimators=50, **PARAMS
    )
    for model in (ours, theirs):
        model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


def test_the_median_has_the_trees_of_the_builtin():
    ours = LGBMRegressor("absolute_error", **PARAMS).fit(X, HEAVY, WEIGHT)
    theirs = lgb.LGBMRegressor(objective="l1", **PARAMS).fit(X, HEAVY, WEIGHT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


@pytest.mark.parametrize(("tau", "side"), [(0.3, 1), (0.7, -1)])
def test_rows_that_are_right_from_the_start_do_not_stop_training(tau, side):
    counts = np.random.default_rng(1).poisson(np.exp(SIGNAL / 2))
    y = side * counts  # whose best constant is the extreme
    loss = ls.pinball(tau=tau)
    ours = LGBMRegressor(2 * loss, **PARAMS).fit(X, y)
    theirs = lgb.LGBMRegressor(objective="quantile", alpha=0.3, **PARAMS)
    least = loss(y, side * theirs.fit(X, side * y).predict(X))
    assert loss(y, ours.predict(X)) <= 1.05 * least  # with ties, splits are luck


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_loss_of_one_s_own_is_refitted_as_well_as_the_builtin(weight):
    """Trees part ways at ties, so that either may be ahead on some rows."""
    ratios = []
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(N)[:600]
        w = None if weight is None else weight[rows]
        for tau, loss in OWN.items():
            given = {"objective": "quantile", "alpha": tau}
            models = (
                LGBMRegressor(loss, n_estimators=40, **PARAMS),
                lgb.LGBMRegressor(**given, n_estimators=40, **PARAMS),
            )
            ours, theirs = (
                loss(
                    HEAVY[rows],
                    model.fit(X[rows], HEAVY[rows], w).predict(X[rows]),
                    sample_weight=w,
                )
                for model in models
            )
            ratios.append(ours / theirs)
    assert np.mean(ratios) < 1.02


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_relative_errors_are_no_worse_than_the_builtin_s(weight):
    y = 1 + np.exp(SIGNAL)
    losses = [
        ls.absolute_percentage_error(y, model.predict(X), sample_weight=weight)
        for model in (
            LGBMRegressor("absolute_percentage_error", **PARAMS).fit(X, y, weight),
            lgb.LGBMRegressor(objective="mape", **PARAMS).fit(X, y, weight),
        )
    ]
    assert losses[0] <= 1.01 * losses[1]


def test_every_leaf_of_the_first_tree_is_the_best_there_is():
    loss = ls.get("pinball(tau=0.3) + absolute_error")
    model = train(loss, X, HEAVY, params={**PARAMS, "learning_rate": 1.0},
                  num_boost_round=1, sample_weight=WEIGHT)  # fmt: skip
    leaf = model.booster.predict(X, pred_leaf=True).ravel()
    p = model.predict(X)
    for i in np.unique(leaf):
        rows = leaf == i
        best = loss.best_constant(HEAVY[rows], sample_weight=WEIGHT[rows])
        y, w = HEAVY[rows], WEIGHT[rows]
        least = loss(y, np.full_like(y, best), sample_weight=w)
        assert loss(y, p[rows], sample_weight=w) <= least * (1 + 1e-6)


def test_the_unit_of_the_target_changes_nothing():
    one, other = (
        LGBMRegressor(OWN[0.9], n_estimators=30, **PARAMS).fit(X, c * HEAVY).predict(X)
        / c
        for c in (1.0, 2.0**20)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_validation_and_early_stopping_see_the_refitted_leaves():
    rest = slice(500, None)
    model = LGBMRegressor(OWN[0.5], n_estimators=500, **PARAMS)
    model.fit(
        X[:500], HEAVY[:500], **judged(X[rest], HEAVY[rest]),
        eval_metric="l1", callbacks=[lgb.early_stopping(5, verbose=False)],
    )  # fmt: skip
    last = model.best_iteration_ - 1
    assert 0 < last < 499
    logged = model.evals_result_["valid_0"]
    z = model.predict(X[rest])
    assert logged["2*pinball"][last] == pytest.approx(OWN[0.5](HEAVY[rest], z))
    assert logged["l1"][last] == pytest.approx(abs(HEAVY[rest] - z).mean())


def test_a_rate_that_changes_shrinks_the_refitted_leaves():
    rates = lgb.reset_parameter(learning_rate=[1.0, 0.25])
    model = train(OWN[0.5], X, HEAVY, params=PARAMS, num_boost_round=2,
                  callbacks=[rates])  # fmt: skip
    whole = train(OWN[0.5], X, HEAVY, params={**PARAMS, "learning_rate": 1.0},
                  num_boost_round=2)  # fmt: skip
    step, full = (
        m.booster.predict(X, start_iteration=1, num_iteration=1) for m in (model, whole)
    )
    np.testing.assert_allclose(step, 0.25 * full, atol=1e-12)


def test_a_model_that_is_continued_keeps_its_leaves():
    first = LGBMRegressor(OWN[0.5], n_estimators=10, **PARAMS).fit(X, HEAVY)
    both = LGBMRegressor(OWN[0.5], n_estimators=10, **PARAMS)
    both.fit(X, HEAVY, init_model=first)
    whole = LGBMRegressor(OWN[0.5], n_estimators=20, **PARAMS).fit(X, HEAVY)
    np.testing.assert_allclose(both.predict(X), whole.predict(X), rtol=1e-9)


@pytest.mark.parametrize("option", [{"boosting_type": "dart"},
                                    {"subsample": 0.5, "subsample_freq": 2},
                                    {"data_sample_strategy": "goss"}])  # fmt: skip
def test_other_ways_to_boost_learn_too(option):
    model = LGBMRegressor(OWN[0.5], **option, **PARAMS).fit(X, HEAVY)
    constant = np.full(N, np.median(HEAVY))
    p = model.predict(X)
    assert ls.absolute_error(HEAVY, p) < 0.7 * ls.absolute_error(HEAVY, constant)


def test_an_explicit_curvature_is_stepped_by():
    model = train(
        Objective("absolute_error", curvature="majorised"), X, HEAVY, params=PARAMS
    )
    assert model.booster.params["objective"] == "none"
    assert ls.absolute_error(HEAVY, model.predict(X)) < 0.9


def test_leaves_without_rows_that_count_do_not_move():
    bundle, residual = Bundle("absolute_error"), np.array([1.0, 5.0, -2.0])
    slopes = slopes_of(bundle, np.zeros(3), np.array([1.0, 0.0, 0.0]))
    shifts = best_shifts(residual, np.array([0, 0, 2]), 3, slopes)
    assert shifts.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("tau", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("rows", [1, 2, 7, 20, 40])
def test_selection_and_sorting_find_the_same_quantile(tau, rows):
    residual = RNG.normal(size=rows)
    bundle, leaf = Bundle(ls.pinball(tau=tau)), np.zeros(rows, int)
    even = slopes_of(bundle, np.zeros(rows))
    ghost = slopes_of(bundle, np.zeros(rows + 1), np.r_[np.ones(rows), 0.0])
    selected = best_shifts(residual, leaf, 1, even)
    ordered = best_shifts(np.r_[residual, 9.0], np.zeros(rows + 1, int), 1, ghost)
    assert selected[0] == pytest.approx(ordered[0], abs=1e-12)
