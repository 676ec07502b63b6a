"""SQL: the loss over columns is the loss over arrays, in a real engine."""

from __future__ import annotations

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from laws.accuracy import error
from laws.cases import POINTWISE, edges, random
from laws.oracle import truth

import lossary as ls
from lossary.errors import LossaryError
from lossary.ops import expm1, log1p, minimum, sigmoid, tanh

every_loss = pytest.mark.parametrize("loss", POINTWISE, ids=repr)


def table(**columns):
    return ibis.memtable(pd.DataFrame(columns))


def items(loss, y, z):
    t = table(y=y, p=z, row=np.arange(len(y)))
    found = t.select("row", item=loss(t.y, t.p, reduction="none")).execute()
    return found.sort_values("row")["item"].to_numpy()


def worst(loss, got):
    pairs = zip(got, truth(loss, "float64")[0], strict=True)
    return max(error(g, t, "float64") for g, t in pairs)


@every_loss
def test_sql_is_the_truth_on_the_edge_grid(loss):
    inputs = edges(loss, "float64")
    assert worst(loss, items(loss, inputs.y, inputs.z)) <= 1e-14


def test_a_wrong_formula_is_caught():
    @ls.pointwise
    def absolute_error(y, z):
        return abs(z - y) + 1e-9

    inputs = edges(ls.absolute_error, "float64")
    assert worst(ls.absolute_error, items(absolute_error, inputs.y, inputs.z)) > 1e-14


@ls.pointwise
def mixture(y, z):
    """Use what no built-in loss uses."""
    return log1p(expm1(z * z) / 2) + tanh(z - y) ** 2 + sigmoid(z) * abs(y)


def test_lowered_primitives_keep_their_digits():
    z = np.array([1e-12, -3e-5, 0.1, -2.0, 20.0])
    y = np.zeros(5)
    np.testing.assert_allclose(
        items(mixture, y, z), mixture(y, z, reduction="none"), rtol=1e-13
    )


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "mean_over_items", "sum"])
def test_sums_and_weights_are_those_of_arrays(loss, reduction):
    inputs = random(loss)
    weights = np.arange(len(inputs.y)) % 3.0
    mask = np.arange(len(inputs.y)) % 2 == 0
    dirty = np.where((weights == 0) | ~mask, np.nan, inputs.z)
    t = table(y=inputs.y, p=dirty, w=weights, m=mask)
    got = loss(t.y, t.p, sample_weight=t.w, mask=t.m, reduction=reduction).execute()
    expected = loss(
        inputs.y, inputs.z, sample_weight=weights, mask=mask, reduction=reduction
    )
    assert got == pytest.approx(float(expected), rel=1e-12)


@ls.pointwise
def capped(y, z, cap=4.0):
    return minimum((z - y) ** 2, cap)


@pytest.mark.parametrize("loss", [ls.absolute_error, ls.hinge, capped], ids=repr)
def test_null_rows_are_left_out(loss):
    y, p = [1.0, None, 0.0, 1.0], [2.0, 2.0, -5.0, None]
    t = ibis.memtable(pa.table({"y": y, "p": p}))
    expected = float(loss([1.0, 0.0], [2.0, -5.0]))
    assert loss(t.y, t.p).execute() == expected
    assert loss(t.y, t.p, mask=t.p < 100).execute() == expected


@pytest.mark.parametrize("loss", [ls.hinge, capped, ls.huber], ids=repr)
def test_nan_comes_out_as_nan(loss):
    assert np.isnan(items(loss, np.array([1.0, 0.0]), np.array([np.nan, 0.0]))[0])


def test_the_text_runs_in_the_engine():
    connection = ibis.duckdb.connect()
    text = ls.huber(delta=2.0).sql("y", "p", dialect="duckdb")
    rows = "(VALUES (0.0, 1.0), (0.0, 3.0)) AS t(y, p)"
    assert connection.raw_sql(f"SELECT {text} FROM {rows}").fetchall() == [(2.25,)]


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("duckdb", 'AVG(ABS("p" - "y"))'),
        ("postgres", 'AVG(ABS("p" - "y"))'),
        ("spark", "AVG(ABS(`p` - `y`))"),
        ("bigquery", "AVG(ABS(`p` - `y`))"),
        ("snowflake", 'AVG(ABS("p" - "y"))'),
    ],
)
def test_dialects(dialect, text):
    assert ls.absolute_error.sql("y", "p", dialect=dialect) == text


def test_a_weight_column_divides():
    text = ls.absolute_error.sql("y", "p", sample_weight="w", reduction="mean")
    assert text.startswith("SUM(CASE WHEN")
    assert "/ NULLIF(SUM(CASE WHEN" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ls.huber.sql(dialect="dukdb"), "did you mean 'duckdb'"),
        (lambda: ls.cross_entropy.sql(), "rows of several columns"),
        (lambda: ls.huber.sql(reduction="mean_over_rows"), "average twice"),
        (lambda: ls.huber(np.ones(2), table(p=[1.0]).p), "y_true is a ndarray beside"),
    ],
)
def test_what_sql_cannot_do_is_said(call, message):
    with pytest.raises(LossaryError, match=message):
        call()
