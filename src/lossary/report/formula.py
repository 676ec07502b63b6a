"""A formula as one line of text, the way it would be written by hand."""

from __future__ import annotations

from typing import Any

from lossary.combination import terms_of
from lossary.expr.graph import Node
from lossary.loss import Loss

CHOICE, SUM, PRODUCT, POWER, ATOM = range(5)

_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "lambda": "λ",
    "mu": "μ",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
}
_INFIX = {
    "add": (" + ", SUM, SUM, SUM),
    "sub": (" − ", SUM, SUM, PRODUCT),
    "mul": ("·", PRODUCT, PRODUCT, PRODUCT),
    "div": ("/", PRODUCT, PRODUCT, POWER),
    "lt": (" < ", SUM, SUM, SUM),
    "le": (" ≤ ", SUM, SUM, SUM),
    "eq": (" = ", SUM, SUM, SUM),
}
_FUNCTIONS = {"minimum": "min", "maximum": "max", "sigmoid": "σ"}

# What the letters of a formula stand for, where it is not one item's y and z.
_LEGENDS = {
    "rowwise": "per class: y its share, z its score − logsumexp of the other scores",
    "row": "per row: y is 1, z its own similarity − logsumexp of the others'",
    "pair": "per pair: y is 1 for a row's own, else 0, z its similarity; added up",
    "overlap": "per mask: tp = Σ y·p, y = Σ y, p = Σ p",
}


def text(node: Node) -> str:
    """Write a formula in one line.

    Two habits of the graph are left out, since they are conventions and no part of
    what is meant: a NaN is passed on, and 0 times anything is 0.

    Examples
    --------
    >>> import lossary as ls
    >>> text(ls.squared_error.formula.value), text(ls.hinge.formula.gradient)
    ('(z − y)²', '0 if 1 − (2·y − 1)·z ≤ 0 else 1 − 2·y')
    """
    return _write(node, CHOICE)


def written(loss: Any, what: str = "value") -> str:
    """Write value or gradient of a loss; nothing where there is no single formula.

    Examples
    --------
    >>> import lossary as ls
    >>> written(ls.absolute_error, "gradient")
    'sign(z − y)'
    """
    if not isinstance(loss, Loss):
        terms = [(factor, written(term, what)) for factor, term in terms_of(loss)]
        if not all(line for _, line in terms):
            return ""
        return " + ".join(f"{factor:g}·[{line}]" for factor, line in terms)
    if what == "gradient" and loss.structure.name == "overlap":
        return ""  # its gradient in a pixel is made of three partial ones
    return text(getattr(loss.formula, what))


def legend(loss: Any) -> str:
    """Say what the letters stand for, where it is not plain.

    Examples
    --------
    >>> import lossary as ls
    >>> legend(ls.dice)
    'per mask: tp = Σ y·p, y = Σ y, p = Σ p'
    """
    structures = [term.structure for _, term in terms_of(loss)]
    names = [getattr(s, "each", s.name) for s in structures]
    return "; ".join(
        _LEGENDS[name] for name in dict.fromkeys(names) if name in _LEGENDS
    )


def _write(node: Node, binding: int) -> str:
    line, level = _term(node)
    return f"({line})" if level < binding else line


def _term(node: Node) -> tuple[str, int]:
    if node.value is not None:
        line = f"{node.value:.6g}".replace("inf", "∞").replace("-", "−")
        return line, SUM if line.startswith("−") else ATOM
    if node.name is not None:
        return _GREEK.get(node.name, node.name), ATOM
    if node.op == "where":
        return _choice(node)
    if node.op == "neg":
        return f"−{_write(node.args[0], PRODUCT)}", SUM
    if node.op == "pow" or (node.op == "mul" and node.args[0] is node.args[1]):
        return _power(node)
    if node.op in _INFIX:
        return _infix(node)
    if node.op == "abs":
        return f"|{_write(node.args[0], SUM)}|", ATOM
    inside = ", ".join(_write(a, CHOICE) for a in node.args)
    return f"{_FUNCTIONS.get(node.op, node.op)}({inside})", ATOM


def _infix(node: Node) -> tuple[str, int]:
    glue, level, left, right = _INFIX[node.op]
    return glue.join(map(_write, node.args, (left, right))), level


def _power(node: Node) -> tuple[str, int]:
    base, exponent = node.args
    raised = "²" if node.op == "mul" or exponent.value == 2 else ""
    raised = raised or f"^{_write(exponent, ATOM)}"
    return _write(base, ATOM) + raised, POWER


def _choice(node: Node) -> tuple[str, int]:
    condition, taken, other = node.args
    if condition.op == "eq":
        a, b = condition.args
        if a is b:  # x = x unless it is NaN
            return _term(taken)
        if taken.value == 0 and b.value == 0:  # 0·∞ = 0
            return _term(other)
    parts = (_write(taken, SUM), _write(condition, SUM), _write(other, CHOICE))
    return "{} if {} else {}".format(*parts), CHOICE
