"""Standalone snippets: a function of one array library that computes the mean.

A formula is printed by the same tables as the text that lossary runs; around it goes
the array code of the loss's structure, written once, in the words that the libraries
spell differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lossary.emit.source import body, uses_math
from lossary.emit.words import LIBRARIES, Words
from lossary.errors import ParameterError, nearest
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, parameter, substitute, symbol

if TYPE_CHECKING:
    from lossary.combination import Combination
    from lossary.loss import Loss

_INDENT = "    "


def code(loss: Loss | Combination, library: str) -> str:
    """Write a function that computes the mean of a loss without lossary.

    Its arguments are arrays of the library in the shapes that the loss takes (class
    numbers where it takes either these or distributions), and the parameters, with
    the bound values as defaults. Weights, masks and checks are left out. Where the
    library differentiates it, the library's own convention holds at a kink.

    Parameters
    ----------
    loss
        A loss, or a weighted sum.
    library
        ``"numpy"``, ``"torch"``, ``"tensorflow"`` or ``"jax"``.

    Raises
    ------
    ParameterError
        For another library.

    Examples
    --------
    >>> import lossary as ls
    >>> print(code(ls.pinball(tau=0.9), "numpy"))  # doctest: +ELLIPSIS
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def pinball(y_true, y_pred, tau=0.9):
        ...
        t1 = y_true - y_pred
        return np.mean(np.where(0 <= t1, tau * t1, (tau - 1) * t1))
    <BLANKLINE>
    """
    if library not in LIBRARIES:
        raise ParameterError(
            f"there are no snippets for {library!r}; {nearest(library, LIBRARIES)}"
        )
    words = LIBRARIES[library]
    terms = getattr(loss, "terms", None) or [(1.0, loss)]
    losses = [term for _, term in terms]
    by_class = any(term.structure.name == "rowwise" for term in losses)
    names = _names(losses)
    parts = [
        _function(name, term, words, by_class)
        for name, term in zip(names, losses, strict=True)
    ]
    if len(parts) > 1:
        factors = [factor for factor, _ in terms]
        parts.append(_total(repr(loss), names, factors))
    text = "\n\n\n".join(parts) + "\n"
    return _header(losses, words, text) + text


def _names(losses: list[Loss]) -> list[str]:
    """Name the functions; a weighted sum has no name that could be called."""
    names: list[str] = []
    for loss in losses:
        name = loss.name if loss.name.isidentifier() else "loss"
        names.append(f"{name}_{len(names) + 1}" if name in names else name)
    return names


def _header(losses: list[Loss], words: Words, text: str) -> str:
    used = [
        line
        for line in words.spelling.header.splitlines()
        if line != "import jax" or re.search(r"\bjax\.\w", text)
    ]
    lines = [*used, "", "", ""]
    if any(uses_math([_renamed(loss)[0].value]) for loss in losses):
        lines = ["import math", "", *lines]
    return "\n".join(lines)


def _total(written: str, names: list[str], factors: list[float]) -> str:
    calls = [
        f"{name}(y_true, y_pred)"
        if factor == 1
        else f"{factor!r} * {name}(y_true, y_pred)"
        for name, factor in zip(names, factors, strict=True)
    ]
    lines = [f'"""The weighted sum {written}."""', f"return {' + '.join(calls)}"]
    return _defined("total", {}, lines)


def _function(name: str, loss: Loss, words: Words, by_class: bool) -> str:
    """Write the function of one loss."""
    formula, params = _renamed(loss)
    write = _STRUCTURES[loss.structure.name]
    lines = write(loss, formula.value, words, by_class)
    text, outside = "\n".join(lines), set(loss.parameters) - set(loss.formula.params)
    # A number of the structure's that is not in use is no argument.
    params = {k: v for k, v in params.items() if k not in outside or k in text}
    return _defined(name, params, [*_documentation(loss), *lines])


def _defined(name: str, params: Mapping[str, float], lines: list[str]) -> str:
    arguments = ["y_true", "y_pred", *(f"{p}={v!r}" for p, v in params.items())]
    head = f"def {name}({', '.join(arguments)}):"
    return "\n".join([head, *(_INDENT + line if line else "" for line in lines)])


# Names that the text uses for itself.
_TAKEN = re.compile(
    r"y_true|y_pred|np|torch|tf|jax|jnp|math|t\d+|e|p|y|z|tp|axes|hit|leader|mask"
    r"|others|prob|some|top|true"
)


def _renamed(loss: Loss) -> tuple[Formula, dict[str, float]]:
    """Move parameters out of the way of the names that the text uses."""
    formula = loss.definition.forms[loss.form]
    names = {p: f"{p}_" if _TAKEN.fullmatch(p) else p for p in formula.params}
    value = substitute(
        formula.value, {parameter(p): parameter(n) for p, n in names.items()}
    )
    params = dict(zip(names.values(), loss.params, strict=True))
    # The structure's own numbers, which the formula does not see.
    outside = set(loss.parameters) - set(formula.params)
    params |= {k: v for k, v in loss.parameters.items()
               if k in outside and isinstance(v, float)}  # fmt: skip
    return Formula(value, formula.inputs, tuple(params)), params


def _documentation(loss: Loss) -> list[str]:
    """Return a docstring: the first sentence, the source, what the arrays hold."""
    paragraphs = loss.definition.doc.split("\n\n")
    first = paragraphs[0].strip() or f"The loss {loss.name}."
    sources = [p for p in paragraphs[1:] if re.search(r"\(\d{4}\)", p)]
    text = "\n\n".join([first, *sources, _held(loss)]).replace('"""', "'''")
    raw = "r" if "\\" in text else ""
    return f'{raw}"""{text}\n"""'.splitlines()


