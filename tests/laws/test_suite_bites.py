"""The suite bites: for every law a broken twin of a loss, which the law must refuse.

The unbroken loss passes the same law.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lossary as ls
from laws import laws
from laws.frameworks import FRAMEWORKS, NUMPY
from laws.twins import Twin, computing
from lossary.errors import DomainError, ShapeError
from lossary.expr.graph import const
from lossary.loss import Loss
from lossary.ops import exp, log, sigmoid, softplus, weighted, where
from lossary.reduction import Sums

TORCH = FRAMEWORKS["torch"]
BCE = ls.binary_cross_entropy
BATCH_DICE = ls.dice(over="batch")


@dataclass(frozen=True)
class Case:
    """A law, a loss that keeps it, and what is broken in its twin."""

    law: Callable[..., None]
    loss: Loss
    what: str
    broken: dict[str, Any]
    says: str | None = None
    rest: tuple[Any, ...] = ()
    error: type[Exception] = AssertionError


# -- formulas -------------------------------------------------------------------------


@ls.pointwise(target="fraction", prediction="logit")
def flipped(y, z):
    return y * softplus(z) + (1 - y) * softplus(-z)


@ls.pointwise(target="fraction", prediction="logit")
def epsilon_in_the_logarithm(y, z):
    return -y * log(sigmoid(z) + 1e-7) - (1 - y) * log(sigmoid(-z) + 1e-7)


@ls.pointwise(target="fraction", prediction="logit")
def overflowing(y, z):
    return log(1 + exp(z)) - y * z


@ls.pointwise(target="fraction", prediction="logit")
def cancelling(y, z):
    exact = weighted(y, softplus(-z)) + weighted(1 - y, softplus(z))
    return where(abs(z) < 1e3, softplus(z) - y * z, exact)


@ls.pointwise
def halved(y, z):
    return (z - y) ** 2 / 2


@ls.pointwise
def drowned(y, z):
    return (((z - y) ** 2 + 1e10) - 1e10) * 1.0


def formula(loss: Loss, **nodes: Any) -> dict[str, Any]:
    parts = ("value", "gradient", "curvature", "inputs", "params")
    own = {part: getattr(loss.formula, part) for part in parts}
    return {"formula": SimpleNamespace(**own | nodes)}


def gradient_by(change: Callable[..., Any]) -> dict[str, Any]:
    """Break the gradient: `change` is given it, and the options of the call."""

    def value_and_grad(loss: Loss, *data: Any, **options: Any) -> Any:
        value, gradient = loss.value_and_grad(*data, **options)
        return value, change(gradient, options)

    return {"value_and_grad": value_and_grad}


# -- broken calls ---------------------------------------------------------------------


def without(*dropped: str) -> Callable[..., Any]:
    """Ignore some options of a call."""

    def call(loss: Loss, *data: Any, **options: Any) -> Any:
        return loss(*data, **{k: v for k, v in options.items() if k not in dropped})

    return call


def float32_in_torch(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    value = loss(y, z, **options)
    return value if isinstance(z, np.ndarray) else value.float()


def items_mean_in_torch(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    if not isinstance(z, np.ndarray) and options["reduction"] == "mean":
        options["reduction"] = "mean_over_items"
    return loss(y, z, **options)


def centred_on_the_batch(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    return loss(y, z - z.mean() + 0.1, **options)


def multiplied_by_the_weight(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    w, mask = options.pop("sample_weight", None), options.pop("mask", None)
    w = mask if w is None else w
    if w is None:
        return loss(y, z, check="off", **options)
    return (w * loss(y, z, reduction="none", check="off")).sum() / w.sum()


def over_all_items(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    return loss(y, z, **{"reduction": "mean_over_items", **options})


class MeanOfMeans(float):
    """Parts that merge by the mean of their means."""

    def __add__(self, other: float) -> MeanOfMeans:
        return MeanOfMeans((float(self) + float(other)) / 2)

    def mean(self) -> float:
        return float(self)


def mean_of_means(loss: Loss, *data: Any, **options: Any) -> MeanOfMeans:
    return MeanOfMeans(loss(*data, empty="zero", **options))


def never_empty(loss: Loss, *data: Any, **options: Any) -> Any:
    return loss(*data, **{**options, "empty": "zero"})


def never_refusing(loss: Loss, *data: Any, **options: Any) -> Any:
    empty = options.pop("empty", "nan")
    return loss(*data, **options, empty="zero" if empty == "raise" else empty)


def nan_outside_the_mask(gradient: Any, options: dict[str, Any]) -> Any:
    mask = options.get("mask")
    return gradient if mask is None else np.where(mask, gradient, np.nan)


def denominator_of_one(loss: Loss, *data: Any, **options: Any) -> Sums:
    sums = loss.sums(*data, **options)
    return Sums(sums.numerator, np.maximum(sums.denominator, 1.0))


def forgotten(loss: Loss, *data: Any, **options: Any) -> Any:
    return np.nan_to_num(loss(*data, **options))


def forgotten_slopes(loss: Loss, *data: Any, **options: Any) -> Any:
    gradient, curvature = loss.grad_and_hess(*data, **options)
    return np.nan_to_num(gradient), curvature


def spread(loss: Loss, *data: Any, **options: Any) -> Any:
    items = loss(*data, **options)
    return items + 0 * items.sum()


def as_float64(loss: Loss, *data: Any, **options: Any) -> Any:
    return np.float64(loss(*data, **options))


def in_place(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    value = loss(y, z, **options)
    z -= y
    return value


def in_half(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    if z.dtype != np.float16:
        return loss(y, z, **options)
    items = loss(y, z, reduction="none", **options) / np.float16(z.size)
    return np.cumsum(items, dtype=np.float16)[-1].astype(np.float32)


def returning_half(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    return loss(y, z, **options).astype(z.dtype)


def broadcasting(loss: Loss, y: Any, z: Any, **options: Any) -> Any:
    return loss(*np.broadcast_arrays(y, z), **options)


def mute(error: type[Exception]) -> Callable[..., Any]:
    """Refuse with a sentence that does not help."""

    def call(loss: Loss, *data: Any, **options: Any) -> Any:
        try:
            return loss(*data, **options)
        except error:
            raise error("something is wrong with the arrays") from None

    return call


def unchecked(loss: Loss, *data: Any, **options: Any) -> Any:
    return loss(*data, **{**options, "check": "off"})


def always_checked(loss: Loss, *data: Any, **options: Any) -> Any:
    return loss(*data, **{**options, "check": "raise"})


def eliciting(loss: Loss, functional: str) -> dict[str, Any]:
    return {"definition": replace(loss.definition, elicits=functional)}


def shifted(loss: Loss, *data: Any, **options: Any) -> Any:
    return loss.best_constant(*data, **options) + 0.01


def stating(loss: Loss, **facts: Any) -> dict[str, Any]:
    return {"facts": replace(loss.facts, **facts)}


# -- the twins ------------------------------------------------------------------------

MEAN_SQUARE = ls.squared_error
CASES = [
    Case(laws.accurate, BCE, "a sign", computing(flipped),
         "value is off", (NUMPY, "float64")),
    Case(laws.accurate, BCE, "an epsilon", computing(epsilon_in_the_logarithm),
         "value is off", (NUMPY, "float64")),
    Case(laws.accurate, BCE, "overflow", computing(overflowing),
         "value is off by inf", (NUMPY, "float32")),
    Case(laws.accurate, BCE, "cancellation", computing(cancelling),
         "value is off", (NUMPY, "float64")),
    Case(laws.accurate, MEAN_SQUARE, "a gradient's factor",
         gradient_by(lambda g, o: g / 2), "gradient is off", (NUMPY, "float64")),
    Case(laws.accurate, MEAN_SQUARE, "the curvature",
         {"grad_and_hess": lambda _, y, z: (z - y, np.ones_like(z))},
         "curvature is off", (NUMPY, "float64")),
    Case(laws.agrees, BCE, "precision in one framework", {"call": float32_in_torch},
         "Not equal to tolerance", (TORCH,)),
    Case(laws.agrees, BCE, "the denominator in one framework",
         {"call": items_mean_in_torch}, "Not equal to tolerance", (TORCH,)),
    Case(laws.derivative_is_derivative, MEAN_SQUARE, "the derived gradient",
         formula(MEAN_SQUARE, gradient=halved.formula.gradient), "Not equal"),
    Case(laws.derivative_is_derivative, MEAN_SQUARE, "the derived curvature",
         formula(MEAN_SQUARE, curvature=const(0.0)), "Not equal"),
    Case(laws.floats_and_digits_agree, MEAN_SQUARE, "rounding",
         {"formula": drowned.formula}, "Not equal"),
    Case(laws.gradient_is_slope, BCE, "the gradient's factor",
         gradient_by(lambda g, o: 2 * g), "Not equal"),
    Case(laws.gradient_is_slope, BCE, "the value beside the gradient",
         {"call": lambda loss, *a, **o: 2 * loss(*a, **o)}, "Not equal"),
    Case(laws.batch_is_loop, MEAN_SQUARE, "independence",
         {"call": centred_on_the_batch}, "Not equal"),
    Case(laws.weight_zero_removes, BCE, "removal by weight",
         {"call": multiplied_by_the_weight}, "nan location mismatch"),
    Case(laws.weight_zero_removes, BCE, "removal from the gradient",
         gradient_by(nan_outside_the_mask), "Arrays are not equal"),
    Case(laws.integer_weight_repeats, BCE, "the weight",
         {"call": without("sample_weight")}, "Not equal"),
    Case(laws.integer_weight_repeats, BCE, "the denominator",
         {"call": over_all_items}, "Not equal"),
    Case(laws.parts_merge, BCE, "merging", {"sums": mean_of_means}, "Not equal"),
    Case(laws.gradients_merge, BCE, "the scale of a sum's gradient",
         gradient_by(lambda g, o: g / len(g) if o.get("reduction") == "sum" else g),
         "Not equal"),
    Case(laws.nothing_left_is_a_policy, BCE, "NaN", {"call": never_empty}),
    Case(laws.nothing_left_is_a_policy, BCE, "the refusal", {"call": never_refusing},
         "a wrong call was accepted"),
    Case(laws.nothing_left_is_a_policy, BCE, "the gradient of nothing",
         gradient_by(nan_outside_the_mask), "Arrays are not equal"),
    Case(laws.nothing_left_is_a_policy, BCE, "the denominator of nothing",
         {"sums": denominator_of_one}),
    Case(laws.nan_stays_in_its_row, BCE, "NaN of a value", {"call": forgotten},
         "NaN in y was forgotten"),
    Case(laws.nan_stays_in_its_row, BCE, "NaN of a gradient",
         {"grad_and_hess": forgotten_slopes}, "NaN in y was forgotten"),
    Case(laws.nan_stays_in_its_row, BCE, "the other rows", {"call": spread},
         "NaN reached other rows"),
    Case(laws.keeps_dtype_and_shape, BCE, "float32", {"call": as_float64},
         "float32 became float64", (NUMPY,)),
    Case(laws.keeps_dtype_and_shape, BCE, "the gradient's shape",
         gradient_by(lambda g, o: g[:, None]), None, (NUMPY,)),
    Case(laws.keeps_dtype_and_shape, BCE, "the value's shape",
         {"call": lambda loss, *a: loss(*a, reduction="none")}, None, (NUMPY,)),
    Case(laws.keeps_dtype_and_shape, BCE, "the library",
         gradient_by(lambda g, o: g.numpy()), None, (TORCH,)),
    Case(laws.keeps_dtype_and_shape, BCE, "the input", {"call": in_place},
         "Arrays are not equal", (NUMPY,)),
    Case(laws.half_precision_sums_wide, MEAN_SQUARE, "the width of sums",
         {"call": in_half}, "Not equal"),
    Case(laws.half_precision_sums_wide, MEAN_SQUARE, "the width of the result",
         {"call": returning_half}, "must be float32"),
    Case(laws.best_constant_is_best, BCE, "the best constant",
         {"best_constant": shifted}),
    Case(laws.best_constant_is_best, ls.cross_entropy, "the best scores",
         {"best_constant": lambda loss, y, **o: np.zeros(4)}),
    Case(laws.minimiser_is_declared, MEAN_SQUARE, "what is elicited",
         eliciting(MEAN_SQUARE, "median"), "Not equal"),
    Case(laws.minimiser_is_declared, ls.pinball(tau=0.25), "the level",
         {"parameters": {"tau": 0.75}}, "Not equal"),
    Case(laws.facts_hold, ls.binary_focal, "convexity",
         stating(ls.binary_focal, convex=True)),
    Case(laws.facts_hold, BCE, "convexity, in doubt", stating(BCE, convex=False),
         "said not to be convex"),
    Case(laws.facts_hold, ls.huber, "the bound",
         stating(ls.huber, gradient_bound=0.5)),
    Case(laws.facts_hold, ls.pinball(tau=0.75), "symmetry",
         stating(ls.pinball(tau=0.75), symmetric=True), "Not equal"),
    Case(laws.identity_survives, ls.huber(delta=2.0), "its copy",
         {"copy": ls.huber}),
    Case(laws.identity_survives, ls.huber(delta=2.0), "its repr", {"repr": "huber"}),
    Case(laws.identity_survives, ls.huber, "its hash", {"hash": True}),
    Case(laws.identity_survives, ls.huber, "pickling", {"copy": lambda: None},
         "pickle", error=Exception),
    Case(laws.wrong_shapes_are_refused, MEAN_SQUARE, "the refusal",
         {"call": broadcasting}, "a wrong call was accepted", (NUMPY,)),
    Case(laws.wrong_shapes_are_refused, MEAN_SQUARE, "the sentence",
         {"call": mute(ShapeError)}, "something is wrong", (NUMPY,)),
    Case(laws.wrong_values_are_refused, BCE, "the check", {"call": unchecked},
         "a wrong call was accepted", (NUMPY,)),
    Case(laws.wrong_values_are_refused, BCE, "the row", {"call": mute(DomainError)},
         "something is wrong", (NUMPY,)),
    Case(laws.wrong_values_are_refused, BCE, "the switch", {"call": always_checked},
         "check=", (NUMPY,), DomainError),
]  # fmt: skip

every_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.law.__name__}-{c.what.replace(' ', '-')}"
)


@every_case
def test_the_law_refuses_the_twin(case):
    with pytest.raises(case.error, match=case.says):
        case.law(Twin(case.loss, case.broken), *case.rest)


@every_case
def test_the_law_accepts_the_unbroken_twin(case):
    case.law(Twin(case.loss, {}), *case.rest)


def all_laws() -> set[str]:
    """Name the laws: the public functions of the module that return nothing."""
    return {
        name
        for name, law in vars(laws).items()
        if inspect.isfunction(law)
        and law.__module__ == laws.__name__
        and not name.startswith("_")
        and inspect.signature(law).return_annotation == "None"
    }


def test_every_law_has_a_twin():
    assert all_laws() == {case.law.__name__ for case in CASES}


def test_every_law_is_walked_over_the_registry():
    text = Path(__file__).with_name("test_laws.py").read_text()
    assert {name for name in all_laws() if f"laws.{name}" not in text} == set()
