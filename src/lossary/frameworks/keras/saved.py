"""How a saved Keras model names its loss: by text that a fresh process understands."""

from __future__ import annotations

import ast
import sys
from typing import Any

from lossary.combination import Combination, combine
from lossary.errors import LossaryError, NameLookupError, ParameterError
from lossary.loss import Loss
from lossary.registry import get

Text = str | list[Any]


def written(loss: Loss | Combination) -> Text:
    """Return the text of a loss, or factors and texts of a sum.

    A loss of one's own is its module and its name: ``"mypackage.losses:cauchy"``.

    Raises
    ------
    ParameterError
        If the text would not lead back to the loss.

    Examples
    --------
    >>> from lossary.registry import get
    >>> written(get("0.5*dice + huber(delta=2)"))
    '0.5*dice + huber(delta=2.0)'
    """
    if _leads_to(loss, repr(loss)):
        return repr(loss)
    if isinstance(loss, Combination):
        return [[factor, written(term)] for factor, term in loss.terms]
    text = f"{loss.definition.module}:{loss!r}"
    if _leads_to(loss, text):
        return text
    raise ParameterError(
        f"{loss.name} cannot be saved with a model, since no name leads back to it; "
        "write its formula, with any factor in it, as a function under @pointwise at "
        "the top of a module"
    )


def read(text: Text) -> Any:
    """Return the loss of a text.

    Nothing is imported for it: a file must not choose what code runs.

    Raises
    ------
    NameLookupError
        If the module of a loss of one's own is not imported, or has no such loss.
    ParameterError
        If it is no text of a loss, as in a damaged file.

    Examples
    --------
    >>> read([[0.5, "dice"], [1.0, "cross_entropy"]])
    0.5*dice + cross_entropy
    """
    try:
        if not isinstance(text, str):
            return combine([(factor, read(term)) for factor, term in text])
        module, _, call = text.rpartition(":")
        return _own(module, call) if module else get(text)
    except LossaryError:
        raise
    except (SyntaxError, TypeError, ValueError) as error:
        raise ParameterError(f"{text!r} is no loss that was saved") from error


def _own(module: str, call: str) -> Any:
    """Return a loss of the user's own, from a module that is already imported."""
    tree = ast.parse(call, mode="eval").body
    options = {}
    if isinstance(tree, ast.Call):
        options = {k.arg or "": ast.literal_eval(k.value) for k in tree.keywords}
        tree = tree.func
    name = ast.unparse(tree)
    loss = getattr(sys.modules.get(module), name, None)
    if not isinstance(loss, Loss):
        raise NameLookupError(
            f"the saved loss is {name} of the module {module}, and "
            + (f"{module} has no loss of this name; define it there"
               if module in sys.modules
               else f"{module} is not imported; import it before loading the model")
        )  # fmt: skip
    return loss.bind(**options)


def _leads_to(loss: Any, text: str) -> bool:
    try:
        return bool(read(text) == loss)
    except LossaryError:
        return False
