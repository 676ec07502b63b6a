"""Rowwise losses on a card: softmax and loss, a few rows at a time.

The formula sees the log-odds of a class against all others, u = z - log Σ_others e^z.
Of a class number it is evaluated once; see `labels`. Of a distribution, or of a
smoothed class number, it is evaluated for every class; see `distributions`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from lossary.expr.formula import Formula
from lossary.kernels.call import evaluated, specialised
from lossary.kernels.interval import sum_limit
from lossary.kernels.triton import calls, distributions, labels
from lossary.kernels.triton.calls import Inputs, Scale, Totals
from lossary.kernels.triton.modules import load

ROOM = 3
"""The numbers that are kept of a row, at most."""

THREADS = 128
"""The threads of a program; long rows take twice as many."""


def shape(way: Any, dtype: str, classes: int) -> tuple[int, int, int]:
    """Return the rows and classes that a program looks at at once, and its warps.

    They are so many that nothing spills from the registers.
    """
    scores = THREADS * (way.EACH // 2 if dtype == "float64" else way.EACH)
    block = min(2 * scores, 1 << max(classes - 1, 0).bit_length())
    return max(1, scores // block), block, 8 if block > scores else 4


@lru_cache(maxsize=64)
def _kernel(way: Any, formula: Formula, dtype: str) -> Callable[..., Any]:
    return load(way.printed(formula, dtype), f"rows_{dtype}")


@lru_cache(maxsize=256)
def _planned(
    way: Any, formula: Formula, params: tuple[float, ...], dtype: str
) -> tuple[Callable[..., Any], tuple[float, ...]]:
    """Return a kernel, and what depends on parameters alone."""
    formula, params = specialised(formula, params)
    values = dict(zip(formula.params, params, strict=True))
    return _kernel(way, formula, dtype), evaluated(way.roots(formula), values)


def run(inputs: Inputs, scale: Scale = 1.0, out: torch.Tensor | None = None) -> Totals:
    """Add up the losses of the rows and, where there is room, write scale·w·gradient.

    Parameters
    ----------
    inputs
        What is read.
    scale
        A number, or a tensor of one number.
    out
        Where the gradient goes: contiguous, of the shape of the scores; it may be the
        scores. Of inputs with what a sum has kept, nothing else is computed.

    Returns
    -------
    Totals
        ``outside`` says that a counted label names no class, in which case its row
        costs NaN, or that a counted target is no distribution.
    """
    sums, kept = launched(inputs, scale, out)
    totals = sums.sum(1)
    return Totals(totals[0], totals[1] != 0, kept)


def launched(
    inputs: Inputs, scale: Scale, out: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what each program adds to the totals, and what is kept of each row."""
    target, z, weight, keep = inputs.flat()
    assert z is not None
    classes = inputs.z.shape[-1]
    rows = inputs.z.shape[:-1].numel()
    spread = inputs.smoothing / max(classes, 1)
    way = labels if inputs.labelled and not inputs.smoothing else distributions
    kernel, numbers = _planned(way, inputs.formula, inputs.params, inputs.real)
    limit = sum_limit(min(inputs.y.itemsize, z.itemsize))
    numbers = 1 - inputs.smoothing, spread, limit, *numbers
    factor = calls.scale_on_card(scale, z.device)
    tile, block, warps = shape(way, inputs.real, classes)
    programs = -(-rows // tile)
    sums = torch.empty((2, programs), dtype=torch.float64, device=z.device)
    kept = inputs.kept
    if out is None:  # a short row is as quickly read again as what was kept of it
        long, room = classes > block, (ROOM, rows)
        kept = torch.empty(room, dtype=torch.float64, device=z.device) if long else None
    calls.start(
        kernel, programs, z,
        target, z, weight, keep, None if out is None else out.view(-1), factor,
        calls.on_card(numbers, z.device), sums, kept, rows, classes, programs,
        LABELLED=inputs.labelled, WEIGHTED=weight is not None, KEPT=keep is not None,
        SCALED=factor is not None, WRITTEN=out is not None,
        SAVED=kept is not None and out is None,
        RESUMED=kept is not None and out is not None, ROWS=tile, BLOCK=block,
        num_warps=warps,
    )  # fmt: skip
    return sums, kept
