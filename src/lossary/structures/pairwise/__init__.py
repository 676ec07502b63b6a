"""Pairwise losses: every row of predictions is compared with every row of targets.

Row i of the predictions belongs to row i of the targets; all other rows of the batch
are what it must be told from. A member sees, per pair that belongs together, the
log-odds of that pair against the others of its row, as a rowwise loss does; or every
pair, and whether it belongs together, as a loss of two classes does. The matrix of
all scores is stored for small batches alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lossary.errors import ParameterError
from lossary.loss import Loss
from lossary.parameters import Choice, Param
from lossary.structures.declare import define
from lossary.structures.pairwise.structure import Pairs, Pairwise

_LINE = float("-inf"), float("inf")
_STRUCTURES: Mapping[str, Pairwise] = {each: Pairwise(each) for each in ("row", "pair")}


def pairwise(
    *,
    each: str = "row",
    temperature: float = 1.0,
    bias: float = 0.0,
    elicits: str = "",
) -> Callable[[Callable[..., Any]], Loss]:
    """Make a loss of embeddings of a formula of ``y`` and ``z``.

    Every member has the parameters ``temperature``, which divides the similarities
    and may be learned, and ``similarity``, ``"cosine"`` or ``"dot"``. Of a row, it sees
    one thing: its log-odds ``z`` of finding its own target, with ``y`` = 1; and it has
    the parameter ``direction``: ``"forward"`` finds a prediction's target among all
    targets, ``"both"`` a target's prediction among all predictions too, and takes the
    mean. Or it sees each pair of a row, the pair's score ``z`` and in ``y`` whether it
    is the row's own, 1 or 0; the row's loss is their sum, and it has the parameter
    ``bias``, which is added to every score and may be learned.

    Parameters
    ----------
    each
        What the formula is of: ``"row"`` or ``"pair"``.
    temperature
        The default.
    bias
        The default, for pairs.
    elicits
        The functional that minimises the expected loss.

    Raises
    ------
    ParameterError
        If `each` is another word, or there is a bias for rows: log-odds have none.

    Examples
    --------
    >>> from lossary import pairwise
    >>> from lossary.ops import softplus, weighted
    >>> @pairwise(temperature=0.5)
    ... def told_apart(y, z):
    ...     return weighted(y, softplus(-z))
    >>> keys = [[1.0, 0.0], [0.0, 1.0]]
    >>> round(float(told_apart(keys, keys)), 4)
    0.1269
    >>> @pairwise(each="pair", bias=-0.5)
    ... def squared(y, z):
    ...     return (z - y) ** 2
    >>> float(squared(keys, keys))
    0.5
    """
    if each not in _STRUCTURES:
        raise ParameterError(
            f"each must be one of {tuple(_STRUCTURES)}, got {each!r}; 'row' makes a "
            "loss of log-odds, 'pair' one of the score of every pair"
        )
    if each == "row" and bias:
        raise ParameterError(
            f"bias must be 0 for losses of rows, got {bias!r}: log-odds do not change "
            "with it; pass each='pair' for a loss of every pair"
        )
    learned = Param(
        temperature,
        gt=0,
        about="what similarities are divided by",
        learn=(0, float("inf")),
    )
    shift = Param(bias, about="what is added to every score", learn=_LINE)
    others: dict[str, Param | Choice] = (
        {"bias": shift}
        if each == "pair"
        else {"direction": Choice(("forward", "both"))}
    )

    def declare(function: Callable[..., Any]) -> Loss:
        return define(
            function,
            structure=_STRUCTURES[each],
            target="embedding",
            prediction="embedding",
            elicits=elicits,
            link="identity",
            forms={},
            majoriser=None,
            options={
                "temperature": learned,
                "similarity": Choice(("cosine", "dot")),
                **others,
            },
        )

    return declare


__all__ = ["Pairs", "Pairwise", "pairwise"]
