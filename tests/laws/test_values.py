"""One value per loss, typed from its paper: a later loss adds a line here, no test.

The expressions are written with `math` alone, in the words of the paper, so that a
slip in a formula cannot hide in its own derivation.
"""

from __future__ import annotations

import doctest
from math import cosh, exp, expm1, log, sqrt

import numpy as np
import pytest

import lossary as ls

S = [0.2, -0.3, 0.5]  # logits
Q = [0.2, 0.3, 0.5]  # probabilities
Z = sum(exp(s) for s in S)
P = [exp(s) / Z for s in S]


KEYS = [[3.0, 4.0], [0.0, 1.0]]
QUERIES = [[1.0, 0.0], [0.0, 2.0]]


def nce(own: float, other: float, temperature: float) -> float:
    own, other = exp(own / temperature), exp(other / temperature)
    return -log(own / (own + other))


def judged(own: float, other: float, t: float, b: float) -> float:
    return -log(sigmoid(t * own + b)) - log(sigmoid(-(t * other + b)))


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def entropy(q: list[float]) -> float:
    return -sum(x * log(x) for x in q)


# Of the mask 1, 0, 1 and the logits 0.7, 0.1, -1: right, false and missing pixels.
TP = sigmoid(0.7) + sigmoid(-1.0)
FP, FN = sigmoid(0.1), 2 - TP

