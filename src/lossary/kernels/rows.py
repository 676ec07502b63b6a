"""Fused kernels of rowwise losses: softmax and loss, a few rows at a time in cache.

The formula sees the log-odds of a class against all others, u = z - log Σ_others e^z.
Where labels are given, the others' maximum is subtracted, never the true class's own
score, so that a confident row keeps all its digits and nothing underflows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossary.emit.numba import straight_line
from lossary.expr.formula import Formula
from lossary.kernels import threads
from lossary.kernels.cache import load
from lossary.kernels.printing import (
    Scale,
    Totals,
    flat,
    indented,
    prepared,
    printed_header,
    settled,
    uniform_lines,
    uniform_values,
    weigh,
)

# The unit of summation; rows of a chunk are added up in order.
CHUNK_ELEMENTS = 1 << 16

ARGUMENTS = '''

real_type = blocks.real_types["{dtype}"]


@njit(
    types.void(
        read({target_type}), types.Array(real_type, 2, "C", readonly=True),
        read(real_type), read(types.uint8), types.float64, read(types.float64),
        types.int64, types.int64, types.int64,
        written(types.float64), written(types.uint8), types.Array(real_type, 2, "C"),
    ),
    **blocks.compiled,
)
def kernel(
    targets, scores, weight, keep, scale, uniforms, size, first, last, sums, outside,
    gradient,
):
{uniforms}
    rows, classes = scores.shape
    wanted = gradient.shape[0] > 0
    work, share = np.empty(classes, real), np.empty(1, real)
    lanes, tops = np.zeros(blocks.LANES), np.empty(blocks.LANES, real)
'''

LABELS = '''
    for chunk in range(first, last):
        total = 0.0
        for row in range(chunk * size, min(rows, (chunk + 1) * size)):
            share[0] = one
            if weight.size or keep.size:
                blocks.effective(weight, keep, row, row + 1, share)
            w, label = share[0], targets[row]
            removed, known = w == zero, 0 <= label < classes
            if removed or not known:
                if wanted:
                    gradient[row, :] = zero if removed else real(nan)
                if not removed:
                    outside[chunk] = 1
                    total = nan
                continue
            blocks.copy(scores[row], work)
            own = work[label]
            work[label] = -inf
            top = blocks.largest(work, tops)
            others = blocks.exponentials(work, top, lanes, exp)
            {target}, {score} = 1.0, (np.float64(own) - top) - log(others)
{body}
            total += w * {value}
            if wanted:
                slope = scale * w * {slope}
                # Without another class there is nothing to share the slope.
                factor = real(-slope / others if others != 0.0 else 0.0 * slope)
                blocks.multiply(work, factor, gradient[row])
                gradient[row, label] = slope
        sums[chunk] = total
'''
