"""What a Keras loss is made of, how it is named, saved and refused."""

from __future__ import annotations

import sys
from types import ModuleType

import keras
import numpy as np
import pytest
from frameworks import keras_models
from frameworks.keras_models import own

import lossary as ls
from lossary.errors import LossaryError, NameLookupError, ParameterError, ShapeError
from lossary.frameworks.keras import KerasLoss, LossParameters, to_keras
from lossary.frameworks.keras.saved import read, written

LOSSES = [
    ls.huber,
    ls.huber(delta=2.5),
    ls.binary_cross_entropy(from_logits=False),
    ls.dice(over="batch", smooth=1.0),
    ls.squared_error / 3,
    0.5 * ls.dice + ls.cross_entropy / 7,
    own,
    own(width=0.1),
    own + 0.3 * ls.dice,
]


def reloaded(loss: KerasLoss) -> KerasLoss:
    return keras.losses.deserialize(keras.losses.serialize(loss))


# -- saving ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_comes_back_from_its_text(loss):
    assert read(written(loss)) == loss


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_comes_back_from_its_configuration(loss):
    assert reloaded(to_keras(loss)).loss == loss


def test_options_come_back_from_the_configuration():
    options = {"reduction": "sum", "name": "mine", "check": "warn", "dtype": "float64"}
    loss = reloaded(ls.general_robust(scale=2.0).to_keras(learn=["scale"], **options))
    assert {name: getattr(loss, name) for name in options} == options
    assert loss.learning.names == ("scale",)


def test_the_configuration_is_readable():
    assert ls.huber(delta=2.0).to_keras().get_config() == {
        "name": "huber",
        "reduction": "sum_over_batch_size",
        "loss": "huber(delta=2.0)",
        "check": "raise",
    }


@pytest.mark.parametrize("kind", [KerasLoss, LossParameters])
def test_a_process_that_forgot_the_import_is_told_the_module(kind, monkeypatch):
    criterion = ls.general_robust.to_keras(learn=["scale"])
    saved = criterion if kind is KerasLoss else criterion.layer
    config = keras.saving.serialize_keras_object(saved)
    known = keras.saving.get_custom_objects()
    monkeypatch.delitem(known, f"lossary>{kind.__name__}")
    with pytest.raises(TypeError, match=r"'module': 'lossary\.frameworks\.keras'"):
        keras.saving.deserialize_keras_object(config)


def test_a_model_that_only_predicts_is_loaded_without_its_loss(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss=ls.huber.to_keras())
    model.save(tmp_path / "model.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "lossary>KerasLoss")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded.weights[0], model.weights[0])


@pytest.mark.parametrize("text", ["a:b(", "a:b(c=d())", 5], ids=repr)
def test_a_damaged_text_is_no_loss(text):
    with pytest.raises(ParameterError, match="is no loss that was saved"):
        read(text)


def test_a_loss_of_ones_own_is_saved_by_module_and_name():
    assert written(own(width=3.0)) == "frameworks.keras_models:own(width=3.0)"


def test_a_saved_loss_imports_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, keras_models.__name__)
    with pytest.raises(NameLookupError, match=r"keras_models is not imported; import"):
        read("frameworks.keras_models:own")
    assert keras_models.__name__ not in sys.modules


@pytest.mark.parametrize("found", [None, print, "rm"], ids=repr)
def test_a_saved_name_must_be_a_loss(found, monkeypatch):
    module = ModuleType("elsewhere")
    module.own = found
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    with pytest.raises(NameLookupError, match="elsewhere has no loss of this name"):
        read("elsewhere:own")


def test_a_loss_without_a_name_cannot_be_saved():
    @ls.pointwise
    def local(y, z):
        return abs(z - y)

    for loss in (local, 2 * own):
        with pytest.raises(ParameterError, match="cannot be saved with a model"):
            loss.to_keras().get_config()


# -- names and options ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("huber(delta=2)", "huber"),
        ("0.5*dice + focal", "0_5_dice_focal"),
    ],
)
def test_keras_names_a_loss_by_its_own_name(loss, name):
    assert to_keras(loss).name == name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reduction": "avg"}, "huber: reduction='avg' is not one of Keras's"),
        ({"check": "maybe"}, "huber: check must be one of"),
        ({"learn": ["delta"]}, "huber: 'delta' cannot be learned"),
        ({"delta": 2.0}, "huber: to_keras has no option 'delta', its options are"),
        ({"dtype": "int32"}, "huber: dtype='int32' is not a floating dtype"),
        ({"dtype": "float33"}, "huber: dtype='float33' is not a floating dtype"),
    ],
    ids=str,
)
def test_unknown_options_are_refused(options, sentence):
    with pytest.raises(ParameterError, match=sentence):
        ls.huber.to_keras(**options)


