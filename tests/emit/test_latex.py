"""Printed LaTeX is read back by a small evaluator, and means what the formula means."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest
from laws.cases import VARIANTS

from lossary.emit import latex as printer
from lossary.emit.latex import latex, symbol_name
from lossary.expr.graph import Node, apply, const, leaves, parameter, symbol, where
from lossary.expr.reference import Mpmath, evaluate
from lossary.ops import exp, log, log1p, sqrt, tanh, weighted

M = Mpmath(40)
TOKEN = re.compile(
    r"\\begin\{cases\}|\\end\{cases\}|\\text\{(?:if |otherwise)\}|\\operatorname\{\w+\}"
    r"|\\mathrm\{[\w\\]+\}|\\left.|\\right.|\\\\|\\,|\\[a-z]+|\d+(?:\.\d+)?|[a-z]|\S"
)
FUNCTIONS = {
    r"\log": M.log,
    r"\sigma": M.sigmoid,
    r"\tanh": M.tanh,
    r"\operatorname{sign}": M.sign,
    r"\min": min,
    r"\max": max,
}


def times(a: Any, b: Any) -> Any:
    """Multiply by the convention that 0 times anything is 0."""
    return M.number(0) if 0 in (a, b) else a * b


class Reader:
    """The usual rules of reading: a sum of products of powers, and cases."""

    def __init__(self, text: str, values: dict[str, Any]) -> None:
        self.tokens = [t for t in TOKEN.findall(text) if t != r"\,"]
        self.values = values

    def next(self, *expected: str) -> bool:
        """Take the next token if it is one of these."""
        if self.tokens and self.tokens[0] in expected:
            del self.tokens[0]
            return True
        return False

    def must(self, token: str) -> None:
        assert self.next(token), f"{token} expected at {self.tokens[:5]}"

    def all(self) -> Any:
        result = self.sum()
        assert not self.tokens, f"left over: {self.tokens[:5]}"
        return result

    def sum(self) -> Any:
        sign = -1 if self.next("-") else 1
        total = sign * self.product()
        while self.tokens and self.tokens[0] in "+-":
            sign = 1 if self.tokens.pop(0) == "+" else -1
            total = total + sign * self.product()
        return total

    def product(self) -> Any:
        result = self.power()
        ends = ("+", "-", "}", ",", "&", "<", "=", r"\le", r"\\", r"\end{cases}")
        while self.tokens and self.tokens[0] not in ends:
            if self.tokens[0].startswith(r"\right"):
                break
            self.next(r"\cdot")
            result = times(result, self.power())
        return result

    def power(self) -> Any:
        base, sealed = self.atom()
        if not self.next("^"):
            return base
        assert sealed, "a power of a function call is not clear"
        exponent = self.group()
        assert self.tokens[:1] != ["^"], "a double superscript does not compile"
        return M.pow(base, exponent)

    def group(self) -> Any:
        self.must("{")
        result = self.sum()
        self.must("}")
        return result

    def atom(self) -> tuple[Any, bool]:
        """Return a value, and whether a superscript may follow it."""
        token = self.tokens.pop(0)
        if token[0].isdigit():
            return M.number(float(token)), True
        if token == r"\left(":
            result = self.sum()
            self.must(r"\right)")
            return result, True
        if token == r"\left|":
            result = abs(self.sum())
            self.must(r"\right|")
            return result, True
        if token == r"\frac":
            above, below = self.group(), self.group()
            return M.div(above, below), False
        if token == r"\sqrt":
            return M.sqrt(self.group()), True
        if token == r"\begin{cases}":
            return self.cases(), False
        if token in FUNCTIONS and self.next(r"\left("):
            return self.call(FUNCTIONS[token]), False
        if token == "e":
            self.must("^")
            return M.exp(self.group()), False
        return self.values[token], True

    def call(self, function: Any) -> Any:
        arguments = [self.sum()]
        while self.next(","):
            arguments.append(self.sum())
        self.must(r"\right)")
        return function(*arguments)

    def cases(self) -> Any:
        taken = self.sum()
        self.must("&")
        self.must(r"\text{if }")
        left = self.sum()
        relation = self.tokens.pop(0)
        right = self.sum()
        self.must(r"\\")
        other = self.sum()
        self.must("&")
        self.must(r"\text{otherwise}")
        self.must(r"\end{cases}")
        holds = {"<": left < right, r"\le": left <= right, "=": left == right}
        return taken if holds[relation] else other


def means_the_same(node: Node, points: dict[str, float]) -> None:
    """The law: printing and reading back gives the formula's value."""
    named = [symbol(n) for n in leaves(node, "input")]
    named += [parameter(n) for n in leaves(node, "param")]
    values = {n: points[str(n.name)] for n in named}
    true = evaluate(node, values, M)
    read = Reader(
        latex(node),
        {symbol_name(str(n.name)): M.number(v) for n, v in values.items()},
    ).all()
    assert abs(read - true) <= 1e-13 * (1 + abs(true)), latex(node)


