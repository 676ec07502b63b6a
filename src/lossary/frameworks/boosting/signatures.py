"""Estimators that are called as those of the library they extend.

Their methods take what the library's version takes, by position or by name, and show
its signature: to readers, and to scikit-learn, which routes metadata by it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Method = Callable[..., Any]


def with_loss(parent: Any) -> Callable[[Method], Method]:
    """Give a constructor the signature of a parent's, after ``loss``.

    Examples
    --------
    >>> class Parent:
    ...     def __init__(self, *, depth=3): ...
    >>> @with_loss(Parent)
    ... def __init__(self, loss="squared_error", **options): ...
    >>> inspect.signature(__init__)
    <Signature (self, loss='squared_error', *, depth=3)>
    """

    def sign(function: Method) -> Method:
        own = list(inspect.signature(function).parameters.values())[:2]
        theirs = list(inspect.signature(parent.__init__).parameters.values())[1:]
        vars(function)["__signature__"] = inspect.Signature([*own, *theirs])
        return function

    return sign


def called_as(method: Method) -> Callable[[Method], Any]:
    """Give a method the signature of another one."""

    def sign(function: Method) -> Method:
        vars(function)["__signature__"] = inspect.signature(method)
        return function

    return sign


def named(method: Method, skipped: int, *given: Any, **options: Any) -> dict[str, Any]:
    """Return the arguments of a call by name, without the first few.

    Examples
    --------
    >>> def fit(self, X, y, weight=None, **others): ...
    >>> named(fit, 3, "self", "X", "y", 1.0, verbose=True)
    {'weight': 1.0, 'verbose': True}
    """
    signature = inspect.signature(method)
    arguments = dict(
        list(signature.bind(*given, **options).arguments.items())[skipped:]
    )
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    return arguments


def evaluation_sets(options: dict[str, Any]) -> list[tuple[Any, Any]]:
    """List the sets to evaluate on: ``eval_set``, or ``eval_X`` and ``eval_y``."""
    given = options.get("eval_set")
    if given is not None:
        return [given] if isinstance(given, tuple) else list(given)
    X, y = options.get("eval_X"), options.get("eval_y")
    if X is None or y is None:
        return []
    return list(zip(X, y, strict=True)) if isinstance(X, tuple) else [(X, y)]


def with_targets(
    options: dict[str, Any], pairs: list[tuple[Any, Any]]
) -> dict[str, Any]:
    """Return the options with other targets in the sets to evaluate on."""
    if not pairs:
        return options
    if options.get("eval_set") is not None:
        return {**options, "eval_set": pairs}
    X, y = zip(*pairs, strict=True)
    return {**options, "eval_X": X, "eval_y": y}
