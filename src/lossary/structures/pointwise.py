"""Pointwise losses: each item is compared with its own target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, overload

from lossary.batch import Batch
from lossary.emit.latex import latex
from lossary.expr.graph import apply, symbol
from lossary.loss import Loss
from lossary.shapes import Signature
from lossary.structures.constants import best_scalar
from lossary.structures.declare import define
from lossary.structures.items import ItemStructure
from lossary.structures.partition import check_normalisable, log_partition


class Pointwise(ItemStructure):
    """Target and prediction have the same shape; there is one loss per element."""

    name = "pointwise"
    kernel = "pointwise"
    quick = "lossary.structures.plain", "PlainItems"
    signatures = (Signature("*b, *b -> *b"),)
    log_partition = staticmethod(log_partition)

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape of the items."""
        return prediction

    def items(self, loss: Loss, batch: Batch) -> Any:
        """Return the loss of each element."""
        formula = loss.formula
        values = batch.lib.elementwise(formula.value, formula, loss.params)
        if not batch.beside:
            return values(batch.y, batch.z)
        xp, shape = batch.lib.namespace(batch.z), batch.lib.sizes(batch.z)
        beside = (xp.broadcast_to(x, shape) for x in batch.beside)
        return values(batch.y, batch.z, *beside)

    def readable(self, loss: Loss) -> tuple[str, ...]:
        """Name the parameters that may be arrays of a call: those of the formula."""
        return loss.formula.params

    def slopes(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return value and gradient of each element."""
        formula = loss.formula
        return tuple(
            batch.lib.elementwise(node, formula, loss.params)(batch.y, batch.z)
            for node in (formula.value, formula.gradient)
        )

    def curved(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and curvature of each element."""
        formula, call = loss.formula, self.one_pass(loss, batch)
        fused = None if call is None else batch.lib.fused_curvature(call)
        if fused is not None:
            return fused
        return tuple(
            batch.lib.elementwise(node, formula, loss.params)(batch.y, batch.z)
            for node in (formula.gradient, formula.curvature)
        )

    def linked(self, loss: Loss) -> Loss:
        """Return the loss as a function of its link-space score."""
        if loss.form != "above_minus_one":
            return loss
        definition = loss.definition
        formula = loss.formula.at(z=apply("expm1", symbol("z")))
        forms = {"real": formula}
        return replace(loss, definition=replace(definition, forms=forms), form="real")

    def check_learnable(self, loss: Loss, names: tuple[str, ...]) -> None:
        """Refuse to learn parameters of a loss that is no likelihood."""
        check_normalisable(loss, names)

    def best_constant(self, loss: Loss, y_true: Any, sample_weight: Any) -> Any:
        """Return the constant prediction of the least loss."""
        return best_scalar(loss, y_true, sample_weight)

    def latex(self, loss: Loss, what: str) -> str:
        """Print value, gradient or curvature."""
        return latex(getattr(loss.formula, what))


POINTWISE = Pointwise()

Definer = Callable[[Callable[..., Any]], Loss]


@overload
def pointwise(function: Callable[..., Any], /) -> Loss: ...


@overload
def pointwise(
    *,
    target: str = "real",
    prediction: str = "real",
    elicits: str = "",
    link: str = "identity",
    forms: Mapping[str, Callable[..., Any]] | None = None,
    majoriser: Callable[..., Any] | None = None,
) -> Definer: ...


def pointwise(
    function: Callable[..., Any] | None = None,
    /,
    *,
    target: str = "real",
    prediction: str = "real",
    elicits: str = "",
    link: str = "identity",
    forms: Mapping[str, Callable[..., Any]] | None = None,
    majoriser: Callable[..., Any] | None = None,
) -> Loss | Definer:
    """Make a loss of a formula of a target ``y`` and a prediction ``z``.

    The formula is called once, with symbols; it is written with Python's operators
    and `lossary.ops`. Arguments after the second are parameters, and need defaults.

    Parameters
    ----------
    function
        The formula; ``@pointwise`` alone is enough for a loss of one's own.
    target, prediction
        The kinds of values that the arrays hold, such as ``"real"``, ``"count"``,
        ``"label"``, ``"logit"`` or ``"log"`` (see `lossary.kinds`).
    elicits
        The functional that minimises the expected loss.
    link
        How a prediction is mapped from the response scale: ``"identity"``, ``"log"``,
        ``"logit"``, ``"log1p"`` or ``"half_logit"``.
    forms
        The same loss for other kinds of predictions, as kind → formula.
    majoriser
        A curvature that bounds the loss from above, for losses whose own is zero.

    Examples
    --------
    >>> import lossary as ls
    >>> from lossary.ops import log1p
    >>> @ls.pointwise
    ... def cauchy(y, z, scale=1.0):
    ...     return log1p(((z - y) / scale) ** 2)
    >>> round(float(cauchy([0.0], [1.0])), 4)
    0.6931
    """

    def declare(written: Callable[..., Any]) -> Loss:
        return define(
            written,
            structure=POINTWISE,
            target=target,
            prediction=prediction,
            elicits=elicits,
            link=link,
            forms=forms or {},
            majoriser=majoriser,
        )

    return declare if function is None else declare(function)
