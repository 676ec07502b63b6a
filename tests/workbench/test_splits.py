from __future__ import annotations

import numpy as np
import pytest

from lossary.errors import DataError, ParameterError
from lossary.workbench.splits import digest, repeated_splits


def test_every_repeat_holds_out_every_row_once():
    splits = repeated_splits(np.arange(23), folds=4, repeats=3)
    for repeat in range(3):
        held_out = [s.test for s in splits if s.repeat == repeat]
        assert np.array_equal(np.sort(np.concatenate(held_out)), np.arange(23))
    for s in splits:
        assert not set(s.train) & set(s.test)
        assert len(s.train) + len(s.test) == 23


def test_repeats_cut_differently_and_seeds_differ():
    splits = repeated_splits(np.arange(40), folds=4, repeats=2)
    assert set(splits[0].test) != set(splits[4].test)
    assert len({s.seed for s in splits}) == len(splits)


def test_more_repeats_keep_the_splits_of_fewer():
    few, many = (repeated_splits(np.arange(30), repeats=r) for r in (2, 4))
    assert digest(few) == digest(many[: len(few)])


@pytest.mark.parametrize("change", [{"seed": 1}, {"folds": 4}, {"repeats": 2}])
def test_a_digest_tells_splits_apart(change):
    same = {"folds": 5, "repeats": 3, "seed": 0}
    one, other = (repeated_splits(np.arange(30), **kw) for kw in (same, same | change))
    assert digest(one) != digest(other)
    assert digest(one) == digest(repeated_splits(np.arange(30), **same))


def test_stratified_parts_have_their_share_of_each_class():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    for s in repeated_splits(y, folds=5, repeats=2, stratify=True):
        assert np.bincount(y[s.test]).tolist() == [12, 6, 2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, ParameterError, "folds must be at least 2; got 1"),
        ({"repeats": 0}, ParameterError, "repeats must be at least 1; got 0"),
        ({"seed": -1}, ParameterError, "seed must be between 0"),
        ({"folds": 11}, ParameterError, "10 rows cannot be cut into 11 folds"),
        ({"stratify": True}, DataError, "class 1 has 3 rows, too few"),
    ],
)
def test_impossible_splits_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        repeated_splits([0] * 7 + [1] * 3, **options)
