"""The law of accuracy on a card, for every loss that has a kernel there."""

from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
import torch
from laws.cases import POINTWISE, ROWWISE, by_labels
from laws.frameworks import Framework
from laws.laws import accurate

import lossary as ls
from lossary.kernels import call, spelling
from lossary.kernels.triton import pointwise, rows

BY_LABELS = [v for v in ROWWISE if by_labels(v) and v.structure.kernel_for(v) == "rows"]
KERNELS = {"pointwise": pointwise, "rowwise": rows}


def items(loss, y, z):
    """Return the loss of each item: what is written is the value, not the gradient."""
    module = KERNELS[loss.structure.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "lowered", lambda f, what: 2 * call.lowered(f, "value"))
        patch.setattr(
            module,
            "uniform_values",
            lambda f, what, x: call.uniform_values(f, "value", x),
        )
        patch.setattr(module, "_kernel", unwrap(module._kernel))
        written = gradient(loss, y, z)
    return written if module is pointwise else written[np.arange(len(y)), y]


def gradient(loss, y, z):
    y, z = torch.from_numpy(y), torch.from_numpy(z)
    module = KERNELS[loss.structure.name]
    return module.value_and_grad(loss.formula, loss.params, y, z)[1].numpy()


CARD = Framework("card", torch.from_numpy, items, gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", POINTWISE + BY_LABELS, ids=repr)
def test_accurate(loss, dtype):
    accurate(loss, CARD, dtype)


def test_the_law_refuses_a_function_that_is_slightly_off(monkeypatch):
    exact = spelling.OPERATIONS["log1p_unit"]
    monkeypatch.setitem(
        spelling.OPERATIONS, "log1p_unit", lambda x: exact(x) * (1 + 1e-5)
    )
    monkeypatch.setattr(pointwise, "_kernel", pointwise._kernel.__wrapped__)
    with pytest.raises(AssertionError, match="value is off by"):
        accurate(ls.binary_cross_entropy, CARD, "float32")
