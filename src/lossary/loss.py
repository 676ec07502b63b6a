"""The record of a loss: one object that computes, binds, prints and converts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lossary.arrays import library, library_of
from lossary.batch import Options, prepare, with_arrays
from lossary.conversions import Conversions
from lossary.definition import FORM_OPTIONS, Definition, Structure, option_of
from lossary.errors import ParameterError, nearest
from lossary.expr.formula import Formula
from lossary.expr.untraced import constant, lazy, unconverted
from lossary.kinds import Kind, kind
from lossary.reduction import Sums, checked_policy

if TYPE_CHECKING:
    from lossary.facts import Facts


@unconverted
@dataclass(frozen=True, repr=False)
class Loss(Conversions):
    """A loss function: call it with data to compute, with parameters to bind them.

    ``loss(y_true, y_pred, sample_weight=…, mask=…, reduction=…, empty=…, check=…)``
    returns a number of the array library that it was given. ``loss(delta=2.0)``
    returns the same loss with a parameter bound: frozen, hashable, picklable.

    Parameters of a call
    --------------------
    y_true, y_pred : array
        Target and prediction, of any supported library and of the declared shapes.
    sample_weight : array, optional
        At least 0; a weight of 0 removes its row, an integer weight repeats it. It
        has one value per loss, or one per row.
    mask : array, optional
        False removes a row, whatever it holds.
    reduction : {"mean", "mean_over_items", "mean_over_rows", "sum", "none"}
        Σ w·l / Σ w; Σ w·l / n; the mean of row means; Σ w·l; w·l per item.
    empty : {"nan", "zero", "raise"}
        The mean of nothing.
    check : {"raise", "warn", "off"}
        What to do about values that are surely wrong.

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.huber([0.0, 0.0], [1.0, 3.0], delta=2.0))
    2.25
    >>> ls.huber(delta=2.0)
    huber(delta=2.0)
    """

    definition: Definition
    form: str
    values: tuple[float | str, ...] = ()
    read: tuple[str, ...] = ()
    """Parameters that are arrays of the call, not bound numbers."""

    def __post_init__(self) -> None:
        # help(loss) shows the definition's text, not the record's.
        object.__setattr__(self, "__doc__", self.definition.doc)

    # -- identity -------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the loss, without parameters."""
        return self.definition.name

    @property
    def structure(self) -> Structure:
        """What the loss sees: single items, rows of classes, overlaps."""
        result: Structure = self.definition.structure
        return result

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters."""
        return dict(zip(self.definition.params, self.values, strict=True))

    @lazy
    def formula(self) -> Formula:
        """The formula for the kind of prediction and the parameters that are bound."""
        numbers = tuple(
            (name, constant(value))
            for name, value in self.parameters.items()
            if isinstance(value, float) and name not in self.read
        )
        formula = self.definition.forms[self.form].settled(numbers)
        read = tuple(name for name in self.read if name in formula.params)
        return formula.reading(*read) if read else formula

    @lazy
    def params(self) -> tuple[float, ...]:
        """The values of the formula's parameters, in the formula's order."""
        return tuple(map(self.parameters.__getitem__, self.formula.params))

    @lazy
    def plain(self) -> Any:
        """The commonest call made ready, where the structure has such a way."""
        return self.structure.plain(self)

    @lazy
    def prediction(self) -> Kind:
        """The kind of the prediction."""
        return kind(self.form)

    @lazy
    def target(self) -> Kind:
        """The kind of the target."""
        return kind(self.definition.target)

    def __reduce__(self) -> tuple[Any, ...]:
        return Loss, (self.definition, self.form, self.values, self.read)

    def __repr__(self) -> str:
        given = [
            f"{name}={value!r}"
            for (name, param), value in zip(
                self.definition.params.items(), self.values, strict=True
            )
            if value != param.default
        ]
        default, *_ = self.definition.forms
        if self.form != default:
            given.append(f"{option_of(self.form)}=False")
        return f"{self.name}({', '.join(given)})" if given else self.name

    # -- binding and computing ------------------------------------------------------

    def bind(self, **options: Any) -> Loss:
        """Return the same loss with parameters bound."""
        values = self.parameters
        form = self.form
        for name, value in options.items():
            if name in values:
                param = self.definition.params[name]
                values[name] = param.checked(name, value, self.name)
            elif name in FORM_OPTIONS:
                form = self.definition.form(name, value)
            else:
                known = [*values, *self.form_options()]
                raise ParameterError(
                    f"{self.name} has no parameter {name!r}; "
                    + (nearest(name, known) if known else "it has no parameters")
                )
        return replace(self, form=form, values=tuple(values.values()))

    @lazy
    def bound(self) -> Callable[..., Loss]:
        """`bind`, of pairs of name and value: equal ones are bound once, and shared."""
        return lru_cache(maxsize=64)(lambda *options: self.bind(**dict(options)))

    def linked(self) -> Loss:
        r"""Return the loss as a function of the score that a model adds up.

        A squared log error compares predictions above -1; a booster or a linear model
        predicts z = log(1 + p), over the whole line.

        Examples
        --------
        >>> import lossary as ls
        >>> ls.squared_log_error.linked().latex()
        '\\left(z - \\log\\left(1 + y\\right)\\right)^{2}'
        """
        return self.structure.linked(self)

    def form_options(self) -> list[str]:
        """Name the options that pick the kind of prediction, if there is a choice."""
        forms = self.definition.forms
        return sorted({option_of(f) for f in forms if len(forms) > 1})

    def __call__(
        self,
        *data: Any,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        **options: Any,
    ) -> Any:
        """Compute on data, or bind parameters.

        A parameter may be an array of the data's library, with one value or one per
        item: gradients flow to it.
        """
        if options:
            named = [options.pop(k) for k in ("y_true", "y_pred") if k in options]
            data = (*data, *named)
        if not data:
            return self.bind(**options)
        if len(data) != 2:
            raise ParameterError(
                f"{self.name} takes y_true and y_pred, got {len(data)} arrays; "
                "sample_weight, mask and parameters are passed by name"
            )
        checked_policy(reduction, empty)
        how = Options(sample_weight, mask, reduction, empty, check)
        y, z = data
        small = library_of(y, z).small(self, "value", y, z, how, options)
        if small is not None:
            return small
        loss, beside = with_arrays(self, options) if options else (self, ())
        if type(z).__module__.startswith("ibis."):
            tables = importlib.import_module("lossary.emit.ibis")
            return tables.column(loss, y, z, sample_weight, mask, reduction)
        return loss.in_full(y, z, how, beside)

    def in_full(self, y: Any, z: Any, how: Options, beside: tuple[Any, ...]) -> Any:
        """Compute a call with all that it may need, however small it is."""
        given = how.sample_weight, how.mask, how.check, how.reduction, beside
        batch = prepare(self, y, z, *given)
        with batch.lib.quiet():
            return self.structure.value(self, batch, how.reduction, how.empty)

    def _small(self, what: str, y: Any, z: Any, how: Options) -> tuple[Any, Any] | None:
        found: tuple[Any, Any] | None
        found = library_of(y, z).small(self, what, y, z, how, {})
        return found

    def value_and_grad(
        self,
        y_true: Any,
        y_pred: Any,
        *,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        out: Any = None,
    ) -> tuple[Any, Any]:
        """Return the reduced value and its gradient in the prediction, in one pass.

        Parameters are those of a call. `out` is a contiguous array for the gradient
        (NumPy): at millions of items fresh memory costs as much as the computation.

        Examples
        --------
        >>> import lossary as ls, numpy as np
        >>> value, grad = ls.squared_error.value_and_grad(np.zeros(2), np.ones(2))
        >>> float(value), grad
        (1.0, array([1., 1.]))
        """
        checked_policy(reduction, empty)
        how = Options(sample_weight, mask, reduction, empty, check, out)
        if (small := self._small("value_and_grad", y_true, y_pred, how)) is not None:
            return small
        batch = prepare(self, y_true, y_pred, sample_weight, mask, check, reduction)
        with batch.lib.quiet():
            return self.structure.value_and_grad(self, batch, reduction, empty, out)

    def grad_and_hess(
        self, y_true: Any, y_pred: Any, *, check: str = "raise"
    ) -> tuple[Any, Any]:
        """Return gradient and curvature per item: the diagonal, unweighted.

        Examples
        --------
        >>> import lossary as ls, numpy as np
        >>> ls.squared_error.grad_and_hess(np.zeros(2), np.array([1.0, -3.0]))
        (array([ 2., -6.]), array([2., 2.]))
        """
        how = Options(None, None, "sum", "nan", check)
        if (small := self._small("grad_and_hess", y_true, y_pred, how)) is not None:
            return small
        batch = prepare(self, y_true, y_pred, check=check)
        with batch.lib.quiet():
            return self.structure.grad_and_hess(self, batch)

    def sums(
        self,
        y_true: Any,
        y_pred: Any,
        *,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "mean",
        check: str = "raise",
        **options: Any,
    ) -> Sums:
        """Return numerator and denominator; those of parts of the data add.

        Options are the parameters of the loss, as for a call.

        Examples
        --------
        >>> import lossary as ls, numpy as np
        >>> s = ls.absolute_error.sums(np.zeros(2), np.array([1.0, 2.0]))
        >>> float(s.numerator), float(s.denominator), float(s.mean())
        (3.0, 2.0, 1.5)
        """
        checked_policy(reduction, "nan")
        loss, beside = with_arrays(self, options) if options else (self, ())
        batch = prepare(
            loss, y_true, y_pred, sample_weight, mask, check, reduction, beside
        )
        with batch.lib.quiet():
            result: Sums = self.structure.sums(loss, batch, reduction)
        return result

    def best_constant(self, y_true: Any, *, sample_weight: Any = None) -> Any:
        """Return the constant prediction of the least loss: a start, a baseline.

        It is on the scale of the prediction: a logit for binary cross-entropy.

        Examples
        --------
        >>> import lossary as ls
        >>> float(ls.absolute_error.best_constant([1.0, 2.0, 9.0]))
        2.0
        """
        with library("numpy").quiet():
            return self.structure.best_constant(self, y_true, sample_weight)

    # -- what it is -----------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        """What is true of the loss: convex, bounded gradient, symmetric, elicits."""
        from lossary import facts

        return facts.of(self)

    def latex(self, what: str = "value") -> str:
        """Print the formula in LaTeX: ``what`` is value, gradient or curvature."""
        return self.structure.latex(self, what)

    def code(self, library: str = "numpy") -> str:
        """Print a standalone function that computes the mean without lossary.

        Parameters
        ----------
        library : {"numpy", "torch", "tensorflow", "jax"}
        """
        from lossary.emit import snippet

        return snippet.code(self, library)

    def sql(
        self,
        y_true: str = "y",
        y_pred: str = "p",
        *,
        dialect: str = "duckdb",
        sample_weight: str | None = None,
        reduction: str = "mean",
    ) -> str:
        """Print the loss of two columns as a SQL expression.

        Examples
        --------
        >>> import lossary as ls
        >>> ls.absolute_error.sql("y", "p", dialect="duckdb")
        'AVG(ABS("p" - "y"))'
        """
        tables = importlib.import_module("lossary.emit.ibis")
        text: str = tables.sql(self, y_true, y_pred, dialect, sample_weight, reduction)
        return text

    def plot(self) -> Any:
        """Draw loss and gradient over the prediction, as an Altair chart."""
        return importlib.import_module("lossary.report.plots").loss_chart([self])

    # -- arithmetic -----------------------------------------------------------------

    def __mul__(self, factor: float) -> Any:
        from lossary.combination import combine

        return combine([(factor, self)])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Any:
        return self * (1 / divisor)

    def __add__(self, other: Any) -> Any:
        from lossary.combination import Combination, combine, terms_of

        if not isinstance(other, (Loss, Combination)):
            return NotImplemented
        return combine([*terms_of(self), *terms_of(other)])
