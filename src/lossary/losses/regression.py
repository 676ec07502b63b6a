"""Losses for real-valued and positive targets."""

from __future__ import annotations

import math

from lossary.ops import equal, exp, expm1, log, log1p, minimum, softplus, sqrt, where
from lossary.parameters import Param
from lossary.structures.pointwise import pointwise


@pointwise(elicits="mean")
def squared_error(y, z):
    """Squared difference, (z - y)²: its minimiser is the mean.

    Use it when the mean is wanted and errors are light-tailed; one outlier can
    outweigh all other rows.

    Gauss (1809), Theoria motus. Savage (1971), Elicitation of personal probabilities
    and expectations, JASA 66(336).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.squared_error([1.0, 2.0], [1.0, 4.0]))
    2.0
    """
    return (z - y) ** 2


@pointwise(elicits="median", majoriser=lambda y, z: 1 / abs(z - y))
def absolute_error(y, z):
    """Absolute difference, |z - y|: its minimiser is the median.

    Use it when errors have heavy tails and the median is wanted; where more than
    half of the targets are zero, zero is the best constant.

    Laplace (1774). Gneiting (2011), Making and evaluating point forecasts, JASA
    106(494).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.absolute_error([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    return abs(z - y)


@pointwise(
    elicits="Huber functional",
    majoriser=lambda y, z, delta: minimum(1.0, delta / abs(z - y)),
)
def huber(y, z, delta=Param(1.0, gt=0)):
    """Quadratic near the target, linear beyond `delta`: an outlier has a bounded pull.

    Use it for a centre that a few wild rows must not move; its minimiser lies between
    median and mean, so that it is biased for the mean of a skewed target.

    Huber (1964), Robust estimation of a location parameter, Ann. Math. Statist. 35(1).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.huber([0.0, 0.0], [0.5, 3.0], delta=1.0))
    1.3125
    """
    a = abs(z - y)
    q = minimum(a, delta)
    return q**2 / 2 + delta * (a - q)


@pointwise(elicits="log-cosh location")
def log_cosh(y, z):
    """Logarithm of the hyperbolic cosine of the difference: a smooth Huber loss.

    Use it like Huber with delta = 1 where a second derivative must exist everywhere;
    its scale is fixed, so standardise the target.

    Green (1990), Bayesian reconstructions from emission tomography data using a
    modified EM algorithm, IEEE Trans. Med. Imaging 9(1).

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.log_cosh([0.0], [1.0])), 4)
    0.4338
    """
    # log cosh r = (softplus(2r) + softplus(-2r))/2 - log 2: no overflow, no kink.
    r = z - y
    return (softplus(2 * r) + softplus(-2 * r)) / 2 - log(2)


@pointwise(elicits="tau-quantile", majoriser=lambda y, z, tau: 1 / (2 * abs(z - y)))
def pinball(y, z, tau=Param(0.5, gt=0, lt=1)):
    """Quantile loss: an error above the target costs 1 - tau, one below costs tau.

    Use it for the quantile `tau`, or for several to make an interval; with
    ``tau = 0.5`` it is half the absolute error.

    Koenker and Bassett (1978), Regression quantiles, Econometrica 46(1).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.pinball([1.0, 1.0], [0.0, 2.0], tau=0.75))
    0.5
    """
    r = y - z
    return where(r >= 0, tau * r, (tau - 1) * r)


@pointwise(
    target="nonzero",
    elicits="median weighted by 1/|y|",
    majoriser=lambda y, z: 1 / (abs(z - y) * abs(y)),
)
def absolute_percentage_error(y, z):
    """Absolute difference in units of the target, |z - y| / |y|.

    Use it when the metric is MAPE, and expect predictions that are systematically
    low: the minimiser is a median that small targets dominate. A fraction, not a
    percentage.

    Gneiting (2011), Making and evaluating point forecasts, JASA 106(494).

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.absolute_percentage_error([1.0, 2.0], [1.5, 2.0]))
    0.25
    """
    return abs(z - y) / abs(y)


@pointwise(
    target="above_minus_one",
    prediction="above_minus_one",
    elicits="mean of log(1 + y)",
    link="log1p",
)
def squared_log_error(y, z):
    """Squared difference of log(1 + ·): relative errors of amounts, zeros allowed.

    Use it when the metric is RMSLE. Predictions are amounts above -1; a model that
    adds up scores predicts log(1 + p), see `Loss.linked`.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.squared_log_error([0.0, 3.0], [0.0, 1.0])), 4)
    0.2402
    """
    return (log1p(z) - log1p(y)) ** 2


def _bent(r, alpha):
    """Return b/α·((1 + r²/b)^(α/2) - 1) with b = |α - 2|, at no limit of α."""
    a = where(equal(alpha, 0.0), 1.0, alpha)
    b = where(equal(alpha, 2.0), 1.0, abs(alpha - 2))
    near = b / a * expm1(a / 2 * log1p(r * r / b))
    # Far out the second derivative of that loses its digits; a power keeps them.
    distance = abs(r) / sqrt(b)
    closeness = b / (r * r)
    power = exp(a / 2 * log1p(closeness))
    rest = where(equal(closeness, 0.0), 1.0, power)
    return where(distance <= 1, near, b / a * (distance**a * rest - 1))


def _cauchy(r):
    """Return log(1 + r²/2), with a slope of 0 at infinity."""
    inverse = math.sqrt(2) / abs(r)
    far = 2 * log(abs(r)) - math.log(2) + log1p(inverse * inverse)
    return where(r * r <= 2, log1p(r * r / 2), far)


def _welsch(half):
    """Return 1 - exp(-r²/2), with a slope of 0 at infinity."""
    return where(equal(half, math.inf), 1.0, -expm1(-half))


@pointwise(elicits="")
def general_robust(
    y,
    z,
    alpha=Param(1.0, about="how robust", learn=(1e-3, 2 - 1e-3)),
    scale=Param(1.0, gt=0, about="where outliers begin", learn=(0, math.inf)),
):
    """Many robust losses in one: `alpha` says how little an outlier counts.

    2 is half the squared error, 1 a smooth absolute error (Charbonnier, pseudo-Huber),
    0 Cauchy, -2 Geman-McClure, -inf Welsch; residuals are taken in units of `scale`.
    Use it to tune robustness like any number, or to learn it with the model:
    ``general_robust.to_torch(learn=("alpha", "scale"))``.

    Barron (2019), A general and adaptive robust loss function, CVPR.

    Examples
    --------
    >>> import lossary as ls
    >>> round(float(ls.general_robust([0.0], [1.0], alpha=1.0)), 4)
    0.4142
    >>> float(ls.general_robust([0.0], [3.0], alpha=2.0))
    4.5
    """
    r = (z - y) / scale
    half = r * r / 2
    limits = ((2.0, half), (0.0, _cauchy(r)), (-math.inf, _welsch(half)))
    loss = where(equal(alpha, math.inf), expm1(half), _bent(r, alpha))
    for limit, formula in limits:
        loss = where(equal(alpha, limit), formula, loss)
    return loss
