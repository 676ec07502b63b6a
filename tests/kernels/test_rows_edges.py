"""Both ways to compute rows are as accurate as the laws ask for, on the edge grid."""

from __future__ import annotations

import numpy as np
import pytest
from laws.accuracy import limit, measure
from laws.cases import ROWWISE
from laws.frameworks import Framework

from lossary.kernels import rows

LOGITS = [loss for loss in ROWWISE if loss.form == "class_logits"]


def arguments(loss, y, z):
    formula, params = loss.formula, loss.params
    return (formula, params, y, z), {"smoothing": loss.parameters["label_smoothing"]}


def items(loss, y, z):
    found = []
    for i in range(len(z)):
        given, options = arguments(loss, y[i : i + 1], z[i : i + 1])
        found.append(rows.total(*given, **options).numerator)
    return np.array(found).astype(z.dtype)


def gradient(loss, y, z):
    given, options = arguments(loss, y, z)
    return rows.value_and_grad(*given, **options)[1]


def curvature(loss, y, z):
    return rows.grad_and_hess(loss.formula, loss.params, y, z)[1]


def of_labels(loss):
    indexed = loss.structure.indexed(loss.structure.signatures[0])
    return indexed and not loss.parameters["label_smoothing"]


@pytest.fixture(params=["few", "many"])
def way(request, monkeypatch):
    """Compute few classes as many are, too."""
    rows.planned.cache_clear()
    if request.param == "many":
        monkeypatch.setattr(rows, "FEW", 0)
        monkeypatch.setattr(rows, "FEW_FORMULAS", 0)
    yield
    rows.planned.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOGITS, ids=repr)
def test_accurate(loss, dtype, way):
    bend = curvature if of_labels(loss) else None
    kernel = Framework("kernel", np.asarray, items, gradient, bend)
    for what, worst in measure(loss, kernel, dtype).items():
        assert worst.error <= limit(loss, what, dtype), f"{what}: {worst}"
