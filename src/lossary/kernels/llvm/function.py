"""The text of a function: its instructions, memory, loops and choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lossary.kernels.llvm.lanes import (
    INDEX,
    POINTER,
    VECTOR_BYTES,
    Type,
    Value,
    choose,
    literal,
)


class Variable:
    """A place that holds one value at a time."""

    def __init__(self, function: Function, value: Value) -> None:
        self.function, self.type = function, value.type
        self.pointer = function.room(value.type)
        self.set(value)

    def get(self) -> Value:
        """Return what it holds now."""
        return self.function.emit(self.type, f"load {self.type}, {self.pointer}")

    def set(self, value: Any) -> None:
        """Replace what it holds."""
        value = Value(self.function, self.type, "").like(value)
        self.function.line(f"store {value}, {self.pointer}")


class Function:
    """The text of one function, as it grows.

    Parameters
    ----------
    arguments
        Its arguments: a type for each name.
    """

    def __init__(self, arguments: dict[str, Type]) -> None:
        self.arguments = arguments
        self._rooms: list[str] = []
        self._lines: list[str] = []
        self._declared: dict[str, None] = {}
        self._count = 0

    def __getitem__(self, name: str) -> Value:
        """Return an argument."""
        return Value(self, self.arguments[name], f"%{name}")

    def text(self) -> str:
        """Return the module that holds the function alone, named ``kernel``."""
        arguments = ", ".join(f"{t} %{name}" for name, t in self.arguments.items())
        body = "\n".join(("entry:", *self._rooms, *self._lines, "  ret void"))
        return "\n".join(
            (
                *self._declared,
                f'define void @kernel({arguments}) "no-builtins" {{',
                body,
                "}\n",
            )
        )

    # -- instructions ---------------------------------------------------------------

    def line(self, text: str) -> None:
        """Print an instruction without a result."""
        self._lines.append("  " + text)

    def emit(self, type: Type, text: str) -> Value:
        """Print an instruction, and return its result."""
        name = self._new()
        self._lines.append(f"  {name} = {text}")
        return Value(self, type, name)

    def _new(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def call(self, name: str, x: Value, *others: Any) -> Value:
        """Call an intrinsic function whose arguments and result have one type."""
        arguments = (x, *map(x.like, others))
        return self._call(name, x.type, x.type, arguments)

    def _call(
        self, name: str, of: Type, type: Type, arguments: Sequence[Value]
    ) -> Value:
        name = f"@llvm.{name}.{of.suffix}"
        types = ", ".join(str(a.type) for a in arguments)
        self._declared[f"declare {type} {name}({types})"] = None
        return self.emit(type, f"call {type} {name}({', '.join(map(str, arguments))})")

    def convert(self, name: str, x: Value, kind: str) -> Value:
        """Print a conversion to another kind of numbers."""
        type = x.type.of(kind)
        return self.emit(type, f"{name} {x} to {type}")

    def constant(self, value: float, type: Type = INDEX) -> Value:
        """Return a constant, in every lane."""
        return Value(self, type, literal(value, type))

    def spread(self, x: Value, lanes: int) -> Value:
        """Return a vector with a number in every lane."""
        type = Type(x.type.kind, lanes)
        first = self.emit(type, f"insertelement {type} poison, {x}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.emit(type, f"shufflevector {first}, {type} poison, {zeros}")

    def shuffled(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Return lanes of two vectors, the second counted on; -1 leaves one open."""
        mask = ", ".join(f"i32 {n if n >= 0 else 'poison'}" for n in lanes)
        picked = f"<{len(lanes)} x i32> <{mask}>"
        type = Type(a.type.kind, len(lanes))
        return self.emit(type, f"shufflevector {a}, {b}, {picked}")

    def numbered(self, type: Type) -> Value:
        """Return a vector that holds the number of each lane."""
        inside = ", ".join(f"{type.kind} {i}" for i in range(type.lanes))
        return Value(self, type, f"<{inside}>")

    def lane(self, x: Value, index: Any) -> Value:
        """Return one number of a vector."""
        index = self.constant(0).like(index)
        return self.emit(Type(x.type.kind), f"extractelement {x}, {index}")

    def reduced(self, x: Value) -> Value:
        """Add up the numbers of a vector, in order."""
        start = self.constant(-0.0, Type(x.type.kind))
        return self._call("vector.reduce.fadd", x.type, start.type, (start, x))

    def any(self, x: Value) -> Value:
        """Say whether a condition holds in any lane."""
        return self._call("vector.reduce.or", x.type, Type("i1"), (x,))

    # -- memory ---------------------------------------------------------------------

    def room(self, type: Type, count: int = 1) -> Value:
        """Return the address of a place for some values, on the stack."""
        name = self._new()
        align = min(VECTOR_BYTES, type.size * max(type.lanes, 1) * count)
        self._rooms.append(f"  {name} = alloca {type}, i64 {count}, align {align}")
        return Value(self, POINTER, name)

    def at(self, pointer: Value, kind: str, index: Any) -> Value:
        """Return the address of one of many numbers."""
        index = self.constant(0).like(index)
        return self.emit(POINTER, f"getelementptr {kind}, {pointer}, {index}")

    def load(self, pointer: Value, type: Type, index: Any = 0) -> Value:
        """Read numbers, beginning with one of many."""
        place = self.at(pointer, type.kind, index)
        return self.emit(type, f"load {type}, {place}, align {type.size}")

    def store(self, value: Value, pointer: Value, index: Any = 0) -> None:
        """Write numbers, beginning with one of many."""
        place = self.at(pointer, value.type.kind, index)
        self.line(f"store {value}, {place}, align {value.type.size}")

    def load_some(
        self, pointer: Value, type: Type, index: Any, live: Value | None, fill: float
    ) -> Value:
        """Read the numbers of some lanes; the others hold `fill`, and no memory.

        Without a mask all lanes are read.
        """
        if live is None:
            return self.load(pointer, type, index)
        arguments = f"i32 {type.size}, {live}, {type} {literal(fill, type)}"
        place = self.at(pointer, type.kind, index)
        name = f"@llvm.masked.load.{type.suffix}.p0"
        self._declared[
            f"declare {type} {name}(ptr, i32 immarg, {live.type}, {type})"
        ] = None
        return self.emit(type, f"call {type} {name}({place}, {arguments})")

    def store_some(
        self, value: Value, pointer: Value, index: Any, live: Value | None
    ) -> None:
        """Write the numbers of some lanes; without a mask, of all."""
        if live is None:
            self.store(value, pointer, index)
            return
        type = value.type
        place = self.at(pointer, type.kind, index)
        name = f"@llvm.masked.store.{type.suffix}.p0"
        self._declared[f"declare void {name}({type}, ptr, i32 immarg, {live.type})"] = (
            None
        )
        self.line(f"call void {name}({value}, {place}, i32 {type.size}, {live})")

    def variable(self, value: Value) -> Variable:
        """Return a place that holds a value now, and may hold another later."""
        return Variable(self, value)

    # -- flow -----------------------------------------------------------------------

    def smaller(self, a: Value, b: Any) -> Value:
        """Return the smaller of two whole numbers."""
        return choose(a < b, a, a.like(b))

    def _label(self, name: str) -> None:
        self._lines.append(f"{name[1:]}:")

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Value]:
        """Repeat what follows for start, start + step, … while below stop."""
        head, body, done = self._new(), self._new(), self._new()
        zero = self.constant(0)
        index = self.variable(zero.like(start))
        self.line(f"br label {head}")
        self._label(head)
        i = index.get()
        self.line(f"br {i < zero.like(stop)}, label {body}, label {done}")
        self._label(body)
        yield i
        index.set(i + step)
        self.line(f"br label {head}")
        self._label(done)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Do what follows only if a condition holds."""
        body, done = self._new(), self._new()
        self.line(f"br {condition}, label {body}, label {done}")
        self._label(body)
        yield
        self.line(f"br label {done}")
        self._label(done)
