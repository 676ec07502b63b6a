"""The losses of other libraries that are ours, one row each.

A row is exact: the loss that it names, with the row's factor, has the value that the
other library computes (boosters and linear models: its gradient), apart from what the
row's note says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


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
    reduction: str = ""
    note: str = ""

    @property
    def meaning(self) -> str:
        """Their loss as a formula of ours.

        Examples
        --------
        >>> from lossary.aliases import elsewhere
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
    library: str, rows: Iterable[Row], *, prefix: str, reduces: str, **shared: Option
) -> tuple[Row, ...]:
    """Complete the rows of one library by what they share."""
    return tuple(
        replace(
            row,
            library=library,
            names=tuple(prefix + name for name in row.names),
            options={**shared, **row.options},
            reduction=row.reduction or reduces,
        )
        for row in rows
    )


def _only(*allowed: Any, instead: str, **rest: Any) -> Option:
    return Option(**{"default": allowed[0], **rest}, allowed=allowed, instead=instead)


def _to(ours: str, default: Any = None, **rest: Any) -> Option:
    return Option(default, ours, **rest)


_CALL = "pass reduction= when the loss is called"
_BALANCE = "weight the classes by sample_weight= when the loss is called"
_IGNORED = "leave rows out by mask= when the loss is called"
_LOGITS = {"from_logits": _to("from_logits", False)}
_PROBABILITY = {"from_logits": False}
_SMOOTH = {"label_smoothing": _to("label_smoothing", 0.0)}
_SMOOTH_LABEL = {"label_smoothing": _only(0.0, instead="smooth the targets themselves")}
_AXIS = {"axis": _only(-1, instead="move the classes to the last axis")}
_SCALED = {"scale_pos_weight": _only(1.0, instead=_BALANCE)}
_SIGNS = "labels are -1 and 1 there, 0 and 1 here"
_CLIPPED = "probabilities are clipped to [1e-7, 1 - 1e-7] there"
_FLOORED = "divides by max(1, |y|) there, which is the same where |y| is at least 1"
_LAST = "classes are the last axis here, the second there"
_LOG = "takes log-probabilities, which are logits as they stand"

SPOKEN = "in short"
"""The library of the names that people say; their parameters are ours."""

# fmt: off
_SPOKEN = _of(SPOKEN, [
    _row("squared_error", "mse", "l2", "mean_squared_error"),
    _row("absolute_error", "mae", "l1", "mean_absolute_error"),
    _row("absolute_percentage_error", "mape", "mean_absolute_percentage_error"),
    _row("squared_log_error", "msle", "mean_squared_log_error"),
    _row("huber", "huber_loss"),
    _row("general_robust", "barron", "adaptive_robust"),
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
    _row("jaccard", "jaccard_loss", "iou", "iou_loss", "soft_iou"),
    _row("tversky", "tversky_loss"),
    _row("focal_tversky", "focal_tversky_loss"),
    _row("info_nce", "infonce", "nt_xent", "contrastive"),
    _row("info_nce", "clip", "clip_loss", given={"direction": "both"}),
    _row("siglip", "siglip_loss", "sigmoid_contrastive"),
], prefix="", reduces="mean")

