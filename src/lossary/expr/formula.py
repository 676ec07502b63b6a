"""A traced formula: its value, and the derivatives that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossary.errors import FormulaError
from lossary.expr.derivative import derivative, guarded
from lossary.expr.graph import (
    Node,
    apply,
    leaves,
    lift,
    parameter,
    substitute,
    symbol,
    topological,
)
from lossary.expr.reference import evaluate
from lossary.expr.untraced import Table, lazy


@dataclass(frozen=True)
class Formula:
    """A scalar formula of some inputs and some parameters.

    Attributes
    ----------
    value : Node
        The formula itself.
    inputs : tuple of str
        The names of the inputs; `gradient` and `curvature` are taken in the second.
    params : tuple of str
        The names of the parameters, in the order in which they are passed.
    """

    value: Node
    inputs: tuple[str, ...]
    params: tuple[str, ...] = ()

    @lazy
    def gradient(self) -> Node:
        """First derivative in the second input."""
        return _DERIVED.of(self, 1)

    @lazy
    def curvature(self) -> Node:
        """Second derivative in the second input."""
        return _DERIVED.of(self, 2)

    def partial(self, name: str) -> Node:
        """First derivative in one input."""
        return guarded(derivative(self.value, symbol(name)), self.value)

    def settled(self, values: tuple[tuple[str, float], ...]) -> Formula:
        """Make the choices that parameters alone decide, at some of their values.

        Examples
        --------
        >>> import lossary as ls
        >>> written = ls.general_robust.definition.forms["real"]
        >>> simple = written.settled((("alpha", 2.0), ("scale", 1.0)))
        >>> simple == ls.general_robust(alpha=2.0).formula
        True
        """
        return _SETTLED.of(self, values)

    def reading(self, *names: str) -> Formula:
        """Turn parameters into inputs, so that they may vary and be derived in."""
        return _READING.of(self, names)

    def at(self, **values: Any) -> Formula:
        """Fix inputs or parameters to numbers or other formulas."""
        replaced = {
            (symbol(k) if k in self.inputs else parameter(k)): lift(v)
            for k, v in values.items()
        }
        params = tuple(p for p in self.params if p not in values)
        return Formula(substitute(self.value, replaced), self.inputs, params)


def _derived(formula: Formula, order: int) -> Node:
    node = formula.value
    for _ in range(order):
        node = derivative(node, symbol(formula.inputs[1]))
    return guarded(node, formula.value)


_DERIVED: Table[Node] = Table(_derived)


def _settled(formula: Formula, values: tuple[tuple[str, float], ...]) -> Formula:
    known: dict[Node, float] = {parameter(k): v for k, v in values}
    done: dict[Node, Node] = {}
    for node in topological([formula.value]):
        args = tuple(done[a] for a in node.args)
        if node.op == "where" and _decided(args[0], known):
            done[node] = args[1] if evaluate(args[0], known) else args[2]
        else:
            done[node] = apply(node.op, *args) if args != node.args else node
    value = done[formula.value]
    return formula if value is formula.value else replace(formula, value=value)


def _decided(condition: Node, known: Mapping[Node, float]) -> bool:
    leaves = (n for n in topological([condition]) if n.name is not None)
    return all(leaf in known for leaf in leaves)


_SETTLED: Table[Formula] = Table(_settled)


def _reading(formula: Formula, names: tuple[str, ...]) -> Formula:
    inputs = {parameter(name): symbol(name) for name in names}
    params = tuple(p for p in formula.params if p not in names)
    value = substitute(formula.value, inputs)
    return Formula(value, (*formula.inputs, *names), params)


_READING: Table[Formula] = Table(_reading)


def trace(
    function: Callable[..., Any],
    inputs: tuple[str, ...],
    params: tuple[str, ...],
    name: str | None = None,
) -> Formula:
    """Record a formula by calling it once with symbols.

    Raises
    ------
    FormulaError
        Where the function leaves the vocabulary of `lossary.ops`.
    """
    name = name or getattr(function, "__name__", "the formula")
    symbols = [symbol(i) for i in inputs]
    try:
        value = lift(function(*symbols, **{p: parameter(p) for p in params}))
    except FormulaError as error:
        raise FormulaError(f"{name}: {error}") from None
    except (TypeError, AttributeError) as error:
        raise FormulaError(
            f"{name} could not be recorded as a formula ({error}); write it with "
            "Python's operators and the functions of lossary.ops"
        ) from error
    if not set(inputs[1:]) & set(leaves(value, "input")):
        raise FormulaError(
            f"{name} does not depend on its second argument, the prediction; "
            "a loss must use it"
        )
    return Formula(value, inputs, params)