def _held(loss: Loss) -> str:
    signature = loss.structure.signatures[0]
    target, prediction = loss.structure.kinds(loss, signature)
    return f"y_true: {target.phrase}; y_pred: {prediction.phrase}."


# -- the array code of the structures -------------------------------------------------

_COUNTED = ("label", "fraction", "count")  # targets that may well be whole numbers


def _mean(root: Node, words: Words, like: str) -> list[str]:
    lines, (value,) = body([root], words.spelling, like)
    return [*lines, f"return {words.spelling.mean.format(value)}"]


def _pointwise(loss: Loss, root: Node, words: Words, by_class: bool) -> list[str]:
    arrays = {symbol("y"): symbol("y_true"), symbol("z"): symbol("y_pred")}
    lines = []
    if loss.target.name in _COUNTED:
        lines.append(f"y_true = {words.cast.format('y_true', 'y_pred')}")
    return [*lines, *_mean(substitute(root, arrays), words, "y_pred")]


def _rowwise(loss: Loss, root: Node, words: Words, by_class: bool) -> list[str]:
    odds = loss.form == "class_logits"
    labels = loss.structure.indexed(loss.structure.signatures[0])
    smoothed = bool(loss.parameters.get("label_smoothing"))
    if labels and not smoothed:
        lines = _label_odds(words) if odds else _label_share(words)
        at_one = Formula(root, ("y", "z")).at(y=1.0).value
        return [*lines, *_mean(at_one, words, "z")]
    lines = _smoothed(words, labels) if smoothed else []
    lines += _class_odds(words) if odds else ["z = y_pred"]
    if not smoothed:
        root = substitute(root, {symbol("y"): symbol("y_true")})
    written, (value,) = body([root], words.spelling, "z")
    rows = f"{words.sum}({value}, {words.axis})"
    return [*lines, *written, f"return {words.spelling.mean.format(rows)}"]


def _smoothed(words: Words, labels: bool) -> list[str]:
    """Write the smoothed targets; NaN, never a plausible number, for no class."""
    smoothed = "y = (1 - label_smoothing) * {} + label_smoothing / y_pred.shape[-1]"
    if not labels:
        return [smoothed.format("y_true")]
    hit = words.cast.format("hit", "y_pred")
    return [
        f"hit = {words.one_hot.format('y_true')}",
        f"hit = {hit}",
        f"hit = hit / {words.sum}(hit, {words.keep})",
        smoothed.format("hit"),
    ]


def _label_share(words: Words) -> list[str]:
    """Pick the true class's share; -inf, never a plausible number, without one."""
    kept = words.call("where", "hit", "y_pred", f"-{words.inf}")
    return [
        f"hit = {words.one_hot.format('y_true')}",
        f"z = {words.max}({kept}, {words.axis})",
    ]


def _label_odds(words: Words) -> list[str]:
    """Write the log-odds of the true class; the others have their own maximum."""
    *hit, share = _label_share(words)
    total = f"{words.sum}({words.call('exp', 'others - top')}, {words.axis})"
    top = words.constant.format(f"{words.max}(others, {words.keep})")
    finite = words.call("where", f"{words.finite}(top)", "top", "0.0")
    return [
        *hit,
        f"true = {share.removeprefix('z = ')}",
        f"others = {words.call('where', '~hit', 'y_pred', f'-{words.inf}')}",
        f"top = {top}",
        f"top = {finite}",
        "# The log-odds of the true class against all others.",
        f"z = true - top[..., 0] - {words.call('log', total)}",
    ]


