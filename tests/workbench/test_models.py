from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import lossary as ls
from lossary.errors import DomainError, NameLookupError, ParameterError
from lossary.workbench.data import load
from lossary.workbench.models import MODELS, get_model

DIABETES = load("diabetes")
CANCER = load("breast_cancer")
WINE = load("wine")
RNG = np.random.default_rng(0)


def halves(data):
    test = np.random.default_rng(0).random(len(data)) < 0.4
    return np.flatnonzero(~test), np.flatnonzero(test)


def trained(model, loss, data, **options):
    train, test = halves(data)
    fitted = get_model(model).fit(loss, data.X.iloc[train], data.y[train], **options)
    return fitted, fitted.predict(data.X.iloc[test]), data.y[test]


REGRESSION = [n for n in ls.names() if ls.get(n).definition.family in
              ("regression", "counts")]  # fmt: skip
BINARY = [n for n in ls.names() if ls.get(n).definition.family in
          ("binary", "segmentation")]  # fmt: skip
SEVERAL = ls.names(family="multiclass")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", REGRESSION)
def test_every_regression_loss_beats_its_constant(model, loss):
    fitted, p, y = trained(model, loss, DIABETES)
    assert p.shape == y.shape
    assert np.abs(p - y).mean() < 0.85 * np.abs(np.median(y) - y).mean()
    assert fitted.info["converged"]
    assert fitted.info["factor"] > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", [*BINARY, *SEVERAL])
def test_every_loss_of_classes_tells_two_apart(model, loss):
    fitted, p, y = trained(model, loss, CANCER)
    assert p.shape == y.shape
    assert ((p >= 0) & (p <= 1)).all()
    assert ((p > 0.5) == y).mean() > 0.9
    distorting = ("hinge", "squared_hinge", "binary_focal", "focal")
    assert fitted.calibrated == (
        loss not in (*distorting, *ls.names(family="segmentation"))
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", SEVERAL)
def test_every_loss_of_several_classes_gives_probabilities(model, loss):
    _, p, y = trained(model, loss, WINE)
    assert p.shape == (len(y), 3)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == y).mean() > 0.9


@pytest.mark.parametrize("model", MODELS)
def test_a_class_that_is_missing_keeps_its_column(model):
    rows = WINE.y != 1
    fitted = get_model(model).fit(
        "cross_entropy", WINE.X[rows], WINE.y[rows], n_classes=3
    )
    p = fitted.predict(WINE.X)
    assert p.shape == (len(WINE), 3)
    assert p[:, 1].max() < 0.01


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_multiplying_a_loss_changes_nothing(model, factor):
    """Equal settings regularise equally, whatever unit a loss is in."""
    settings = {"linear": "alpha=0.1", "lightgbm": "reg_lambda=5.0"}[model]
    model = f"{model}({settings})"
    _, one, _ = trained(model, ls.huber(delta=30), DIABETES)
    _, other, _ = trained(model, factor * ls.huber(delta=30), DIABETES)
    np.testing.assert_allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize("model", ["linear(alpha=0.1)", "linear(penalty='l1')",
                                   "lightgbm(reg_lambda=5.0)"])  # fmt: skip
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_the_unit_of_the_target_changes_nothing(model, loss):
    train, test = halves(DIABETES)
    X, y = DIABETES.X, DIABETES.y
    one, other = (
        get_model(model).fit(loss, X.iloc[train], c * y[train]).predict(X.iloc[test])
        / c
        for c in (1.0, 1024.0)
    )
    np.testing.assert_allclose(one, other, rtol=1e-2)


@pytest.mark.parametrize("model", MODELS)
def test_categories_and_missing_values_are_learnt_from(model):
    n = 400
    city = RNG.choice(["Oslo", "Rome", "Bonn"], size=n)
    size = RNG.normal(size=n)
    y = size + 5.0 * (city == "Rome") + 0.1 * RNG.normal(size=n)
    frame = pd.DataFrame(
        {"city, of [birth]": city, 'the "size"': size, "empty": np.nan}
    )
    frame.loc[RNG.random(n) < 0.1, 'the "size"'] = np.nan
    frame.loc[3, "city, of [birth]"] = None
    data = load(frame, y=y)
    train, test = halves(data)
    fitted = get_model(model).fit("squared_error", data.X.iloc[train], y[train])
    rest = data.X.iloc[test]
    assert np.mean((fitted.predict(rest) - y[test]) ** 2) < 0.2 * y.var()
    # A category that training never saw is not an error.
    unseen = rest.assign(**{"city, of [birth]": pd.Categorical(["Lima"] * len(rest))})
    assert np.isfinite(fitted.predict(unseen)).all()


def test_nothing_is_learnt_from_the_rows_that_are_predicted():
    train, test = halves(DIABETES)
    X = DIABETES.X
    fitted = get_model("linear").fit("squared_error", X.iloc[train], DIABETES.y[train])
    alone = fitted.predict(X.iloc[test[:1]])
    np.testing.assert_allclose(alone, fitted.predict(X.iloc[test])[:1], rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_weights_move_the_fit(model):
    train, _ = halves(DIABETES)
    X, y = DIABETES.X.iloc[train], DIABETES.y[train]
    heavy = np.where(y > np.median(y), 10.0, 1.0)
    model = get_model(model)
    plain = model.fit("squared_error", X, y).predict(X).mean()
    assert (
        model.fit("squared_error", X, y, sample_weight=heavy).predict(X).mean() > plain
    )


@pytest.mark.parametrize("model", MODELS)
def test_equal_seeds_give_equal_predictions(model):
    spec = {"linear": "linear(solver='sgd', max_iter=20)",
            "lightgbm": "lightgbm(subsample=0.5, subsample_freq=1)"}[model]  # fmt: skip
    one, again, other = (
        trained(spec, "squared_error", DIABETES, seed=s)[1] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_specs_round_trip():
    for spec in ("linear", "lightgbm", "linear(penalty='l1', alpha=0.01)"):
        assert str(get_model(spec)) == spec
    model = get_model("linear(alpha=0.5)")
    assert get_model(model) is model
    assert str(pickle.loads(pickle.dumps(model))) == "linear(alpha=0.5)"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("lightgmb", NameLookupError, "did you mean 'lightgbm'"),
        ("linear(alhpa=1)", ParameterError, "did you mean 'alpha'"),
        ("linear(1)", ParameterError, "is not a model"),
        ("linear(alpha=x)", ParameterError, "is not a model"),
        ("linear alpha", ParameterError, "is not a model"),
    ],
)
def test_wrong_specs_are_named(spec, error, message):
    with pytest.raises(error, match=message):
        get_model(spec)


@pytest.mark.parametrize("model", MODELS)
def test_a_target_outside_the_loss_is_refused(model):
    y = DIABETES.y.copy()
    y[5] = -1.0
    with pytest.raises(DomainError, match=r"-1 in row 5"):
        get_model(model).fit("poisson", DIABETES.X, y)
