"""Vector maths: elementary functions of the values that `lanes` prints.

No branch, no table look-up and no call: each function becomes a few dozen vector
instructions. Within 2 ulp over the whole range of both precisions, subnormal numbers,
infinities and NaN included.

The methods are the classical ones: Cody and Waite's reduction for exp, fdlibm's
correction terms for log and log1p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan, sqrt

import numpy as np

from lossary.kernels.llvm.lanes import Value, choose, muladd
from lossary.kernels.precision import FLOAT32, FLOAT64, LOG_FIFTH, Precision


def precision_of(x: Value) -> Precision:
    """Return the floating-point format of a value."""
    return FLOAT32 if x.type.kind == "float" else FLOAT64


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """Evaluate a polynomial, highest power first."""
    result = x.like(coefficients[0])
    for c in coefficients[1:]:
        result = muladd(result, x, c)
    return result


def limited(x: Value, low: float, high: float) -> Value:
    """Return x, at least `low` and at most `high`; a NaN stays."""
    return choose(x < low, low, choose(x > high, high, x))


# -- exponentials ---------------------------------------------------------------------


def _reduced(x: Value) -> tuple[Value, Value]:
    """Write x = n·ln 2 + r with |r| <= ln(2)/2; return n + 1.5·2^digits, and r."""
    p = precision_of(x)
    # Adding 1.5·2^digits leaves the nearest whole number in the low bits.
    magic = 1.5 * 2.0**p.digits
    k = muladd(x, x.like(1.4426950408889634), magic)
    n = k - magic
    high, low = p.ln2
    return k, muladd(-n, low, muladd(-n, high, x))


def _power_of_two(k: Value, bias: Value | int) -> Value:
    """Return 2^(n + bias - the format's own), from n + 1.5·2^digits."""
    return ((k.bits() + bias) << precision_of(k).digits).real()


def _exp_near(r: Value) -> Value:
    return horner(r, (*precision_of(r).exp_tail, 1.0, 1.0))


def _scaled(e: Value, k: Value, positive: Value) -> Value:
    # 2^n itself overflows before exp does, and underflows where the result is
    # subnormal and must be rounded once: its exponent is moved, and moved back.
    p = precision_of(e)
    word = k.bits()
    bias = choose(positive, word.like(p.bias - 1), word.like(p.bias + 64))
    back = choose(positive, e.like(2.0), e.like(2.0**-64))
    return e * _power_of_two(k, bias) * back


def exp(x: Value) -> Value:
    """Return e to the power of x."""
    k, r = _reduced(limited(x, *precision_of(x).exp_range))
    return _scaled(_exp_near(r), k, x > 0.0)


def exp_sum(x: Value, low: Value) -> Value:
    """Return the exponential of a number and a small correction to it."""
    k, r = _reduced(limited(x, *precision_of(x).exp_range))
    e = _exp_near(r)
    return _scaled(muladd(e, low, e), k, x > 0.0)


def decay(x: Value) -> Value:
    """Return exp(-|x|)."""
    return fall(-abs(x))


def fall(x: Value) -> Value:
    """Return e to the power of x <= 0."""
    p = precision_of(x)
    # What is far below the smallest number becomes 0 by a factor of 0: results that
    # underflow, as those of -inf would, cost a hundred times as much.
    bias = p.bias + 64
    low = -(bias + 2) * p.ln2[0]
    k, r = _reduced(choose(x < low, low, x))
    exponent = k.bits() + (bias - _bits(1.5 * 2.0**p.digits, p))
    scale = (choose(exponent > 0, exponent, 0) << p.digits).real()
    return _exp_near(r) * scale * 2.0**-64


def expm1(x: Value) -> Value:
    """Return e to the power of x, less one."""
    p = precision_of(x)
    k, r = _reduced(limited(x, -45.0, p.exp_range[1]))  # it is -1 below
    less_one = muladd(r * r, horner(r, p.exp_tail), r)
    # Half of the result: 2^n itself overflows just below the largest float.
    scale = _power_of_two(k, p.bias - 1)
    result = (less_one * scale + (scale - 0.5)) * 2.0
    return choose(x == 0.0, x, result)  # -0.0 too


# -- logarithms -----------------------------------------------------------------------


def _bits(x: float, p: Precision) -> int:
    return int(p.real(x).view(p.bits))


def _shifted(x: Value) -> Value:
    """Return the bits of x > 0, moved so that the exponent changes at √2, not at 1."""
    p = precision_of(x)
    return x.bits() + (_bits(1.0, p) - _bits(sqrt(0.5), p))


def _exponent(word: Value, p: Precision) -> Value:
    """Return k where x = 2^k·m with m in [√½, √2), from the shifted bits of x."""
    # A whole number in the low bits of 2^digits is that number, without a conversion.
    holder = 2.0**p.digits
    whole = (word >> p.digits) | _bits(holder, p)
    return whole.real() - (holder + p.bias)


def _split(x: Value) -> tuple[Value, Value]:
    """Write x = 2^k·m with m in [√½, √2), for positive normal x."""
    p, word = precision_of(x), _shifted(x)
    fraction = (word & (2**p.digits - 1)) + _bits(sqrt(0.5), p)
    return _exponent(word, p), fraction.real()


def _finished(k: Value, f: Value) -> Value:
    """Return k·ln 2 + log(1 + f)."""
    p = precision_of(f)
    high, low = p.ln2
    half = f * 0.5 * f
    if p is FLOAT32:  # nine terms cost less than a division
        factor, rest = f, half * horner(f, p.log_tail)
    else:
        factor = f / (f + 2.0)
        z = factor * factor
        rest = muladd(z, horner(z, p.log_tail), half)
    inner = muladd(factor, rest, k * low)
    return muladd(k, f.like(high), f - (half - inner))


def log(x: Value) -> Value:
    """Return the natural logarithm."""
    p = precision_of(x)
    small = x < float(np.finfo(p.real).tiny)
    lift = p.digits + 2
    k, m = _split(choose(small, x * 2.0**lift, x))
    result = _finished(k - choose(small, x.like(lift), x.like(0.0)), m - 1.0)
    result = choose(x > 0.0, result, choose(x == 0.0, x.like(-inf), x.like(nan)))
    return choose(x == inf, x, result)


def log1p(x: Value) -> Value:
    """Return the natural logarithm of 1 + x."""
    p = precision_of(x)
    word = _shifted(x + 1.0)
    # Of 1 + x = 2^k·(1 + f), f is rounded once: scaling x is exact. The scale is 2^-k,
    # or four times that, which is in range for every k.
    top = 2 * _bits(1.0, p) + (2 << p.digits)
    scale = (top - (word & -(1 << p.digits))).real()
    f = muladd(x * 0.25, scale, muladd(scale, 0.25, -1.0))
    result = _finished(_exponent(word, p), f)
    small = float(4 * np.finfo(p.real).tiny)  # a fourth of it is subnormal
    result = choose((abs(x) >= small) & (x < inf), result, x)
    return choose(x > -1.0, result, choose(x == -1.0, x.like(-inf), x.like(nan)))


def log1p_unit(x: Value) -> Value:
    """Return the natural logarithm of 1 + x on [0, 1], where it needs no reduction."""
    return muladd(x * x, horner(x, precision_of(x).unit_tail), x)


def xlogy(x: Value, y: Value) -> Value:
    """Return x·log y, and 0 where x is 0."""
    return choose(x == 0.0, 0.0, x * log(y))


# -- hyperbolic functions -------------------------------------------------------------


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent."""
    a, z = abs(x), x * x
    near = muladd(x * z, horner(z, precision_of(x).tanh_tail), x)
    near = choose(x == 0.0, x, near)  # -0.0 too
    far = 1.0 - 2.0 / (exp(a * 2.0) + 1.0)
    return choose(a < 0.55, near, choose(x < 0.0, -far, far))


# -- powers ---------------------------------------------------------------------------

Pair = tuple[Value, Value]
"""An unevaluated sum of two float64: twice the digits."""

_SPLITTER = 2.0**27 + 1


def _multiply(a: Value, a_low: Value, b: Value, b_low: Value) -> Pair:
    # Dekker's way: no fused operation is needed.
    t = a * _SPLITTER
    a1 = t - (t - a)
    u = b * _SPLITTER
    b1 = u - (u - b)
    a2, b2 = a - a1, b - b1
    high = a * b
    error = ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2
    return high, error + (a * b_low + a_low * b)


def _add(a: Value, a_low: Value, b: Value, b_low: Value) -> Pair:
    high = a + b
    v = high - a
    return high, ((a - (high - v)) + (b - v)) + (a_low + b_low)


def _log_pair(x: Value) -> Pair:
    """Write log x as a sum of two float64 with about 65 good bits, for x > 0."""
    small = x < 2.0**-1022
    k, m = _split(choose(small, x * 2.0**54, x))
    k = k - choose(small, x.like(54.0), x.like(0.0))
    f = m - 1.0
    u = f + 2.0
    s = f / u
    # What the division lost: f - s·u, with u itself rounded from 2 + f.
    product, rest = _multiply(s, s.like(0.0), u, f - (u - 2.0))
    s_low = ((f - product) - rest) / u
    z, z_low = _multiply(s, s_low, s, s_low)
    cube, cube_low = _multiply(z, z_low, s, s_low)
    third = x.like(2 / 3), x.like(3.7007434154171885e-17)  # 2/3 to twice the digits
    head, head_low = _multiply(cube, cube_low, *third)
    head_low = head_low + cube * (z * horner(z, LOG_FIFTH))
    high, low = _add(s * 2.0, s_low * 2.0, head, head_low)
    ln2_high, ln2_low = FLOAT64.ln2
    return _add(k * ln2_high, k * ln2_low, high, low)


def _positive_power(x: Value, y: Value) -> Value:
    """Return x ** y for x > 0, by a logarithm good enough for 2 ulp in the end."""
    if x.type.kind == "float":  # float64 has digits to spare for it
        return exp(y.to("double") * log(x.to("double"))).to("float")
    a, b = _multiply(*_log_pair(x), y, y.like(0.0))
    e = a + b
    return exp_sum(e, choose(abs(a) < 1000.0, (a - e) + b, 0.0))


def _is_whole(x: Value) -> Value:
    # By a sum without digits behind the point: not every processor can round, and
    # LLVM would call the system's library there.
    size, far = abs(x), 2.0 ** precision_of(x).digits
    return (size >= far) | ((size + far) - far == size)


def power(x: Value, y: Value) -> Value:
    """Return x ** y, as C's ``pow``."""
    base = abs(x)
    steep = 2.0**67  # beyond, every base but 1 gives 0 or infinity
    result = _positive_power(base, limited(y, -steep, steep))
    zero, infinity = x.like(0.0), x.like(inf)
    rising = y > 0.0
    result = choose(base == 0.0, choose(rising, zero, infinity), result)
    result = choose(base == inf, choose(rising, infinity, zero), result)
    integral = _is_whole(y)
    odd = integral & ~_is_whole(y * 0.5)
    whole = integral | (base == inf)
    signed = choose(whole, choose(odd, -result, result), nan)
    result = choose(x < 0.0, signed, result)
    result = choose((x == x) & (y == y), result, nan)
    return choose((y == 0.0) | (x == 1.0), 1.0, result)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "decay": decay,
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "log1p_unit": log1p_unit,
    "pow": power,
    "tanh": tanh,
    "xlogy": xlogy,
}
"""The functions that lowered formulas call, by the name of the operation."""
