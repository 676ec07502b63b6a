"""Metrics against scikit-learn, their domains, directions and names."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn import metrics as sk

from lossary.errors import (
    DomainError,
    KindError,
    NameLookupError,
    ParameterError,
    ShapeError,
)
from lossary.workbench.metrics import get_metric, metric_names

N = 200
RNG = np.random.default_rng(7)
W = RNG.uniform(0, 2, N)
POSITIVE = RNG.lognormal(0, 0.7, N), RNG.lognormal(0, 0.7, N)
REAL = RNG.normal(1, 2, N), RNG.normal(1, 2, N)
COUNT = RNG.poisson(1.5, N).astype(float), RNG.lognormal(0, 0.5, N)
# Rounded, so that AUC has ties.
BINARY = (RNG.random(N) < 0.3).astype(float), RNG.random(N).round(1)
LABEL = BINARY[0], (RNG.random(N) < 0.4).astype(float)
CLASSES = RNG.integers(0, 3, N), RNG.dirichlet([1, 1, 1], N)
CODES = CLASSES[0], RNG.integers(0, 3, N)


def _brier_classes(y, p, sample_weight=None):
    return sk.brier_score_loss(y, p, sample_weight=sample_weight, labels=[0, 1, 2])


PEERS = [
    ("mse", sk.mean_squared_error, REAL),
    ("rmse", sk.root_mean_squared_error, REAL),
    ("mae", sk.mean_absolute_error, REAL),
    ("mape", sk.mean_absolute_percentage_error, REAL),
    ("msle", sk.mean_squared_log_error, POSITIVE),
    ("rmsle", sk.root_mean_squared_log_error, POSITIVE),
    ("r2", sk.r2_score, REAL),
    ("pinball", sk.mean_pinball_loss, REAL),
    ("poisson", sk.mean_poisson_deviance, COUNT),
    ("log_loss", sk.log_loss, BINARY),
    ("log_loss", sk.log_loss, CLASSES),
    ("brier", sk.brier_score_loss, BINARY),
    ("brier", _brier_classes, CLASSES),
    ("accuracy", sk.accuracy_score, LABEL),
    ("accuracy", sk.accuracy_score, CODES),
    ("f1", sk.f1_score, LABEL),
    ("auc", sk.roc_auc_score, BINARY),
]


@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize(("name", "peer", "data"), PEERS)
def test_equals_scikit_learn(name, peer, data, weight):
    y, p = data
    expected = peer(y, p, sample_weight=weight)
    assert get_metric(name).value(y, p, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [-1, 0, 1, 1.2, 1.9, 2, 3])
def test_tweedie_equals_scikit_learn(power):
    y, p = POSITIVE
    expected = sk.mean_tweedie_deviance(y, p, sample_weight=W, power=power)
    found = get_metric(f"tweedie(power={power})").value(y, p, W)
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_pinball_takes_its_level(alpha):
    y, p = REAL
    expected = sk.mean_pinball_loss(y, p, alpha=alpha)
    assert get_metric(f"pinball(alpha={alpha})").value(y, p) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "_peer", "data"), PEERS)
def test_resampling_is_weighting(name, _peer, data):
    metric = get_metric(name)
    y, p, _ = metric.prepare(*data)
    counts = np.random.default_rng(0).integers(0, 3, (4, N)).astype(float)
    many = metric.resampled(y, p, counts)
    one_by_one = [
        metric.value(np.repeat(y, c.astype(int)), np.repeat(p, c.astype(int), axis=0))
        for c in counts
    ]
    np.testing.assert_allclose(many, one_by_one, rtol=1e-10)


@pytest.mark.parametrize(("name", "_peer", "data"), PEERS)
def test_weight_zero_removes_a_row(name, _peer, data):
    y, p = (np.asarray(a, dtype=float) for a in data)
    w = np.ones(N)
    w[:5] = 0
    broken_y, broken_p = y.copy(), p.copy()
    broken_y[:5] = broken_p[:5] = np.nan
    metric = get_metric(name)
    expected = metric.value(y[5:], p[5:])
    assert metric.value(broken_y, broken_p, w) == pytest.approx(expected, rel=1e-12)


def test_mean_of_rows_is_said_truly():
    y, p = POSITIVE
    for name in metric_names():
        metric = get_metric(name)
        if metric.per_row is not None and metric.prediction == "response":
            assert metric.value(y, p) == pytest.approx(metric.per_row(y, p).mean())
    without = {n for n in metric_names() if get_metric(n).per_row is None}
    assert without == {"rmse", "rmsle", "r2", "bias", "f1", "auc"}


def test_direction_is_a_property_and_not_a_prefix():
    # "mape" starts like "map", which is maximised: a bug seen in two boosters.
    greater = {n for n in metric_names() if get_metric(n).greater_is_better}
    assert greater == {"r2", "accuracy", "f1", "auc"}
    assert get_metric("bias").greater_is_better is None


def test_certain_mistake_is_finite_as_in_scikit_learn():
    y, p = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    assert get_metric("log_loss").value(y, p) == pytest.approx(sk.log_loss(y, p))


def test_f1_without_any_positive_is_zero():
    assert get_metric("f1").value([0, 0], [0, 0]) == 0


def test_bias_is_a_ratio_of_means():
    assert get_metric("bias").value([1, 3], [2, 4], [1, 3]) == pytest.approx(14 / 10)


@pytest.mark.parametrize(
    ("name", "y", "p", "message"),
    [
        (
            "mape",
            [1, 0, 2, 0],
            [1, 1, 1, 1],
            "targets that are numbers other than zero; .*0 in rows 1, 3",
        ),
        ("mape", [1, 2], [1, math.nan], "predictions .*got nan in row 1"),
        ("rmsle", [1, -1], [1, 1], "targets .*above -1; got -1 in row 1"),
        ("poisson", [1, 2], [1, 0], "predictions .*positive numbers; got 0 in row 1"),
        (
            "tweedie(power=2)",
            [0, 2],
            [1, 1],
            "targets .*positive numbers; got 0 in row 0",
        ),
        ("log_loss", [0, 1], [0.5, 1.5], "are probabilities; got 1.5 in row 1"),
        (
            "log_loss",
            [0, 3],
            [[0.5, 0.5], [0, 1]],
            "targets .*class codes 0 to 1; got 3",
        ),
        ("log_loss", [0, 1], [[0.5, 0.5], [1, 1]], "sum to 1; got a sum of 2 in row 1"),
        ("f1", [0, 2], [0, 1], "targets that are class codes 0 to 1; got 2 in row 1"),
        ("accuracy", [0, 1], [0, 0.5], "predictions .*class codes 0, 1, 2, …; got 0.5"),
        ("auc", [1, 1], [0, 1], "needs rows of both classes"),
        ("r2", [2, 2], [0, 1], "needs targets that are not all equal"),
        ("bias", [1, -1], [0, 1], "needs a mean target other than 0"),
    ],
)
def test_domain_is_said_with_rows(name, y, p, message):
    with pytest.raises(DomainError, match=message):
        get_metric(name).value(y, p)


def test_bad_shapes_weights_and_kinds():
    mse = get_metric("mse")
    with pytest.raises(ShapeError, match=r"\(2,\), p of shape \(2, 1\)"):
        mse.value([1, 2], [[1], [2]])
    with pytest.raises(DomainError, match="not all 0"):
        mse.value([1, 2], [1, 2], [0, 0])
    with pytest.raises(DomainError, match="not negative"):
        mse.value([1, 2], [1, 2], [1, -1])
    with pytest.raises(KindError, match="y holds something else"):
        mse.value(["a", "b"], [1, 2])


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("mean_squared_error", "mse"),
        ("neg_mean_squared_error", "mse"),
        ("neg-root-mean-squared-error", "rmse"),
        ("L1", "mae"),
        ("l2", "mse"),
        ("logloss", "log_loss"),
        ("neg_log_loss", "log_loss"),
        ("ROC AUC", "auc"),
        ("quantile(alpha=0.2)", "pinball(alpha=0.2)"),
        ("pinball(tau=0.2)", "pinball(alpha=0.2)"),
        ("pinball", "pinball(alpha=0.5)"),
        ("tweedie", "tweedie(power=1.5)"),
    ],
)
def test_names_people_use(alias, name):
    assert get_metric(alias).name == name
    assert get_metric(get_metric(alias).name) == get_metric(alias)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mapee", NameLookupError, "did you mean 'mape'"),
        ("pinball(beta=1)", ParameterError, "takes only alpha"),
        ("pinball(alpha=2)", ParameterError, "between 0 and 1; got 2"),
        ("pinball(alpha=high)", ParameterError, "write it like"),
        ("pinball(alpha=0.9", ParameterError, "write it like"),
        ("tweedie(power=0.5)", ParameterError, r"in \(0, 1\)"),
        ("mae(alpha=1)", ParameterError, "no parameters"),
    ],
)
def test_unknown_specs(spec, error, message):
    with pytest.raises(error, match=message):
        get_metric(spec)


def test_not_a_name():
    with pytest.raises(KindError, match="got a function"):
        get_metric(lambda y, p: 0)


def test_metrics_pickle():
    for name in metric_names():
        again = pickle.loads(pickle.dumps(get_metric(name)))
        assert again == get_metric(name)


def test_show_says_the_unit():
    assert get_metric("mape").show(0.40634) == "40.6 %"
    assert get_metric("mape").show(0.065, difference=True) == "6.5 percentage points"
    assert get_metric("mae").show(45.7213) == "45.72"
