"""The reference interpreter: what a formula means, one number at a time.

The same table of meanings is read with Python floats (IEEE semantics: overflow is
infinity, 0/0 is NaN) and with mpmath at any precision. Slow and obvious on purpose:
every other interpreter is tested against it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from lossary.expr.graph import Node, topological
from lossary.expr.primitives import PRIMITIVES


class Numbers(Protocol):
    """A number system: the functions that the meanings of primitives call."""

    def number(self, x: float) -> Any: ...
    def exp(self, x: Any) -> Any: ...
    def log(self, x: Any) -> Any: ...


class _Shared:
    """What follows from comparison alone, in any number system."""

    def number(self, x: float) -> Any:
        return float(x)

    def sign(self, x: Any) -> Any:
        return x if x != x or x == 0 else self.number(math.copysign(1.0, x))

    def minimum(self, a: Any, b: Any) -> Any:
        return a if a != a or (a <= b and b == b) else b

    def maximum(self, a: Any, b: Any) -> Any:
        return a if a != a or (a >= b and b == b) else b


class Floats(_Shared):
    """Python floats, with IEEE results where `math` raises."""

    def div(self, a: float, b: float) -> float:
        if b == 0:
            if a == 0 or a != a:
                return math.nan
            return math.copysign(math.inf, a) * math.copysign(1.0, b)
        return a / b

    def pow(self, a: float, b: float) -> float:
        try:
            return math.pow(a, b)
        except (OverflowError, ValueError):
            if a < 0 and b != math.floor(b):
                return math.nan
            return math.copysign(math.inf, a) if b % 2 == 1 else math.inf

    def exp(self, x: float) -> float:
        return math.exp(x) if not x > 709.79 else math.inf

    def expm1(self, x: float) -> float:
        return math.expm1(x) if not x > 709.79 else math.inf

    def log(self, x: float) -> float:
        return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)

    def log1p(self, x: float) -> float:
        return math.log1p(x) if x > -1 else (-math.inf if x == -1 else math.nan)

    def sqrt(self, x: float) -> float:
        return math.sqrt(x) if x >= 0 else math.nan

    def tanh(self, x: float) -> float:
        return math.tanh(x)

    def sigmoid(self, x: float) -> float:
        e = math.exp(-abs(x))
        return (1.0 if x >= 0 else e) / (1 + e)

    def softplus(self, x: float) -> float:
        return (x if x > 0 else 0.0) + math.log1p(math.exp(-abs(x)))

    def xlogy(self, x: float, y: float) -> float:
        return 0.0 if x == 0 else x * self.log(y)


class Mpmath(_Shared):
    """Arbitrary precision: the oracle of the laws.

    Examples
    --------
    >>> from lossary.expr.graph import symbol, apply
    >>> z = symbol("z")
    >>> m = Mpmath(digits=30)
    >>> m.mp.nstr(evaluate(apply("softplus", -z), {z: 100.0}, m), 20)
    '3.720075976020835963e-44'
    """

    def __init__(self, digits: int = 50) -> None:
        import mpmath

        self.mp = mpmath.mp.clone()
        self.mp.dps = digits
        self.inf = self.mp.inf

    def number(self, x: float) -> Any:
        return self.mp.mpf(x)

    def div(self, a: Any, b: Any) -> Any:
        if b == 0:
            return self.mp.nan if a == 0 or a != a else self.inf * self.sign(a)
        return a / b

    def pow(self, a: Any, b: Any) -> Any:
        if a == 0 and b < 0:
            return self.inf
        result = self.mp.power(a, b)
        return self.mp.nan if isinstance(result, self.mp.mpc) else result

    def exp(self, x: Any) -> Any:
        return self.mp.exp(x)

    def expm1(self, x: Any) -> Any:
        return self.mp.expm1(x)

    def log(self, x: Any) -> Any:
        if x == 0:
            return -self.inf
        return self.mp.log(x) if x > 0 else self.mp.nan

    def log1p(self, x: Any) -> Any:
        if abs(x) < 1e-8:  # 1 + x would lose the digits of a tiny x
            return self.mp.log1p(x)
        return self.log(1 + x)

    def sqrt(self, x: Any) -> Any:
        return self.mp.sqrt(x) if x >= 0 else self.mp.nan

    def tanh(self, x: Any) -> Any:
        return self.mp.tanh(x)

    def sigmoid(self, x: Any) -> Any:
        if abs(x) == self.inf:
            return self.number(x > 0)
        return 1 / (1 + self.mp.exp(-x))

    def softplus(self, x: Any) -> Any:
        if x != x:
            return x
        return max(x, self.number(0)) + self.log1p(self.mp.exp(-abs(x)))

    def xlogy(self, x: Any, y: Any) -> Any:
        return self.number(0) if x == 0 else x * self.log(y)


FLOATS = Floats()


def evaluate(root: Node, values: dict[Node, Any], numbers: Any = FLOATS) -> Any:
    """Evaluate a formula at one point.

    Parameters
    ----------
    root
        The formula.
    values
        A number for every input and parameter node.
    numbers
        The number system: `FLOATS`, or an `Mpmath` of some precision.

    Examples
    --------
    >>> from lossary.expr.graph import symbol
    >>> y, z = symbol("y"), symbol("z")
    >>> evaluate((z - y) ** 2, {y: 1.0, z: 3.0})
    4.0
    """
    done: dict[Node, Any] = {n: numbers.number(v) for n, v in values.items()}
    for node in topological([root]):
        if node in done:
            continue
        if node.op == "const":
            assert node.value is not None
            done[node] = numbers.number(node.value)
        else:
            meaning = PRIMITIVES[node.op].meaning
            done[node] = meaning(numbers, *(done[a] for a in node.args))
    return done[root]
