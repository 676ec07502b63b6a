"""What compilers that read Python are kept from, and what is made once per formula.

Formulas are derived and printed the first time that a loss is used, which may be while
PyTorch compiles. Its compiler calls an untraced function instead of tracing it, but
cannot look inside an object that comes out; a name it can carry. So what is made is
kept as an attribute of a table, and found there by name.

TensorFlow rewrites the Python code that it traces, which here would cost seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
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


def constant(x: float) -> float:
    """Return a number as it is, and make a tracing compiler take it as it is, too.

    With dynamic shapes PyTorch's compiler would make a variable of it; what it cannot
    follow symbolically, such as the digits, it looks up.
    """
    return float.fromhex(x.hex())


def unconverted(kind: type[T]) -> type[T]:
    """Mark a class whose code TensorFlow calls as it is written.

    It does what ``tf.autograph.experimental.do_not_convert`` does, without importing
    TensorFlow.
    """
    methods = [m for m in vars(kind).values() if isinstance(m, FunctionType)]
    marked: Any
    for marked in (kind, *methods):
        marked.autograph_info__ = {}
    return kind


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
    name = table.names.get(key)
    if name is None:
        made = table.make(*key)
        name = f"made_{len(table.names)}"
        setattr(table, name, made)
        table.names[key] = name
    return name


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
