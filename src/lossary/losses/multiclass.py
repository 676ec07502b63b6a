"""Losses for one of several classes: one logit per class, the last axis.

In these formulas z is the log-odds of a class against all the others.
"""

from __future__ import annotations

from lossary.losses.binary import faded
from lossary.ops import log, softplus, weighted, xlogy
from lossary.parameters import Param
from lossary.structures.rowwise import rowwise


@rowwise(
    elicits="class probabilities",
    forms={"class_probability": lambda y, p: -weighted(y, log(p))},
)
def cross_entropy(y, z):
    """Log loss of several classes: the negative log-likelihood of the target.

    Use it whenever class probabilities are wanted. Targets are class numbers, or one
    probability per class; predictions are logits, ``from_logits=False`` takes
    probabilities.

    Weights of classes are weights of rows, ``sample_weight=weight[labels]``, and their
    mean is Σwℓ/Σw. Rows to ignore, such as those labelled -100, are left out by
    ``mask=labels != -100``, whatever they hold.

    Good (1952), Rational decisions, JRSS B 14(1). Bridle (1990), Probabilistic
    interpretation of feedforward classification network outputs.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.cross_entropy([2], [[0.2, -0.3, 0.5]])), 4)
    0.784
    >>> round(float(ls.cross_entropy([2], [[0.2, -0.3, 0.5]], label_smoothing=0.1)), 4)
    0.8206

    Weights of classes, and labels that are ignored:

    >>> import numpy as np
    >>> labels, weight = np.array([0, -100, 2]), np.array([1.0, 1.0, 3.0])
    >>> logits = np.array([[0.2, -0.3, 0.5], [0.0, 0.0, 9.0], [0.2, -0.3, 0.5]])
    >>> counted = labels != -100
    >>> row_weight = weight[np.where(counted, labels, 0)]
    >>> loss = ls.cross_entropy(labels, logits, sample_weight=row_weight, mask=counted)
    >>> round(float(loss), 4)
    0.859
    """
    return weighted(y, softplus(-z))


@rowwise(
    elicits="monotone distortion of the class probabilities",
    forms={
        "class_probability": lambda y, p, gamma: weighted(
            y, -((1 - p) ** gamma) * log(p)
        )
    },
)
def focal(y, z, gamma=Param(2.0, ge=0)):
    """Cross-entropy that fades on rows already right, by (1 - p of the target)^gamma.

    Use it to put the effort on hard rows of many classes; its scores are not
    probabilities until they are mapped back.

    Lin et al. (2017), Focal loss for dense object detection, ICCV.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.focal([0], [[0.0, 0.0]], gamma=2.0)), 4)
    0.1733
    """
    return weighted(y, faded(z, gamma))


@rowwise(
    target="distribution",
    elicits="class probabilities",
    forms={"class_probability": lambda y, p: xlogy(y, y) - weighted(y, log(p))},
)
def kl_divergence(y, z):
    """Kullback-Leibler divergence of the predicted from the target distribution.

    Use it to fit a distribution per row, such as a teacher's; it differs from
    cross-entropy by the target's entropy, and is 0 at the target.

    Kullback and Leibler (1951), On information and sufficiency, Ann. Math. Statist.
    22(1).

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.kl_divergence([[0.1, 0.2, 0.3, 0.4]], [[0.0] * 4])), 4)
    0.1064
    """
    return xlogy(y, y) + weighted(y, softplus(-z))
