"""Which losses a comparison trains with: what was asked for, made ready to run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from lossary.combination import Combination, terms_of
from lossary.errors import (
    DataError,
    KindError,
    LossaryError,
    NameLookupError,
    ParameterError,
    nearest,
)
from lossary.loss import Loss
from lossary.registry import get, registry
from lossary.workbench.choose import Choice
from lossary.workbench.transforms import (
    check_transform,
    default_transform,
    split_spec,
)
from lossary.workbench.trial import Arm

AnyLoss = Loss | Combination


def load_loss(spec: str) -> AnyLoss:
    """Find a loss by any name, or in a module or a file of the user's.

    Parameters
    ----------
    spec : str
        What `lossary.get` takes; or ``"mymodule:my_loss"``, where the current folder
        is searched too; or ``"path/to/file.py:my_loss"``. Parameters may follow:
        ``"mymodule:my_loss(scale=2)"``.

    Raises
    ------
    NameLookupError
        There is no such loss, module or file.
    KindError
        What was found is no loss.

    Examples
    --------
    >>> load_loss("mse")
    squared_error
    """
    found: Any
    try:
        found = get(spec)
    except NameLookupError:
        place, colon, tail = spec.strip().rpartition(":")
        if not colon:
            raise
        found = _from_module(_module(place), place, tail)
    if not isinstance(found, Loss | Combination):
        raise KindError(
            f"{spec} is a {type(found).__name__} and not a loss; train with a "
            "loss such as 'huber', or decorate a formula with @lossary.pointwise"
        )
    return found


def make_arms(
    losses: Iterable[str | AnyLoss] | None,
    control: str | AnyLoss | None,
    choice: Choice,
) -> tuple[tuple[Arm, ...], Arm]:
    """Make what was asked for ready to run.

    Parameters
    ----------
    losses : iterable of str or Loss, optional
        Default: the candidates of `choice`. A spec may end in a transform, as in
        ``"binary_cross_entropy+threshold"``.
    control : str or Loss, optional
        Default: the library's default loss.
    choice : Choice

    Returns
    -------
    arms : tuple of Arm
        The control is among them.
    control : Arm
    """
    if losses is None and not choice.candidates:
        raise DataError("; ".join(f"{r.subject}: {r.reason}" for r in choice.refusals))
    if isinstance(losses, str | Loss | Combination):
        losses = [losses]
    asked = [c.name for c in choice.candidates] if losses is None else losses
    if control is None and choice.control is None:
        raise DataError("; ".join(f"{r.subject}: {r.reason}" for r in choice.refusals))
    default = "" if choice.control is None else choice.control.name
    base = _arm(default if control is None else control, choice)
    arms = {base.name: base}
    for arm in (_arm(given, choice) for given in asked):
        known = arms.setdefault(arm.name, arm)
        if known.fingerprint != arm.fingerprint:
            raise ParameterError(
                f"two different losses are called {arm.name}; give one another name"
            )
    return tuple(arms.values()), base


def _arm(given: str | AnyLoss, choice: Choice) -> Arm:
    transform = None
    if isinstance(given, str):
        spec, transform = split_spec(given)
        loss = load_loss(spec)
    elif isinstance(given, Loss | Combination):
        loss = given
        spec = repr(loss) if all(_known(term) for _, term in terms_of(loss)) else ""
    else:
        raise KindError(
            f"a loss is a name or a lossary.Loss; got a {type(given).__name__} "
            "(a formula becomes a loss by @lossary.pointwise)"
        )
    if transform is None:
        transform = default_transform(loss, choice.metric)
    check_transform(transform, loss, choice.metric)
    plain = Arm(loss, transform, source=spec)
    for c in choice.candidates:
        if Arm(get(c.loss), c.transform).fingerprint == plain.fingerprint:
            return Arm(loss, transform, c.tier, c.reason, spec)
    return plain


def _known(loss: Loss) -> bool:
    """Say whether a loss is one of the library's own."""
    known = registry().get(loss.name)
    return known is not None and known.definition is loss.definition


# -- losses in the user's own files ----------------------------------------------------


def _module(place: str) -> ModuleType:
    file = Path(place)
    folder = file.parent if file.suffix == ".py" else Path.cwd()
    try:
        with _importable(folder):
            if file.suffix == ".py":
                return _from_file(file)
            return importlib.import_module(place)
    except (LossaryError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        if error.name != place.partition(".")[0]:
            raise NameLookupError(f"{place} cannot be imported: {error}") from error
        raise NameLookupError(
            f"there is no module {place!r} here or among the installed ones; write "
            "'mymodule:my_loss' or 'path/to/file.py:my_loss'"
        ) from None
    except Exception as error:  # the user's module may raise anything
        raise NameLookupError(
            f"{place} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _from_file(file: Path) -> ModuleType:
    if not file.is_file():
        known = [f.name for f in file.parent.glob("*.py")]
        hint = f"; {nearest(file.name, known)}" if known else ""
        raise NameLookupError(f"there is no file {file}{hint}")
    found = importlib.util.spec_from_file_location(file.stem, file)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _from_module(module: ModuleType, place: str, tail: str) -> Any:
    name, parameters = _call(place, tail)
    found = getattr(module, name, None)
    if found is None:
        losses = [k for k, v in vars(module).items() if isinstance(v, Loss)]
        hint = nearest(name, losses) if losses else "it holds no loss"
        raise NameLookupError(f"{place} has no {name!r}; {hint}")
    if parameters and isinstance(found, Loss):
        return found.bind(**parameters)
    return found


def _call(place: str, tail: str) -> tuple[str, dict[str, Any]]:
    """Read ``my_loss`` or ``my_loss(scale=2)``."""
    try:
        tree = ast.parse(tail.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            given = {k.arg: ast.literal_eval(k.value) for k in tree.keywords if k.arg}
            if not tree.args and len(given) == len(tree.keywords):
                return tree.func.id, given
    except (SyntaxError, ValueError):
        pass
    raise ParameterError(
        f"{place}:{tail} is not a loss; write it like '{place}:my_loss' or "
        f"'{place}:my_loss(scale=2)'"
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a user's module import its neighbours, as a script does."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
