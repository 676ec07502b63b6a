"""Errors and warnings of a loss in the words of PyTorch: ``input`` and ``target``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import torch

from lossary.errors import LossaryError, LossaryWarning

_WORDS = {"y_true": "target", "y_pred": "input"}
_NAMES = re.compile(r"\b(y_true|y_pred)\b")


def in_words_of_torch(
    compute: Callable[..., Any], check: str, *arguments: Any, stacklevel: int = 5
) -> Any:
    """Compute, with errors and warnings that name arguments as PyTorch does.

    Parameters
    ----------
    compute : callable
        Called with the arguments.
    check : {"raise", "warn", "off"}
        Only with ``"warn"`` are there warnings to reword.
    stacklevel : int
        Where a warning points; the default is past ``forward`` and a module's call.

    Examples
    --------
    >>> import lossary as ls
    >>> in_words_of_torch(ls.huber, "raise", [1.0, 2.0], [1.0])
    Traceback (most recent call last):
    lossary.errors.ShapeError: huber: target has shape (2,) and input has shape (1,)...
    """
    try:
        if check != "warn" or torch.compiler.is_compiling():
            return compute(*arguments)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = compute(*arguments)
    except LossaryError as error:
        raise type(error)(_renamed(error.args[0])) from None
    for warning in caught:
        ours = issubclass(warning.category, LossaryWarning)
        text = _renamed(str(warning.message)) if ours else warning.message
        warnings.warn(text, warning.category, stacklevel=stacklevel)
    return result


def _renamed(message: str) -> str:
    return _NAMES.sub(lambda found: _WORDS[found[0]], message)
