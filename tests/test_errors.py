"""Errors are a product: what was given, what is allowed, how to mend it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import lossary as ls
from lossary.errors import LossaryError, LossaryWarning

ZERO, ONE = np.zeros(3), np.ones(3)
LOGITS = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, -2.0]])
LETS_PASS = ' (check="warn" or check="off" lets it pass)'

MISTAKES = {
    "narrow target": (
        lambda: ls.huber(np.zeros((4, 1)), np.zeros(4)),
        "huber: y_true has shape (4, 1) and y_pred has shape (4,), but their shapes "
        "must be (*b, *b), nothing is broadcast; use y_true.reshape(-1)",
    ),
    "narrow prediction": (
        lambda: ls.huber(np.zeros(4), np.zeros((4, 1))),
        "huber: y_true has shape (4,) and y_pred has shape (4, 1), but their shapes "
        "must be (*b, *b), nothing is broadcast; use y_pred.reshape(-1)",
    ),
    "other rows": (
        lambda: ls.cross_entropy([0, 1, 2], LOGITS),
        "cross_entropy: y_true has shape (3,) and y_pred has shape (2, 3), but their "
        "shapes must be (*b, *b k) or (*b k, *b k), nothing is broadcast",
    ),
    "one class": (
        lambda: ls.cross_entropy([0, 0], np.zeros((2, 1))),
        "cross_entropy: y_true has shape (2,) and y_pred has shape (2, 1), but their "
        "shapes must be (*b, *b k) or (*b k, *b k), nothing is broadcast; there must "
        "be at least two classes to choose from",
    ),
    "empty embeddings": (
        lambda: ls.info_nce(np.zeros((2, 0)), np.zeros((2, 0))),
        "info_nce: y_true has shape (2, 0) and y_pred has shape (2, 0), but their "
        "shapes must be (n d, n d), nothing is broadcast",
    ),
    "a parameter that is no number": (
        lambda: ls.huber(ZERO, ONE, delta=np.array(np.nan)),
        "huber: delta must be a number greater than 0, got array(nan)",
    ),
    "two libraries": (
        lambda: ls.huber(ZERO, torch.zeros(3)),
        "y_true and y_pred belong to different array libraries (numpy and torch); "
        "convert one of them, so that both are arrays of the same library",
    ),
    "words": (
        lambda: ls.huber(["a"], [1.0]),
        "huber: y_true is an array of <U1, which is no number; convert it to a numeric "
        "array first, with missing values dropped or masked",
    ),
    "three arrays": (
        lambda: ls.huber(ZERO, ONE, ONE),
        "huber takes y_true and y_pred, got 3 arrays; sample_weight, mask and "
        "parameters are passed by name",
    ),
    "reduction": (
        lambda: ls.huber(ZERO, ONE, reduction="avg"),
        "reduction='avg' is not known; known names are mean, mean_over_items, "
        "mean_over_rows, none, sum",
    ),
    "empty": (
        lambda: ls.huber(ZERO, ONE, empty="skip"),
        "empty must be one of ('nan', 'zero', 'raise'), got 'skip'",
    ),
    "check": (
        lambda: ls.huber(ZERO, ONE, check="maybe"),
        "check must be one of ('raise', 'warn', 'off'), got 'maybe'",
    ),
    "name": (
        lambda: ls.get("hubber"),
        "no loss is called 'hubber'; did you mean 'huber'",
    ),
    "expression": (
        lambda: ls.get("huber - dice"),
        "'huber - dice' is not a loss; write a name, a call such as 'huber(delta=2)', "
        "or a sum such as '0.5*dice + cross_entropy'",
    ),
    "parameter": (
        lambda: ls.huber(detla=2.0),
        "huber has no parameter 'detla'; did you mean 'delta'?",
    ),
    "no parameters": (
        lambda: ls.squared_error(delta=2.0),
        "squared_error has no parameter 'delta'; it has no parameters",
    ),
    "range": (
        lambda: ls.pinball(tau=1.5),
        "pinball: tau must be a number greater than 0 and less than 1, got 1.5",
    ),
    "not a number": (
        lambda: ls.huber(delta="wide"),
        "huber: delta must be a number greater than 0, got 'wide'",
    ),
    "word": (
        lambda: ls.dice(over="images"),
        "dice: over must be 'image' or 'batch', got 'images'",
    ),
    "form": (
        lambda: ls.huber(from_logits=False),
        "huber cannot take from_logits=False; it takes predictions as real",
    ),
    "family": (
        lambda: ls.names(family="regresion"),
        "there is no family 'regresion'; did you mean 'regression'",
    ),
    "negative weight": (
        lambda: ls.huber(ZERO, ONE, sample_weight=[1.0, -2.0, 1.0]),
        "huber: sample_weight must hold finite numbers, at least 0, but there is -2 in "
        "row 1; use weight 0 to leave a row out" + LETS_PASS,
    ),
    "unknown weight": (
        lambda: ls.huber(ZERO, ONE, sample_weight=[1.0, np.nan, 1.0]),
        "huber: sample_weight must hold finite numbers, at least 0, but there is nan "
        "in row 1; use weight 0 to leave a row out" + LETS_PASS,
    ),
    "weights of another shape": (
        lambda: ls.huber(ZERO, ONE, sample_weight=[1.0, 2.0]),
        "huber: sample_weight has shape (2,), but it must have one value per loss or "
        "per row, shape (3,)",
    ),
    "label": (
        lambda: ls.cross_entropy([0, 5], LOGITS),
        "cross_entropy: y_true must hold class numbers from 0 to 2, but there is 5 in "
        "row 1; y_pred has 3 classes, and rows to ignore are left out by mask"
        + LETS_PASS,
    ),
    "labels of a margin": (
        lambda: ls.hinge([-1.0, 1.0], [0.0, 0.0]),
        "hinge: y_true must hold labels 0 or 1, but there is -1 in row 0; map -1 and 1 "
        "by (y + 1) / 2" + LETS_PASS,
    ),
    "counts": (
        lambda: ls.poisson([1.0, -3.0], [0.0, 0.0]),
        "poisson: y_true must hold counts or amounts in [0, inf), but there is -3 in "
        "row 1; a count or an amount cannot be negative" + LETS_PASS,
    ),
    "zeros": (
        lambda: ls.absolute_percentage_error([1.0, 0.0], [1.0, 1.0]),
        "absolute_percentage_error: y_true must hold numbers other than zero in (-inf, "
        "inf) and not 0, but there is 0 in row 1; drop these rows, or choose a loss "
        "that is not relative to y_true" + LETS_PASS,
    ),
    "probabilities": (
        lambda: ls.binary_cross_entropy([1.0], [1.5], from_logits=False),
        "binary_cross_entropy: y_pred must hold probabilities in [0, 1], but there is "
        "1.5 in row 0; pass logits with from_logits=True (the default), or map them to "
        "[0, 1]" + LETS_PASS,
    ),
    "softmax twice": (
        lambda: ls.cross_entropy([0], [[0.9, 0.1]]),
        "cross_entropy: y_pred holds rows of probabilities, but logits are expected; "
        "pass from_logits=False, or the logits themselves" + LETS_PASS,
    ),
    "no distribution": (
        lambda: ls.kl_divergence([[0.5, 0.2]], [[0.0, 1.0]]),
        "kl_divergence: the probabilities of a row of y_true must sum to 1, but there "
        "is a sum of 0.7 in row 0; divide each row by its sum" + LETS_PASS,
    ),
    "nothing left": (
        lambda: ls.huber(ZERO, ONE, mask=ZERO > 0, empty="raise"),
        "nothing is left to average: every row has weight 0 or is masked; pass rows "
        'that count, or empty="zero" or empty="nan"',
    ),
    "no rows": (
        lambda: ls.huber.best_constant(ZERO, sample_weight=ZERO),
        "huber: the best constant of no rows does not exist; pass rows with a weight "
        "above 0",
    ),
    "out": (
        lambda: ls.huber.value_and_grad(ZERO, ONE, out=np.empty(4)),
        "out must have shape (3,) and dtype float64, got (4,) and float64",
    ),
    "factor": (
        lambda: -1.0 * ls.huber,
        "huber: factor must be a number greater than 0, got -1.0",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_sentence(case):
    call, sentence = MISTAKES[case]
    with pytest.raises(LossaryError) as raised:
        call()
    message = str(raised.value)
    assert message.startswith(sentence)
    assert "\n" not in message


def test_a_doubt_may_be_a_warning():
    with pytest.warns(LossaryWarning, match=r"from_logits=False, or the logits"):
        value = ls.cross_entropy([0], [[0.9, 0.1]], check="warn")
    assert value == ls.cross_entropy([0], [[0.9, 0.1]], check="off")


def test_one_hot_logits_are_not_taken_for_probabilities():
    assert ls.cross_entropy([0], [[1.0, 0.0]]) > 0


def test_random_logits_raise_no_doubt():
    rng = np.random.default_rng(0)
    for scale in (0.01, 1.0, 30.0):
        for _ in range(300):
            ls.cross_entropy(rng.integers(0, 3, 4), scale * rng.normal(size=(4, 3)))


def test_a_removed_row_is_not_checked():
    assert ls.poisson([1.0, -3.0], [0.0, 0.0], sample_weight=[1.0, 0.0]) == 1.0


@pytest.mark.parametrize(
    "make",
    [torch.tensor, lambda x: torch.tensor(x).double()],
    ids=["float32", "double"],
)
def test_the_same_sentence_in_every_library(make):
    with pytest.raises(LossaryError, match=re.escape("there is -3 in row 1")):
        ls.poisson(make([1.0, -3.0]), make([0.0, 0.0]))
