"""Weighted sums of losses: ``0.5 * dice + cross_entropy`` is a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossary.errors import ParameterError
from lossary.loss import Loss
from lossary.parameters import Param

Term = tuple[float, Loss]


@dataclass(frozen=True, repr=False)
class Combination:
    """A weighted sum of losses of the same target and prediction.

    It is called, bound and differentiated like a single loss; every term is reduced
    by itself, so that terms of different structure may be added.

    Examples
    --------
    >>> import lossary as ls
    >>> both = 0.5 * ls.squared_error + ls.absolute_error
    >>> float(both([0.0], [2.0]))
    4.0
    >>> both
    0.5*squared_error + absolute_error
    """

    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """The sum as it is written."""
        return repr(self)

    def __repr__(self) -> str:
        return " + ".join(
            repr(loss) if factor == 1 else f"{factor:g}*{loss!r}"
            for factor, loss in self.terms
        )

    def __call__(self, *data: Any, **options: Any) -> Any:
        """Compute on data, or bind a parameter in every term that has it."""
        if not data:
            return self._bound(options)
        if options.get("reduction") == "none":
            raise ParameterError(
                f"{self!r} has no loss per item, since its terms need not have the "
                "same items; use another reduction, or the terms one by one"
            )
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
            tuple((f, loss.sums(y_true, y_pred, **options)) for f, loss in self.terms)
        )

    def latex(self, what: str = "value") -> str:
        """Print the sum in LaTeX."""
        return " + ".join(
            loss.latex(what) if f == 1 else rf"{f:g} \left[{loss.latex(what)}\right]"
            for f, loss in self.terms
        )

    def __mul__(self, factor: float) -> Any:
        return combine([(factor * f, loss) for f, loss in self.terms])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Any:
        return self * (1 / divisor)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (Loss, Combination)):
            return NotImplemented
        return combine([*self.terms, *terms_of(other)])


@dataclass(frozen=True)
class CombinedSums:
    """The sums of every term; they merge by addition."""

    terms: tuple[tuple[float, Any], ...]

    def __add__(self, other: CombinedSums) -> CombinedSums:
        """Merge the sums of two parts of the data."""
        pairs = zip(self.terms, other.terms, strict=True)
        return CombinedSums(tuple((f, a + b) for (f, a), (_, b) in pairs))

    def mean(self, empty: str = "nan") -> Any:
        """Return the weighted sum of the terms' means."""
        return sum(f * s.mean(empty) for f, s in self.terms)


def terms_of(loss: Loss | Combination) -> Sequence[Term]:
    """List the weighted terms of a loss."""
    return loss.terms if isinstance(loss, Combination) else [(1.0, loss)]


def combine(terms: Sequence[Term]) -> Combination:
    """Make a weighted sum, with the factors checked."""
    factor = Param(1.0, gt=0)
    return Combination(
        tuple((factor.checked("factor", f, loss.name), loss) for f, loss in terms)
    )


__all__ = ["Combination", "CombinedSums", "Sums", "combine", "terms_of"]
