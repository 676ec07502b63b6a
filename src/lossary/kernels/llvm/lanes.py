"""Vectors of numbers: the values of LLVM code, printed as they are computed with.

A `Value` is a name in the text of a function; arithmetic on values prints one
instruction each. Vectors have an explicit width, so that nothing is left to a
compiler's judgement of what may be vectorised, and no flag relaxes the meaning of
NaN, infinities and signed zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lossary.kernels.llvm.function import Function

VECTOR_BYTES = 64

KINDS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
"""What LLVM calls the formats that kernels compute in."""

SIZES = {"i1": 1, "i8": 1, "i32": 4, "i64": 8, "float": 4, "double": 8, "ptr": 8}
FLOATING = ("float", "double")


@dataclass(frozen=True, slots=True)
class Type:
    """A kind of number, and how many of them a vector holds; 0 is a plain number."""

    kind: str
    lanes: int = 0

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.kind}>" if self.lanes else self.kind

    @property
    def floating(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.kind in FLOATING

    @property
    def size(self) -> int:
        """The bytes of one number."""
        return SIZES[self.kind]

    @property
    def suffix(self) -> str:
        """How names of LLVM's intrinsics end."""
        kind = {"float": "f32", "double": "f64"}.get(self.kind, self.kind)
        return f"v{self.lanes}{kind}" if self.lanes else kind

    def of(self, kind: str) -> Type:
        """Return the type of as many numbers of another kind."""
        return Type(kind, self.lanes)


INDEX = Type("i64")
POINTER = Type("ptr")


def vector(kind: str) -> Type:
    """Return the type of a whole vector."""
    return Type(kind, VECTOR_BYTES // SIZES[kind])


@lru_cache(maxsize=4096)
def literal(value: float, type: Type) -> str:
    """Print a constant, in every lane."""
    if type.floating:
        if type.kind == "float":  # LLVM writes a float as the double of its value
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        bits = int.from_bytes(pack(">d", value))
        text = f"0x{bits:016X}"
    else:
        text = str(int(value))
    return f"splat ({type.kind} {text})" if type.lanes else text


class Value:
    """A number or a vector of a printed function."""

    __slots__ = ("function", "name", "type")

    def __init__(self, function: Function, type: Type, name: str) -> None:
        self.function, self.type, self.name = function, type, name

    def __str__(self) -> str:
        return f"{self.type} {self.name}"

    def like(self, other: Any) -> Value:
        """Return another value or a constant, as one of this type."""
        if isinstance(other, Value):
            return other
        return Value(self.function, self.type, literal(other, self.type))

    def _binary(self, name: str, other: Any, swapped: bool = False) -> Value:
        a, b = self, self.like(other)
        if swapped:
            a, b = b, a
        name = _SPELLING[name][0 if self.type.floating else 1]
        return self.function.emit(a.type, f"{name} {a.type} {a.name}, {b.name}")

    def _compare(self, floating: str, whole: str, other: Any) -> Value:
        name = f"fcmp {floating}" if self.type.floating else f"icmp {whole}"
        other = self.like(other)
        return self.function.emit(
            self.type.of("i1"), f"{name} {self.type} {self.name}, {other.name}"
        )

    def __add__(self, other: Any) -> Value:
        return self._binary("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._binary("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._binary("mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary("div", other, swapped=True)

    def __neg__(self) -> Value:
        if not self.type.floating:
            return 0 - self
        return self.function.emit(self.type, f"fneg {self}")

    def __and__(self, other: Any) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Any) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self ^ -1

    def __lshift__(self, other: Any) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Any) -> Value:
        return self._binary("lshr", other)

    def __lt__(self, other: Any) -> Value:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Any) -> Value:
        return self._compare("oge", "sge", other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("oeq", "eq", other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("une", "ne", other)

    __hash__ = None  # type: ignore[assignment]  # two values are compared when run

    def __abs__(self) -> Value:
        return self.function.call("fabs", self)

    def chosen(self, condition: Value, a: Value, b: Value) -> Value:
        """Return one of two values of this type; see `choose`."""
        return self.function.emit(a.type, f"select {condition}, {a}, {b}")

    def bits(self) -> Value:
        """Return the bits of floating-point numbers, as whole numbers."""
        return self._converted("bitcast", {"float": "i32", "double": "i64"})

    def real(self) -> Value:
        """Return the floating-point numbers that whole numbers are the bits of."""
        return self._converted("bitcast", {"i32": "float", "i64": "double"})

    def _converted(self, name: str, kinds: dict[str, str]) -> Value:
        return self.function.convert(name, self, kinds[self.type.kind])

    def to(self, kind: str) -> Value:
        """Convert to another kind of numbers, rounding where it is narrower."""
        if kind == self.type.kind:
            return self
        wider = SIZES[kind] > self.type.size
        if self.type.floating:
            name = "fptosi" if kind not in FLOATING else "fpext" if wider else "fptrunc"
        elif kind in FLOATING:
            name = "sitofp"
        else:
            name = "zext" if self.type.kind == "i1" else "sext" if wider else "trunc"
        return self.function.convert(name, self, kind)


_SPELLING = {
    "add": ("fadd", "add"),
    "sub": ("fsub", "sub"),
    "mul": ("fmul", "mul"),
    "div": ("fdiv", "sdiv"),
} | {name: (name, name) for name in ("and", "or", "xor", "shl", "lshr")}


def choose(condition: Value, a: Any, b: Any) -> Value:
    """Return a where the condition holds, and b elsewhere; one of them is a value."""
    some: Value = a if isinstance(a, Value) else b
    return some.chosen(condition, some.like(a), some.like(b))


def muladd(a: Value, b: Any, c: Any) -> Value:
    """Return a·b + c, rounded once where the machine can, and twice elsewhere."""
    return a.function.call("fmuladd", a, b, c)


def sqrt(x: Value) -> Value:
    """Return the square root."""
    return x.function.call("sqrt", x)
