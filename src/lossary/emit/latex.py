"""LaTeX of a formula, with the parentheses that its meaning needs.

What is printed is mathematics, not the program: equal factors are collected, a double
negative disappears, and two habits of the graph are left out because they are
conventions. A NaN is passed on, and 0 times anything is 0.
"""

from __future__ import annotations

import math
from fractions import Fraction

from lossary.expr.graph import (
    Node,
    add,
    apply,
    const,
    is_const,
    make,
    topological,
    where,
)

_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma "
    "tau phi chi psi omega"
)
GREEK = frozenset(_LETTERS.split())
# How tightly a term binds; a part that binds less than its place asks for is
# parenthesised. A list of cases is always, unless it stands alone.
CASES, SUM, PRODUCT, POWER, ATOM = range(5)

_FUNCTIONS = {
    "log": r"\log",
    "tanh": r"\tanh",
    "sigmoid": r"\sigma",
    "sign": r"\operatorname{sign}",
    "minimum": r"\min",
    "maximum": r"\max",
}
_RELATIONS = {"lt": "<", "le": r"\le", "eq": "="}
_ZERO, _ONE = const(0.0), const(1.0)
_LOGARITHMS = {math.log(n): n for n in (2, 3, 10)}

Term = tuple[str, int]


def latex(root: Node) -> str:
    r"""Print a formula.

    Conventions that make a program safe are no part of the formula: where
    `lossary.ops.weighted` says that ``w·x`` is 0 at ``w = 0``, even for an infinite
    ``x``, the product alone is printed.

    Examples
    --------
    >>> from lossary.expr.graph import symbol
    >>> y, z = symbol("y"), symbol("z")
    >>> latex((z - y) ** 2 / 2)
    '\\frac{\\left(z - y\\right)^{2}}{2}'
    >>> latex(where(y <= z, -2 * z, 0.5))
    '\\begin{cases} -2 \\, z & \\text{if } y \\le z \\\\ 0.5 & \\text{otherwise} \\end{cases}'
    """  # noqa: E501
    return _write(_meant(root), CASES)


def symbol_name(name: str) -> str:
    """Spell a parameter or input: Greek names become Greek letters."""
    if name in GREEK:
        return rf"\{name}"
    return name if len(name) == 1 else rf"\mathrm{{{name}}}".replace("_", r"\_")


def _write(node: Node, binding: int) -> str:
    return _wrapped(_term(node), binding)


def _wrapped(term: Term, binding: int) -> str:
    text, level = term
    return rf"\left({text}\right)" if level < binding else text


def _term(node: Node) -> Term:
    negative, term = _signed(node)
    return (f"-{_wrapped(term, PRODUCT)}", SUM) if negative else term


def _signed(node: Node) -> tuple[bool, Term]:
    """Return whether a minus stands in front, and what follows it."""
    if node.op in ("mul", "div", "neg", "xlogy"):
        return _product(node)
    if node.value is not None and node.value < 0:
        return True, _constant(-node.value)
    return False, _unsigned(node)


def _unsigned(node: Node) -> Term:
    if node.value is not None:
        return _constant(node.value)
    if node.name is not None:
        return symbol_name(node.name), ATOM
    if node.op in ("add", "sub"):
        return _sum(node)
    if node.op == "pow":
        base, exponent = node.args
        return f"{_write(base, ATOM)}^{{{_write(exponent, SUM)}}}", POWER
    if node.op in _RELATIONS:
        left, right = (_write(a, SUM) for a in node.args)
        return f"{left} {_RELATIONS[node.op]} {right}", SUM
    if node.op == "where":
        return _cases(node)
    return _function(node)


def _constant(value: float) -> Term:
    if value in _LOGARITHMS:
        return rf"\log\left({_LOGARITHMS[value]}\right)", POWER
    if value == math.inf:
        return r"\infty", ATOM
    if value == int(value) and value < 1e15:
        return str(int(value)), ATOM
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits, ATOM
    power = f"10^{{{int(exponent)}}}"
    return (power, POWER) if digits == "1" else (rf"{digits} \cdot {power}", PRODUCT)


def _sum(node: Node) -> Term:
    left, right = node.args
    negative, term = _signed(right)
    minus = negative != (node.op == "sub")
    tail = _wrapped(term, PRODUCT if minus else SUM)
    return f"{_write(left, SUM)} {'-' if minus else '+'} {tail}", SUM


# -- products: a sign, a rational number, and powers of factors -----------------------

Powers = dict[Node, int]


def _product(node: Node) -> tuple[bool, Term]:
    powers: Powers = {}
    number = _collect(node, 1, powers)
    ordered = sorted(powers.items(), key=lambda item: _rank(item[0]))
    above = _factors(abs(number.numerator), ordered)
    below = _factors(number.denominator, [(f, -k) for f, k in ordered])
    if below == ("1", ATOM):
        return number < 0, above
    fraction = rf"\frac{{{_wrapped(above, SUM)}}}{{{_wrapped(below, SUM)}}}"
    return number < 0, (fraction, PRODUCT)


