"""Straight-line Python text from formulas, given the spelling of a target.

A node that is used more than once becomes a numbered line; everything else is written
in place, with the parentheses that keep the order of rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lossary.expr.graph import Node, is_scalar, topological

# Precedence of a written expression; an argument that binds less is parenthesised.
CHOICE, COMPARE, SUM, PRODUCT, SIGN, ATOM = range(6)

_INFIX: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "add": ("{} + {}", SUM, (SUM, PRODUCT)),
    "sub": ("{} - {}", SUM, (SUM, PRODUCT)),
    "mul": ("{} * {}", PRODUCT, (PRODUCT, SIGN)),
    "div": ("{} / {}", PRODUCT, (PRODUCT, SIGN)),
    "neg": ("-{}", SIGN, (SIGN,)),
    "pow": ("{} ** {}", SIGN, (ATOM, ATOM)),
    "lt": ("{} < {}", COMPARE, (SUM, SUM)),
    "le": ("{} <= {}", COMPARE, (SUM, SUM)),
    "eq": ("{} == {}", COMPARE, (SUM, SUM)),
}

# Parameters are Python numbers: what depends on them alone is computed with `math`,
# since a NumPy scalar would widen float32 arrays.
_SCALAR = {
    "abs": "abs({})",
    "sign": "math.copysign(1.0, {})",
    "minimum": "min({}, {})",
    "maximum": "max({}, {})",
    "exp": "math.exp({})",
    "expm1": "math.expm1({})",
    "log": "math.log({})",
    "log1p": "math.log1p({})",
    "sqrt": "math.sqrt({})",
    "tanh": "math.tanh({})",
    "sigmoid": "(1 / (1 + math.exp(-({}))))",
    "softplus": "math.log1p(math.exp({}))",
    "xlogy": "({0} and {0} * math.log({1}))",
}


@dataclass(frozen=True)
class Spelling:
    """How one array library writes the primitives.

    Attributes
    ----------
    name : str
        The library, as in ``loss.code(name)``.
    header : str
        The import lines that the text needs.
    calls : mapping
        A template per primitive that is not an operator.
    fill : str
        A template that turns the scalar ``{0}`` into an array like ``{1}``.
    clamps : mapping
        Templates of minimum and maximum with a scalar bound, where they differ.
    mean : str
        A template of the mean of all elements.
    typed_choice : bool
        Whether a choice takes arrays alone, and no number beside an array.
    """

    name: str
    header: str
    calls: Mapping[str, str]
    fill: str
    mean: str
    clamps: Mapping[str, str] = field(default_factory=dict)
    typed_choice: bool = False


class _Writer:
    def __init__(self, spelling: Spelling, roots: Sequence[Node], like: str) -> None:
        self.spelling, self.like = spelling, like
        self.lines: list[str] = []
        self.taken = {n.name for n in topological(roots)}
        self.texts: dict[Node, tuple[str, int]] = {}
        uses = Counter(a for n in topological(roots) for a in n.args)
        uses.update(roots)
        self.shared = {n for n, k in uses.items() if k > 1 and n.args}

    def text(self, node: Node, binding: int = CHOICE) -> str:
        if node not in self.texts:
            self.texts[node] = self._write(node)
            if node in self.shared:
                name = f"t{len(self.lines) + 1}"
                while name in self.taken:  # a parameter may be called t1
                    name = f"_{name}"
                self.lines.append(f"{name} = {self.texts[node][0]}")
                self.texts[node] = name, ATOM
        text, level = self.texts[node]
        return f"({text})" if level < binding else text

    def _write(self, node: Node) -> tuple[str, int]:
        if node.op == "const":
            return self._constant(node)
        if node.name is not None:
            return node.name, ATOM
        if node.op == "where":
            return self._choice(node)
        if node.op in _INFIX:
            template, level, bindings = _INFIX[node.op]
            parts = [self.text(a, b) for a, b in zip(node.args, bindings, strict=True)]
            return template.format(*parts), level
        if is_scalar(node):
            template = _SCALAR[node.op]
            return template.format(*map(self.text, node.args)), ATOM
        if node.op in self.spelling.clamps and any(map(is_scalar, node.args)):
            array, bound = sorted(node.args, key=is_scalar)
            template = self.spelling.clamps[node.op]
            return template.format(self.text(array), self.text(bound)), ATOM
        template = self.spelling.calls[node.op]
        return template.format(*map(self.text, node.args)), ATOM

    def _constant(self, node: Node) -> tuple[str, int]:
        assert node.value is not None
        if node.value != node.value or abs(node.value) == float("inf"):
            return f'float("{node.value}")', ATOM
        whole = node.value == int(node.value) and abs(node.value) < 1e6
        text = repr(int(node.value)) if whole else repr(node.value)
        return text, ATOM if not text.startswith("-") else SIGN

    def _choice(self, node: Node) -> tuple[str, int]:
        condition, a, b = node.args
        if is_scalar(condition):
            parts = [self.text(n, COMPARE) for n in (a, condition, b)]
            if not is_scalar(node):  # an array either way
                for i, branch in ((0, a), (2, b)):
                    if is_scalar(branch):
                        parts[i] = self.spelling.fill.format(parts[i], self.like)
            return "{} if {} else {}".format(*parts), CHOICE
        branches = [self.text(a), self.text(b)]
        for i, branch in enumerate((a, b)):
            # A choice of two numbers has no dtype of its own.
            alone = is_scalar(a) and is_scalar(b) and i == 0
            if alone or (self.spelling.typed_choice and is_scalar(branch)):
                branches[i] = self.spelling.fill.format(branches[i], self.like)
        template = self.spelling.calls["where"]
        return template.format(self.text(condition), *branches), ATOM


def body(
    roots: Sequence[Node], spelling: Spelling, like: str
) -> tuple[list[str], list[str]]:
    """Write formulas as numbered lines and one result text per formula.

    Parameters
    ----------
    roots
        The formulas; they share their common subexpressions.
    spelling
        The target.
    like
        The name of an array with the shape and dtype of the results.
    """
    writer = _Writer(spelling, roots, like)
    results = []
    for root in roots:
        text = writer.text(root)
        if is_scalar(root):
            text = spelling.fill.format(writer.text(root, SUM), like)
        results.append(text)
    return writer.lines, results


def function(
    name: str,
    arguments: Sequence[str],
    roots: Sequence[Node],
    spelling: Spelling,
    like: str,
) -> str:
    """Write one Python function that returns the formulas' values."""
    lines, results = body(roots, spelling, like)
    lines = [f"def {name}({', '.join(arguments)}):", *(f"    {t}" for t in lines)]
    return "\n".join([*lines, f"    return {', '.join(results)}", ""])


def uses_math(roots: Sequence[Node]) -> bool:
    """Say whether the text calls `math` (for a function of parameters alone)."""
    return any(
        is_scalar(n) and n.op in _SCALAR and "math." in _SCALAR[n.op]
        for n in topological(roots)
    )
