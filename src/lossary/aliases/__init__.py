"""What each loss is called elsewhere, with its exact factor."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lossary.aliases.table import ROWS, SPOKEN, Option, Row
from lossary.errors import NameLookupError, ParameterError, nearest
from lossary.parameters import Param

if TYPE_CHECKING:
    from lossary.loss import Loss

# Other spellings of where a library keeps its losses.
_SPELLINGS = {
    "tensorflow.": "tf.",
    "tf.keras.": "keras.",
    "F.": "torch.nn.functional.",
    "optax.losses.": "optax.",
}


def elsewhere(loss: str) -> list[Row]:
    """List what a loss is called elsewhere.

    Parameters
    ----------
    loss
        The name of one of our losses.

    Returns
    -------
    list of Row
        One row per loss of another library; those that people say in short first.

    Examples
    --------
    >>> for row in elsewhere("squared_log_error"):
    ...     print(row.library, row.names[0], "=", row.meaning)
    in short msle = squared_log_error
    Keras keras.losses.MeanSquaredLogarithmicError = squared_log_error
    scikit-learn sklearn.metrics.mean_squared_log_error = squared_log_error
    XGBoost reg:squaredlogerror = 0.5*squared_log_error
    """
    return [row for row in ROWS if row.loss == loss]


def known() -> list[str]:
    """List every name of another library, in full and by its last part."""
    names = [name for row in ROWS for name in row.names]
    return sorted({*names, *(name.rpartition(".")[2] for name in names)})


def alias(name: str, options: Mapping[str, Any], losses: Mapping[str, Loss]) -> Any:
    """Return the loss, with its factor, that another library calls by a name.

    Parameters
    ----------
    name
        A full name; or a trailing part of one, where all libraries that use it mean
        the same. Capitals are ignored where nothing is spelt exactly so.
    options
        Parameters in the words of that library.
    losses
        Our losses by name.

    Returns
    -------
    Loss or Combination or None
        ``None`` for a name that nobody uses.

    Raises
    ------
    NameLookupError
        For a name of several losses that differ, with the full names to choose from.
    ParameterError
        For an option that is unknown, or that our loss does not have.

    Examples
    --------
    >>> from lossary.registry import registry
    >>> alias("SmoothL1Loss", {"beta": 2.0}, registry())
    0.5*huber(delta=2.0)
    """
    found: dict[str, Any] = {}
    refused = None
    for full, row in _called(name, losses):
        try:
            found[full] = _built(full, row, options, losses)
        except ParameterError as error:
            refused = refused or error
    if not found and refused:
        raise refused
    meanings = {repr(loss): full for full, loss in reversed(found.items())}
    if len(meanings) > 1:
        choices = " or ".join(f"{full!r} for {text}" for text, full in meanings.items())
        raise NameLookupError(f"{name!r} means more than one loss; write {choices}")
    return next(iter(found.values()), None)


@lru_cache(maxsize=2)
def _indices(lower: bool) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Index the rows by full name, and by each trailing part of a full name."""
    whole: dict[str, list[Any]] = {}
    tails: dict[str, list[Any]] = {}
    for row in ROWS:
        for full in row.names:
            key = full.lower() if lower else full
            whole.setdefault(key, []).append((full, row))
            while "." in key:
                key = key.partition(".")[2]
                tails.setdefault(key, []).append((full, row))
    return whole, tails


def _called(name: str, losses: Mapping[str, Loss]) -> list[tuple[str, Row]]:
    """Return the rows that a name may mean: those of the closest spelling."""
    for spelling, usual in _SPELLINGS.items():
        if name.startswith(spelling):
            name = usual + name.removeprefix(spelling)
    own = name.lower()
    ours = [(own, Row(own, (own,), SPOKEN))] if own in losses else []
    (whole, tails), (low_whole, low_tails) = _indices(False), _indices(True)
    return (
        whole.get(name)
        or tails.get(name)
        or ours
        or low_whole.get(own)
        or low_tails.get(own)
        or []
    )


def _built(
    name: str, row: Row, options: Mapping[str, Any], losses: Mapping[str, Loss]
) -> Any:
    """Return the loss that a row means under options in its own words."""
    ours = {key: v for key, v in options.items() if key not in row.options}
    if row.library != SPOKEN:
        for key in ours:
            near = nearest(key, row.options) if row.options else "it has none"
            raise ParameterError(
                f"{name} has no option {key!r} that changes the loss; {near}"
            )
    factor, bound = row.factor, {**row.given, **ours}
    for key, option in row.options.items():
        value = _checked(name, key, option, options.get(key, option.default))
        if option.power:
            factor *= value**option.power
        if option.ours and value is not None:
            bound[option.ours] = value
    loss = losses[row.loss].bind(**bound)
    return loss if factor == 1 else factor * loss


def _checked(name: str, key: str, option: Option, value: Any) -> Any:
    """Return an option's value, or say which values are a loss of ours."""
    if option.required and value is None:
        raise ParameterError(f"{name} has no default of {key}; pass {key}=")
    plain = isinstance(value, (bool, int, float, str, type(None)))
    if option.allowed and not (plain and value in option.allowed):
        allowed = " or ".join(f"{key}={a!r}" for a in option.allowed)
        raise ParameterError(
            f"{name} is a loss of ours with {allowed}, got "
            f"{key}={reprlib.repr(value)}; {option.instead}"
        )
    return Param(1.0, gt=0).checked(key, value, name) if option.power else value
