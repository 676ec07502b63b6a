"""What each loss is called elsewhere, with its exact factor.

One row per loss of another library. A row is exact: the loss that it names, with the
row's factor, has the value that the other library computes (boosters and linear
models: its gradient), apart from what the row's note says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lossary.errors import NameLookupError, ParameterError, nearest
from lossary.parameters import Param


@dataclass(frozen=True)
class Option:
    """How a parameter of another library is understood.

    Attributes
    ----------
    default
        Its value there when none is given; ``None`` hands nothing on.
    ours : str
        Our parameter that takes the value.
    power : int
        The value to this power multiplies the loss: 1 for a factor, -1 for a divisor.
    allowed : tuple
        Where the value is neither handed on nor a factor: the values that are ours.
    instead : str
        What to do in place of any other value.
    required : bool
        Whether there is no default.
    """

    default: Any = None
    ours: str = ""
    power: int = 0
    allowed: tuple[Any, ...] = ()
    instead: str = ""
    required: bool = False


@dataclass(frozen=True)
class Row:
    """One loss of another library, in our words.

    Attributes
    ----------
    loss : str
        Our loss.
    names : tuple of str
        What it is called there, in full.
    library : str
        Where that is.
    factor : float
        Their loss is `factor` times ours.
    given : mapping
        Our parameters that the name itself fixes.
    options : mapping of str to Option
        Their parameters.
    reduction : str
        Our reduction that is theirs when nothing is said, weights included.
    note : str
        Where the two differ all the same, or what is coded differently.
    """

    loss: str
    names: tuple[str, ...]
    library: str = ""
    factor: float = 1.0
    given: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    reduction: str = "mean"
    note: str = ""

    @property
    def meaning(self) -> str:
        """Their loss as a formula of ours.

        Examples
        --------
        >>> [row.meaning for row in elsewhere("huber") if row.library == "PyTorch"]
        ['huber(delta=delta)', 'huber(delta=beta)/beta']
        """
        bound = [f"{k}={v!r}" for k, v in self.given.items()]
        bound += [f"{o.ours}={k}" for k, o in self.options.items() if o.ours]
        text = f"{self.loss}({', '.join(bound)})" if bound else self.loss
        for key, option in self.options.items():
            text = {1: f"{key}*{text}", -1: f"{text}/{key}"}.get(option.power, text)
        return text if self.factor == 1 else f"{self.factor:g}*{text}"


def _row(loss: str, *names: str, **rest: Any) -> Row:
    return Row(loss, names, **rest)


def _of(
    library: str,
    rows: Iterable[Row],
    reduction: str = "mean",
    prefixes: tuple[str, ...] = ("",),
    **shared: Option,
) -> tuple[Row, ...]:
    """Complete the rows of one library by what they share."""
    return tuple(
        replace(
            row,
            library=library,
            names=tuple(prefix + name for name in row.names for prefix in prefixes),
            options={**row.options, **shared},
            reduction=reduction if row.reduction == "mean" else row.reduction,
        )
        for row in rows
    )


def _only(*allowed: Any, instead: str, **rest: Any) -> Option:
    return Option(**{"default": allowed[0], **rest}, allowed=allowed, instead=instead)


def _to(ours: str, default: Any = None, **rest: Any) -> Option:
    return Option(default, ours, **rest)


_CALL = "pass reduction= when the loss is called"
_WEIGHT = "pass sample_weight= when the loss is called"
_SMOOTH = _only(0.0, instead="smooth the targets themselves")
_BALANCE = "weight the classes by sample_weight= when the loss is called"
_AXIS = _only(-1, instead="move the classes to the last axis")
_LOGITS = {"from_logits": _to("from_logits", False)}
_POSITIVE = {"scale_pos_weight": _only(1.0, instead=_BALANCE)}
_PROBABILITY = {"from_logits": False}
_SIGNS = "labels are -1 and 1 there, 0 and 1 here"
_CLIPPED = "probabilities are clipped to [1e-7, 1 - 1e-7] there"
_FLOORED = "divides by max(1, |y|) there: the same where |y| is at least 1"
_LAST = "classes are the last axis here, the second there"

# The words that people type; parameters are ours.
_SPOKEN = _of("in short", [
    _row("squared_error", "mse", "l2", "mean_squared_error"),
    _row("absolute_error", "mae", "l1", "mean_absolute_error"),
    _row("absolute_percentage_error", "mape", "mean_absolute_percentage_error"),
    _row("squared_log_error", "msle", "mean_squared_log_error"),
    _row("huber", "huber_loss"),
    _row("log_cosh", "logcosh"),
    _row("pinball", "quantile", "quantile_loss", "pinball_loss",
         options={"alpha": _to("tau"), "quantile": _to("tau")}),
    _row("poisson", "poisson_loss"),
    _row("tweedie", "tweedie_loss"),
    _row("binary_cross_entropy", "bce", "log_loss", "logloss", "logistic"),
    _row("binary_focal", "binary_focal_loss"),
    _row("hinge", "svm", "hinge_loss"),
    _row("exponential", "exponential_loss", "adaboost"),
    _row("cross_entropy", "ce", "nll", "categorical_cross_entropy", "softmax"),
    _row("focal", "focal_loss"),
    _row("kl_divergence", "kl", "kld", "kullback_leibler"),
    _row("dice", "dice_loss", "soft_dice"),
])  # fmt: skip

_NN, _F = "torch.nn.", "torch.nn.functional."
_TORCH_WEIGHT = {"weight": _only(None, instead=_WEIGHT)}
_IGNORE = {"ignore_index": _only(-100, instead="leave rows out by mask=")}
_TORCH = _of("PyTorch", [
    _row("squared_error", _NN + "MSELoss", _F + "mse_loss", options=_TORCH_WEIGHT),
    _row("absolute_error", _NN + "L1Loss", _F + "l1_loss", options=_TORCH_WEIGHT),
    _row("huber", _NN + "HuberLoss", _F + "huber_loss",
         options={"delta": _to("delta", 1.0), **_TORCH_WEIGHT}),
    _row("huber", _NN + "SmoothL1Loss", _F + "smooth_l1_loss",
         options={"beta": _to("delta", 1.0, power=-1)}),
    _row("binary_cross_entropy", _NN + "BCELoss", _F + "binary_cross_entropy",
         given=_PROBABILITY, options=_TORCH_WEIGHT,
         note="logarithms are cut off at -100 there"),
    _row("binary_cross_entropy", _NN + "BCEWithLogitsLoss",
         _F + "binary_cross_entropy_with_logits",
         options={"pos_weight": _only(None, instead=_BALANCE), **_TORCH_WEIGHT}),
    _row("binary_cross_entropy", _NN + "SoftMarginLoss", _F + "soft_margin_loss",
         note=_SIGNS),
    _row("binary_cross_entropy", _NN + "MultiLabelSoftMarginLoss",
         _F + "multilabel_soft_margin_loss", options=_TORCH_WEIGHT),
    _row("cross_entropy", _NN + "CrossEntropyLoss", _F + "cross_entropy",
         options={"label_smoothing": _SMOOTH, **_TORCH_WEIGHT, **_IGNORE},
         reduction="mean", note=_LAST),
    _row("cross_entropy", _NN + "NLLLoss", _F + "nll_loss",
         options={**_TORCH_WEIGHT, **_IGNORE}, reduction="mean",
         note=f"takes log-probabilities, which are logits as they stand; {_LAST}"),
    _row("poisson", _NN + "PoissonNLLLoss", _F + "poisson_nll_loss",
         options={"log_input": _to("from_log", True),
                  "full": _only(False, instead="log(y!) depends on no prediction"),
                  "eps": _only(1e-8, instead="no epsilon is needed here")},
         note="log_input=False takes log(z + 1e-8) there"),
    _row("kl_divergence", _NN + "KLDivLoss", _F + "kl_div",
         options={"reduction": _only(
                      "batchmean", default="mean",
                      instead="its 'mean' is that of 'batchmean' divided by the number "
                      "of classes: pass reduction='batchmean' and divide"),
                  "log_target": _only(False, instead="pass exp(y) as the target")},
         note="takes log-probabilities, which are logits as they stand"),
], reduction="mean_over_items",
   size_average=_only(None, instead=_CALL), reduce=_only(None, instead=_CALL))
_TORCH = tuple(
    row if "reduction" in row.options
    else replace(row, options={**row.options, "reduction": _only("mean", instead=_CALL)})
    for row in _TORCH
)  # fmt: skip

_KERAS_P = {**_LOGITS, "label_smoothing": _SMOOTH, "axis": _AXIS}
_KERAS = _of("Keras", [
    _row("squared_error", "MeanSquaredError", "mean_squared_error", "mse"),
    _row("absolute_error", "MeanAbsoluteError", "mean_absolute_error", "mae"),
    _row("absolute_percentage_error", "MeanAbsolutePercentageError",
         "mean_absolute_percentage_error", "mape", factor=100.0,
         note="a percentage there; |y| is at least 1e-7 there"),
    _row("squared_log_error", "MeanSquaredLogarithmicError",
         "mean_squared_logarithmic_error", "msle",
         note="both arguments are at least 1e-7 there"),
    _row("huber", "Huber", "huber", options={"delta": _to("delta", 1.0)}),
    _row("log_cosh", "LogCosh", "log_cosh", "logcosh"),
    _row("poisson", "Poisson", "poisson", given={"from_log": False},
         note="takes log(p + 1e-7) there"),
    _row("binary_cross_entropy", "BinaryCrossentropy", "binary_crossentropy", "bce",
         options=_KERAS_P, note=_CLIPPED),
    _row("binary_focal", "BinaryFocalCrossentropy", "binary_focal_crossentropy",
         options={"gamma": _to("gamma", 2.0), **_KERAS_P,
                  "apply_class_balancing": _only(False, instead=_BALANCE),
                  "alpha": _only(0.25, instead=_BALANCE)}, note=_CLIPPED),
    _row("cross_entropy", "CategoricalCrossentropy", "categorical_crossentropy",
         options=_KERAS_P, note=_CLIPPED),
    _row("cross_entropy", "SparseCategoricalCrossentropy",
         "sparse_categorical_crossentropy", note=_CLIPPED,
         options={**_LOGITS, "axis": _AXIS,
                  "ignore_class": _only(None, instead="leave rows out by mask=")}),
    _row("focal", "CategoricalFocalCrossentropy", "categorical_focal_crossentropy",
         options={"gamma": _to("gamma", 2.0), "alpha": Option(0.25, power=1),
                  **_KERAS_P}, note=_CLIPPED),
    _row("kl_divergence", "KLDivergence", "kl_divergence", "kld", given=_PROBABILITY,
         note="probabilities of target and prediction are at least 1e-7 there"),
    _row("hinge", "Hinge", "hinge"),
    _row("squared_hinge", "SquaredHinge", "squared_hinge"),
    _row("dice", "Dice", "dice", given={"from_logits": False, "over": "batch",
                                        "smooth": 0.0},
         options={"axis": _only(None, instead="over='image' takes one loss per image")},
         note="adds 1e-7 to the denominator there"),
], reduction="mean_over_items", prefixes=("keras.losses.",),
   reduction_=_only("sum_over_batch_size", instead=_CALL))  # fmt: skip
