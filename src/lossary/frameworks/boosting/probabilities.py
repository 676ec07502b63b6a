"""From raw scores to probabilities: by the link, or by what minimises the loss.

A score that minimises the expected loss belongs to one probability, which the loss's
own slopes give: for two classes p = l0' / (l0' - l1'). That is the sigmoid for
cross-entropy, and undoes the distortion of a focal loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary.arrays import library
from lossary.errors import LossaryError
from lossary.expr.graph import apply, symbol
from lossary.frameworks.boosting.objective import OfLoss
from lossary.frameworks.bundle import Array, Bundle
from lossary.loss import Loss
from lossary.structures.rowwise import class_odds

_FAR = 100.0  # log-odds beyond which a probability is 0 or 1 to every digit


def gives_probabilities(bundle: Bundle) -> bool:
    """Say whether scores trained on a loss of classes belong to probabilities.

    Those of a hinge loss do not: beyond the margin all are alike. Nor do those of
    overlaps, which are no means over rows.

    Examples
    --------
    >>> [gives_probabilities(Bundle(name)) for name in ("binary_focal", "hinge")]
    [True, False]
    """
    if bundle.task == "regression":
        return False
    if bundle.calibrated:
        return True
    terms = [term for _, term in bundle.terms]
    return len(terms) == 1 and _bends(terms[0])


def _has_probabilities(model: Any) -> bool:
    """Say whether predict_proba of an estimator has a meaning."""
    loss = getattr(model, "loss_", model.loss)
    if loss is None:
        return True
    try:
        bundle = loss.bundle if isinstance(loss, OfLoss) else Bundle(loss)
    except LossaryError:  # a loss of one's own, loaded with a model and not imported
        return True
    return gives_probabilities(bundle)


class _Available:
    """A method that is there for some losses.

    scikit-learn asks whether a method is there before it takes its answer. Its own
    ``available_if`` would make it a dependency of every booster.
    """

    def __init__(self, method: Any, probable: bool) -> None:
        self.method, self.probable = method, probable
        self.__doc__ = method.__doc__

    def __get__(self, model: Any, owner: Any) -> Any:
        if model is None:
            return self.method
        if _has_probabilities(model) != self.probable:
            instead = (
                "decision_function, or a loss such as 'binary_cross_entropy'"
                if self.probable else "predict_proba"
            )  # fmt: skip
            kind = "no" if self.probable else "its own"
            raise AttributeError(
                f"{model.loss!r} gives {kind} probabilities, so that there is no "
                f"{self.method.__name__}; use {instead}"
            )
        return self.method.__get__(model, owner)


def for_probabilities(method: Any) -> Any:
    """Make a method be there where the loss gives probabilities."""
    return _Available(method, probable=True)


def for_decisions(method: Any) -> Any:
    """Make a method be there where the loss gives decisions alone."""
    return _Available(method, probable=False)


def _bends(loss: Loss) -> bool:
    if loss.structure.name == "rowwise":
        return True
    z = np.linspace(-4.0, 4.0, 33)
    _, curvature = loss.grad_and_hess(np.ones_like(z), z, check="off")
    return loss.structure.name == "pointwise" and bool(curvature.any())


def probabilities(bundle: Bundle, z: Array) -> Array:
    """Return probabilities, or the response where there are none.

    Parameters
    ----------
    bundle : Bundle
        Of a loss of classes.
    z : array, shape (n,) or (n, k)
        Raw scores.

    Examples
    --------
    >>> z = np.array([0.0, 2.0])
    >>> probabilities(Bundle("binary_focal(gamma=0)"), z).round(4).tolist()
    [0.5, 0.8808]
    >>> probabilities(Bundle("binary_focal"), z).round(4).tolist()
    [0.5, 0.9955]
    """
    if bundle.calibrated or not gives_probabilities(bundle):
        return bundle.response(z)
    (_, loss), *_ = bundle.terms
    return _of_classes(loss, z) if bundle.task == "multiclass" else _of_two(loss, z)


def _of_two(loss: Loss, z: Array) -> Array:
    z = np.clip(z, -_FAR, _FAR)
    up, _ = loss.grad_and_hess(np.zeros_like(z), z, check="off")
    down, _ = loss.grad_and_hess(np.ones_like(z), z, check="off")
    p: Array = up / (up - down)
    return p


def _of_classes(loss: Loss, z: Array) -> Array:
    """Divide p·(1 - p) by each class's own slope in its log-odds, to a sum of 1."""
    numpy = library("numpy")
    odds = np.clip(class_odds(numpy, z), -_FAR, _FAR)
    formula = loss.formula.at(y=1.0)
    slope = numpy.run(formula.gradient, (*formula.inputs, *formula.params))
    sigmoid: Any = numpy.run(apply("sigmoid", symbol("z")), ("y", "z"))
    shares = (
        sigmoid(odds, odds) * sigmoid(odds, -odds) / -slope(odds, odds, *loss.params)
    )
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
