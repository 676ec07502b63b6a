"""From a decorated function to a loss: the one door of every definition."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lossary.definition import Definition
from lossary.errors import FormulaError
from lossary.expr.formula import Formula, trace
from lossary.kinds import kind
from lossary.loss import Loss
from lossary.parameters import Choice, Param


def define(
    function: Callable[..., Any],
    *,
    structure: Any,
    target: str,
    prediction: str,
    elicits: str,
    link: str,
    forms: Mapping[str, Callable[..., Any]],
    majoriser: Callable[..., Any] | None,
    options: Mapping[str, Param | Choice] | None = None,
) -> Loss:
    """Record a function as a loss.

    The keywords are those of the structures' decorators; `forms` are the same loss
    for other kinds of predictions, `majoriser` is a curvature that bounds it above,
    `options` are parameters that the structure reads and the formula does not see.
    """
    params = _parameters(function, structure.inputs)

    def record(written: Callable[..., Any]) -> Formula:
        return trace(written, structure.inputs, tuple(params), function.__name__)

    declared: dict[str, Param | Choice] = {**params, **(options or {})}
    definition = Definition(
        name=function.__name__,
        structure=structure,
        target=kind(target).name,
        forms={
            kind(k).name: record(f) for k, f in {prediction: function, **forms}.items()
        },
        params=declared,
        elicits=elicits,
        link=link,
        majoriser=None if majoriser is None else record(majoriser),
        doc=inspect.getdoc(function) or "",
        family=function.__module__.rpartition(".")[2],
        module=function.__module__,
    )
    return Loss(definition, prediction, tuple(p.default for p in declared.values()))


def _parameters(
    function: Callable[..., Any], inputs: tuple[str, ...]
) -> dict[str, Param]:
    """Read the parameters of a formula from its signature."""
    arguments = list(inspect.signature(function).parameters.values())
    if len(arguments) < len(inputs):
        raise FormulaError(
            f"{function.__name__} must take {', '.join(inputs)} as its first arguments"
        )
    params = {}
    for argument in arguments[len(inputs) :]:
        default = argument.default
        if default is argument.empty:
            raise FormulaError(
                f"{function.__name__}: parameter {argument.name!r} needs a default, "
                f"such as {argument.name}=1.0 or {argument.name}=Param(1.0, gt=0)"
            )
        if not isinstance(default, (Param, int, float)):
            raise FormulaError(
                f"{function.__name__}: the default of parameter {argument.name!r} must "
                f"be a number or a Param, got {default!r}"
            )
        param = default if isinstance(default, Param) else Param(float(default))
        params[argument.name] = param
    return params
