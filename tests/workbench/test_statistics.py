"""Intervals, posteriors and verdicts against published numbers and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_diabetes, make_moons
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import (
    RepeatedKFold,
    RepeatedStratifiedKFold,
    cross_val_score,
)
from sklearn.svm import SVC

from lossary.errors import DataError, DomainError, ParameterError
from lossary.workbench.metrics import get_metric
from lossary.workbench.statistics import (
    Comparison,
    Estimate,
    Fold,
    Verdict,
    corrected_t,
    fold_scores,
    holm,
    paired_comparison,
    row_bootstrap,
    row_t,
    with_holm,
)


def make_folds(n, k, repeats, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Fold(r, rows)
        for r in range(repeats)
        for rows in np.array_split(rng.permutation(n), k)
    ]


def compare(shift, *, n=200, metric="mae", noise=0.1, repeats=3, seed=0, **options):
    """Compare a control of mean absolute error ~0.8 with a candidate worse by shift."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n) + 10
    control = np.full((repeats, n), 10.0)
    away = np.where(y > control, -1, 1)
    candidate = control + away * (shift + noise * rng.normal(size=(repeats, n)))
    folds = make_folds(n, 5, repeats)
    return paired_comparison(metric, y, candidate, control, folds, **options)


# --- published numbers ------------------------------------------------------------


def test_scikit_learn_example_of_comparing_models():
    # examples/model_selection/plot_grid_search_stats.py: rbf against linear.
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=k, random_state=0), X, y, scoring="roc_auc", cv=cv)
        for k in ("rbf", "linear")
    )
    e = corrected_t(rbf - linear, test_to_train=10 / 90)
    assert e.mean / e.standard_error == pytest.approx(0.750, abs=5e-4)
    assert e.p_value / 2 == pytest.approx(0.227, abs=5e-4)
    assert 1 - e.below(0) == pytest.approx(0.773, abs=5e-4)
    assert e.within(0.01)[1] == pytest.approx(0.432, abs=5e-4)


