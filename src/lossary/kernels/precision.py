"""Constants of the vector maths, per floating-point format.

The polynomials are Chebyshev interpolants of the functions named beside them, highest
power first, fitted at 60 digits and rounded to the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Precision:
    """What the functions need to know of a floating-point format."""

    real: type
    bits: type
    digits: int  # stored bits of the fraction
    bias: int
    ln2: tuple[float, float]  # the first part has zeros enough for n·ln2 to be exact
    exp_range: tuple[float, float]  # beyond, the result is 0 or infinity
    exp_tail: tuple[float, ...]  # (exp(r) - 1 - r) / r²
    # For log near 1, (2·atanh(s) / s - 2) / s²; of float32 2·(log1p(x) - x + x²/2) / x³
    log_tail: tuple[float, ...]
    unit_tail: tuple[float, ...]  # (log1p(x) - x) / x² on [0, 1]
    tanh_tail: tuple[float, ...]  # (tanh(x) / x - 1) / x²

    def number(self, x: float) -> Any:
        """Round to the format; a typed constant of the compiled code."""
        return self.real(x)

    def numbers(self, xs: tuple[float, ...]) -> tuple[Any, ...]:
        """Round a polynomial's coefficients."""
        return tuple(self.real(x) for x in xs)


FLOAT32 = Precision(
    real=np.float32,
    bits=np.uint32,
    digits=23,
    bias=127,
    ln2=(0.693145751953125, 1.42860677e-06),
    exp_range=(-104.0, 88.8),
    exp_tail=(
        0.0013926184037700295,
        0.008363178931176662,
        0.041666556149721146,
        0.16666576266288757,
        0.5,
    ),
    log_tail=(
        0.13943223655223846,
        -0.22959467768669128,
        0.23370839655399323,
        -0.24851374328136444,
        0.2849811613559723,
        -0.3333560526371002,
        0.40001431107521057,
        -0.4999999403953552,
        0.6666666269302368,
    ),
    unit_tail=(
        0.0028016420546919107,
        -0.017184266820549965,
        0.049309972673654556,
        -0.09139414131641388,
        0.13033364713191986,
        -0.16365152597427368,
        0.19956707954406738,
        -0.24996760487556458,
        0.333332359790802,
        -0.5,
    ),
    tanh_tail=(
        -0.006564395502209663,
        0.02128472365438938,
        -0.05390536040067673,
        0.13333092629909515,
        -0.3333333134651184,
    ),
)

FLOAT64 = Precision(
    real=np.float64,
    bits=np.uint64,
    digits=52,
    bias=1023,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    exp_range=(-746.0, 709.9),
    exp_tail=(
        2.510038549551032e-08,
        2.7620088445409746e-07,
        2.7557268459997064e-06,
        2.4801521295954376e-05,
        0.00019841269863053618,
        0.0013888888917213717,
        0.008333333333330062,
        0.04166666666662413,
        0.16666666666666669,
        0.5,
    ),
    log_tail=(
        0.14617807153417325,
        0.15331611722055008,
        0.1818289243253687,
        0.22222211089379496,
        0.28571428625653836,
        0.3999999999989889,
        0.666666666666667,
    ),
    unit_tail=(
        1.507843780222621e-05,
        -0.0001818830325500265,
        0.001043354876634814,
        -0.0038046517253179694,
        0.009968982838076882,
        -0.020179668043339125,
        0.03327845491726436,
        -0.046798182549893104,
        0.05858685252957079,
        -0.06799320385322372,
        0.07573035633807378,
        -0.08299931758127772,
        0.09083470413958532,
        -0.09998705428075007,
        0.11110938960467566,
        -0.12499983019721868,
        0.14285713092791552,
        -0.1666666661032813,
        0.19999999998361212,
        -0.2499999999997462,
        0.33333333333333176,
        -0.5,
    ),
    tanh_tail=(
        -2.0289800612514075e-05,
        8.465718640250347e-05,
        -0.00023435314845645768,
        0.0005888400422537283,
        -0.001455642111220305,
        0.0035921078811045905,
        -0.00886323420601293,
        0.02186948848524601,
        -0.05396825396724726,
        0.13333333333332556,
        -0.3333333333333333,
    ),
)


# (2·atanh(s) / s - 2 - 2/3·s²) / s⁴, for the logarithm in twice the digits.
LOG_FIFTH = (
    0.1291471218393509,
    0.13285868837545742,
    0.15385577463308145,
    0.18181808210921882,
    0.22222222271326808,
    0.2857142857133801,
    0.4000000000000003,
)
