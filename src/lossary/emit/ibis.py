"""SQL through Ibis: a loss over columns whose data never leave their engine."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lossary.errors import KindError, MissingExtraError, ParameterError, nearest
from lossary.expr.derivative import propagates
from lossary.expr.graph import Node, is_scalar, parameter, symbol, topological
from lossary.expr.reference import evaluate

if TYPE_CHECKING:
    from lossary.loss import Loss

try:
    import ibis
    import sqlglot
except ImportError as error:
    raise MissingExtraError(
        'SQL needs Ibis, which is not installed; run pip install "lossary[sql]"'
    ) from error


def _log1p(x: Any) -> Any:
    """Return log(1 + x) with all digits: the rounding of 1 + x is divided out."""
    u = 1 + x
    mended = u.ln() * x / (u - 1)
    return ibis.ifelse(u == 1, x, ibis.ifelse(u == x, u.ln(), mended))


def _expm1(x: Any) -> Any:
    """Return exp(x) - 1 with all digits, in the same way."""
    u = x.exp()
    mended = (u - 1) * x / u.ln()
    flat = (u - 1 == -1) | (u == u - 1)
    return ibis.ifelse(u == 1, x, ibis.ifelse(flat, u - 1, mended))


def _tanh(x: Any) -> Any:
    t = _expm1(-2 * x.abs())
    return -x.sign() * t / (2 + t)


def _sigmoid(x: Any) -> Any:
    e = (-x.abs()).exp()
    return ibis.ifelse(x >= 0, 1.0, e) / (1 + e)


def _softplus(x: Any) -> Any:
    return ibis.greatest(x, 0.0) + _log1p((-x.abs()).exp())


_SPELLING: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "pow": operator.pow,
    "abs": lambda x: x.abs(),
    "sign": lambda x: x.sign(),
    "minimum": lambda a, b: ibis.least(a, b),
    "maximum": lambda a, b: ibis.greatest(a, b),
    "where": lambda c, a, b: ibis.ifelse(c, a, b),
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "exp": lambda x: x.exp(),
    "expm1": _expm1,
    "log": lambda x: x.ln(),
    "log1p": _log1p,
    "sqrt": lambda x: x.sqrt(),
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "xlogy": lambda x, y: ibis.ifelse(x == 0, 0.0, x * y.ln()),
}


FORGETFUL = frozenset({"minimum", "maximum"})
"""LEAST and GREATEST leave NULL and NaN aside in many engines."""


def _items(loss: Loss, y: Any, p: Any) -> Any:
    """Write the formula over two columns."""
    if loss.structure.name != "pointwise":
        raise ParameterError(
            f"{loss.name} compares rows of several columns, and SQL is written for "
            "losses of one target and one prediction column; compute it on arrays"
        )
    for argument, given in (("y_true", y), ("y_pred", p)):
        if not isinstance(given, ibis.expr.types.Column):
            raise KindError(
                f"{loss.name}: {argument} is a {type(given).__name__} beside an Ibis "
                "column; pass two columns of one table, or two arrays"
            )
    formula = loss.formula
    numbers = {
        parameter(n): v for n, v in zip(formula.params, loss.params, strict=True)
    }
    written: dict[Node, Any] = {
        symbol(name): column.cast("float64")
        for name, column in zip(formula.inputs, (y, p), strict=True)
    }
    for node in topological([formula.value]):
        if node in written:
            continue
        if is_scalar(node):  # of parameters alone: a number in the text
            written[node] = evaluate(node, numbers)
        elif node.op == "where" and is_scalar(node.args[0]):  # decided by parameters
            condition, a, b = node.args
            taken = written[a if written[condition] else b]
            written[node] = ibis.literal(taken) if isinstance(taken, float) else taken
        else:
            written[node] = _SPELLING[node.op](*(written[a] for a in node.args))
    result = written[formula.value]
    for name in formula.inputs:
        if not propagates(formula.value, symbol(name), FORGETFUL):
            x = written[symbol(name)]
            # False for NaN, in an engine that sorts it last too, and for NULL.
            result = ibis.ifelse(-x.abs() <= 0, result, x)
    return result


def column(
    loss: Loss, y: Any, p: Any, sample_weight: Any, mask: Any, reduction: str
) -> Any:
    """Return the loss of two Ibis columns as an Ibis expression.

    Rows in which the loss is NULL are left out, as SQL's own averages do.

    Parameters
    ----------
    loss
        A pointwise loss.
    y, p
        Numeric columns of one table.
    sample_weight, mask
        Columns, or None; a weight of 0 or a false mask removes a row.
    reduction
        As in a call, without ``"mean_over_rows"``.
    """
    if reduction == "mean_over_rows":
        raise ParameterError(
            'reduction="mean_over_rows" needs the axes of an array; in a table, group '
            "by the row and average twice"
        )
    items = _items(loss, y, p)
    if sample_weight is None and mask is None:
        return {"none": items, "sum": items.sum()}.get(reduction, items.mean())
    weight = ibis.literal(1.0) if sample_weight is None else sample_weight
    keep = y.notnull() & p.notnull()
    if sample_weight is not None:
        keep &= sample_weight != 0
    if mask is not None:
        keep &= mask.cast("boolean")
    if reduction == "none":
        return ibis.ifelse(keep, weight * items, 0.0)
    total = ibis.ifelse(keep, weight * items, 0.0).sum()
    if reduction == "sum":
        return total
    share = weight if reduction == "mean" else 1.0
    return total / ibis.ifelse(keep, share, 0.0).sum().nullif(0)


def sql(
    loss: Loss,
    y: str,
    p: str,
    dialect: str,
    sample_weight: str | None,
    reduction: str,
) -> str:
    """Print the loss of two columns as a SQL expression of a dialect."""
    known = sorted(d.value for d in sqlglot.Dialects if d.value)
    if dialect not in known:
        raise ParameterError(
            f"there is no SQL dialect {dialect!r}; {nearest(str(dialect), known)}"
        )
    names = [y, p] if sample_weight is None else [y, p, sample_weight]
    table = ibis.table(dict.fromkeys(names, "float64"), name="t")
    weight = None if sample_weight is None else table[sample_weight]
    expression = column(loss, table[y], table[p], weight, None, reduction)
    text = str(ibis.to_sql(expression, dialect="duckdb"))
    select = sqlglot.parse_one(text, read="duckdb")
    assert isinstance(select, sqlglot.exp.Select)
    written = select.selects[0].unalias()
    for name in written.find_all(sqlglot.exp.Column):
        name.set("table", None)
    result: str = written.sql(dialect=dialect)
    return result
