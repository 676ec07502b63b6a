"""Label smoothing: the target that a formula sees is (1 - ε)·y + ε/k, everywhere."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from laws.frameworks import FRAMEWORKS
from numpy.testing import assert_allclose

import lossary as ls
from lossary import rowwise
from lossary.errors import ParameterError
from lossary.frameworks.catboost import Objective
from lossary.frameworks.lightgbm import Objective as LightGBMObjective
from lossary.ops import softplus

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 5, 40)
SHARES = RNG.dirichlet(np.ones(5), 40)
LOGITS = 3 * RNG.normal(size=(40, 5))
SMOOTHED = 0.8 * np.eye(5)[LABELS] + 0.2 / 5

either_target = pytest.mark.parametrize("y", [LABELS, SHARES], ids=["labels", "shares"])


@either_target
@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_it_is_that_of_torch_in_value_and_gradient(y, rate):
    z = torch.tensor(LOGITS, requires_grad=True)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=rate)(z, torch.tensor(y))
    theirs.backward()
    loss = ls.get("torch.nn.CrossEntropyLoss", label_smoothing=rate)
    value, gradient = loss.value_and_grad(y, LOGITS)
    assert value == pytest.approx(theirs.item(), rel=1e-12)
    assert_allclose(gradient, z.grad.numpy(), atol=1e-15)


@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal], ids=repr)
@pytest.mark.parametrize("from_logits", [True, False])
def test_it_is_that_of_keras(loss, from_logits):
    names = {"cross_entropy": "CategoricalCrossentropy"}
    name = names.get(loss.name, "CategoricalFocalCrossentropy")
    z = LOGITS if from_logits else tf.nn.softmax(LOGITS).numpy()
    options = {"label_smoothing": 0.2, "from_logits": from_logits}
    theirs = getattr(keras.losses, name)(**options, dtype="float64")(SHARES, z)
    found = ls.get(f"keras.losses.{name}", **options)
    assert float(found(SHARES, z)) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize(
    "loss", [ls.cross_entropy, ls.focal, ls.cross_entropy(from_logits=False)], ids=repr
)
def test_a_smoothed_label_is_the_smoothed_distribution(loss):
    z = tf.nn.softmax(LOGITS).numpy() if loss.form != "class_logits" else LOGITS
    smooth = loss(label_smoothing=0.2)
    items = smooth(LABELS, z, reduction="none")
    assert_allclose(items, loss(SMOOTHED, z, reduction="none"), rtol=1e-13)
    for ours, expected in zip(
        smooth.grad_and_hess(LABELS, z), loss.grad_and_hess(SMOOTHED, z), strict=True
    ):
        assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)


def test_a_formula_that_is_not_linear_sees_the_smoothed_target_too():
    y = 0.7 * SHARES + 0.3 / 5
    value = ls.kl_divergence(SHARES, LOGITS, label_smoothing=0.3)
    assert value == pytest.approx(ls.kl_divergence(y, LOGITS), rel=1e-13)


def test_no_smoothing_is_the_same_loss_in_every_bit():
    assert ls.cross_entropy(label_smoothing=0.0) == ls.cross_entropy
    value = ls.cross_entropy(LABELS, LOGITS, label_smoothing=0.0)
    assert value == ls.cross_entropy(LABELS, LOGITS)


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ParameterError, match="label_smoothing must be a number"):
        ls.cross_entropy(label_smoothing=rate)


@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal(label_smoothing=0.1)])
def test_a_label_of_no_class_is_nan_in_its_row_alone(loss):
    labels = np.array([0, 7, -1, 4])
    items = loss(labels, LOGITS[:4], reduction="none", check="off")
    assert np.isnan(items).tolist() == [False, True, True, False]


def compiled_by(name, loss, labels, logits, mask):
    def call(z):
        return loss(labels, z, mask=mask)

    if name == "jax":
        return jax.jit(call)(logits)
    return tf.function(call)(logits) if name == "tensorflow" else call(logits)


@pytest.mark.parametrize("loss", [ls.cross_entropy, ls.focal(label_smoothing=0.1)])
@pytest.mark.parametrize("name", ["numpy", "torch", "tensorflow", "jax"])
def test_an_ignored_label_may_be_of_no_class_in_every_framework(name, loss):
    labels = LABELS.copy()
    labels[::3] = -100
    kept = labels != -100
    expected = loss(labels[kept], LOGITS[kept])
    make = FRAMEWORKS[name].make
    arrays = make(labels), make(LOGITS), make(kept)
    for got in (loss(*arrays[:2], mask=arrays[2]), compiled_by(name, loss, *arrays)):
        assert float(got) == pytest.approx(expected, rel=1e-12)


def test_the_best_constant_gives_the_smoothed_shares():
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    best = ls.cross_entropy(label_smoothing=0.3).best_constant(labels)
    assert_allclose(np.exp(best), 0.7 * np.array([0.6, 0.3, 0.1]) + 0.1)


def test_a_weighted_sum_keeps_it():
    loss = 0.5 * ls.cross_entropy(label_smoothing=0.1) + ls.focal
    expected = 0.5 * ls.cross_entropy(LABELS, LOGITS, label_smoothing=0.1)
    expected += ls.focal(LABELS, LOGITS)
    assert loss(LABELS, LOGITS) == pytest.approx(expected, rel=1e-13)


def test_a_weighted_pairwise_loss_keeps_its_temperature():
    loss = ls.info_nce(temperature=0.5)
    expected = 2 * loss(LOGITS, LOGITS[::-1])
    assert (2 * loss)(LOGITS, LOGITS[::-1]) == pytest.approx(expected, rel=1e-13)


def test_boosters_get_its_derivatives():
    loss = ls.cross_entropy(label_smoothing=0.2)
    gradient, curvature = LightGBMObjective(loss)(LABELS, LOGITS)
    expected = ls.cross_entropy.grad_and_hess(SMOOTHED, LOGITS)
    scale = gradient[0, 0] / expected[0][0, 0]
    assert_allclose(gradient, scale * expected[0], rtol=1e-9, atol=1e-12)
    assert (curvature > 0).all()
    slopes, _ = Objective(loss).calc_ders_multi(LOGITS[0], LABELS[0], 2.0)
    assert_allclose(slopes, -2 * expected[0][0], rtol=1e-9)


def test_catboost_refuses_it_where_labels_cannot_be_added_up():
    @rowwise()
    def squared_target(y, z):
        return y**2 * softplus(-z)

    with pytest.raises(ParameterError, match="not linear in its target"):
        Objective(squared_target(label_smoothing=0.1))


def test_a_ranking_refuses_it():
    from lossary.frameworks.boosting.ranking import listwise

    with pytest.raises(ParameterError, match="smooth the relevances themselves"):
        listwise("cross_entropy(label_smoothing=0.1)")


def test_a_linear_classifier_is_fitted_with_it():
    from lossary.frameworks.sklearn import LossClassifier

    loss = ls.cross_entropy(label_smoothing=0.3)
    y = np.digitize(LOGITS[:, 0], [-1.0, 1.0])
    model = LossClassifier(loss, alpha=0.0).fit(LOGITS, y)
    p = model.predict_proba(LOGITS)
    _, slope = loss.value_and_grad(y, np.log(p))
    assert abs(slope.sum(axis=0)).max() < 1e-4


def test_facts_name_what_is_estimated():
    facts = ls.cross_entropy(label_smoothing=0.1).facts
    assert facts.elicits == "class probabilities, after label smoothing"
    assert facts.convex
    assert facts.gradient_bound == pytest.approx(1.0)


def test_the_formula_says_what_its_target_is():
    assert r"\frac{\epsilon}{K}" in ls.cross_entropy(label_smoothing=0.1).latex()
    assert r"\epsilon" not in ls.cross_entropy.latex()
