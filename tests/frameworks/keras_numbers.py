"""Keras's numbers: values under its reductions, weights and masks."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
from frameworks.keras_models import compiled
from frameworks.keras_support import (
    RNG,
    array,
    check,
    close,
    column,
    count,
    label,
    masked,
    number,
    one_hot,
    positive,
    probability,
    real,
    simplex,
)

import lossary as ls
from lossary.aliases.table import ROWS

N, STEPS, CLASSES = 6, 4, 3
BUILT_IN = [
    ("MeanSquaredError", {}, real, real),
    ("MeanAbsoluteError", {}, real, real),
    ("MeanAbsolutePercentageError", {}, positive, real),
    ("MeanSquaredLogarithmicError", {}, positive, positive),
    ("Huber", {"delta": 0.7}, real, real),
    ("LogCosh", {}, real, real),
    ("Poisson", {}, count, positive),
    ("BinaryCrossentropy", {"from_logits": True}, label, real),
    ("BinaryCrossentropy", {}, label, probability),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 1.5}, label, real),
    ("Hinge", {}, label, real),
    ("SquaredHinge", {}, label, real),
    ("CategoricalCrossentropy", {"from_logits": True}, one_hot, real),
    ("CategoricalCrossentropy", {}, one_hot, simplex),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, one_hot, simplex),
    ("CategoricalFocalCrossentropy", {"from_logits": True}, one_hot, real),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, number, real),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, column, real),
    ("SparseCategoricalCrossentropy", {}, number, simplex),
    ("KLDivergence", {}, simplex, simplex),
    ("Dice", {}, label, probability),
    ("Tversky", {"alpha": 0.3, "beta": 0.7}, label, probability),
]
OF_BATCHES = ("Dice", "Tversky")
"""Losses that Keras weighs as the one number of a batch."""

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", None)


def weights_and_masks(shape: tuple[int, ...]) -> Any:
    """List what Keras itself can take: one weight and mask per loss, or per row."""
    per_loss = shape[:-1] if len(shape) > 1 else shape
    weights = [
        None,
        RNG.uniform(size=per_loss),
        np.arange(per_loss[0]).reshape(-1, *[1] * (len(per_loss) - 1)) % 3 * 1.0,
    ]
    masks = [None, RNG.uniform(size=per_loss) > 0.4]
    # PyTorch cannot mask weights that are broadcast.
    return [
        (w, m)
        for w, m in itertools.product(weights, masks)
        if w is None or m is None or w.shape == m.shape
    ]


def compare(name: str, options: Any, y: Any, z: Any, how: Any) -> None:
    """Hold one loss against Keras's own, under reductions, weights and masks."""
    loss = ls.get(f"keras.losses.{name}", **options)
    for reduction, (weight, mask) in how:
        theirs = getattr(keras.losses, name)(reduction=reduction, **options)
        ours = loss.to_keras(reduction=reduction)
        expected, got = (array(f(y, masked(z, mask), weight)) for f in (theirs, ours))
        what = f"{name} {options} {reduction} {z.shape} {weight} {mask}"
        np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-6, err_msg=what)


@check
def numbers_of_the_built_in_losses() -> None:
    shape = (N, STEPS, CLASSES)
    for name, options, target, prediction in BUILT_IN:
        how = [("sum", (None, None))]
        if name not in OF_BATCHES:
            how += [("mean", weights_and_masks(shape)[-1])]
        compare(name, options, target(shape), prediction(shape), how)


@check
def every_loss_that_keras_has_is_compared() -> None:
    theirs = {row.names[0] for row in ROWS if row.library == "Keras"}
    assert theirs == {f"keras.losses.{name}" for name, *_ in BUILT_IN}


@check
def evaluation_is_that_of_the_built_in_losses() -> None:
    predictions, targets, theirs, ours = {}, {}, {}, {}
    for i, (name, options, target, prediction) in enumerate(BUILT_IN):
        key = f"{name}_{i}"
        targets[key] = target((N, CLASSES))
        predictions[key] = prediction((N, CLASSES))
        theirs[key] = getattr(keras.losses, name)(**options)
        ours[key] = ls.get(f"keras.losses.{name}", **options).to_keras()
    inputs = {key: keras.Input((CLASSES,), name=key) for key in ours}
    outputs = {
        key: keras.layers.Identity(name=f"{key}_out")(x) for key, x in inputs.items()
    }
    found = []
    for losses in (theirs, ours):
        model = compiled(keras.Model(inputs, outputs), losses)
        costs = model.evaluate(
            predictions, targets, batch_size=4, verbose=0, return_dict=True
        )
        found.append([costs.pop("loss"), *(costs[key] for key in sorted(costs))])
        assert len(costs) == len(BUILT_IN)
    close(*found)


