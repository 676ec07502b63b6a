"""Blocks of numbers on a card: the values of Triton code, printed as they are used.

`Block` has the interface of `lossary.kernels.llvm.lanes.Value`, so that formulas and
vector maths are the same ones. Each operation is the one that IEEE 754 rounds to
nearest: Triton's own division and square root of float32 are approximations, as are
its exponential and logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import Type, Value

KINDS = {"float32": "float", "float64": "double"}
"""How `lossary.kernels.llvm.lanes` calls what a kernel computes in."""

NAMES = {
    "float": "tl.float32",
    "double": "tl.float64",
    "i1": "tl.int1",
    "i32": "tl.uint32",  # bits, which are shifted without regard to a sign
    "i64": "tl.uint64",
}

_SIGNED = {"i32": "tl.int32", "i64": "tl.int64"}

_OPERATORS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "and": "{} & {}",
    "or": "{} | {}",
    "xor": "{} ^ {}",
    "shl": "{} << {}",
    "lshr": "{} >> {}",
    "fabs": "tl.abs({})",
    "floor": "tl.floor({})",
    "fmuladd": "tl.fma({}, {}, {})",
    "select": "tl.where({}, {}, {})",
}
_ROUNDED = {
    "float": {"div": "tl.div_rn({}, {})", "sqrt": "tl.sqrt_rn({})"},
    "double": {"div": "{} / {}", "sqrt": "tl.sqrt({})"},
}
_COMPARISONS = {
    "olt": "<",
    "ole": "<=",
    "ogt": ">",
    "oge": ">=",
    "oeq": "==",
    "une": "!=",
}


class Body(Function):
    """The lines of a printed function, as they grow.

    Parameters
    ----------
    shape
        The text of the shape of its blocks. Constants have it as well: Triton's
        interpreter mixes up conditions on blocks and on single numbers.
    """

    def __init__(self, shape: str) -> None:
        super().__init__({})
        self.shape = shape
        self.lines: list[str] = []
        self._constants: dict[str, Value] = {}

    def emit(self, type: Type, text: str) -> Value:
        """Print an assignment, and return what is assigned."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Block(self, type, name)

    def call(self, name: str, x: Value, *others: Any) -> Value:
        """Print an operation on values of one type."""
        values = (x, *map(x.like, others))
        spelling = _OPERATORS.get(name) or _ROUNDED[x.type.kind][name]
        return self.emit(x.type, spelling.format(*(v.name for v in values)))

    def convert(self, name: str, x: Value, kind: str) -> Value:
        """Print a conversion, of the numbers or of their bits."""
        how = ", bitcast=True" if name == "bitcast" else ""
        return self.emit(Type(kind), f"{x.name}.to({NAMES[kind]}{how})")

    def number(self, value: float, type: Type) -> Value:
        """Return a constant; a bare one would be a float32 to Triton."""
        text = f"tl.full({self.shape}, {_literal(value, type)}, {NAMES[type.kind]})"
        if text not in self._constants:
            self._constants[text] = self.emit(type, text)
        return self._constants[text]


class Block(Value):
    """A block of numbers of printed Triton code."""

    __slots__ = ()

    function: Body

    def like(self, other: Any) -> Value:
        """Return another value or a constant, as one of this type."""
        if isinstance(other, Value):
            return other
        return self.function.number(other, self.type)

    def chosen(self, condition: Value, a: Value, b: Value) -> Value:
        """Return one of two values of this type."""
        text = _OPERATORS["select"].format(condition.name, a.name, b.name)
        return self.function.emit(a.type, text)

    def _binary(self, name: str, other: Any, swapped: bool = False) -> Value:
        a, b = self, self.like(other)
        return self.function.call(name, *((b, a) if swapped else (a, b)))

    def _compare(self, floating: str, whole: str, other: Any) -> Value:
        a, b = self.name, self.like(other).name
        if not self.type.floating:  # bits are compared as numbers that have a sign
            kind = _SIGNED[self.type.kind]
            a, b = (f"{x}.to({kind}, bitcast=True)" for x in (a, b))
        return self.function.emit(Type("i1"), f"{a} {_COMPARISONS[floating]} {b}")

    def __neg__(self) -> Value:
        return self * -1.0  # Triton subtracts from 0, which loses -0


def _literal(value: float, type: Type) -> str:
    if not type.floating:
        return str(int(value) % 2 ** (8 * type.size))  # bits have no sign
    finite = abs(value) < float("inf")
    return repr(float(value)) if finite else f'float("{float(value)}")'


def indented(lines: Sequence[str]) -> str:
    """Print lines in the body of a function."""
    return "\n".join(f"    {line}" for line in lines)


Results = Value | Sequence[Value]


def function(
    name: str, compute: Callable[..., Results], kind: str, names: str = "x"
) -> str:
    """Print a function from what computes it.

    Parameters
    ----------
    name
        What it is called.
    compute
        Returns one value, or several, of values.
    kind
        The kind of its arguments.
    names
        Their names; constants have the shape of the first.

    Examples
    --------
    >>> print(function("squared", lambda x: x * x, "float"))
    @triton.jit
    def squared(x):
        v0 = x * x
        return v0
    <BLANKLINE>
    """
    arguments = names.split()
    body = Body(f"{arguments[0]}.shape")
    found = compute(*(Block(body, Type(kind), argument) for argument in arguments))
    results = [found] if isinstance(found, Value) else found
    lines = [*body.lines, f"return {', '.join(x.name for x in results)}"]
    return f"@triton.jit\ndef {name}({', '.join(arguments)}):\n{indented(lines)}\n"