def _collect(node: Node, power: int, powers: Powers) -> Fraction:
    """Add the factors of a product to `powers`, and return its number."""
    if node.op == "neg":
        return -_collect(node.args[0], power, powers)
    if node.op == "mul" or node.op == "div":
        a, b = node.args
        other = power if node.op == "mul" else -power
        return _collect(a, power, powers) * _collect(b, other, powers)
    if node.op == "xlogy":
        x, y = node.args
        return _collect(x, power, powers) * _collect(apply("log", y), power, powers)
    if node.value and math.isfinite(node.value):
        number = Fraction(node.value)
        if number.denominator <= 64:  # a whole number, or one like 1/2
            return number**power
    sign = 1
    if node.op == "sub":  # (a - b)·(b - a) = -(a - b)²
        turned = make("sub", (node.args[1], node.args[0]))
        if turned in powers:
            node, sign = turned, (-1) ** power
    powers[node] = powers.get(node, 0) + power
    return Fraction(sign)


def _rank(node: Node) -> int:
    """Put functions last."""
    return int(bool(node.args) and node.op not in ("add", "sub"))


def _factors(number: int, powers: list[tuple[Node, int]]) -> Term:
    """Write a number times the factors that have a positive power."""
    terms: list[Term] = []
    for node, power in powers:
        if power == 1:
            terms.append(_term(node))
        elif power > 1:
            terms.append((f"{_write(node, ATOM)}^{{{power}}}", POWER))
    if number != 1 or not terms:
        terms.insert(0, (str(number), ATOM))
    if len(terms) == 1:
        return terms[0]
    text = _wrapped(terms[0], PRODUCT)
    for term in terms[1:]:
        factor = _wrapped(term, PRODUCT)
        text += (r" \cdot " if factor[0].isdigit() else r" \, ") + factor
    return text, PRODUCT


# -- functions and choices ------------------------------------------------------------


def _function(node: Node) -> Term:
    x = node.args[0]
    if node.op == "abs":
        return rf"\left|{_write(x, SUM)}\right|", ATOM
    if node.op == "sqrt":
        return rf"\sqrt{{{_write(x, SUM)}}}", ATOM
    if node.op == "exp":
        return f"e^{{{_write(x, SUM)}}}", POWER
    if node.op == "expm1":
        return _sum(make("sub", (make("exp", (x,)), _ONE)))
    if node.op in ("log1p", "softplus"):
        inside = x if node.op == "log1p" else apply("exp", x)
        return rf"\log\left({_write(add(_ONE, inside), SUM)}\right)", POWER
    name = _FUNCTIONS.get(node.op, rf"\operatorname{{{node.op}}}")
    parts = ", ".join(_write(a, SUM) for a in node.args)
    return rf"{name}\left({parts}\right)", POWER


def _cases(node: Node) -> Term:
    condition, a, b = (_write(n, SUM) for n in node.args)
    rows = rf"{a} & \text{{if }} {condition} \\ {b} & \text{{otherwise}}"
    return rf"\begin{{cases}} {rows} \end{{cases}}", CASES


# -- conventions ----------------------------------------------------------------------


def _meant(root: Node) -> Node:
    """Drop the choices that are conventions from a formula."""
    done: dict[Node, Node] = {}
    for node in topological([root]):
        args = tuple(done[a] for a in node.args)
        done[node] = node if args == node.args else apply(node.op, *args)
        if done[node].op == "where":
            done[node] = _plain(*done[node].args)
    return done[root]


def _plain(condition: Node, taken: Node, other: Node) -> Node:
    """Return the branch that a choice of convention stands for, or the choice."""
    if condition.op == "eq":
        a, b = condition.args
        if a is b:  # x = x, unless it is NaN
            return taken
        if is_const(b, 0.0) and _without(other, a) is taken:
            return other
    return where(condition, taken, other)


def _without(node: Node, gone: Node) -> Node:
    """Set a part of a formula to 0, where 0·x is 0 for every x."""
    if node is gone:
        return _ZERO
    args = tuple(_without(a, gone) for a in node.args)
    zeros = [is_const(a, 0.0) for a in args]
    if node.op == "mul" and any(zeros):
        return _ZERO
    if node.op in ("div", "xlogy", "neg") and zeros[0]:
        return _ZERO
    if node.op == "add" and zeros[0]:
        return args[1]
    if node.op in ("add", "sub") and zeros[1]:
        return args[0]
    if node.op == "where":
        return where(*args)
    return node if args == node.args else make(node.op, args)
