"""Vector maths: elementary functions that a compiler can put into vector loops.

No branch, no table look-up and no call: inlined into a loop, each function becomes a
few dozen vector instructions, where a scalar ``libm`` call would stop the loop from
being vectorised at all. Within 2 ulp over the whole range of both precisions,
subnormal numbers, infinities and NaN included.

The methods are the classical ones: Cody and Waite's reduction for exp, fdlibm's
correction terms for log and log1p. The polynomials are Chebyshev interpolants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core.extending import intrinsic

Function = Callable[..., Any]

inline: Callable[[Function], Function] = njit(forceinline=True, error_model="numpy")
"""Compile into the caller: LLVM alone would judge these functions too long."""


def _fused(builder: Any, kind: Any) -> Any:
    """Declare a·b + c, rounded once where the machine can and twice elsewhere."""
    signature = ir.FunctionType(kind, [kind] * 3)
    return builder.module.declare_intrinsic("llvm.fmuladd", [kind], signature)


def _muladd(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a·b + c."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(_fused(builder, args[0].type), args)

    return a(a, a, a), generate


def _horner(typing: Any, x: Any, coefficients: Any) -> Any:
    """Evaluate a polynomial, highest power first, unrolled."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        point, values = args
        step = _fused(builder, point.type)
        result = builder.extract_value(values, 0)
        for i in range(1, coefficients.count):
            term = builder.extract_value(values, i)
            result = builder.call(step, [result, point, term])
        return result

    return x(x, coefficients), generate


muladd: Function = intrinsic(_muladd)
horner: Function = intrinsic(_horner)


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
    log_tail: tuple[float, ...]  # (2·atanh(s) / s - 2) / s², for log near 1
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
        0.23331613838672638,
        0.28550779819488525,
        0.4000012278556824,
        0.6666666865348816,
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


def _reduction(p: Precision) -> tuple[Function, Function, Function, Function]:
    """Write x = n·ln 2 + r with |r| <= ln(2)/2; give 2^n, exp(r) - 1 and exp(r)."""
    real, bits = p.real, p.bits
    digits = bits(p.digits)
    # Adding 1.5·2^digits leaves the nearest whole number in the low bits.
    magic = real(1.5 * 2.0**p.digits)
    one_over_ln2 = p.number(1.4426950408889634)
    ln2_high, ln2_low = map(p.number, p.ln2)
    tail = p.numbers(p.exp_tail)
    full = p.numbers((*p.exp_tail, 1.0, 1.0))

    @inline
    def reduce(x: Any) -> Any:
        k = muladd(x, one_over_ln2, magic)
        n = k - magic
        r = muladd(-n, ln2_low, muladd(-n, ln2_high, x))
        return k, r

    @inline
    def exp_less_one(r: Any) -> Any:
        return muladd(r * r, horner(r, tail), r)

    @inline
    def exp_near(r: Any) -> Any:
        return horner(r, full)

    @inline
    def power_of_two(k: Any, bias: Any) -> Any:
        """Return 2^(n + bias - the format's own), from k = n + magic."""
        return bits((real(k).view(bits) + bias) << digits).view(real)

    return reduce, power_of_two, exp_less_one, exp_near


def _exponentials(p: Precision) -> dict[str, Function]:
    reduce, power_of_two, exp_less_one, exp_near = _reduction(p)
    lowest, highest = map(p.number, p.exp_range)
    zero, half, two = map(p.number, (0.0, 0.5, 2.0))
    flat = p.number(-45.0)  # expm1 is -1 below
    # 2^n itself overflows before exp does, and underflows where the result is
    # subnormal and must be rounded once: its exponent is moved, and moved back.
    lowered, raised = p.bits(p.bias - 1), p.bits(p.bias + 64)
    back = p.number(2.0**-64)

    @inline
    def scaled(e: Any, k: Any, positive: Any) -> Any:
        scale = power_of_two(k, lowered if positive else raised)
        return e * scale * (two if positive else back)

    @inline
    def limited(x: Any) -> Any:
        # Compared this way round, a NaN stays.
        return lowest if x < lowest else (highest if x > highest else x)

    @inline
    def exp(x: Any) -> Any:
        k, r = reduce(limited(x))
        return scaled(exp_near(r), k, x > zero)

    @inline
    def exp_sum(x: Any, low: Any) -> Any:
        k, r = reduce(limited(x))
        e = exp_near(r)
        return scaled(muladd(e, low, e), k, x > zero)

    @inline
    def decay(x: Any) -> Any:
        x = -abs(x)
        k, r = reduce(lowest if x < lowest else x)
        return exp_near(r) * power_of_two(k, raised) * back

    @inline
    def expm1(x: Any) -> Any:
        k, r = reduce(flat if x < flat else (highest if x > highest else x))
        # Half of the result: 2^n itself overflows just below the largest float.
        scale = power_of_two(k, lowered)
        result = two * (exp_less_one(r) * scale + (scale - half))
        return x if x == zero else result  # -0.0 too

    return {"exp": exp, "exp_sum": exp_sum, "decay": decay, "expm1": expm1}