_F = "functional."
_WEIGHT = {"weight": _only(None, instead="pass sample_weight= when the loss is called")}
_IGNORE = {"ignore_index": _only(-100, instead=_IGNORED)}
_TORCH = _of("PyTorch", [
    _row("squared_error", "MSELoss", _F + "mse_loss", options=_WEIGHT,
         reduction="mean"),
    _row("absolute_error", "L1Loss", _F + "l1_loss", options=_WEIGHT,
         reduction="mean"),
    _row("huber", "HuberLoss", _F + "huber_loss",
         options={"delta": _to("delta", 1.0), **_WEIGHT}),
    _row("huber", "SmoothL1Loss", _F + "smooth_l1_loss",
         options={"beta": _to("delta", 1.0, power=-1)}),
    _row("binary_cross_entropy", "BCELoss", _F + "binary_cross_entropy",
         given=_PROBABILITY, options=_WEIGHT,
         note="logarithms are cut off at -100 there"),
    _row("binary_cross_entropy", "BCEWithLogitsLoss",
         _F + "binary_cross_entropy_with_logits",
         options={"pos_weight": _only(None, instead=_BALANCE), **_WEIGHT}),
    _row("binary_cross_entropy", "SoftMarginLoss", _F + "soft_margin_loss",
         note=_SIGNS),
    _row("binary_cross_entropy", "MultiLabelSoftMarginLoss",
         _F + "multilabel_soft_margin_loss", options=_WEIGHT),
    _row("cross_entropy", "CrossEntropyLoss", _F + "cross_entropy",
         options={**_SMOOTH, **_WEIGHT, **_IGNORE}, reduction="mean", note=_LAST),
    _row("cross_entropy", "NLLLoss", _F + "nll_loss",
         options={**_WEIGHT, **_IGNORE}, reduction="mean", note=f"{_LOG}; {_LAST}"),
    _row("poisson", "PoissonNLLLoss", _F + "poisson_nll_loss",
         options={"log_input": _to("from_log", True),
                  "full": _only(False, instead="log(y!) depends on no prediction"),
                  "eps": _only(1e-8, instead="no epsilon is needed here")},
         note="log_input=False takes log(p + 1e-8) there"),
    _row("kl_divergence", "KLDivLoss", _F + "kl_div",
         options={"reduction": _only(
                      "batchmean", default="mean",
                      instead="its 'mean' divides that by the number of classes, so "
                      "pass reduction='batchmean' and divide where it is wanted"),
                  "log_target": _only(False, instead="pass exp(y) as the target")},
         note=_LOG),
], prefix="torch.nn.", reduces="mean_over_items",
   reduction=_only("mean", instead=_CALL), size_average=_only(None, instead=_CALL),
   reduce=_only(None, instead=_CALL))

_PROBABILITIES = {**_LOGITS, **_SMOOTH, **_AXIS}
_TWO_CLASSES = {**_LOGITS, **_SMOOTH_LABEL, **_AXIS}
_KERAS = _of("Keras", [
    _row("squared_error", "MeanSquaredError", "mean_squared_error", "mse"),
    _row("absolute_error", "MeanAbsoluteError", "mean_absolute_error", "mae"),
    _row("absolute_percentage_error", "MeanAbsolutePercentageError",
         "mean_absolute_percentage_error", "mape", factor=100.0,
         note="a percentage there, with |y| at least 1e-7"),
    _row("squared_log_error", "MeanSquaredLogarithmicError",
         "mean_squared_logarithmic_error", "msle",
         note="target and prediction are at least 1e-7 there"),
    _row("huber", "Huber", "huber", options={"delta": _to("delta", 1.0)}),
    _row("log_cosh", "LogCosh", "log_cosh"),
    _row("poisson", "Poisson", "poisson", given={"from_log": False},
         note="takes log(p + 1e-7) there"),
    _row("binary_cross_entropy", "BinaryCrossentropy", "binary_crossentropy", "bce",
         options=_TWO_CLASSES, note=_CLIPPED),
    _row("binary_focal", "BinaryFocalCrossentropy", "binary_focal_crossentropy",
         options={"gamma": _to("gamma", 2.0), **_TWO_CLASSES,
                  "apply_class_balancing": _only(False, instead=_BALANCE),
                  "alpha": _only(0.25, instead=_BALANCE)}, note=_CLIPPED),
    _row("cross_entropy", "CategoricalCrossentropy", "categorical_crossentropy",
         options=_PROBABILITIES, note=_CLIPPED),
    _row("cross_entropy", "SparseCategoricalCrossentropy",
         "sparse_categorical_crossentropy", note=_CLIPPED,
         options={**_LOGITS, **_AXIS, "ignore_class": _only(None, instead=_IGNORED)}),
    _row("focal", "CategoricalFocalCrossentropy", "categorical_focal_crossentropy",
         options={"gamma": _to("gamma", 2.0), "alpha": Option(0.25, power=1),
                  **_PROBABILITIES}, note=_CLIPPED),
    _row("kl_divergence", "KLDivergence", "kl_divergence", "kld", given=_PROBABILITY,
         note="probabilities are at least 1e-7 there"),
    _row("hinge", "Hinge", "hinge"),
    _row("squared_hinge", "SquaredHinge", "squared_hinge"),
    _row("dice", "Dice", "dice", given={"from_logits": False, "over": "batch"},
         options={"axis": _only(None, instead="pass over='image' to our dice")},
         note="1e-7 is added to the denominator there"),
    _row("tversky", "Tversky", "tversky", given={"from_logits": False, "over": "batch"},
         options={"alpha": _to("beta", 0.5), "beta": _to("alpha", 0.5),
                  "axis": _only(None, instead="pass over='image' to our tversky")},
         note="alpha weighs false negatives there, and 1e-7 is added to the "
         "denominator"),
], prefix="keras.losses.", reduces="mean_over_items",
   reduction=_only("sum_over_batch_size", instead=_CALL))

