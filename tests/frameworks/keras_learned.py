"""Learned parameters: a layer owns them, and the model trains them."""

from __future__ import annotations

import keras
from frameworks.keras_models import X, Y, compiled, dense, learning
from frameworks.keras_support import check, real, sentence

import lossary as ls
from lossary.errors import ParameterError


@check
def learned_parameters_move_with_the_model() -> None:
    criterion, model = learning()
    costs = model.fit(X, Y, epochs=5, batch_size=8, verbose=0).history["loss"]
    values = criterion.layer.values
    assert values["scale"] < 0.8, values
    assert abs(values["alpha"] - 1) > 0.1, values
    assert costs[-1] < costs[0]
    assert len(model.trainable_variables) == 4


@check
def a_clone_learns_its_own_parameters() -> None:
    criterion, model = learning()
    clone = compiled(keras.models.clone_model(model), criterion)
    clone.fit(X, Y, epochs=2, verbose=0)
    assert clone.layers[-1].values["scale"] != 1.0
    assert criterion.layer.values["scale"] == 1.0


@check
def a_forgotten_layer_is_an_error() -> None:
    criterion, _ = learning()
    model = compiled(dense(), criterion)
    said = sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))
    assert "criterion.layer the last layer" in said, said
    model = compiled(dense(criterion.layer, keras.layers.Activation("relu")), criterion)
    said = sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))
    assert "does not come from the layer" in said, said
    other = ls.info_nce.to_keras(learn=["temperature"])
    model = compiled(dense(other.layer), criterion)
    assert sentence(ParameterError, lambda: model.fit(X, Y, verbose=0))


@check
def a_temperature_is_learned() -> None:
    criterion = ls.info_nce.to_keras(learn="temperature")
    model = compiled(dense(criterion.layer, units=4), criterion)
    model.fit(X, real((96, 4)), epochs=2, verbose=0)
    assert criterion.layer.values["temperature"] > 0.07


@check
def a_loaded_loss_says_where_the_parameters_are() -> None:
    criterion, _ = learning()
    loaded = keras.losses.deserialize(keras.losses.serialize(criterion))
    said = sentence(ParameterError, lambda: loaded.layer.values)
    assert "this layer is in no model yet, and has no alpha and scale" in said, said