def _class_odds(words: Words) -> list[str]:
    """Write the log-odds of every class; the leader's others are summed apart."""
    top = words.constant.format(f"{words.max}(y_pred, {words.keep})")
    leader = words.one_hot.format(f"{words.argmax}(y_pred, {words.axis})")
    rest = f"{words.sum}({words.call('where', '~leader', 'e', '0.0')}, {words.keep})"
    less = f"{words.sum}(e, {words.keep}) - e"
    some = words.call("where", "others != 0", "others", "1.0")
    odds = f"y_pred - top - {words.call('log', some)}"
    return [
        f"top = {top}",
        f"e = {words.call('exp', 'y_pred - top')}",
        f"leader = {leader}",
        f"others = {words.call('where', 'leader', rest, less)}",
        "# The log-odds of each class against all others.",
        f"z = {words.call('where', 'others != 0', odds, words.inf)}",
    ]


def _overlap(loss: Loss, root: Node, words: Words, by_class: bool) -> list[str]:
    per_image = loss.parameters["over"] == "image"
    prepare = _class_masks if by_class else _masks
    lines = prepare(loss, words, per_image)
    for name, what in (("tp", "mask * prob"), ("y", "mask"), ("p", "prob")):
        lines.append(f"{name} = {words.sum}({what}, {words.over})")
    lines.append("some = y + p != 0  # what is empty on both sides does not count")
    lines += [
        f"{name} = {words.call('where', 'some', name, '1.0')}"
        for name in ("tp", "y", "p")
    ]
    written, (value,) = body([root], words.spelling, "p")
    total = f"{words.sum}({words.call('where', 'some', value, '0.0')})"
    count = f"{words.sum}({words.cast.format('some', 'p')})"
    return [*lines, *written, f"return {total} / {count}"]


def _masks(loss: Loss, words: Words, per_image: bool) -> list[str]:
    axes = "tuple(range(1, len(y_pred.shape))) or None" if per_image else "None"
    p = words.call("sigmoid", "y_pred") if loss.form == "logit" else "y_pred"
    return [
        f"axes = {axes}",
        f"mask = {words.cast.format('y_true', 'y_pred')}",
        f"prob = {p}",
    ]


def _class_masks(loss: Loss, words: Words, per_image: bool) -> list[str]:
    axes = "tuple(range(len(y_pred.shape) - 1))"
    if per_image:
        axes = "tuple(range(1, len(y_pred.shape) - 1)) or (0,)"
    hit = words.one_hot.format("y_true")
    lines = [f"axes = {axes}", f"mask = {words.cast.format(f'({hit})', 'y_pred')}"]
    if loss.form != "logit":
        return [*lines, "prob = y_pred"]
    if words.spelling.name == "numpy":
        lines.append("e = np.exp(y_pred - np.max(y_pred, axis=-1, keepdims=True))")
    return [*lines, f"prob = {words.softmax}"]


def _pairwise(loss: Loss, root: Node, words: Words, by_class: bool) -> list[str]:
    lines = []
    if loss.parameters["similarity"] == "cosine":
        for x in ("y_true", "y_pred"):
            top = f"{words.max}({words.call('abs', x)}, {words.keep})"
            square = f"{words.sum}({x} * {x}, {words.keep})"
            lines += [
                f"top = {words.constant.format(top)}",
                f"{x} = {x} / {words.call('where', 'top != 0', 'top', '1.0')}",
                f"square = {square}",
                f"some = {words.call('where', 'square != 0', 'square', '1.0')}",
                f"{x} = {x} / {words.call('sqrt', 'some')}",
            ]
    scores = f"y_pred @ {words.transposed.format('y_true')} / temperature"
    structure: Any = loss.structure
    if structure.each == "pair":
        return [*lines, *_every_pair(root, words, f"{scores} + bias")]
    at_one = Formula(root, ("y", "z")).at(y=1.0).value
    inner = [*_label_odds(words), *_mean(at_one, words, "z")]
    lines += [
        f"labels = {words.labels}",
        f"scores = {scores}",
        "",
        "def found(y_true, y_pred):",
        *(_INDENT + line for line in inner),
        "",
    ]
    if loss.parameters["direction"] == "forward":
        return [*lines, "return found(labels, scores)"]
    back = f"found(labels, {words.transposed.format('scores')})"
    return [*lines, f"return (found(labels, scores) + {back}) / 2"]


def _every_pair(root: Node, words: Words, scores: str) -> list[str]:
    """Write the sum over each row's pairs, of which one belongs together."""
    hit = words.one_hot.format(words.labels)
    root = substitute(root, {symbol("z"): symbol("y_pred")})
    written, (value,) = body([root], words.spelling, "y_pred")
    rows = f"{words.sum}({value}, {words.axis})"
    return [
        f"y_pred = {scores}",
        f"y = {words.cast.format(f'({hit})', 'y_pred')}",
        *written,
        f"return {words.spelling.mean.format(rows)}",
    ]


_Writer = Callable[["Loss", Node, Words, bool], list[str]]
_STRUCTURES: dict[str, _Writer] = {
    "pointwise": _pointwise,
    "rowwise": _rowwise,
    "overlap": _overlap,
    "pairwise": _pairwise,
}