# fmt: off
VALUES = [
    # regression
    (ls.squared_error, [1.0], [3.5], (3.5 - 1) ** 2),
    (ls.absolute_error, [1.0], [3.5], abs(3.5 - 1)),
    (ls.huber, [1.0], [1.5], 0.5 * 0.5**2),
    (ls.huber, [1.0], [3.5], 1 * (2.5 - 1 / 2)),
    (ls.huber(delta=2.0), [1.0], [-3.0], 2 * (4 - 2 / 2)),
    (ls.log_cosh, [1.0], [3.5], log(cosh(2.5))),
    (ls.pinball, [1.0], [3.5], 0.5 * 2.5),
    (ls.pinball(tau=0.9), [1.0], [3.5], (1 - 0.9) * 2.5),
    (ls.pinball(tau=0.9), [3.5], [1.0], 0.9 * 2.5),
    (ls.absolute_percentage_error, [-4.0], [1.0], abs(1 + 4) / abs(-4)),
    (ls.squared_log_error, [3.0], [1.0], (log(1 + 1) - log(1 + 3)) ** 2),
    (ls.general_robust, [1.0], [3.5], sqrt(2.5**2 + 1) - 1),
    (ls.general_robust(alpha=0.0), [1.0], [3.5], log(2.5**2 / 2 + 1)),
    (ls.general_robust(alpha=-2.0, scale=2.0), [1.0], [3.5],
     2 * 1.25**2 / (1.25**2 + 4)),
    (ls.general_robust(alpha=-float("inf")), [1.0], [3.5], 1 - exp(-(2.5**2) / 2)),
    (ls.general_robust(alpha=0.5), [1.0], [1.5],
     1.5 / 0.5 * ((0.5**2 / 1.5 + 1) ** 0.25 - 1)),
    # counts and amounts
    (ls.poisson, [3.0], [0.7], exp(0.7) - 3 * 0.7),
    (ls.poisson(from_log=False), [3.0], [2.0], 2 - 3 * log(2)),
    (ls.tweedie, [3.0], [0.7],
     -3 * exp(0.7) ** (1 - 1.5) / (1 - 1.5) + exp(0.7) ** (2 - 1.5) / (2 - 1.5)),
    (ls.tweedie(power=1.2), [3.0], [0.7],
     -3 * exp(0.7) ** (1 - 1.2) / (1 - 1.2) + exp(0.7) ** (2 - 1.2) / (2 - 1.2)),
    (ls.tweedie(from_log=False), [4.0], [9.0],
     -4 / sqrt(9) / (1 - 1.5) + sqrt(9) / (2 - 1.5)),
    # two classes
    (ls.binary_cross_entropy, [1.0], [0.7], -log(sigmoid(0.7))),
    (ls.binary_cross_entropy, [0.0], [0.7], -log(1 - sigmoid(0.7))),
    (ls.binary_cross_entropy, [0.3], [0.7],
     -0.3 * log(sigmoid(0.7)) - 0.7 * log(1 - sigmoid(0.7))),
    (ls.binary_cross_entropy(from_logits=False), [1.0], [0.8], -log(0.8)),
    (ls.binary_focal, [1.0], [0.7], -((1 - sigmoid(0.7)) ** 2) * log(sigmoid(0.7))),
    (ls.binary_focal(gamma=0.5), [0.0], [0.7],
     -sqrt(sigmoid(0.7)) * log(1 - sigmoid(0.7))),
    (ls.binary_focal(from_logits=False), [1.0], [0.8], -((1 - 0.8) ** 2) * log(0.8)),
    (ls.hinge, [1.0], [0.7], 1 - 0.7),
    (ls.hinge, [0.0], [0.7], 1 + 0.7),
    (ls.hinge, [1.0], [1.7], 0.0),
    (ls.squared_hinge, [0.0], [0.7], (1 + 0.7) ** 2),
    (ls.exponential, [1.0], [0.7], exp(-0.7)),
    (ls.exponential, [0.0], [0.7], exp(0.7)),
    # several classes
    (ls.cross_entropy, [2], [S], log(exp(0.2) + exp(-0.3) + exp(0.5)) - 0.5),
    (ls.cross_entropy, [[0.5, 0.0, 0.5]], [S], log(Z) - (0.2 + 0.5) / 2),
    (ls.cross_entropy(from_logits=False), [2], [Q], -log(0.5)),
    (ls.cross_entropy(label_smoothing=0.1), [2], [S],
     log(Z) - 0.9 * 0.5 - 0.1 * (0.2 - 0.3 + 0.5) / 3),
    (ls.focal, [2], [S], -((1 - P[2]) ** 2) * log(P[2])),
    (ls.focal(gamma=0.5), [0], [S], -sqrt(1 - P[0]) * log(P[0])),
    (ls.focal(label_smoothing=0.3), [2], [S],
     sum(-q * (1 - p) ** 2 * log(p) for q, p in zip((0.1, 0.1, 0.8), P, strict=True))),
    (ls.focal(from_logits=False), [2], [Q], -((1 - 0.5) ** 2) * log(0.5)),
    (ls.kl_divergence, [[0.1, 0.2, 0.3, 0.4]], [[0.0] * 4],
     log(4) - entropy([0.1, 0.2, 0.3, 0.4])),
    (ls.kl_divergence(label_smoothing=0.2), [[0.1, 0.2, 0.3, 0.4]], [[0.0] * 4],
     log(4) - entropy([0.13, 0.21, 0.29, 0.37])),
    (ls.kl_divergence(from_logits=False), [[0.5, 0.5, 0.0]], [Q],
     0.5 * log(0.5 / 0.2) + 0.5 * log(0.5 / 0.3)),
    # segmentation
    (ls.dice, [1.0, 0.0, 1.0], [0.7, 0.1, -1.0],
     1 - 2 * (sigmoid(0.7) + sigmoid(-1)) / (2 + sigmoid(0.7) + sigmoid(0.1)
                                             + sigmoid(-1))),
    (ls.dice(from_logits=False), [1.0, 0.0, 1.0], Q,
     1 - 2 * (0.2 + 0.5) / (2 + 1.0)),
    (ls.dice(from_logits=False, smooth=1.0), [1.0, 0.0, 1.0], Q,
     1 - (2 * (0.2 + 0.5) + 1) / (2 + 1.0 + 1)),
    (ls.dice(from_logits=False, over="batch"), [[1.0, 0.0], [1.0, 1.0]],
     [[0.5, 0.5], [0.2, 0.4]], 1 - 2 * (0.5 + 0.2 + 0.4) / (3 + 1.6)),
    (ls.jaccard, [1.0, 0.0, 1.0], [0.7, 0.1, -1.0], 1 - TP / (TP + FP + FN)),
    (ls.jaccard(from_logits=False, smooth=1.0), [1.0, 0.0, 1.0], Q,
     1 - (0.2 + 0.5 + 1) / (2 + 1.0 - 0.7 + 1)),
    (ls.jaccard(from_logits=False, over="batch"), [[1.0, 0.0], [1.0, 1.0]],
     [[0.5, 0.5], [0.2, 0.4]], 1 - 1.1 / (3 + 1.6 - 1.1)),
    (ls.tversky, [1.0, 0.0, 1.0], [0.7, 0.1, -1.0],
     1 - TP / (TP + 0.5 * FP + 0.5 * FN)),
    (ls.tversky(from_logits=False, alpha=0.25, beta=0.75), [1.0, 0.0, 1.0], Q,
     1 - 0.7 / (0.7 + 0.25 * 0.3 + 0.75 * 1.3)),
    (ls.tversky(from_logits=False, smooth=1.0), [1.0, 0.0, 1.0], Q,
     1 - 1.7 / (1.7 + 0.5 * 0.3 + 0.5 * 1.3)),
    (ls.tversky(from_logits=False, over="batch"), [[1.0, 0.0], [1.0, 1.0]],
     [[0.5, 0.5], [0.2, 0.4]], 1 - 1.1 / (1.1 + 0.5 * 0.5 + 0.5 * 1.9)),
    (ls.focal_tversky, [1.0, 0.0, 1.0], [0.7, 0.1, -1.0],
     (1 - TP / (TP + 0.3 * FP + 0.7 * FN)) ** 0.75),
    (ls.focal_tversky(from_logits=False, alpha=0.6, beta=0.4, gamma=2.0),
     [1.0, 0.0, 1.0], Q, sqrt(1 - 0.7 / (0.7 + 0.6 * 0.3 + 0.4 * 1.3))),
    (ls.focal_tversky(from_logits=False, smooth=1.0), [1.0, 0.0, 1.0], Q,
     (1 - 1.7 / (1.7 + 0.3 * 0.3 + 0.7 * 1.3)) ** 0.75),
    (ls.focal_tversky(from_logits=False, over="batch"), [[1.0, 0.0], [1.0, 1.0]],
     [[0.5, 0.5], [0.2, 0.4]], (1 - 1.1 / (1.1 + 0.3 * 0.5 + 0.7 * 1.9)) ** 0.75),
    # contrastive: rows of unit length have the cosines 0.6, 0 and 0.8, 1
    (ls.info_nce, KEYS, QUERIES,
     (nce(0.6, 0.0, 0.07) + nce(1.0, 0.8, 0.07)) / 2),
    (ls.info_nce(temperature=0.5), KEYS, QUERIES,
     (nce(0.6, 0.0, 0.5) + nce(1.0, 0.8, 0.5)) / 2),
    (ls.info_nce(similarity="dot"), KEYS, QUERIES,
     (nce(3.0, 0.0, 0.07) + nce(2.0, 8.0, 0.07)) / 2),
    (ls.info_nce(direction="both"), KEYS, QUERIES,
     (nce(0.6, 0.0, 0.07) + nce(1.0, 0.8, 0.07)
      + nce(0.6, 0.8, 0.07) + nce(1.0, 0.0, 0.07)) / 4),
    # of each row its own pair, then the other
    (ls.siglip, KEYS, QUERIES,
     (judged(0.6, 0.0, 10, -10) + judged(1.0, 0.8, 10, -10)) / 2),
    (ls.siglip(temperature=0.5), KEYS, QUERIES,
     (judged(0.6, 0.0, 2, -10) + judged(1.0, 0.8, 2, -10)) / 2),
    (ls.siglip(similarity="dot"), KEYS, QUERIES,
     (judged(3.0, 0.0, 10, -10) + judged(2.0, 8.0, 10, -10)) / 2),
    (ls.siglip(bias=0.5), KEYS, QUERIES,
     (judged(0.6, 0.0, 10, 0.5) + judged(1.0, 0.8, 10, 0.5)) / 2),
]
# fmt: on


