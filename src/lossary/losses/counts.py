"""Losses for counts and amounts, of exponential families."""

from __future__ import annotations

from lossary.ops import exp, weighted, xlogy
from lossary.parameters import Param
from lossary.structures.pointwise import pointwise


@pointwise(
    target="count",
    prediction="log",
    elicits="mean",
    link="log",
    forms={"positive": lambda y, p: p - xlogy(y, p)},
)
def poisson(y, z):
    """Poisson negative log-likelihood; the prediction is the logarithm of the mean.

    Use it for counts and other non-negative amounts whose variance grows with their
    mean. ``from_log=False`` takes the mean itself. The term log(y!), which no
    prediction changes, is left out, so values may be negative; the deviance is twice
    the difference to the loss at the target.

    Nelder and Wedderburn (1972), Generalized linear models, JRSS A 135(3).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.poisson([2.0], [0.0]))
    1.0
    """
    return exp(z) - weighted(y, z)


def _tweedie_mean(y, p, power):
    pull = weighted(y, p ** (1 - power)) / (power - 1)
    return pull + p ** (2 - power) / (2 - power)


@pointwise(
    target="count",
    prediction="log",
    elicits="mean",
    link="log",
    forms={"positive": _tweedie_mean},
)
def tweedie(y, z, power=Param(1.5, gt=1, lt=2)):
    """Tweedie quasi-likelihood: amounts with a mass at zero, such as claims or rain.

    Use it where some targets are exactly zero and the rest are positive and skewed;
    the variance is proportional to mean**power. The prediction is the logarithm of
    the mean; ``from_log=False`` takes the mean itself. The term of the target alone
    is left out; the deviance is twice the difference to the loss at the target.

    Jørgensen (1987), Exponential dispersion models, JRSS B 49(2).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.tweedie([0.0], [0.0], power=1.5))
    2.0
    """
    pull = weighted(y, exp((1 - power) * z)) / (power - 1)
    return pull + exp((2 - power) * z) / (2 - power)
