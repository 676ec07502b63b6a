"""What Keras has not made public, and nothing public does: all of it is named here.

A mask, and the layer that owns the parameters of a loss, go with the prediction as an
attribute; an array of JAX takes none, so that Keras keeps these in a table of its own.
"""

from keras.src.backend import get_keras_mask, in_symbolic_scope
from keras.src.backend.common.tensor_attributes import get_tensor_attr, set_tensor_attr

__all__ = ["get_keras_mask", "get_tensor_attr", "in_symbolic_scope", "set_tensor_attr"]