def _split(p: Precision) -> Function:
    """Write x = 2^k·m with m in [√½, √2), k as a float, for positive normal x."""
    real, bits = p.real, p.bits
    digits = bits(p.digits)
    fraction = bits(2**p.digits - 1)
    unit = bits(p.real(1.0).view(p.bits))
    # Moves the change of exponent from 1 to √2.
    shift = bits(unit - p.real(np.sqrt(0.5)).view(p.bits))
    root = bits(p.real(np.sqrt(0.5)).view(p.bits))
    # An integer in the low bits of 2^digits is that number, without a conversion.
    holder = p.real(2.0**p.digits)
    holder_bits = bits(holder.view(p.bits))
    offset = p.real(2.0**p.digits + p.bias)

    @inline
    def split(x: Any) -> Any:
        word = bits(real(x).view(bits) + shift)
        k = bits((word >> digits) | holder_bits).view(real) - offset
        return k, bits((word & fraction) + root).view(real)

    return split


def _inverse_power(p: Precision) -> Function:
    real, bits = p.real, p.bits
    digits, magic = bits(p.digits), p.real(1.5 * 2.0**p.digits)
    bias = bits(p.bias)

    @inline
    def inverse_power(k: Any) -> Any:
        """Return 2^-k for a whole k."""
        word = real(magic - k).view(bits)
        return bits((word + bias) << digits).view(real)

    return inverse_power


def _logarithms(p: Precision) -> dict[str, Function]:
    split, inverse_power = _split(p), _inverse_power(p)
    ln2_high, ln2_low = map(p.number, p.ln2)
    log_tail, unit_tail = p.numbers(p.log_tail), p.numbers(p.unit_tail)
    zero, half, one, two = map(p.number, (0.0, 0.5, 1.0, 2.0))
    infinity, nan = p.number(np.inf), p.number(np.nan)
    tiny = p.number(float(np.finfo(p.real).tiny))
    lift, lifted = p.number(2.0 ** (p.digits + 2)), p.number(p.digits + 2)
    far = p.number(p.digits + 8)

    @inline
    def finish(k: Any, f: Any) -> Any:
        s = f / (two + f)
        z = s * s
        square = half * f * f
        inner = s * muladd(z, horner(z, log_tail), square) + k * ln2_low
        return k * ln2_high - ((square - inner) - f)

    @inline
    def log(x: Any) -> Any:
        small = x < tiny
        k, m = split(x * lift if small else x)
        result = finish(k - (lifted if small else zero), m - one)
        result = result if x > zero else (-infinity if x == zero else nan)
        return x if x == infinity else result

    @inline
    def log1p(x: Any) -> Any:
        u = one + x
        # What the sum lost, relative to the larger of its terms.
        lost = (x - (u - one)) if x < one else (one - (u - x))
        k, m = split(u)
        # Of a large u nothing is lost that could be seen, and 2^-k is out of range.
        result = finish(k, (m - one) + lost * inverse_power(k if k < far else far))
        result = result if x > -one else (-infinity if x == -one else nan)
        return x if (x == infinity) | (x == zero) else result

    @inline
    def log1p_unit(x: Any) -> Any:
        return muladd(x * x, horner(x, unit_tail), x)

    return {"log": log, "log1p": log1p, "log1p_unit": log1p_unit}


def _hyperbolic(p: Precision, exp: Function) -> dict[str, Function]:
    tail = p.numbers(p.tanh_tail)
    zero, one, two, border = map(p.number, (0.0, 1.0, 2.0, 0.55))

    @inline
    def tanh(x: Any) -> Any:
        a = abs(x)
        z = x * x
        near = x if x == zero else muladd(x * z, horner(z, tail), x)  # -0.0 too
        far = one - two / (exp(two * a) + one)
        return near if a < border else (-far if x < zero else far)

    return {"tanh": tanh}


