"""Losses of distributions that take one logarithm a row, whatever their target."""

from __future__ import annotations

from lossary.expr.formula import Formula
from lossary.expr.graph import Node, apply, const, symbol, topological
from lossary.ops import weighted


def is_log_loss(formula: Formula) -> bool:
    """Say whether a formula is -y·log p and a term of the target alone, if any."""
    return beside_log_loss(formula) is not None


def beside_log_loss(formula: Formula) -> Node | None:
    """Return what a formula adds to -y·log p, if it is a term of the target alone.

    Examples
    --------
    >>> import lossary as ls
    >>> beside_log_loss(ls.cross_entropy.formula)
    0.0
    >>> beside_log_loss(ls.kl_divergence.formula)
    xlogy(y, y)
    """
    y, z = map(symbol, formula.inputs)
    log_loss = weighted(y, apply("softplus", -z))
    value = formula.value
    if value is log_loss:
        return const(0.0)
    if value.op != "add" or log_loss not in value.args:
        return None
    term = value.args[value.args[0] is log_loss]
    return None if z in topological([term]) else term