_TENSORFLOW = _of("TensorFlow", [
    _row("binary_cross_entropy", "sigmoid_cross_entropy_with_logits"),
    _row("cross_entropy", "softmax_cross_entropy_with_logits", options=_AXIS),
    _row("cross_entropy", "sparse_softmax_cross_entropy_with_logits"),
    _row("poisson", "log_poisson_loss", options={"compute_full_loss": _only(
        False, instead="log(y!) depends on no prediction")}),
], prefix="tf.nn.", reduces="none")

_OPTAX = _of("optax", [
    _row("squared_error", "squared_error"),
    _row("squared_error", "l2_loss", factor=0.5),
    _row("huber", "huber_loss", options={"delta": _to("delta", 1.0)}),
    _row("log_cosh", "log_cosh"),
    _row("binary_cross_entropy", "sigmoid_binary_cross_entropy"),
    _row("binary_focal", "sigmoid_focal_loss",
         options={"gamma": _to("gamma", 2.0), "alpha": _only(None, instead=_BALANCE)}),
    _row("cross_entropy", "softmax_cross_entropy", options=_AXIS),
    _row("cross_entropy", "softmax_cross_entropy_with_integer_labels", options=_AXIS),
    _row("kl_divergence", "kl_divergence", note=_LOG),
    _row("hinge", "hinge_loss", note=_SIGNS),
], prefix="optax.", reduces="none")

_METRICS = _of("scikit-learn", [
    _row("squared_error", "mean_squared_error"),
    _row("absolute_error", "mean_absolute_error"),
    _row("absolute_percentage_error", "mean_absolute_percentage_error"),
    _row("squared_log_error", "mean_squared_log_error"),
    _row("pinball", "mean_pinball_loss", options={"alpha": _to("tau", 0.5)}),
    _row("binary_cross_entropy", "log_loss", given=_PROBABILITY,
         note="one probability per row; rows of classes are cross_entropy"),
    _row("hinge", "hinge_loss"),
], prefix="sklearn.metrics.", reduces="mean")

# From here on a row says what is minimised: the sum over the rows, weights included.
_ESTIMATORS = _of("scikit-learn", [
    _row("squared_error", "ensemble.HistGradientBoostingRegressor.squared_error",
         "ensemble.GradientBoostingRegressor.squared_error",
         "linear_model.SGDRegressor.squared_error", factor=0.5),
    _row("absolute_error", "ensemble.HistGradientBoostingRegressor.absolute_error",
         "ensemble.GradientBoostingRegressor.absolute_error"),
    _row("pinball", "ensemble.HistGradientBoostingRegressor.quantile",
         options={"quantile": _to("tau", required=True)}),
    _row("pinball", "ensemble.GradientBoostingRegressor.quantile",
         options={"alpha": _to("tau", 0.9)}),
    _row("pinball", "linear_model.QuantileRegressor",
         options={"quantile": _to("tau", 0.5)}),
    _row("huber", "linear_model.SGDRegressor.huber",
         options={"epsilon": _to("delta", 0.1)}),
    _row("poisson", "ensemble.HistGradientBoostingRegressor.poisson",
         "linear_model.PoissonRegressor"),
    _row("tweedie", "linear_model.TweedieRegressor",
         options={"power": _to("power", required=True)}),
    _row("binary_cross_entropy", "ensemble.HistGradientBoostingClassifier.log_loss",
         "ensemble.GradientBoostingClassifier.log_loss",
         "linear_model.SGDClassifier.log_loss", "linear_model.LogisticRegression",
         note="more than two classes are cross_entropy"),
    _row("exponential", "ensemble.GradientBoostingClassifier.exponential"),
    _row("hinge", "linear_model.SGDClassifier.hinge", "svm.LinearSVC.hinge"),
    _row("squared_hinge", "linear_model.SGDClassifier.squared_hinge",
         "svm.LinearSVC.squared_hinge"),
], prefix="sklearn.", reduces="sum")

