from __future__ import annotations

import numpy as np
import pytest

import lossary as ls
from lossary.errors import DataError, ParameterError
from lossary.workbench.metrics import get_metric
from lossary.workbench.splits import repeated_splits
from lossary.workbench.transforms import (
    Transform,
    check_transform,
    default_transform,
    fit_transform,
    labels,
    split_spec,
)
from lossary.workbench.trial import Arm, Experiment, run_trial


def never():
    raise AssertionError("this transform needs no model")


def test_clip_raises_predictions_to_the_smallest_legal_training_target():
    y = np.array([0.0, 3.0, 0.5])
    fitted = fit_transform("clip", get_metric("poisson"), y, np.ones(3), never)
    assert fitted.response(np.array([-2.0, 0.7])).tolist() == [0.5, 0.7]


def test_clip_without_a_legal_target_is_refused():
    with pytest.raises(DataError, match="no training target lies in the domain"):
        fit_transform("clip", get_metric("poisson"), np.zeros(3), np.ones(3), never)


def test_smearing_brings_the_mean_back():
    rng = np.random.default_rng(0)
    log_mean = rng.normal(size=20_000)
    y = np.expm1(log_mean + 0.8 * rng.normal(size=20_000))
    p = np.expm1(log_mean)
    fitted = fit_transform("smearing", get_metric("mse"), y, np.ones(len(y)), lambda: p)
    assert fitted.factor == pytest.approx(np.exp(0.8**2 / 2), rel=0.02)
    assert fitted.response(p).mean() == pytest.approx(y.mean(), rel=0.05)


@pytest.mark.parametrize("metric", ["f1", "accuracy"])
def test_the_threshold_is_as_good_as_any(metric):
    rng = np.random.default_rng(1)
    p = rng.uniform(size=150)
    y = (rng.uniform(size=150) < p**3).astype(float)
    w = rng.uniform(0.5, 2, size=150)
    judge = get_metric(metric)
    fitted = fit_transform("threshold", judge, y, w, lambda: p)
    best = max(judge.value(y, labels(p, cut), w) for cut in [-1, *p])
    assert judge.value(y, labels(p, fitted.threshold), w) == best


def test_among_equal_thresholds_the_middle_is_taken():
    y, p = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.8, 0.9])
    fitted = fit_transform("threshold", get_metric("f1"), y, np.ones(4), lambda: p)
    assert fitted == Transform()


def test_labels_of_several_classes_are_the_likeliest():
    assert labels(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("loss", "metric", "expected"),
    [
        ("squared_error", "msle", "clip"),
        ("squared_error", "mape", "none"),
        ("poisson", "msle", "none"),
        ("squared_log_error", "msle", "none"),
        ("squared_log_error", "poisson", "clip"),
        ("binary_cross_entropy", "log_loss", "none"),
        ("huber + 2*squared_error", "poisson", "clip"),
    ],
)
def test_what_a_loss_cannot_do_without(loss, metric, expected):
    assert default_transform(ls.get(loss), get_metric(metric)) == expected


@pytest.mark.parametrize(
    ("name", "loss", "metric", "message"),
    [
        ("threshold", "hinge", "auc", "does not judge labels"),
        ("threshold", "squared_error", "mae", "does not judge labels"),
        ("smearing", "squared_error", "mse", "does not work on log"),
        ("clip", "squared_error", "mae", "takes any prediction"),
        ("clipp", "squared_error", "mae", "did you mean 'clip'"),
    ],
)
def test_a_transform_without_a_use_is_refused(name, loss, metric, message):
    with pytest.raises(ParameterError, match=message):
        check_transform(name, ls.get(loss), get_metric(metric))


def test_a_sum_of_losses_is_no_transform():
    assert split_spec("0.5*dice + hinge") == ("0.5*dice + hinge", None)
    assert split_spec("0.5*dice + hinge+threshold") == ("0.5*dice + hinge", "threshold")


@pytest.mark.parametrize(
    ("loss", "transform", "metric"),
    [
        ("binary_cross_entropy", "threshold", "f1"),
        ("squared_log_error", "smearing", "mse"),
        ("squared_error", "clip", "poisson"),
    ],
)
def test_nothing_is_learnt_from_held_out_rows(toy, loss, transform, metric):
    import pandas as pd

    X, y = toy.data()
    classes = 2 if metric == "f1" else None
    y = (y > 2).astype(int) if classes else y
    (split, *_) = repeated_splits(y, folds=3, repeats=1, stratify=bool(classes))
    changed = y.copy()
    changed[split.test] = 1 - y[split.test] if classes else 100 * y[split.test]
    found = [
        run_trial(
            Experiment(
                pd.DataFrame(X), target, None, toy.TOY, get_metric(metric), (),
                classes, "",
            ),
            Arm(ls.get(loss), transform),
            split,
        )
        for target in (y, changed)
    ]  # fmt: skip
    (one, p), (other, q) = found
    assert not one.failure
    assert one.fitted == other.fitted
    assert one.fitted
    assert np.array_equal(p, q)
    assert one.scores != other.scores
