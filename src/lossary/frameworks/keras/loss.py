"""A loss as a `keras.losses.Loss`: reductions, masks, learned parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend import get_keras_mask, in_symbolic_scope
from keras.src.backend.common.tensor_attributes import get_tensor_attr, set_tensor_attr

from lossary.batch import CHECKS
from lossary.combination import Combination, terms_of
from lossary.errors import ParameterError, nearest
from lossary.expr.untraced import unconverted
from lossary.frameworks.keras.saved import read, written
from lossary.frameworks.keras.shapes import (
    aligned,
    both,
    broad_enough,
    narrowed,
    of_rows,
)
from lossary.learning import Learning
from lossary.loss import Loss
from lossary.registry import get

REDUCTIONS = (
    "sum_over_batch_size",
    "mean",
    "mean_with_sample_weight",
    "sum",
    "none",
)
_MASK_AVERAGES = ("sum_over_batch_size", "mean")
_LAYER = "_lossary_layer"
_registered = keras.saving.register_keras_serializable(package="lossary")


class _Reduced(keras.losses.Loss):  # type: ignore[misc]
    """Keras's weights and reductions, of values that are given as the prediction."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


@_registered
@unconverted
class LossParameters(keras.layers.Layer):  # type: ignore[misc]
    """The last layer of a model whose loss learns parameters.

    It returns the prediction as it is, and owns the parameters: so the optimiser
    sees them, and they are saved with the model.

    Parameters
    ----------
    loss : str, Loss
        Its bound values are where learning starts.
    learn : sequence of str
        The learned parameters.

    Examples
    --------
    >>> layer = LossParameters("general_robust(scale=2)", ["scale"])
    >>> _ = layer(ops.zeros((4, 1)))
    >>> {name: round(value, 4) for name, value in layer.values.items()}
    {'scale': 2.0}
    """

    def __init__(self, loss: Any, learn: Sequence[str], **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.learning = Learning(get(loss), learn)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the raw values, numbers on the whole line."""
        self.raw = {
            name: self.add_weight(
                name=f"raw_{name}",
                shape=(),
                initializer=keras.initializers.Constant(value),
            )
            for name, value in self.learning.start().items()
        }

    def call(self, inputs: Any) -> Any:
        """Return the prediction, on which the loss finds the parameters."""
        set_tensor_attr(inputs, _LAYER, self)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the prediction."""
        return input_shape

    @property
    def values(self) -> dict[str, float]:
        """The learned parameters, as the loss has them."""
        raw = {n: np.asarray(float(variable)) for n, variable in self.raw.items()}
        return {name: float(x) for name, x in self.learning.values(raw).items()}

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        loss, names = written(self.learning.loss), list(self.learning.names)
        return {**super().get_config(), "loss": loss, "learn": names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LossParameters:
        """Make a layer of what `get_config` returned."""
        return cls(**{**config, "loss": read(config["loss"])})


@_registered
@unconverted
class KerasLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss as Keras has its own: compiled with a model, and saved with it.

    For the same definition it returns the numbers of Keras's own loss, with Keras's
    habits: a target `(n,)` goes with a prediction `(n, 1)`, a regression loss is
    averaged over the last axis of each row, and sample weights and masks mean what
    they mean there. What is removed, by a weight of 0 or by a mask, is removed
    whatever it holds, NaN included; weights `(n,)` weigh all steps of their row.

    Parameters
    ----------
    loss : str, Loss or weighted sum
        The loss; a string is looked up by `lossary.get`.
    reduction : str or None
        ``"sum_over_batch_size"`` or ``"mean"``: Σ w·l / n; ``"sum"``;
        ``"mean_with_sample_weight"``: Σ w·l / Σ w; ``"none"`` or None.
    name : str, optional
        What Keras calls it; the name of the loss by default.
    learn : sequence of str
        Parameters that are learned with the model: `layer` owns them, and is the last
        layer of the model. A pointwise loss then comes as the negative log-likelihood.
    check : {"raise", "warn", "off"}
        What to do about values that are surely wrong. Compiled code, as in `fit` on
        TensorFlow and JAX, has no values to look at; shapes are checked everywhere.
    dtype : str, optional
        What is computed in; ``keras.config.floatx()`` by default, also under a policy
        of mixed precision.

    Raises
    ------
    ParameterError
        For an option that is not known, or a parameter that cannot be learned.
    ShapeError, DomainError
        At a call, for arrays that the loss cannot pair, and values that are surely
        wrong.

    Examples
    --------
    >>> import numpy as np
    >>> loss = KerasLoss("huber(delta=2)")
    >>> loss
    KerasLoss(huber(delta=2.0))
    >>> y, z = np.zeros(2), np.array([[1.0], [3.0]])
    >>> float(loss(y, z)), float(keras.losses.Huber(delta=2.0)(y, z))
    (2.25, 2.25)
    """

    def __init__(
        self,
        loss: Any,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        learn: Sequence[str] = (),
        check: str = "raise",
        dtype: Any = None,
    ) -> None:
        self.loss: Loss | Combination = get(loss)
        self.check = check
        _check_options(self.loss, reduction, check)
        name = name or re.sub(r"\W+", "_", self.loss.name).strip("_")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._own_dtype = None if dtype is None else self.dtype
        self._reduced = _Reduced(name=name, reduction=reduction, dtype=dtype)
        self.learning = Learning(self.loss, learn)
        names = self.learning.names
        self._layer = LossParameters(self.loss, names) if names else None

    @property
    def layer(self) -> LossParameters:
        """The layer that owns the learned parameters; a model ends with it."""
        if self._layer is None:
            raise ParameterError(
                f"{self.loss.name} learns nothing and has no layer; name what it "
                "learns, as in to_keras(learn=['scale'])"
            )
        return self._layer

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss; arguments are those of every Keras loss."""
        raw = self._raw(y_pred)
        mask = get_keras_mask(y_pred)
        mask = None if mask is None else ops.cast(mask, "bool")
        with keras.name_scope(self.name):
            y, z = (
                ops.convert_to_tensor(x, dtype=self.dtype) for x in (y_true, y_pred)
            )
            if sample_weight is not None:
                sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            total = None
            for factor, loss in terms_of(self.loss):
                term = self._term(loss, y, z, sample_weight, mask, raw)
                term = term if factor == 1 else factor * term
                total = term if total is None else total + term
        return total

    def _term(
        self, loss: Loss, y: Any, z: Any, weight: Any, mask: Any, raw: Any
    ) -> Any:
        """Return one loss, reduced as Keras reduces it."""
        y, z = aligned(loss, y, z)
        if loss.structure.name == "overlap":
            return self._overlap(loss, y, z, weight, mask)
        rows = of_rows(loss, z)
        weight = broad_enough(loss, "sample_weight", weight, rows)
        mask = broad_enough(loss, "mask", mask, rows)
        keep = both(None if weight is None else weight != 0, mask)
        if keep is not None:
            keep = ops.logical_and(keep, ops.ones_like(rows, dtype="bool"))
        values = self._values(loss, y, z, raw, mask=keep)
        if len(values.shape) > len(rows.shape):
            values = ops.mean(values, axis=-1)
        return self._reduced(values, values, self._masked(weight, mask, rows))

    def _overlap(self, loss: Loss, y: Any, z: Any, weight: Any, mask: Any) -> Any:
        """Return a loss per image; weights weigh images, or pixels in the counts."""
        weight, pixels = narrowed(weight, 1), None
        if weight is not None:
            if len(weight.shape) > 1 or loss.parameters["over"] == "batch":
                weight, pixels = None, weight
            else:
                mask = both(weight != 0, mask)
        values = self._values(loss, y, z, {}, mask=mask, sample_weight=pixels)
        return self._reduced(values, values, weight)

    def _values(self, loss: Loss, y: Any, z: Any, raw: Any, **options: Any) -> Any:
        options = {"reduction": "none", "check": self.check, **options}
        if raw:
            return self.learning(y, z, raw, **options)
        return loss(y, z, **options)

    def _masked(self, weight: Any, mask: Any, rows: Any) -> Any:
        """Return weights in which what is masked is 0, and does not divide."""
        if mask is None:
            return weight
        share = ops.cast(mask, rows.dtype) * ops.ones_like(rows)
        if self.reduction in _MASK_AVERAGES:
            size = ops.sum(ops.ones_like(rows))
            share = share * ops.divide_no_nan(size, ops.sum(share))
        return share if weight is None else weight * share

    def _raw(self, y_pred: Any) -> dict[str, Any]:
        """Return the raw values of learned parameters, as the prediction brings them.

        Keras traces a loss once, before training, with predictions that it made up.
        """
        if not self.learning.names:
            return {}
        layer = get_tensor_attr(y_pred, _LAYER)
        if layer is None and in_symbolic_scope():
            raw = self.learning.start()
        elif layer is None or not _same(layer.learning, self.learning):
            raise ParameterError(
                f"{self.loss.name}: the prediction does not come from the layer that "
                f"owns {' and '.join(self.learning.names)}, so that nothing would be "
                "learned; make criterion.layer the last layer of the model, as in "
                "keras.Sequential([..., criterion.layer])"
            )
        else:
            raw = layer.raw
        return {n: ops.convert_to_tensor(x, dtype=self.dtype) for n, x in raw.items()}

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal loss: its text, and the options."""
        config = {**super().get_config(), "loss": written(self.loss)}
        if self.learning.names:
            config["learn"] = list(self.learning.names)
        if self._own_dtype is not None:
            config["dtype"] = self._own_dtype
        return {**config, "check": self.check}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KerasLoss:
        """Make a loss of what `get_config` returned."""
        return cls(**{**config, "loss": read(config["loss"])})

    def __repr__(self) -> str:
        return f"KerasLoss({self.loss!r})"


def to_keras(loss: Any, **options: Any) -> KerasLoss:
    """Return a loss as Keras has its own; options are those of `KerasLoss`."""
    return KerasLoss(loss, **options)


def _check_options(loss: Any, reduction: str | None, check: str) -> None:
    if check not in CHECKS:
        raise ParameterError(
            f"{loss.name}: check must be one of {CHECKS}, got {check!r}"
        )
    if reduction is not None and reduction not in REDUCTIONS:
        raise ParameterError(
            f"{loss.name}: reduction={reduction!r} is not one of Keras's; "
            f"{nearest(str(reduction), REDUCTIONS)}"
        )
    if reduction in (None, "none") and isinstance(loss, Combination):
        raise ParameterError(
            f"{loss!r} has no loss per item, since its terms need not have the same "
            "items; use another reduction, or the terms one by one"
        )


def _same(one: Learning, other: Learning) -> bool:
    """Say whether the same is learned; where it starts does not matter."""
    return one.names == other.names and one.loss.definition == other.loss.definition