def test_the_right_loss_for_mape_on_diabetes():
    # A naive paired t-test calls absolute error "significantly" worse on MAE (.016).
    X, y = load_diabetes(return_X_y=True)
    cv = RepeatedKFold(n_splits=5, n_repeats=5, random_state=0)
    parts = [(j // 5, *split) for j, split in enumerate(cv.split(X))]
    folds = [Fold(r, test) for r, _, test in parts]
    out = {}
    for name, loss, weight in (
        ("squared", "squared_error", None),
        ("absolute", "absolute_error", None),
        ("percentage", "absolute_error", 1 / y),
    ):
        out[name] = np.empty((5, len(y)))
        for r, train, test in parts:
            model = HistGradientBoostingRegressor(
                loss=loss, max_iter=60, learning_rate=0.05, max_leaf_nodes=8
            )
            w = None if weight is None else weight[train]
            model.fit(X[train], y[train], sample_weight=w)
            out[name][r, test] = model.predict(X[test])
    mae = paired_comparison("mae", y, out["absolute"], out["squared"], folds)
    mape = paired_comparison("mape", y, out["percentage"], out["squared"], folds)
    rmse = paired_comparison("rmse", y, out["percentage"], out["squared"], folds)
    assert mae.difference == pytest.approx(0.73, abs=0.01)
    assert mae.corrected.p_value == pytest.approx(0.34, abs=0.01)
    assert mape.difference == pytest.approx(-0.065, abs=0.001)
    assert mape.corrected.mean / mape.corrected.standard_error < -5
    words = [str(c.verdict) for c in (mae, mape, rmse)]
    assert words == ["INCONCLUSIVE", "BETTER", "WORSE"]


def test_posterior_is_the_correlated_t_of_corani_and_benavoli():
    d = np.random.default_rng(1).normal(0.02, 0.05, 50)
    rho = 0.1  # the share of rows that is tested
    scale = math.sqrt(d.var(ddof=1) * (1 / 50 + rho / (1 - rho)))
    t = stats.t(49, d.mean(), scale)
    found = corrected_t(d, rho / (1 - rho)).within(0.01)
    expected = t.cdf(-0.01), t.cdf(0.01) - t.cdf(-0.01), t.sf(0.01)
    assert found == pytest.approx(expected, abs=1e-12)


def test_row_t_is_student_and_weights_are_a_ratio_estimate():
    d = np.random.default_rng(2).normal(0.3, 1, 40)
    e = row_t(d)
    peer = stats.ttest_1samp(d, 0)
    assert e.p_value == pytest.approx(peer.pvalue)
    assert (e.low, e.high) == pytest.approx(peer.confidence_interval(0.95))
    assert row_t(d, np.full(40, 3.0)).high == pytest.approx(e.high)
    w = np.r_[np.ones(39), 100.0]
    assert row_t(d, w).mean == pytest.approx(np.average(d, weights=w))


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert holm(p).tolist() == pytest.approx(adjusted)


def test_holm_refuses_nan():
    with pytest.raises(DomainError, match="between 0 and 1"):
        holm([0.1, math.nan])


# --- simulation -------------------------------------------------------------------


def _equally_good(n, k, repeats, seed):
    """Two least-squares models on disjoint, equally strong features."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    y = X.sum(axis=1) + rng.normal(size=n)
    folds = make_folds(n, k, repeats, seed)
    out = np.empty((2, repeats, n))
    for m, columns in enumerate((X[:, :2], X[:, 2:])):
        gram, moment = columns.T @ columns, columns.T @ y
        for r, rows in folds:
            held = columns[rows]
            rest = gram - held.T @ held, moment - held.T @ y[rows]
            out[m, r, rows] = held @ np.linalg.solve(*rest)
    return y, *out, folds


def test_rejection_rates_of_two_equal_models():
    # Naive: what `paired_comparison` is there to prevent.
    rejected = {"naive": 0, "corrected": 0, "rows": 0, "headline": 0}
    runs = 200
    for seed in range(runs):
        c = paired_comparison("mse", *_equally_good(100, 10, 10, seed))
        rejected["naive"] += stats.ttest_1samp(c.fold_differences, 0).pvalue < 0.05
        rejected["corrected"] += c.corrected.p_value < 0.05
        rejected["rows"] += c.rows.p_value < 0.05
        rejected["headline"] += c.p < 0.05
    rates = {name: count / runs for name, count in rejected.items()}
    assert rates["naive"] > 0.3
    assert rates["corrected"] <= 0.08
    assert rates["rows"] <= 0.08
    assert 0 < rates["headline"] <= 0.06


def test_bootstrap_agrees_with_student_on_a_mean_of_rows():
    y, a, b, folds = _equally_good(300, 5, 2, seed=3)
    c = paired_comparison("mse", y, a, b, folds)
    e = row_bootstrap(get_metric("mse"), y, a, b, folds, np.ones(300))
    assert e.mean == pytest.approx(c.rows.mean, abs=c.rows.standard_error / 10)
    assert e.standard_error == pytest.approx(c.rows.standard_error, rel=0.1)
    assert e.low == pytest.approx(c.rows.low, abs=c.rows.standard_error / 3)


def test_bootstrap_is_seeded_and_takes_blocks(monkeypatch):
    y, a, b, folds = _equally_good(60, 5, 2, seed=4)
    args = (get_metric("rmse"), y, a, b, folds, np.ones(60))
    once = row_bootstrap(*args, resamples=500, seed=1)
    assert once == row_bootstrap(*args, resamples=500, seed=1)
    assert once != row_bootstrap(*args, resamples=500, seed=2)
    monkeypatch.setattr("lossary.workbench.inference._CHUNK", 60 * 7)
    assert once == row_bootstrap(*args, resamples=500, seed=1)


@pytest.mark.parametrize("metric", ["auc", "f1", "rmse", "r2"])
def test_metrics_that_are_no_mean_of_rows(metric):
    rng = np.random.default_rng(5)
    y = (rng.random(300) < 0.4).astype(float)
    good = np.where(rng.random((2, 300)) < 0.9, y, 1 - y)
    poor = np.where(rng.random((2, 300)) < 0.6, y, 1 - y)
    folds = make_folds(300, 5, 2)
    better = paired_comparison(metric, y, good, poor, folds, resamples=300)
    worse = paired_comparison(metric, y, poor, good, folds, resamples=300)
    assert better.verdict is Verdict.BETTER
    assert worse.verdict is Verdict.WORSE
    assert better.rows.method == "rows, bootstrap"
    assert better.improvement == pytest.approx(-worse.improvement)


# --- verdicts ---------------------------------------------------------------------


def test_identical_predictions_are_equivalent():
    for metric in ("mae", "rmse"):
        c = compare(0.0, noise=0.0, metric=metric)
        assert c.verdict is Verdict.EQUIVALENT
        assert (c.difference, c.p, c.probabilities) == (0, 1, (0, 1, 0))
        assert "leaves" in c.sentence
    perfect = paired_comparison("mae", [1, 2], [[1, 2]], [[1, 2]], [(0, [0]), (0, [1])])
    assert (perfect.rope, perfect.verdict) == (0, Verdict.EQUIVALENT)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(-0.2, Verdict.BETTER), (0.2, Verdict.WORSE), (0.0, Verdict.INCONCLUSIVE)],
)
def test_words(shift, verdict):
    c = compare(shift, n=100, noise=0.3)
    assert c.verdict is verdict
    assert c.sentence.startswith(verdict)
    assert math.copysign(1, c.improvement) == math.copysign(1, -c.difference)


def test_a_sure_difference_inside_the_region_is_equivalent():
    c = compare(0.01, noise=0.001, rope=0.05)
    assert c.p < 1e-6
    assert c.verdict is Verdict.EQUIVALENT


def record(mean, se, rope, *, folds_se=None, rows_se=None):
    """Build a comparison whose two estimates are known."""
    spread = (se if folds_se is None else folds_se) / math.sqrt(1 / 25 + 1 / 4)
    d = mean + spread * np.resize([1.0, -1.0], 25) * math.sqrt(25 / 26)
    corrected = corrected_t(d + (mean - d.mean()), 1 / 4)
    se = se if rows_se is None else rows_se
    half = stats.t.ppf(0.975, 399) * se
    rows = Estimate(mean, se, 399, mean - half, mean + half, "rows")
    return Comparison(
        metric=get_metric("mae"),
        candidate="huber",
        control="squared_error",
        candidate_score=10 + mean,
        control_score=10.0,
        fold_differences=tuple(d),
        corrected=corrected,
        rows=rows,
        test_to_train=1 / 4,
        n_rows=400,
        rope=rope,
    )


def test_likely_words():
    assert record(-0.3, 0.1, rope=0.1).verdict is Verdict.LIKELY_BETTER
    assert record(0.3, 0.1, rope=0.1).verdict is Verdict.LIKELY_WORSE
    assert record(-0.2, 0.1, rope=0.1).verdict is Verdict.INCONCLUSIVE


def test_headline_is_the_wider_interval():
    c = compare(-0.1)
    assert c.headline.width == max(c.corrected.width, c.rows.width)
    assert c.p == c.headline.p_value
    low, high = c.improvement_interval
    assert (low, high) == (-c.headline.high, -c.headline.low)


def test_default_region_is_one_percent_of_the_control():
    c = compare(0.0)
    assert c.rope == pytest.approx(0.01 * c.control_score)


def test_remedy_names_rows_that_would_do():
    c = compare(0.0, n=100, noise=0.3)
    half = c.headline.width / 2
    assert "rows" in c.remedy
    assert f"{(half / c.rope) ** 2:.2g} times as many" in c.remedy
    assert c.remedy in c.sentence
    assert compare(-0.2).remedy == ""


def test_remedy_names_folds_when_repeats_are_enough():
    noisy_folds = record(0.0, 0.1, rope=0.1, folds_se=0.045, rows_se=0.01)
    assert noisy_folds.verdict is Verdict.EQUIVALENT
    noisy_folds = record(0.0, 0.1, rope=0.1, folds_se=0.05, rows_se=0.01)
    assert noisy_folds.verdict is Verdict.INCONCLUSIVE
    needed = int(noisy_folds.remedy.split()[1])
    variance = np.var(noisy_folds.fold_differences, ddof=1)
    quantile = stats.t.ppf(0.975, 24)
    errors = [math.sqrt(variance * (1 / j + 1 / 4)) for j in (needed, needed - 1)]
    assert quantile * errors[0] <= 0.1 < quantile * errors[1]


def test_remedy_at_the_edge_and_out_of_reach():
    edge = record(0.1, 0.01, rope=0.1)
    assert "edge of what counts" in edge.remedy
    assert "more than 1000 times" in record(0.1, 5.0, rope=0.1).remedy
    assert "region of practical equivalence above 0" in record(0.0, 1.0, 0.0).remedy


def test_sentence_has_effect_region_and_p():
    c = compare(-0.2, names=("huber", "squared_error"))
    assert c.sentence.startswith("BETTER: huber against squared_error lowers mean abs")
    for part in ("95 % interval", "counts as none", "p < 0.001", " lower to "):
        assert part in c.sentence


def test_holm_can_take_a_verdict_down():
    border = record(-0.25, 0.1, rope=0.0)
    assert border.verdict is Verdict.BETTER
    alone, *rest = with_holm([border, *[record(0.0, 0.1, rope=0.0)] * 4])
    assert alone.p_holm == pytest.approx(5 * border.p)
    assert alone.verdict is Verdict.LIKELY_BETTER
    assert "after Holm" in alone.sentence
    assert all(c.p_holm == 1 for c in rest)


def test_weights_zero_and_unscored_rows_do_not_count():
    rng = np.random.default_rng(0)
    y, a, b = rng.normal(size=40), rng.normal(size=(1, 40)), rng.normal(size=(1, 40))
    folds = make_folds(30, 3, 1)
    w = np.r_[np.ones(30), np.zeros(10)]
    y_broken = np.r_[y[:30], np.full(10, np.nan)]
    with_rest = [Fold(r, np.r_[rows, [30 + i]]) for i, (r, rows) in enumerate(folds)]
    for metric in ("mae", "rmse"):
        c = paired_comparison(metric, y[:30], a[:, :30], b[:, :30], folds)
        d = paired_comparison(metric, y_broken, a, b, with_rest, sample_weight=w)
        assert d.n_rows == 30
        assert d.fold_differences == pytest.approx(c.fold_differences)
        assert d.corrected == c.corrected
        assert d.rows.mean == pytest.approx(c.rows.mean, rel=0.2)


def test_to_dict_is_json():
    c = with_holm([compare(-0.2)])[0]
    assert json.loads(json.dumps(c.to_dict()))["verdict"] == "BETTER"


# --- refusals ---------------------------------------------------------------------


def test_one_fold_has_no_spread():
    with pytest.raises(DataError, match="1 fold has no spread"):
        paired_comparison("mae", [1, 2, 3], [[1, 2, 3]], [[1, 2, 3]], [(0, [0, 1])])


def test_scores_that_are_nan_are_refused():
    with pytest.raises(DomainError, match="NaN or infinite in fold 1;"):
        corrected_t([0.1, math.nan, 0.2], 0.25)
    with pytest.raises(DomainError, match=r"in fold 0: .*predictions .*nan in row 1"):
        fold_scores("mae", [1, 2, 3], [[1, math.nan, 3]], [(0, [0, 1]), (0, [2])])


def test_fold_without_both_classes():
    with pytest.raises(DomainError, match=r"in fold 1: .*needs rows of both classes"):
        fold_scores("auc", [0, 1, 1, 1], [[0, 1, 1, 0]], [(0, [0, 1]), (0, [2, 3])])


@pytest.mark.parametrize(
    "options", [{"level": 1.0}, {"rope": -1.0}, {"rope": math.nan}, {"metric": "bias"}]
)
def test_bad_options(options):
    with pytest.raises(ParameterError):
        compare(-0.1, **options)
