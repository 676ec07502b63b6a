"""What is made once per formula, also while a compiler traces the caller.

Formulas are derived and printed the first time that a loss is used, which may be while
PyTorch compiles. Its compiler calls an untraced function instead of tracing it, but
cannot look inside an object that comes out; a name it can carry. So what is made is
kept as an attribute of a table, and found there by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def untraced(function: F) -> F:
    """Mark a function whose result is constant while the caller is compiled.

    It does what ``torch.compiler.assume_constant_result`` does, without importing
    PyTorch.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


class Table(Generic[T]):
    """Objects made once per key.

    Examples
    --------
    >>> squares = Table(lambda x: x * x)
    >>> squares.of(3)
    9
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self.make = make
        self.names: dict[tuple[Any, ...], str] = {}

    def of(self, *key: Any) -> T:
        """Return the object of a key, making it where it is new."""
        result: T = getattr(self, _name(self, *key))
        return result


@untraced
def _name(table: Table[Any], *key: Any) -> str:
    """Return the attribute that holds the object of a key."""
    if key not in table.names:
        made = table.make(*key)
        name = f"made_{len(table.names)}"
        setattr(table, name, made)
        table.names[key] = name
    return table.names[key]


class lazy(Generic[T]):  # noqa: N801 - it is used like functools.cached_property
    """A property that is computed once.

    Before Python 3.12 that of `functools` takes a lock, which no compiler can trace.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | lazy[T]:
        if instance is None:
            return self
        value = self.function(instance)
        object.__setattr__(instance, self.name, value)
        return value
