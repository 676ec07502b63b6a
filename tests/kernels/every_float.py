"""The vector functions on all 2^32 float32 numbers: their worst errors, in ulp.

    PYTHONPATH=tests python tests/kernels/every_float.py [NAME ...]

The oracle is NumPy in float64. It takes some minutes a function.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ulps import ORACLES, UNARY, ulps
from vector_functions import alone

STEP = 1 << 22


def worst(name: str) -> tuple[float, float]:
    """Return the largest error of a function, and where it is made."""
    call, domain = alone(name, "float32"), name == "log1p_unit"

    def part(first: int) -> tuple[float, float]:
        x = np.arange(first, first + STEP, dtype=np.int64).astype(np.uint32)
        x = x.view(np.float32)
        if domain:
            x = x[(x >= 0) & (x <= 1)]
        if not x.size:
            return 0.0, 0.0
        with np.errstate(all="ignore"):
            errors = ulps(call(x), ORACLES[name](x.astype(np.float64)))
        k = int(np.argmax(errors))
        return float(errors[k]), float(x[k])

    with ThreadPoolExecutor() as pool:
        return max(pool.map(part, range(0, 1 << 32, STEP)))


def main() -> None:
    """Print the worst error of each function; more than 2 ulp is a failure."""
    failed = False
    for name in sys.argv[1:] or UNARY:
        error, where = worst(name)
        failed |= not error <= 2
        print(f"{name:12} {error:.3f} ulp at {where!r}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
