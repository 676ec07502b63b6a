"""Every error that lossary raises on purpose, drawn as a tree.

::

    LossaryError
    ├── ShapeError(ValueError)          two shapes that a loss cannot pair
    ├── DomainError(ValueError)         a value where nothing is defined
    ├── KindError(TypeError)            an array of an unusable type or dtype
    ├── ParameterError(ValueError)      an option, unknown or out of range
    ├── NameLookupError(LookupError)    a name or a file that is not there
    ├── FormulaError(TypeError)         a formula outside the vocabulary
    ├── DataError(ValueError)           a data set that cannot be used as it is
    └── MissingExtraError(ImportError)  an optional library that is not installed

    LossaryWarning(UserWarning)         the same sentences, under ``check="warn"``

A message is one sentence: what was given, what is allowed, how to mend it. The
command line prints the message alone and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LossaryError(Exception):
    """Base of every error that lossary raises on purpose."""


class ShapeError(LossaryError, ValueError):
    """Two arrays have shapes that a loss cannot pair."""


class DomainError(LossaryError, ValueError):
    """A value lies outside what a loss or a metric is defined on."""


class KindError(LossaryError, TypeError):
    """An array has a type or a dtype that cannot be used."""


class ParameterError(LossaryError, ValueError):
    """A parameter or an option is unknown or out of range."""


class NameLookupError(LossaryError, LookupError):
    """A loss, metric, column or file does not exist under the given name."""


class FormulaError(LossaryError, TypeError):
    """A formula steps outside the vocabulary of `lossary.ops`."""


class DataError(LossaryError, ValueError):
    """A data set cannot be used as it is."""


class MissingExtraError(LossaryError, ImportError):
    """An optional library is needed and not installed."""


class LossaryWarning(UserWarning):
    """Something is almost surely wrong; raised as an error unless told otherwise."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Say which known names are spelt most like `name`.

    Examples
    --------
    >>> nearest("hubber", ["huber", "hinge", "dice"])
    "did you mean 'huber'?"
    """
    known = sorted(set(known))
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=n, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(lowered[c]) for c in close) + "?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"known names are {shown}"


def some_rows(rows: Iterable[int], total: int | None = None, shown: int = 3) -> str:
    """Name the first few rows of an offence, and how many there are.

    Examples
    --------
    >>> some_rows([4])
    'row 4'
    >>> some_rows([4, 7, 8, 9, 11])
    'rows 4, 7, 8 and 2 more'
    """
    listed = [int(r) for r in rows]
    total = len(listed) if total is None else total
    first = ", ".join(str(r) for r in listed[:shown])
    word = "row" if total == 1 else "rows"
    more = total - min(shown, len(listed))
    return f"{word} {first}" + (f" and {more} more" if more > 0 else "")
