"""The law of accuracy on a card, for every loss that has a kernel there."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
from laws.cases import POINTWISE, ROWWISE
from laws.frameworks import Framework
from laws.laws import accurate
from laws.test_laws import KNOWN_GAPS

import lossary as ls
from lossary.arrays.card import MODULES
from lossary.kernels import call, spelling
from lossary.kernels.triton import pointwise, rows
from lossary.kernels.triton.calls import Inputs
from lossary.structures.rowwise import smoothing

OF_ROWS = [v for v in ROWWISE if v.structure.kernel_for(v) in MODULES]


def inputs(loss, y, z):
    y, z = torch.from_numpy(y), torch.from_numpy(z)
    return Inputs(loss.formula, loss.params, y, z, smoothing=smoothing_of(loss))


def smoothing_of(loss):
    return smoothing(loss) if loss.structure.name == "rowwise" else 0.0


def items(loss, y, z):
    """Return the loss of each item: what is written is the value, not the gradient.

    Of rows it is what a program adds to the sum, where there is one for each.
    """
    with pytest.MonkeyPatch.context() as patch:
        if loss.structure.name == "rowwise":
            patch.setattr(rows, "shape", lambda *_: (1, 4, 4))
            return rows.launched(inputs(loss, y, z), 1.0, None)[0][0].numpy()
        patch.setattr(
            pointwise, "lowered", lambda f, what: 2 * call.lowered(f, "value")
        )
        patch.setattr(
            pointwise,
            "uniform_values",
            lambda f, what, x: call.uniform_values(f, "value", x),
        )
        patch.setattr(pointwise, "_kernel", unwrap(pointwise._kernel))
        return gradient(loss, y, z)


def gradient(loss, y, z):
    module = rows if loss.structure.name == "rowwise" else pointwise
    out = torch.empty(z.shape, dtype=torch.from_numpy(z).dtype)
    module.run(inputs(loss, y, z), 1.0, out)
    return out.numpy()


def curvature(loss, y, z):
    return pointwise.curved(inputs(loss, y, z))[1].numpy()


CARD = Framework("card", torch.from_numpy, items, gradient)
CURVED = Framework("card", torch.from_numpy, items, gradient, curvature)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", POINTWISE, ids=repr)
def test_items_are_accurate(loss, dtype):
    accurate(loss, CARD if (repr(loss), dtype) in KNOWN_GAPS else CURVED, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", OF_ROWS, ids=repr)
def test_rows_are_accurate(loss, dtype):
    accurate(loss, CARD, dtype)


def test_the_law_refuses_a_function_that_is_slightly_off(monkeypatch):
    exact = spelling.OPERATIONS["log1p_unit"]
    monkeypatch.setitem(
        spelling.OPERATIONS, "log1p_unit", lambda x: exact(x) * (1 + 1e-5)
    )
    monkeypatch.setattr(pointwise, "_kernel", pointwise._kernel.__wrapped__)
    with pytest.raises(AssertionError, match="value is off by"):
        accurate(ls.binary_cross_entropy, CARD, "float32")