def _double_logarithm() -> tuple[Function, Function]:
    """Write log x as a sum of two float64 with about 65 good bits, for x > 0."""
    p = FLOAT64
    split = _split(p)
    ln2_high, ln2_low = p.ln2
    third = (2 / 3, 3.7007434154171885e-17)  # 2/3 to twice the digits
    splitter, tiny, lift = 2.0**27 + 1, 2.0**-1022, 2.0**54
    tail = LOG_FIFTH

    @inline
    def multiply(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
        """Multiply two unevaluated sums (Dekker: no fused operation is needed)."""
        t = splitter * a
        a1 = t - (t - a)
        u = splitter * b
        b1 = u - (u - b)
        a2, b2 = a - a1, b - b1
        high = a * b
        error = ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2
        return high, error + (a * b_low + a_low * b)

    @inline
    def add(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
        """Add two unevaluated sums."""
        high = a + b
        v = high - a
        return high, ((a - (high - v)) + (b - v)) + (a_low + b_low)

    @inline
    def log_pair(x: Any) -> Any:
        small = x < tiny
        k, m = split(x * lift if small else x)
        k = k - (54.0 if small else 0.0)
        f = m - 1.0
        u = 2.0 + f
        s = f / u
        # What the division lost: f - s·u, with u itself rounded from 2 + f.
        product, rest = multiply(s, 0.0, u, f - (u - 2.0))
        s_low = ((f - product) - rest) / u
        z, z_low = multiply(s, s_low, s, s_low)
        cube, cube_low = multiply(z, z_low, s, s_low)
        head, head_low = multiply(cube, cube_low, third[0], third[1])
        head_low = head_low + cube * (z * horner(z, tail))
        high, low = add(2.0 * s, 2.0 * s_low, head, head_low)
        return add(k * ln2_high, k * ln2_low, high, low)

    return log_pair, multiply


def _positive_power(p: Precision) -> Function:
    """Give x ** y for x > 0, through a logarithm good enough for 2 ulp in the end."""
    if p is FLOAT32:  # float64 has digits to spare for it
        exp, log = _exponentials(FLOAT64)["exp"], _logarithms(FLOAT64)["log"]

        @inline
        def single(x: Any, y: Any) -> Any:
            return np.float32(exp(np.float64(y) * log(np.float64(x))))

        return single
    log_pair, multiply = _double_logarithm()
    exp_sum = _exponentials(FLOAT64)["exp_sum"]

    @inline
    def double(x: Any, y: Any) -> Any:
        high, low = log_pair(x)
        a, b = multiply(high, low, y, 0.0)
        e = a + b
        return exp_sum(e, (a - e) + b if abs(a) < 1000.0 else 0.0)

    return double


def _powers(p: Precision) -> dict[str, Function]:
    positive_power = _positive_power(p)
    zero, half, one = map(p.number, (0.0, 0.5, 1.0))
    infinity, nan = p.number(np.inf), p.number(np.nan)
    steep = p.number(2.0**67)  # beyond, every base but 1 gives 0 or infinity

    @inline
    def power(x: Any, y: Any) -> Any:
        base = abs(x)
        limited = steep if y > steep else (-steep if y < -steep else y)
        result = positive_power(base, limited)
        result = (zero if y > zero else infinity) if base == zero else result
        result = (infinity if y > zero else zero) if base == infinity else result
        whole = (np.floor(y) == y) | (base == infinity)
        odd = (np.floor(y) == y) & (np.floor(half * y) != half * y)
        signed = (-result if odd else result) if whole else nan
        result = signed if x < zero else result
        result = result if (x == x) & (y == y) else nan
        return one if (y == zero) | (x == one) else result

    return {"pow": power}


def _products(p: Precision, log: Function) -> dict[str, Function]:
    zero = p.number(0.0)

    @inline
    def xlogy(x: Any, y: Any) -> Any:
        return zero if x == zero else x * log(y)

    return {"xlogy": xlogy}


@lru_cache(maxsize=2)
def functions(dtype: str) -> dict[str, Function]:
    """Return the vector functions of ``"float32"`` or ``"float64"``, by name.

    ``decay`` is exp(-|x|); ``log1p_unit`` is log1p on [0, 1], where it needs no
    reduction; ``exp_sum`` is the exponential of an unevaluated sum of a number and a
    small correction.
    """
    p = {"float32": FLOAT32, "float64": FLOAT64}[dtype]
    table = _exponentials(p) | _logarithms(p)
    table |= _hyperbolic(p, table["exp"])
    table |= _powers(p) | _products(p, table["log"])
    return table
