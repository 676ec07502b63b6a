"""Weighted sums of losses: ``0.5 * dice + cross_entropy`` is a loss."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from lossary.arrays import record
from lossary.conversions import Conversions
from lossary.definition import Definition
from lossary.emit import snippet
from lossary.errors import ParameterError
from lossary.expr.formula import Formula
from lossary.expr.untraced import unconverted
from lossary.loss import Loss
from lossary.parameters import Param

Term = tuple[float, Loss]


@unconverted
@dataclass(frozen=True, repr=False)
class Combination(Conversions):
    """A weighted sum of losses of the same target and prediction.

    It is called, bound and differentiated like a single loss; every term is reduced
    by itself, so that terms of different structure may be added.

    Examples
    --------
    >>> import lossary as ls
    >>> both = 0.5 * ls.dice + ls.binary_cross_entropy
    >>> both
    0.5*dice + binary_cross_entropy
    >>> round(float(both([1.0, 0.0], [0.0, 0.0])), 4)
    0.9431
    """

    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """The sum as it is written."""
        return repr(self)

    def __repr__(self) -> str:
        return " + ".join(
            repr(loss) if factor == 1 else f"{_digits(factor)}*{loss!r}"
            for factor, loss in self.terms
        )

    def __call__(self, *data: Any, **options: Any) -> Any:
        """Compute on data, or bind a parameter in every term that has it."""
        if not data:
            return self._bound(options)
        if options.get("reduction") == "none":
            check_per_item(self)
        return sum(factor * loss(*data, **options) for factor, loss in self.terms)

    def _bound(self, options: dict[str, Any]) -> Combination:
        terms = []
        used: set[str] = set()
        for factor, loss in self.terms:
            own = {
                k: v
                for k, v in options.items()
                if k in loss.parameters or k in loss.form_options()
            }
            used |= set(own)
            terms.append((factor, loss.bind(**own)))
        unknown = set(options) - used
        if unknown:
            raise ParameterError(f"{self!r} has no parameter {sorted(unknown)[0]!r}")
        return Combination(tuple(terms))

    def value_and_grad(
        self, y_true: Any, y_pred: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Return the reduced value and its gradient in the prediction."""
        parts = [
            (f, loss.value_and_grad(y_true, y_pred, **options))
            for f, loss in self.terms
        ]
        value = sum(f * v for f, (v, _) in parts)
        return value, sum(f * g for f, (_, g) in parts)

    def grad_and_hess(
        self, y_true: Any, y_pred: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Return gradient and curvature per item."""
        parts = [
            (f, loss.grad_and_hess(y_true, y_pred, **options)) for f, loss in self.terms
        ]
        return sum(f * g for f, (g, _) in parts), sum(f * h for f, (_, h) in parts)

    def sums(self, y_true: Any, y_pred: Any, **options: Any) -> CombinedSums:
        """Return what merges, term by term."""
        return CombinedSums(
            tuple(factor for factor, _ in self.terms),
            tuple(loss.sums(y_true, y_pred, **options) for _, loss in self.terms),
        )

    def latex(self, what: str = "value") -> str:
        """Print the sum in LaTeX."""
        return " + ".join(
            loss.latex(what) if f == 1 else rf"{f:g} \left[{loss.latex(what)}\right]"
            for f, loss in self.terms
        )

    def code(self, library: str = "numpy") -> str:
        """Print a standalone function that computes the sum without lossary."""
        return snippet.code(self, library)

    def __mul__(self, factor: float) -> Any:
        return combine([(factor * f, loss) for f, loss in self.terms])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Any:
        return self * (1 / divisor)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (Loss, Combination)):
            return NotImplemented
        return combine([*self.terms, *terms_of(other)])


@record("parts")
@dataclass(frozen=True)
class CombinedSums:
    """The sums of every term, and its factor; they merge by addition."""

    factors: tuple[float, ...]
    parts: tuple[Any, ...]

    def __add__(self, other: CombinedSums) -> CombinedSums:
        """Merge the sums of two parts of the data."""
        pairs = zip(self.parts, other.parts, strict=True)
        return CombinedSums(self.factors, tuple(a + b for a, b in pairs))

    def mean(self, empty: str = "nan") -> Any:
        """Return the weighted sum of the terms' means."""
        pairs = zip(self.factors, self.parts, strict=True)
        return sum(factor * part.mean(empty) for factor, part in pairs)


def _digits(factor: float) -> str:
    """Write a number as short as it may be without becoming another."""
    short = f"{factor:g}"
    return short if float(short) == factor else repr(factor)


def terms_of(loss: Loss | Combination) -> Sequence[Term]:
    """List the weighted terms of a loss."""
    return loss.terms if isinstance(loss, Combination) else [(1.0, loss)]


def combine(terms: Sequence[Term]) -> Loss | Combination:
    """Make a weighted sum: one loss where the terms see the same, else a combination.

    Losses of items of the same kind add up to one formula, with everything that a
    single loss has: kernels, curvature, facts, booster objectives.
    """
    factor = Param(1.0, gt=0)
    checked = [(factor.checked("factor", f, loss.name), loss) for f, loss in terms]
    first = checked[0][1]
    alike = all(
        loss.structure == first.structure
        and loss.form == first.form
        and loss.definition.target == first.definition.target
        and _is_its_formula(loss)
        for _, loss in checked
    )
    return _merged(checked) if alike else Combination(tuple(checked))


def _is_its_formula(loss: Loss) -> bool:
    """Say whether no parameter of the structure, which no formula sees, is in use."""
    forms = loss.definition.forms.values()
    seen = {name for formula in forms for name in formula.params}
    return not any(v for name, v in loss.parameters.items() if name not in seen)


def _merged(terms: Sequence[Term]) -> Loss:
    """Add the formulas of losses that see the same, with their parameters fixed."""
    losses = [loss for _, loss in terms]
    factors = [factor for factor, _ in terms]
    first = losses[0].definition

    def total(formulas: list[Formula]) -> Formula:
        pairs = zip(factors, formulas, strict=True)
        value = reduce(operator.add, (f * formula.value for f, formula in pairs))
        return Formula(value, losses[0].structure.inputs)

    forms = {
        form: total([_fixed(loss, loss.definition.forms[form]) for loss in losses])
        for form in first.forms
        if all(form in loss.definition.forms for loss in losses)
    }
    bounds = [
        _fixed(loss, loss.definition.majoriser)
        for loss in losses
        if loss.definition.majoriser is not None
    ]
    written = repr(Combination(tuple(terms)))
    definition = Definition(
        name=written,
        structure=first.structure,
        target=first.target,
        forms=forms,
        elicits=first.elicits if len(terms) == 1 else "",
        link=_common([loss.definition.link for loss in losses]) or "identity",
        majoriser=total(bounds) if len(bounds) == len(terms) else None,
        doc=f"The weighted sum {written}.",
        family="combination",
    )
    return Loss(definition, losses[0].form)


def _fixed(loss: Loss, formula: Formula) -> Formula:
    """Write a loss's parameters into one of its formulas."""
    values = {k: v for k, v in loss.parameters.items() if isinstance(v, float)}
    return formula.at(**values)


def _common(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ""


def check_per_item(loss: Any) -> None:
    """Refuse a weighted sum where a loss per item is asked for."""
    if isinstance(loss, Combination):
        raise ParameterError(
            f"{loss!r} has no loss per item, since its terms need not have the same "
            "items; use another reduction, or the terms one by one"
        )
