"""Every vector function is within 2 ulp over the whole range, in both precisions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from ulps import ORACLES, UNARY, ulps
from vector_functions import alone

DTYPES = ["float32", "float64"]
WIDER = {"float32": np.float64, "float64": np.longdouble}

needs_wide = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="no wider format to compare with"
)


def every_exponent(dtype: str, n: int) -> np.ndarray:
    """Return random floats of all magnitudes and both signs, with the special ones."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype)
    words = rng.integers(0, 2**info.bits, n, dtype=f"uint{info.bits}")
    some = [0.0, 1.0, info.tiny, info.smallest_subnormal, info.max, np.inf, np.nan]
    special = np.array([*some, *(-x for x in some)], dtype)
    with np.errstate(all="ignore"):
        close = np.concatenate([rng.normal(0, 1, n), 1 + rng.normal(0, 0.1, n)])
        steep = rng.uniform(-2, 2, n) * np.log(float(info.max)) * 0.55
        tiny = np.exp2(rng.uniform(-1070, 0, n)) * rng.choice([-1.0, 1.0], n)
        parts = [words.view(dtype), special, close, steep, tiny]
        return np.concatenate([np.asarray(p).astype(dtype) for p in parts])


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in UNARY if n != "log1p_unit"])
def test_functions_of_one_argument(name, dtype):
    x = every_exponent(dtype, 300_000)
    got = alone(name, dtype)(x)
    with np.errstate(all="ignore"):
        errors = ulps(got, ORACLES[name](x.astype(WIDER[dtype])))
    worst = int(np.argmax(errors))
    assert errors[worst] <= 2, (x[worst], got[worst])


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_unit(dtype):
    x = np.linspace(0, 1, 300_001).astype(dtype)
    x = np.concatenate([x, abs(every_exponent(dtype, 1000))])
    x = x[x <= 1]
    got = alone("log1p_unit", dtype)(x)
    assert ulps(got, np.log1p(x.astype(WIDER[dtype]))).max() <= 2


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["pow", "xlogy"])
def test_functions_of_two_arguments(name, dtype):
    rng = np.random.default_rng(3)
    n = 100_000
    far = 80 if dtype == "float32" else 600
    x = np.exp(np.concatenate([rng.normal(0, 1, n), rng.uniform(-far, far, n)]))
    x = np.concatenate([x, 1 + 1e-6 * rng.normal(0, 1, n)]).astype(dtype)
    y = np.concatenate([rng.normal(0, 10, 2 * n), rng.uniform(-1e7, 1e7, n)])
    y = y.astype(dtype)
    with np.errstate(all="ignore"):
        errors = ulps(
            alone(name, dtype, 2)(x, y),
            ORACLES[name](x.astype(WIDER[dtype]), y.astype(WIDER[dtype])),
        )
    assert errors.max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_at_the_edges(dtype):
    some = [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -2.5, np.inf, -np.inf, np.nan]
    x, y = (
        a.ravel() for a in np.meshgrid(np.array(some, dtype), np.array(some, dtype))
    )
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    got = alone("pow", dtype, 2)(x, y)
    assert np.allclose(got, expected, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "log1p_unit", "tanh"])
def test_the_sign_of_zero_is_kept(name, dtype):
    zeros = np.array([0.0, -0.0], dtype)
    assert list(np.signbit(alone(name, dtype)(zeros))) == [False, True]


def test_subnormal_results_of_exp_are_rounded_once():
    x = np.linspace(-745.2, -708, 2001)
    true = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
    unit = float(np.finfo(np.float64).smallest_subnormal)
    off = [
        abs(g - t) / max(unit, float(np.spacing(float(t))))
        for g, t in zip(alone("exp", "float64")(x), true, strict=True)
    ]
    assert max(off) <= 2