@check
def every_reduction_weight_and_mask_as_keras_has_it() -> None:
    for name, options, target, prediction in (BUILT_IN[4], BUILT_IN[15]):
        for shape in ((N, CLASSES), (N, STEPS, CLASSES)):
            how = itertools.product(REDUCTIONS, weights_and_masks(shape))
            compare(name, options, target(shape), prediction(shape), how)


@check
def a_column_of_predictions_with_a_row_of_targets() -> None:
    for name, options, target, prediction in BUILT_IN[4:8]:
        y, z, weight = target((N, 1)), prediction((N, 1)), positive(N)
        how = [("sum_over_batch_size", (weight, None))]
        compare(name, options, y[:, 0], z, how)
        theirs = getattr(keras.losses, name)(**options)(y, z)
        ours = ls.get(f"keras.losses.{name}", **options).to_keras()
        for target_, prediction_ in [(y, z[:, 0]), (y[:, 0], z[:, 0])]:
            close([array(ours(target_, prediction_))], [array(theirs)])


@check
def a_masked_step_may_hold_anything() -> None:
    y, z, mask = real((N, STEPS, 1)), real((N, STEPS, 1)), label((N, STEPS)) > 0
    expected = ls.huber.to_keras()(y, masked(z, mask))
    y[~mask] = np.nan
    close([array(ls.huber.to_keras()(y, masked(z, mask)))], [array(expected)])


@check
def a_weight_of_a_row_weighs_all_its_steps() -> None:
    y, z, weight = real((N, STEPS, 1)), real((N, STEPS, 1)), positive(N)
    for reduction in REDUCTIONS:
        loss = ls.huber.to_keras(reduction=reduction)
        expected = loss(y, z, np.repeat(weight[:, None], STEPS, axis=1))
        close([array(loss(y, z, weight))], [array(expected)])


@check
def weights_of_images_and_of_pixels() -> None:
    y, z = label((N, 5, 5)), real((N, 5, 5))
    images, pixels = positive(N), positive((N, 5, 5))
    each = ls.dice(y, z, reduction="none")
    got = ls.dice.to_keras()(y, z, images)
    close([array(got)], [(images * each).mean()])
    got = ls.dice.to_keras()(y, z, pixels)
    close([array(got)], [ls.dice(y, z, sample_weight=pixels)])
    got = ls.dice(over="batch").to_keras()(y, z[..., None], images)
    close([array(got)], [ls.dice(y, z, over="batch", sample_weight=images)])


@check
def a_masked_image_does_not_divide() -> None:
    y, z, images = label((N, 5, 5)), real((N, 5, 5)), positive(N)
    lines = label((N, 5)) > 0
    lines[:, 0], lines[2] = True, False
    for mask in (lines, lines[:, 0]):
        for over in ("image", "batch"):
            loss = ls.dice(over=over)
            got = loss.to_keras()(y, masked(z, mask))
            close([array(got)], [loss(y, z, mask=mask)])
        each = np.delete(ls.dice(y, z, mask=mask, reduction="none"), 2)
        got = ls.dice.to_keras()(y, masked(z, mask), images)
        close([array(got)], [(np.delete(images, 2) * each).mean()])


@check
def sums_and_losses_of_pairs() -> None:
    y, z = label((N, 5)), real((N, 5))
    both = 0.5 * ls.dice + ls.binary_cross_entropy
    close([array(both.to_keras()(y, z))], [both(y, z)])
    keys, queries = real((N, 5)), real((N, 5))
    got = ls.info_nce.to_keras()(keys, queries)
    close([array(got)], [ls.info_nce(keys, queries)])


@check
def class_numbers_are_any_integers() -> None:
    y, z = number((N, CLASSES)), real((N, CLASSES))
    expected = [ls.cross_entropy(y, z)]
    for dtype in ("uint8", "int32", "int64", "float32"):
        close([array(ls.cross_entropy.to_keras()(y.astype(dtype), z))], expected)


@check
def half_precision_leaves_class_numbers_alone() -> None:
    y, z = np.array([999, 257]), real((2, 1000))
    got = ls.cross_entropy.to_keras(dtype="bfloat16")(y, z)
    close([array(keras.ops.cast(got, "float32"))], [ls.cross_entropy(y, z)], rtol=0.01)


@check
def a_negative_weight_is_what_it_is_in_keras() -> None:
    how = [("mean", (-np.arange(N), None)), ("sum", (-np.arange(N), None))]
    compare("Huber", {}, real((N, CLASSES)), real((N, CLASSES)), how)
