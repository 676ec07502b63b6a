"""Errors that come through Keras are lossary's own."""

from __future__ import annotations

import numpy as np
from frameworks.keras_models import X, Y, compiled, dense
from frameworks.keras_support import check, real, sentence

import lossary as ls
from lossary.errors import DomainError, KindError, ShapeError

N, STEPS = 6, 4


@check
def a_shape_error_is_ours() -> None:
    model = compiled(dense(), ls.huber.to_keras())
    two = np.stack([Y, Y], axis=1)
    said = sentence(ShapeError, lambda: model.fit(X, two, verbose=0))
    assert "huber: y_true has shape (32, 2) and y_pred has shape (32, 1)" in said, said


@check
def a_weight_of_another_shape_is_refused() -> None:
    y, z = real((N, STEPS, 1)), real((N, STEPS, 1))
    for shape in ((N - 1,), (N, STEPS - 1), (N, STEPS, 2)):
        act = lambda shape=shape: ls.huber.to_keras()(y, z, np.ones(shape))  # noqa: E731
        said = sentence(ShapeError, act)
        assert f"huber: sample_weight has shape {shape}" in said, said


@check
def a_value_error_names_its_row() -> None:
    loss = ls.binary_cross_entropy(from_logits=False).to_keras()
    act = lambda: loss(np.zeros((3, 1)), np.array([[0.5], [1.5], [0.5]]))  # noqa: E731
    assert "there is 1.5 in row 1" in sentence(DomainError, act)


@check
def what_is_no_array_of_numbers_is_refused() -> None:
    loss, rows = ls.huber.to_keras(), np.zeros((2, 1))
    for y in (np.array(["cat", "dog"]), ["cat", "dog"], [[0.0], [1.0, 2.0]], None):
        said = sentence(KindError, lambda y=y: loss(y, rows))
        assert "huber: y_true must be one array of numbers, got" in said, said
    said = sentence(KindError, lambda: loss(rows, rows, ["a", "b"]))
    assert "huber: sample_weight must be one array of numbers" in said, said


@check
def a_single_number_is_no_batch() -> None:
    for loss in (ls.huber, ls.cross_entropy, ls.dice, ls.info_nce):
        said = sentence(ShapeError, lambda loss=loss: loss.to_keras()(1.0, 3.0))
        assert f"{loss.name}: y_true has shape (), but Keras calls" in said, said
