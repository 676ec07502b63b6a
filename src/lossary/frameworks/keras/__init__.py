"""Keras 3: a loss as a `keras.losses.Loss`, on any backend, saved with its model.

The losses are lossary's, in the backend's own arrays; what is made of them is Keras's:
sample weights, masks and reductions are its own code. Import this module before a
saved model is loaded, so that Keras knows its classes.
"""

from lossary.frameworks.keras.loss import KerasLoss, LossParameters, to_keras

__all__ = ["KerasLoss", "LossParameters", "to_keras"]