_LIGHTGBM = _of("LightGBM", [
    _row("squared_error", "regression", "regression_l2", "l2", "mse",
         "mean_squared_error", factor=0.5),
    _row("absolute_error", "regression_l1", "l1", "mae", "mean_absolute_error"),
    _row("absolute_percentage_error", "mape", "mean_absolute_percentage_error",
         note=_FLOORED),
    _row("huber", "huber", options={"alpha": _to("delta", 0.9)}),
    _row("pinball", "quantile", options={"alpha": _to("tau", 0.9)}),
    _row("poisson", "poisson"),
    _row("tweedie", "tweedie", options={"tweedie_variance_power": _to("power", 1.5)}),
    _row("binary_cross_entropy", "binary", options={
        **_SCALED, "is_unbalance": _only(False, instead=_BALANCE),
        "sigmoid": _only(1.0, instead="scale the scores themselves")}),
    _row("binary_cross_entropy", "cross_entropy", "xentropy"),
    _row("cross_entropy", "multiclass", "softmax"),
], prefix="lightgbm.", reduces="sum")

_XGBOOST = _of("XGBoost", [
    _row("squared_error", "reg:squarederror", "reg:linear", factor=0.5),
    _row("absolute_error", "reg:absoluteerror"),
    _row("squared_log_error", "reg:squaredlogerror", factor=0.5),
    _row("pinball", "reg:quantileerror",
         options={"quantile_alpha": _to("tau", required=True)}),
    _row("general_robust", "reg:pseudohubererror",
         options={"huber_slope": _to("scale", 1.0, power=2)}),
    _row("poisson", "count:poisson"),
    _row("tweedie", "reg:tweedie",
         options={"tweedie_variance_power": _to("power", 1.5)}),
    _row("binary_cross_entropy", "binary:logistic", "binary:logitraw", "reg:logistic",
         options=_SCALED),
    _row("hinge", "binary:hinge"),
    _row("cross_entropy", "multi:softprob", "multi:softmax"),
], prefix="", reduces="sum")

_CATBOOST = _of("CatBoost", [
    _row("squared_error", "RMSE", factor=0.5, note="the root is in the metric alone"),
    _row("absolute_error", "MAE"),
    _row("absolute_percentage_error", "MAPE", note=_FLOORED),
    _row("huber", "Huber", options={"delta": _to("delta", required=True)}),
    _row("log_cosh", "LogCosh"),
    _row("pinball", "Quantile", options={"alpha": _to("tau", 0.5)}),
    _row("poisson", "Poisson"),
    _row("tweedie", "Tweedie",
         options={"variance_power": _to("power", required=True)}),
    _row("binary_cross_entropy", "Logloss", "CrossEntropy", options=_SCALED),
    _row("binary_focal", "Focal", factor=0.5,
         options={"focal_alpha": _only(0.5, instead=_BALANCE, required=True),
                  "focal_gamma": _to("gamma", required=True)}),
    _row("cross_entropy", "MultiClass"),
], prefix="catboost.", reduces="sum")
# fmt: on

ROWS = (
    *_SPOKEN, *_TORCH, *_KERAS, *_TENSORFLOW, *_OPTAX, *_METRICS, *_ESTIMATORS,
    *_LIGHTGBM, *_XGBOOST, *_CATBOOST,
)  # fmt: skip
"""Every loss of another library that is one of ours."""
