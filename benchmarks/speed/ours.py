"""Lossary at work, as its users call it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from lossary.arrays.standard import SMALL
from lossary.kernels import pointwise, rows
from speed.cases import VALUE, Case, drawn
from speed.tasks import Task, first_answer

LOADED = 1 << 18
"""Items from which a loss is computed by its kernel in any case."""


@lru_cache(maxsize=1)
def loaded(case: Case) -> float:
    """Compute a case of some size, and return the seconds: its kernel is in memory."""
    case = case.at(LOADED)
    return first_answer(task(case, *drawn(case)))[0]


OPTION = {"weights": "sample_weight", "mask": "mask"}
"""How a call names what stands beside target and prediction."""


REUSED_FROM = 1 << 11
"""Items from which the gradient goes into an array that is there, as it pays."""


KERNELS = {"pointwise": pointwise, "rowwise": rows}


def task(case: Case, y: Any, z: Any) -> Task:
    """Return the computation of a case."""
    loss, out = case.loss, np.empty_like(z)
    if case.what == VALUE:
        options = {"out": out} if z.size >= REUSED_FROM else {}
        if case.beside:
            y, options[OPTION[case.beside]] = y
        return Task(
            lambda: loss.value_and_grad(y, z, **options),
            lambda result: (float(result[0]), result[1]),
        )
    if z.size <= SMALL:
        return Task(lambda: loss.grad_and_hess(y, z), lambda result: result)
    # Into arrays that are there: fresh memory costs more than the computation.
    both, kernel = (out, np.empty_like(z)), KERNELS[loss.structure.name]
    return Task(
        lambda: kernel.grad_and_hess(loss.formula, loss.params, y, z, out=both),
        lambda result: result,
    )