@pytest.mark.parametrize(("loss", "y", "z", "value"), VALUES, ids=str)
def test_value_is_that_of_the_paper(loss, y, z, value):
    assert float(loss(np.array(y), np.array(z))) == pytest.approx(value, rel=1e-13)


def test_every_loss_has_a_value():
    assert {loss.name for loss, *_ in VALUES} == set(ls.names())


def test_every_form_and_parameter_has_a_value():
    tried = {(loss.name, loss.form) for loss, *_ in VALUES}
    bound = {
        (loss.name, name)
        for loss, *_ in VALUES
        for name, value in loss.parameters.items()
        if value != loss.definition.params[name].default
    }
    every = [ls.get(name).definition for name in ls.names()]
    assert tried >= {(d.name, form) for d in every for form in d.forms}
    assert bound >= {(d.name, name) for d in every for name in d.params}


def test_the_linked_squared_log_error_is_that_of_the_score():
    score = ls.squared_log_error.linked()
    expected = (log(1 + expm1(0.7)) - log(1 + 3)) ** 2
    assert float(score([3.0], [0.7])) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("alpha", [0.0, -2.0, -10.0])
@pytest.mark.parametrize("seed", range(5))
def test_of_several_minima_the_best_constant_is_the_one_in_the_bulk(alpha, seed):
    """A loss that is not convex has a minimum at every far group of rows, too."""
    rng = np.random.default_rng(seed)
    bulk = rng.normal(100.0, 10.0, size=90)
    y = np.concatenate([bulk, 10 * rng.normal(100.0, 10.0, size=10)])
    loss = ls.general_robust(alpha=alpha, scale=20.0)
    assert loss.best_constant(y) == pytest.approx(loss.best_constant(bulk), abs=1.0)


@pytest.mark.parametrize("name", ls.names())
def test_the_example_in_its_text_runs(name):
    """Doctest looks at functions and classes; a loss is neither."""
    text = doctest.DocTestParser().get_doctest(ls.get(name).__doc__, {}, name, None, 0)
    assert text.examples
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(text, out=said.append)
    assert failed == 0, "".join(said)
