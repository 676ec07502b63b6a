"""Losses for two classes: targets are 0 or 1, predictions are logits."""

from __future__ import annotations

from lossary.ops import exp, log, log1p, maximum, softplus, square, weighted, where
from lossary.parameters import Param
from lossary.structures.pointwise import pointwise


@pointwise(
    target="fraction",
    prediction="logit",
    elicits="mean",
    link="logit",
    forms={
        "probability": lambda y, p: -weighted(y, log(p)) - weighted(1 - y, log1p(-p))
    },
)
def binary_cross_entropy(y, z):
    """Log loss of two classes: the negative log-likelihood of the target.

    Use it whenever probabilities are wanted. The prediction is a logit;
    ``from_logits=False`` takes a probability. Targets between 0 and 1 are allowed.

    Good (1952), Rational decisions, JRSS B 14(1).

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.binary_cross_entropy([1.0, 0.0], [2.0, -1.0])), 4)
    0.2201
    """
    return weighted(y, softplus(-z)) + weighted(1 - y, softplus(z))


def faded(z, gamma):
    """Return (1 - p)^gamma·(-log p) for p = sigmoid(z).

    The power is exp(-gamma·softplus(z)), so that no difference rounds. Far on the
    wrong side it is 1 to the last digit; leaving it out there keeps an infinite logit
    from meeting the power's zero slope.
    """
    cost = softplus(-z)
    return where(z < -50, cost, exp(-weighted(gamma, softplus(z))) * cost)


def _focal_probability(y, p, gamma):
    positive = weighted(y, -((1 - p) ** gamma) * log(p))
    return positive + weighted(1 - y, -(p**gamma) * log1p(-p))


@pointwise(
    target="fraction",
    prediction="logit",
    elicits="monotone distortion of the probability",
    link="logit",
    forms={"probability": _focal_probability},
)
def binary_focal(y, z, gamma=Param(2.0, ge=0)):
    """Cross-entropy that fades on rows already right, by (1 - p of the target)^gamma.

    Use it to put the effort on hard rows; the scores that minimise it are pulled to
    the middle and are not probabilities until they are mapped back.

    Lin et al. (2017), Focal loss for dense object detection, ICCV.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.binary_focal([1.0], [0.0], gamma=2.0)), 4)
    0.1733
    """
    return weighted(y, faded(z, gamma)) + weighted(1 - y, faded(-z, gamma))


@pointwise(target="label", prediction="real", elicits="sign of p - 1/2")
def hinge(y, z):
    """Margin loss of the linear support vector machine: max(0, 1 - margin).

    Use it for decisions without probabilities; rows beyond the margin cost nothing.

    Cortes and Vapnik (1995), Support-vector networks, Machine Learning 20.

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.hinge([1, 0], [0.5, -2.0]))
    0.25
    """
    return maximum(0, 1 - (2 * y - 1) * z)


@pointwise(target="label", prediction="real", elicits="2p - 1, clipped")
def squared_hinge(y, z):
    """Squared margin loss: max(0, 1 - margin)², smooth at the margin.

    Use it like hinge where a gradient that changes continuously is wanted.

    Chang, Hsieh and Lin (2008), Coordinate descent method for large-scale L2-loss
    linear support vector machines, JMLR 9.

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.squared_hinge([1, 0], [0.5, -2.0]))
    0.125
    """
    return square(maximum(0, 1 - (2 * y - 1) * z))


@pointwise(
    target="label", prediction="real", elicits="half the log-odds", link="half_logit"
)
def exponential(y, z):
    """Exponential of the negative margin: the loss of AdaBoost.

    Use it to reproduce boosting as it was; a mislabelled row far on the wrong side
    outweighs all others.

    Friedman, Hastie and Tibshirani (2000), Additive logistic regression, Ann. Statist.
    28(2).

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.exponential([1], [1.0])), 4)
    0.3679
    """
    return exp((1 - 2 * y) * z)
