"""All losses by name, read from the family files: a definition is its own export."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import lru_cache
from typing import Any

from lossary import losses
from lossary.errors import NameLookupError, ParameterError, nearest
from lossary.loss import Loss


@lru_cache(maxsize=1)
def registry() -> dict[str, Loss]:
    """Return every built-in loss by name."""
    found: dict[str, Loss] = {}
    for module in pkgutil.iter_modules(losses.__path__):
        family = importlib.import_module(f"{losses.__name__}.{module.name}")
        for value in vars(family).values():
            if isinstance(value, Loss):
                found[value.name] = value
    return found


def families() -> list[str]:
    """Name the families of losses."""
    return sorted({loss.definition.family for loss in registry().values()})


def names(*, family: str | None = None) -> list[str]:
    """List the losses, or those of one family.

    Examples
    --------
    >>> import lossary as ls
    >>> ls.names(family="segmentation")
    ['dice', 'focal_tversky', 'jaccard', 'tversky']
    """
    if family is not None and family not in families():
        raise NameLookupError(
            f"there is no family {family!r}; {nearest(family, families())}"
        )
    return sorted(
        name
        for name, loss in registry().items()
        if family in (None, loss.definition.family)
    )


def get(spec: Any, **options: Any) -> Any:
    """Return a loss by any name that people know, with its exact factor.

    Parameters
    ----------
    spec
        A name (``"huber"``), a name of another library (``"mse"``,
        ``"torch.nn.SmoothL1Loss"``), a call (``"huber(delta=2)"``), a weighted sum
        (``"0.5*dice + cross_entropy"``), or a loss.
    **options
        Parameters, in the words of the name that was given.

    Raises
    ------
    NameLookupError
        For a name that nobody knows, with the nearest ones.

    Examples
    --------
    >>> import lossary as ls
    >>> ls.get("huber(delta=2)")
    huber(delta=2.0)
    >>> ls.get("torch.nn.SmoothL1Loss", beta=2.0)
    0.5*huber(delta=2.0)
    """
    if not isinstance(spec, str):
        return spec(**options) if options else spec
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
    except SyntaxError:
        return _named(spec.strip(), options)  # a name with a colon, such as reg:gamma
    return _evaluate(tree, spec, options)


def _evaluate(tree: ast.expr, spec: str, options: dict[str, Any]) -> Any:
    if isinstance(tree, (ast.Name, ast.Attribute)):
        return _named(ast.unparse(tree), options)
    if isinstance(tree, ast.Call) and not tree.args:
        given = {k.arg: _literal(k.value, spec) for k in tree.keywords if k.arg}
        return _named(ast.unparse(tree.func), {**given, **options})
    if isinstance(tree, ast.BinOp):
        left, right = (_operand(side, spec) for side in (tree.left, tree.right))
        if isinstance(tree.op, ast.Add):
            return left + right
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.Div):
            return left / right
    raise ParameterError(
        f"{spec!r} is not a loss; write a name, a call such as 'huber(delta=2)', or a "
        "sum such as '0.5*dice + cross_entropy'"
    )


def _operand(tree: ast.expr, spec: str) -> Any:
    if isinstance(tree, (ast.Constant, ast.UnaryOp)):
        return _literal(tree, spec)
    return _evaluate(tree, spec, {})


def _literal(tree: ast.expr, spec: str) -> Any:
    try:
        return ast.literal_eval(tree)
    except ValueError:
        raise ParameterError(
            f"{spec!r}: {ast.unparse(tree)} must be a number, a word in quotes, True "
            "or False"
        ) from None


def _named(name: str, options: dict[str, Any]) -> Any:
    loss = registry().get(name)
    if loss is not None:
        return loss(**options) if options else loss
    from lossary.aliases import alias, known  # a table that few programs need

    found = alias(name, options, registry())
    if found is None:
        raise NameLookupError(
            f"no loss is called {name!r}; {nearest(name, [*registry(), *known()])}"
        )
    return found