def draws(count: int = 12) -> list[dict[str, float]]:
    """Inputs that every loss allows, with targets of 0 and 1 among them."""
    rng = random.Random(0)
    return [
        {
            "y": rng.choice([0.0, 1.0, rng.uniform(0.1, 0.9)]),
            "z": rng.uniform(-0.9, 0.9),
            "p": rng.uniform(0.1, 0.9),
            "tp": rng.uniform(0.1, 0.9),
            **{n: rng.uniform(0.1, 0.9) for n in ("delta", "tau", "smooth", "gamma")},
            **{n: rng.uniform(0.1, 0.9) for n in ("alpha", "scale")},
            "power": rng.uniform(1.1, 1.9),
            "beta": rng.uniform(0.1, 0.9),
        }
        for _ in range(count)
    ]


def printed(loss: Any) -> list[Node]:
    formula = loss.formula
    return [formula.value, formula.gradient, formula.curvature]


def read_back(loss: Any) -> None:
    positive = loss.form in ("probability", "positive", "class_probability")
    relative = loss.target.name == "nonzero"
    for node in printed(loss):
        for values in draws():
            if positive:
                values["z"] = abs(values["z"])
            if relative and not values["y"]:
                values["y"] = 0.5
            means_the_same(node, values)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
def test_means_what_the_formula_means(loss):
    read_back(loss)


def test_forgotten_parentheses_are_caught(monkeypatch):
    monkeypatch.setattr(printer, "_wrapped", lambda term, binding: term[0])
    caught = 0
    for loss in VARIANTS:
        try:
            read_back(loss)
        except (AssertionError, KeyError, IndexError):
            caught += 1
    assert caught >= 10


Y, Z, A = symbol("y"), symbol("z"), parameter("alpha")


@pytest.mark.parametrize(
    "node",
    [
        -(Y - Z * A) * (Z - Y * A),
        (Y - Z) * (Z - Y) * Y / (Z - Y),
        Y - (Z - A),
        Y + (Z + const(-3.0)) - const(-0.3) * Z,
        (Y + Z * Z) ** A,
        (-const(1.5)) * Y * Y * Y / 1e-7,
        exp(-Y) ** 2 * exp(Z) ** A,
        log(Y * Y) ** 2 / log1p(-Y),
        1 / (1 / (1 + Y) / Z),
        sqrt(Y * Y) * tanh(-2 * Z) - apply("expm1", -Z) * 2,
        Y - where(Z < Y, Y - 1, Z) * 2,
        where(Y <= Z, const(0.0), -Y) ** 2,
        abs(Y - Z) ** 2 * 1e-12,
        Y ** (Z * Z - 1),
    ],
    ids=repr,
)
def test_parentheses_and_signs(node):
    for values in draws():
        means_the_same(node, {**values, "y": values["p"], "alpha": values["tau"]})


def test_reads_as_written_by_hand():
    assert latex(weighted(Y, Z) - 2) == r"y \, z - 2"
    assert latex(apply("softplus", -2 * (Z - Y))) == (
        r"\log\left(1 + e^{-2 \, \left(z - y\right)}\right)"
    )
    assert latex(1.5 * Y - math.log(2)) == r"\frac{3 \, y}{2} - \log\left(2\right)"
    assert latex(Y * 0.1) == r"0.1 \, y"
    assert latex(-(A * Z)) == r"-\alpha \, z"
    assert latex(const(-math.inf)) == r"-\infty"


def test_only_conventions_are_dropped():
    """A choice that changes the value at 0 stays a choice."""
    assert "cases" not in latex(where(apply("eq", Y, 0.0), exp(Z), exp(Z) - Y * Z))
    assert "cases" in latex(where(apply("eq", Y, 0.0), 1.0, Y * Z))
    assert "cases" in latex(where(Y <= 0, 0.0, Y * Z))
    assert "cases" in latex(where(apply("eq", Y, 0.0), 0.0, 1 + Y * Z))
