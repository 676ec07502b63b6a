"""LaTeX of a formula, with the parentheses that its meaning needs."""

from __future__ import annotations

from lossary.expr.graph import Node

GREEK = frozenset(
    ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"]
)
SUM, PRODUCT, POWER, ATOM = range(4)

_FUNCTIONS = {
    "exp": r"\exp",
    "log": r"\log",
    "tanh": r"\tanh",
    "sigmoid": r"\sigma",
    "softplus": r"\operatorname{softplus}",
    "sign": r"\operatorname{sign}",
    "minimum": r"\min",
    "maximum": r"\max",
}
_RELATIONS = {"lt": "<", "le": r"\le", "eq": "="}


def latex(root: Node) -> str:
    r"""Print a formula.

    Examples
    --------
    >>> from lossary.expr.graph import symbol, parameter
    >>> y, z = symbol("y"), symbol("z")
    >>> latex((z - y) ** 2 / 2)
    '\\frac{\\left(z - y\\right)^{2}}{2}'
    """
    return _write(root, SUM)


def symbol_name(name: str) -> str:
    """Spell a parameter or input: Greek names become Greek letters."""
    if name in GREEK:
        return rf"\{name}"
    return name if len(name) == 1 else rf"\mathrm{{{name}}}".replace("_", r"\_")


def _write(node: Node, binding: int) -> str:
    text, level = _term(node)
    return rf"\left({text}\right)" if level < binding else text


def _term(node: Node) -> tuple[str, int]:
    args = node.args
    if node.op == "const":
        return _constant(node)
    if node.name is not None:
        return symbol_name(node.name), ATOM
    if node.op in ("add", "sub"):
        sign = "+" if node.op == "add" else "-"
        right = SUM if node.op == "add" else PRODUCT
        return f"{_write(args[0], SUM)} {sign} {_write(args[1], right)}", SUM
    if node.op == "neg":
        return f"-{_write(args[0], PRODUCT)}", SUM
    if node.op == "mul":
        return _product(node)
    if node.op == "div":
        return rf"\frac{{{_write(args[0], SUM)}}}{{{_write(args[1], SUM)}}}", PRODUCT
    if node.op == "pow":
        return f"{_write(args[0], ATOM)}^{{{_write(args[1], SUM)}}}", POWER
    if node.op in _RELATIONS:
        relation = _RELATIONS[node.op]
        return f"{_write(args[0], SUM)} {relation} {_write(args[1], SUM)}", SUM
    return _function(node)


def _constant(node: Node) -> tuple[str, int]:
    value = node.value
    assert value is not None
    if abs(value) == float("inf"):
        return (r"\infty", ATOM) if value > 0 else (r"-\infty", SUM)
    text = f"{value:.6g}"
    return text, SUM if text.startswith("-") else ATOM


def _product(node: Node) -> tuple[str, int]:
    a, b = node.args
    if a is b:
        return f"{_write(a, ATOM)}^{{2}}", POWER
    left, right = _write(a, PRODUCT), _write(b, PRODUCT)
    glue = r" \cdot " if right[0].isdigit() else r" \, "
    return f"{left}{glue}{right}", PRODUCT


def _function(node: Node) -> tuple[str, int]:
    parts = [_write(a, SUM) for a in node.args]
    if node.op == "abs":
        return rf"\left|{parts[0]}\right|", ATOM
    if node.op == "sqrt":
        return rf"\sqrt{{{parts[0]}}}", ATOM
    if node.op == "expm1":
        return rf"e^{{{parts[0]}}} - 1", SUM
    if node.op == "log1p":
        return rf"\log\left(1 + {_write(node.args[0], PRODUCT)}\right)", ATOM
    if node.op == "xlogy":
        x = _write(node.args[0], PRODUCT)
        return rf"{x} \, \log\left({parts[1]}\right)", PRODUCT
    if node.op == "where":
        condition, a, b = parts
        rows = rf"{a} & \text{{if }} {condition} \\ {b} & \text{{otherwise}}"
        return rf"\begin{{cases}} {rows} \end{{cases}}", ATOM
    return rf"{_FUNCTIONS[node.op]}\left({', '.join(parts)}\right)", ATOM
