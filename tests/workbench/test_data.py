from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from lossary.errors import (
    DataError,
    LossaryError,
    NameLookupError,
    ParameterError,
    ShapeError,
)
from lossary.workbench.data import load
from lossary.workbench.sources import EMBEDDED

N = 60
FRAME = pd.DataFrame(
    {
        "size": np.linspace(1, 2, N),
        "rooms": [1, 2, 3] * 20,
        "city": ["Rome", "Oslo", None] * 20,
        "price": np.linspace(10, 20, N) ** 2,
    }
)
FRAME.loc[4, "size"] = np.nan
SAME_FEATURES = ["size", "rooms", "city"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_load(name):
    data = load(name)
    assert data.task == {"breast_cancer": "binary", "diabetes": "regression"}.get(
        name, "multiclass"
    )
    assert len(data) == len(data.X) > 100
    assert data.source == data.name == name
    assert not data.dropped


def sources(folder):
    FRAME.to_csv(folder / "homes.csv", index=False)
    FRAME.to_csv(folder / "semicolons.csv", index=False, sep=";")
    FRAME.to_parquet(folder / "homes.parquet")
    return {
        "csv": folder / "homes.csv",
        "semicolons": str(folder / "semicolons.csv"),
        "parquet": folder / "homes.parquet",
        "pandas": FRAME,
        "shuffled index": FRAME.set_index(np.arange(N)[::-1]),
        "polars": pl.from_pandas(FRAME),
        "lazy": pl.from_pandas(FRAME).lazy(),
        "categorical": FRAME.astype({"city": "category", "rooms": "Int64"}),
    }


def test_every_source_gives_the_same_data(tmp_path):
    found = {k: load(v, "price") for k, v in sources(tmp_path).items()}
    for kind, data in found.items():
        assert list(data.X) == SAME_FEATURES, kind
        assert data.X["city"].cat.categories.tolist() == ["Oslo", "Rome"], kind
        assert data.X["size"].isna().sum() == 1, kind
        assert data.X["city"].isna().sum() == 20, kind
        np.testing.assert_allclose(data.y, FRAME["price"], err_msg=kind)
    in_memory = {k: d.sha256 for k, d in found.items() if not d.source}
    assert len(set(in_memory.values())) == 1, in_memory


def test_arrays_and_pairs():
    X, y = np.ones((N, 2)) * np.arange(N)[:, None], FRAME["price"].to_numpy()
    data = load(X, y=y)
    assert list(data.X) == ["x0", "x1"]
    assert load((X, y)).sha256 == data.sha256
    assert load(data) is data


def test_the_hash_sees_every_value():
    base = load(FRAME, "price")
    for column in ("size", "price"):
        changed = FRAME.copy()
        changed.loc[7, column] += 1e-9
        assert load(changed, "price").sha256 != base.sha256
    assert load(FRAME, "price", weight=np.ones(N)).sha256 != base.sha256


def test_classes_become_numbers_and_keep_their_names():
    data = load(FRAME.dropna(subset=["city"]), "city")
    assert data.classes == ("Oslo", "Rome")
    assert data.task == "binary"
    assert data.y[:2].tolist() == [1, 0]
    assert load(FRAME, "rooms", task="classification").classes == (1, 2, 3)
    assert load(FRAME, "rooms", task="regression").classes is None


def test_a_weight_column_is_no_feature():
    data = load(FRAME, "price", weight="rooms")
    assert list(data.X) == ["size", "city"]
    assert data.weight.tolist() == [1.0, 2.0, 3.0] * 20


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([datetime.date(2020, 1, 1) + datetime.timedelta(d) for d in range(N)], None),
        (pd.date_range("2020-01-01", periods=N), "dates"),
        ([f"a sentence about {i}" for i in range(N)], "free text"),
        ([None] * N, "no value"),
        ([[1, 2]] * N, "lists"),
    ],
)
def test_columns_that_are_no_features_are_left_out_and_named(values, reason):
    data = load(FRAME.assign(extra=values), "price")
    assert list(data.X) == SAME_FEATURES
    assert (reason or "") in data.dropped["extra"]
    assert any("'extra'" in c for c in data.cautions)


def test_cautions():
    ids = load(FRAME.assign(id=range(N)), "price").cautions
    assert any("identifier" in c for c in ids)
    many = FRAME.loc[FRAME.index.repeat(3)].assign(
        code=[f"c{i % 70}" for i in range(180)]
    )
    assert any("70 categories" in c for c in load(many, "price").cautions)
    assert load(FRAME, "price").cautions == ()


BROKEN = {
    "missing targets": (
        FRAME.assign(price=FRAME["price"].where(FRAME.index != 3)), {"target": "price"},
        DataError, r"price is missing in row 3.*dropna"),
    "no target": (FRAME, {}, ParameterError, "which column is the target"),
    "misspelt target": (
        FRAME, {"target": "prise"}, NameLookupError, "did you mean 'price'"),
    "misspelt weight": (
        FRAME, {"target": "price", "weight": "room"}, NameLookupError, "'rooms'"),
    "constant target": (
        FRAME.assign(price=1.5), {"target": "price"}, DataError, "1.5 in all 60 rows"),
    "text for numbers": (
        FRAME.fillna({"city": "Bonn"}), {"target": "city", "task": "regression"},
        DataError, "city holds 'Rome' in row 0"),
    "dates": (
        FRAME.assign(price=pd.date_range("2020-01-01", periods=N)),
        {"target": "price"}, DataError, "holds dates"),
    "no rows": (FRAME.iloc[:0], {"target": "price"}, DataError, "no rows"),
    "no features": (FRAME[["price"]], {"target": "price"}, DataError, "no feature"),
    "infinity": (
        FRAME.assign(size=np.inf), {"target": "price"}, DataError, "'size'.*rows 0, 1"),
    "lengths": (FRAME, {"y": [1.0, 2.0]}, ShapeError, "60 rows and y has 2"),
    "column vector": (FRAME, {"y": np.ones((N, 1))}, ShapeError, "ravel"),
    "one feature": (np.ones(N), {"y": np.ones(N)}, ShapeError, "reshape"),
    "both targets": (FRAME, {"y": np.ones(N), "target": "price"}, ParameterError,
                     "not both"),
    "weights": (FRAME, {"target": "price", "weight": -np.ones(N)}, DataError,
                "at least 0"),
    "no such set": ("diabetis", {}, NameLookupError, "did you mean 'diabetes'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_errors_are_one_clear_sentence(case):
    source, options, kind, message = BROKEN[case]
    with pytest.raises(kind, match=message) as caught:
        load(source, **options)
    assert isinstance(caught.value, LossaryError)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "homes.csv").write_text('a,b\n1,2\n3,"4\n5,6,7\n')
    (tmp_path / "homes.xyz").write_text("a")
    (tmp_path / "homes.parquet").write_text("no parquet")
    (tmp_path / "empty.csv").write_text("")
    for name, message in {
        "homes.csv": "cannot be read as CSV",
        "empty.csv": "cannot be read as CSV",
        "homes.parquet": "cannot be read as PARQUET",
        "homes.xyz": "read by their ending",
        "home.csv": "did you mean 'homes.csv'",
    }.items():
        with pytest.raises(LossaryError, match=message):
            load(tmp_path / name, "a")


def test_the_caller_s_frame_is_left_alone():
    before = FRAME.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(FRAME, "price")
    pd.testing.assert_frame_equal(FRAME, before)
