"""Vector maths: elementary functions that a compiler can put into vector loops.

No branch, no table look-up and no call: inlined into a loop, each function becomes a
few dozen vector instructions, where a scalar ``libm`` call would stop the loop from
being vectorised at all. Within 2 ulp over the whole range of both precisions,
subnormal numbers, infinities and NaN included.

The methods are the classical ones: Cody and Waite's reduction for exp, fdlibm's
correction terms for log and log1p.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core.extending import intrinsic

from lossary.kernels.precision import FLOAT32, FLOAT64, LOG_FIFTH, Precision

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
    reduce, power_of_two, _, exp_near = _reduction(p)
    lowest, highest = map(p.number, p.exp_range)
    zero, two = p.number(0.0), p.number(2.0)
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

    return {"exp": exp, "exp_sum": exp_sum, "decay": decay}


def _expm1(p: Precision) -> dict[str, Function]:
    reduce, power_of_two, exp_less_one, _ = _reduction(p)
    flat, highest = p.number(-45.0), p.number(p.exp_range[1])  # it is -1 below
    zero, half, two = map(p.number, (0.0, 0.5, 2.0))
    lowered = p.bits(p.bias - 1)

    @inline
    def expm1(x: Any) -> Any:
        k, r = reduce(flat if x < flat else (highest if x > highest else x))
        # Half of the result: 2^n itself overflows just below the largest float.
        scale = power_of_two(k, lowered)
        result = two * (exp_less_one(r) * scale + (scale - half))
        return x if x == zero else result  # -0.0 too

    return {"expm1": expm1}


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
    log_tail = p.numbers(p.log_tail)
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

    return {"log": log, "log1p": log1p}


def _log1p_unit(p: Precision) -> dict[str, Function]:
    unit_tail = p.numbers(p.unit_tail)

    @inline
    def log1p_unit(x: Any) -> Any:
        return muladd(x * x, horner(x, unit_tail), x)

    return {"log1p_unit": log1p_unit}


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


def _pairs() -> tuple[Function, Function]:
    """Give product and sum of unevaluated sums, for twice the digits of float64."""
    splitter = 2.0**27 + 1

    @inline
    def multiply(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
        # Dekker's way: no fused operation is needed.
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
        high = a + b
        v = high - a
        return high, ((a - (high - v)) + (b - v)) + (a_low + b_low)

    return multiply, add


def _double_logarithm() -> Function:
    """Write log x as a sum of two float64 with about 65 good bits, for x > 0."""
    p, (multiply, add) = FLOAT64, _pairs()
    split, tail = _split(p), LOG_FIFTH
    ln2_high, ln2_low = p.ln2
    third = (2 / 3, 3.7007434154171885e-17)  # 2/3 to twice the digits
    tiny, lift = 2.0**-1022, 2.0**54

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

    return log_pair


def _positive_power(p: Precision) -> Function:
    """Give x ** y for x > 0, through a logarithm good enough for 2 ulp in the end."""
    if p is FLOAT32:  # float64 has digits to spare for it
        exp, log = _exponentials(FLOAT64)["exp"], _logarithms(FLOAT64)["log"]

        @inline
        def single(x: Any, y: Any) -> Any:
            return np.float32(exp(np.float64(y) * log(np.float64(x))))

        return single
    log_pair, (multiply, _) = _double_logarithm(), _pairs()
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
    table = _exponentials(p) | _expm1(p) | _logarithms(p) | _log1p_unit(p)
    table |= _hyperbolic(p, table["exp"])
    table |= _powers(p) | _products(p, table["log"])
    return table
