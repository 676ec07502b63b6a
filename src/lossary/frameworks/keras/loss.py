"""A loss as a `keras.losses.Loss`: reductions, masks, learned parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lossary.batch import CHECKS
from lossary.combination import Combination, check_per_item, terms_of
from lossary.errors import ParameterError, nearest
from lossary.expr.untraced import unconverted
from lossary.frameworks.keras.inputs import tensor
from lossary.frameworks.keras.private import (
    get_keras_mask,
    get_tensor_attr,
    in_symbolic_scope,
    set_tensor_attr,
)
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
OPTIONS = ("reduction", "name", "learn", "check", "dtype")
_MASK_AVERAGES = ("sum_over_batch_size", "mean")
_LAYER = "_lossary_layer"
# Saved files name it as the module of a class: it is what has to be imported.
_PUBLIC = "lossary.frameworks.keras"
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
    >>> import keras
    >>> layer = LossParameters("general_robust(scale=2)", ["scale"])
    >>> _ = layer(keras.ops.zeros((4, 1)))
    >>> {name: round(value, 4) for name, value in layer.values.items()}
    {'scale': 2.0}
    """

    __module__ = _PUBLIC

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
        if not self.built:
            names = " and ".join(self.learning.names)
            # Not an AttributeError, which PyTorch would take for a missing property.
            raise ParameterError(
                f"{self.learning.loss.name}: this layer is in no model yet, and has no "
                f"{names}; a model that was loaded or cloned has its own layer, such "
                "as model.layers[-1]"
            )
        raw = {n: np.asarray(x.numpy(), dtype=float) for n, x in self.raw.items()}
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
    >>> import keras
    >>> import numpy as np
    >>> loss = KerasLoss("huber(delta=2)")
    >>> loss
    KerasLoss(huber(delta=2.0))
    >>> y, z = np.zeros(2), np.array([[1.0], [3.0]])
    >>> float(loss(y, z)), float(keras.losses.Huber(delta=2.0)(y, z))
    (2.25, 2.25)
    """

    __module__ = _PUBLIC

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
        _check_options(self.loss, reduction, check, dtype)
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
            y, z, sample_weight = (
                tensor(self.loss, argument, x, self.dtype)
                for argument, x in [
                    ("y_true", y_true),
                    ("y_pred", y_pred),
                    ("sample_weight", sample_weight),
                ]
            )
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
        weight, pixels, kept = narrowed(weight, 1), None, mask
        if weight is not None:
            if len(weight.shape) > 1 or loss.parameters["over"] == "batch":
                weight, pixels = None, weight
            else:
                mask = both(weight != 0, mask)
        values = self._values(loss, y, z, {}, mask=mask, sample_weight=pixels)
        if kept is not None and len(values.shape) == 1:
            # An image of which nothing is left does not divide.
            kept = ops.any(kept, axis=tuple(range(1, len(kept.shape))))
            weight = self._masked(weight, kept, values)
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
        """Return the loss, and what is not as usual."""
        names = list(self.learning.names)
        given = {
            "reduction": (self.reduction, "sum_over_batch_size"),
            "learn": (names, []),
            "check": (self.check, "raise"),
            "dtype": (self._own_dtype, None),
        }
        options = [f"{k}={x!r}" for k, (x, usual) in given.items() if x != usual]
        return f"KerasLoss({', '.join([repr(self.loss), *options])})"


def to_keras(loss: Any, **options: Any) -> KerasLoss:
    """Return a loss as Keras has its own; options are those of `KerasLoss`."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise ParameterError(
            f"{get(loss).name}: to_keras has no option {unknown[0]!r}, its options are "
            f"{', '.join(OPTIONS)}; a parameter of the loss is bound before, as in "
            "huber(delta=2).to_keras()"
        )
    return KerasLoss(loss, **options)


def _check_options(loss: Any, reduction: str | None, check: str, dtype: Any) -> None:
    if check not in CHECKS:
        raise ParameterError(
            f"{loss.name}: check must be one of {CHECKS}, got {check!r}"
        )
    if reduction is not None and reduction not in REDUCTIONS:
        raise ParameterError(
            f"{loss.name}: reduction={reduction!r} is not one of Keras's; "
            f"{nearest(str(reduction), REDUCTIONS)}"
        )
    if dtype is not None and not _is_floating(dtype):
        raise ParameterError(
            f"{loss.name}: dtype={dtype!r} is not a floating dtype; pass 'float32' or "
            "'float64', or leave it out for keras.config.floatx()"
        )
    if reduction in (None, "none"):
        check_per_item(loss)


def _is_floating(dtype: Any) -> bool:
    try:
        return "float" in keras.dtype_policies.get(dtype).compute_dtype
    except (TypeError, ValueError):  # it is no dtype at all
        return False


def _same(one: Learning, other: Learning) -> bool:
    """Say whether the same is learned; where it starts does not matter."""
    return one.names == other.names and one.loss.definition == other.loss.definition