def test_a_loss_prints_what_is_not_as_usual():
    assert repr(ls.huber.to_keras()) == "KerasLoss(huber)"
    loss = ls.general_robust.to_keras(learn="scale", reduction="sum", dtype="float64")
    options = "reduction='sum', learn=['scale'], dtype='float64'"
    assert repr(loss) == f"KerasLoss(general_robust, {options})"


@pytest.mark.parametrize("reduction", [None, "none"])
def test_a_sum_has_no_loss_per_item(reduction):
    with pytest.raises(ParameterError, match="has no loss per item"):
        (ls.dice + ls.cross_entropy).to_keras(reduction=reduction)


def test_a_loss_that_learns_nothing_has_no_layer():
    with pytest.raises(ParameterError, match="huber learns nothing and has no layer"):
        ls.huber.to_keras().layer  # noqa: B018


def test_the_policy_check_is_passed_on():
    loss = ls.poisson.to_keras(check="off")
    assert np.isfinite(loss(np.array([[-1.0]]), np.array([[0.5]])))
    with pytest.raises(LossaryError, match=r"there is -1 in row 0"):
        ls.poisson.to_keras()(np.array([[-1.0]]), np.array([[0.5]]))


def test_a_loss_computes_in_its_dtype():
    third = np.array([[1 / 3]])
    value = ls.squared_error.to_keras(dtype="float64")(np.zeros((1, 1)), third)
    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    assert float(value) == pytest.approx(1 / 9, rel=1e-15)


# -- shapes ---------------------------------------------------------------------------


def drawn(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 3 == 0).astype("float32")


@pytest.mark.parametrize(
    ("loss", "target", "prediction", "same"),
    [
        ("squared_error", (6,), (6, 1), ((6, 1), (6, 1))),
        ("squared_error", (6, 1), (6,), ((6, 1), (6, 1))),
        ("squared_error", (6, 4), (6, 4, 1), ((6, 4), (6, 4))),
        ("cross_entropy", (6, 1), (6, 3), ((6,), (6, 3))),
        ("cross_entropy", (6, 4, 1), (6, 4, 3), ((6, 4), (6, 4, 3))),
        ("dice(over='batch')", (6, 4, 1), (6, 4, 3), ((6, 4), (6, 4, 3))),
        ("dice(over='batch')", (6, 4), (6, 4, 1), ((6, 4), (6, 4))),
    ],
)
def test_columns_are_added_and_dropped_as_keras_does(loss, target, prediction, same):
    y, z = drawn(*target), drawn(*prediction) + 0.5
    expected = ls.get(loss)(y.reshape(same[0]), z.reshape(same[1]))
    assert float(to_keras(loss)(y, z)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "target", "prediction"),
    [
        ("squared_error", (6, 1), (6, 3)),
        ("squared_error", (6,), (6, 3)),
        ("cross_entropy", (6, 1), (6, 1)),
        ("cross_entropy", (6,), (6, 1)),
        ("binary_cross_entropy", (6, 4, 1), (6, 4, 2)),
        ("info_nce", (6,), (6, 1)),
    ],
)
def test_nothing_is_broadcast(loss, target, prediction):
    with pytest.raises(ShapeError, match=f"{loss}: y_true has shape"):
        to_keras(loss)(drawn(*target), drawn(*prediction))


# -- learned parameters ---------------------------------------------------------------


def test_a_layer_starts_where_the_loss_is():
    layer = ls.general_robust(alpha=0.5, scale=3.0).to_keras(learn="scale").layer
    layer.build((None, 1))
    assert layer.values == pytest.approx({"scale": 3.0}, rel=1e-6)


def test_a_layer_leaves_precision_and_mask_alone():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = LossParameters("general_robust", ["scale"])
        for dtype in ("float16", "float32"):
            assert layer(keras.ops.zeros((2, 1), dtype=dtype)).dtype.name == dtype
    finally:
        keras.config.set_dtype_policy("float32")
    assert layer.supports_masking


def test_a_learned_loss_is_the_likelihood_at_the_parameters_of_the_layer():
    criterion = ls.general_robust(alpha=1.0, scale=2.0).to_keras(learn=["scale"])
    y, z = np.zeros((3, 1)), np.array([[0.5], [1.0], [4.0]])
    prediction = criterion.layer(keras.ops.array(z, dtype="float32"))
    learning, raw = criterion.learning, criterion.learning.start()
    expected = learning(y, z, {name: np.array(x) for name, x in raw.items()})
    assert float(criterion(y, prediction)) == pytest.approx(float(expected), rel=1e-5)


def test_the_layer_of_another_loss_is_refused():
    criterion = ls.general_robust.to_keras(learn=["scale"])
    other = ls.general_robust.to_keras(learn=["alpha", "scale"])
    with pytest.raises(ParameterError, match="does not come from the layer that owns"):
        criterion(np.zeros((2, 1)), other.layer(keras.ops.zeros((2, 1))))
