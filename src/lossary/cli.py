"""The command line: ``lossary list``, ``show``, ``choose`` and ``compare``.

Everything heavy is imported by the command that needs it, so that help is instant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lossary.errors import (
    LossaryError,
    NameLookupError,
    ParameterError,
    nearest,
)

try:
    from cyclopts import App, CycloptsError, Parameter
    from rich.console import Console
except ImportError as error:
    print(
        f"lossary: the command line needs {error.name}, which is not installed; "
        "pip install 'lossary[compare]' brings it",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if TYPE_CHECKING:
    from lossary.workbench.data import Dataset
    from lossary.workbench.metric import Metric
    from lossary.workbench.study import Study

BAD_INPUT = 2
INTERRUPTED = 130  # what shells report after Ctrl-C
DEMO = ("diabetes", "mape")

app = App(
    name="lossary",
    help="A glossary of loss functions that runs, and a fair comparison of them.",
    version=lambda: version("lossary"),
)
Loss = Annotated[tuple[str, ...], Parameter(negative=())]


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one sentence on stderr and exit code 2."""
    try:
        app(
            tokens,
            print_error=False,
            exit_on_error=False,
            result_action="return_value",
        )
    except CycloptsError as problem:
        _leave(" ".join(str(problem).split()), BAD_INPUT)
    except LossaryError as problem:
        _leave(str(problem), BAD_INPUT)
    except OSError as problem:
        _leave(f"{problem.filename}: {problem.strerror}", BAD_INPUT)
    except KeyboardInterrupt:
        _leave("stopped", INTERRUPTED)


@app.command(name="list")
def list_(word: str = "", /) -> None:
    """List the losses, or those that a word fits.

    Parameters
    ----------
    word
        Part of a name, here or in another library, of a family or of a description.
    """
    from lossary.aliases import elsewhere, known
    from lossary.registry import registry
    from lossary.report.terminal import loss_list

    def fits(loss: Any) -> bool:
        names = [name for row in elsewhere(loss.name) for name in row.names]
        definition = loss.definition
        texts = (loss.name, definition.family, definition.doc, *names)
        return any(word.lower() in text.lower() for text in texts)

    found = [loss for loss in registry().values() if fits(loss)]
    if not found:
        hint = nearest(word, [*registry(), *known()])
        raise NameLookupError(f"no loss fits {word!r}; {hint}")
    _console().print(loss_list(found))


@app.command
def show(name: str, /) -> None:
    """Show what a loss is: formula, gradient, facts, names elsewhere, a plot.

    Parameters
    ----------
    name
        Any name of a loss ("huber", "mse", "torch.nn.SmoothL1Loss"), with parameters
        where wanted: "huber(delta=2)". Or one of your own: mymodule:my_loss.
    """
    from lossary.report.terminal import loss_page
    from lossary.workbench.arms import load_loss

    _console().print(loss_page(load_loss(name)))


@app.command
def choose(
    data: str = "", /, *, target: str | None = None, metric: str | None = None
) -> None:
    """Say which losses fit a metric and a target, and why.

    Parameters
    ----------
    data
        A CSV or Parquet file, or an embedded data set (diabetes, breast_cancer, wine,
        digits).
    target
        The column to predict.
    metric
        What the predictions are judged by: mape, mae, rmse, log_loss, auc, ...
    """
    from lossary.workbench.choose import choose as propose

    found, judged = _data(data, target, metric)
    labels = [found.classes[k] for k in found.y] if found.classes else found.y
    _console().print(str(propose(labels, judged)))


@app.command
def compare(
    data: str = "",
    /,
    *,
    target: str | None = None,
    metric: str | None = None,
    model: str = "lightgbm",
    loss: Loss = (),
    control: str | None = None,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    rope: float | None = None,
    jobs: int | None = None,
    store: Path | None = None,
    report: Path = Path("report.html"),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Train a model with several losses and say which one the metric favours.

    Without DATA, it compares on an embedded data set. Finished trials are stored: the
    same command goes on where it was stopped.

    Parameters
    ----------
    data
        A CSV or Parquet file, or an embedded data set (diabetes, breast_cancer, wine,
        digits).
    target
        The column to predict.
    metric
        What the predictions are judged by: mape, mae, rmse, log_loss, auc, ...
    model
        "lightgbm" or "linear", with settings where wanted: "linear(alpha=0.01)".
    loss
        A loss to train with, given once for each; also mymodule:my_loss. Default: what
        "lossary choose" proposes.
    control
        The loss that the others are compared with. Default: the library's default.
    folds
        Parts that the rows are cut into.
    repeats
        How often they are cut anew.
    seed
        Of everything random.
    rope
        Differences up to this size count as none, in the metric's unit (0.01 of mape
        is one percentage point). Default: 1 % of the control's metric.
    jobs
        Trials at a time. Default: one per core.
    store
        The folder of finished trials. Default: .lossary/<data>-<hash>.
    report
        Where to write the report.
    json
        Print everything as JSON instead of a table.
    """
    from lossary.workbench.compare import compare as run

    _check_report(report)
    found, judged = _data(data, target, metric)
    settings: dict[str, Any] = {
        "metric": judged,
        "model": model,
        "folds": folds,
        "seed": seed,
    }
    folder = store or _folder(found, **settings)
    with _progress(folder) as progress:
        study = run(
            found,
            losses=loss or None,
            control=control,
            repeats=repeats,
            rope=rope,
            n_jobs=jobs,
            store=folder,
            progress=progress,
            **settings,
        )
    study.to_html(report)
    console = Console(stderr=True) if json else _console()
    if json:
        print(_dumps(study.to_dict()))
    else:
        _present(study, found, console)
    console.print(f"\nReport: {report}   Trials: {folder}", soft_wrap=True)


def _present(study: Study, data: Dataset, console: Console) -> None:
    from lossary.report.terminal import study_page

    rows, features = data.X.shape
    cut = f"{study.protocol['repeats']} × {study.protocol['folds']} folds"
    console.print(
        f"{data.name}: {rows} rows, {features} features; {study.model}; {cut}\n"
    )
    console.print(study_page(study))
    for caution in data.cautions:
        console.print(f"Note: {caution}.")


def _check_report(path: Path) -> None:
    """Say before the work, not after it, that the report cannot be written."""
    if path.is_dir() or not path.parent.is_dir():
        raise ParameterError(
            f"the report cannot be written to {path}: give the path of a file in a "
            "folder that exists"
        )


def _data(
    source: str, target: str | None, metric: str | None
) -> tuple[Dataset, Metric]:
    """Load the data that was asked for, or the demonstration where none was."""
    from lossary.workbench.data import load
    from lossary.workbench.metrics import get_metric

    if source and metric is None:
        raise ParameterError(
            "which metric decides? pass --metric, such as mape, mae, rmse, log_loss "
            "or auc"
        )
    judged = get_metric(metric or DEMO[1])
    task = "regression" if "regression" in judged.tasks else "classification"
    try:
        return load(source or DEMO[0], target, task=task), judged
    except ParameterError as problem:
        # The library says target=…, which is --target here.
        raise ParameterError(str(problem).replace("target=…", "--target")) from None


def _folder(data: Dataset, metric: Metric, **settings: Any) -> Path:
    """Name the folder of a study by all that its trials must agree in."""
    from lossary.workbench.models import get_model
    from lossary.workbench.plan import LIBRARIES

    model = str(get_model(settings["model"]))
    parts = [data.sha256, metric.name, model, settings["folds"], settings["seed"]]
    versions = [version(name) for name in ("lossary", *LIBRARIES)]
    key = sha256(json.dumps([*parts, *versions]).encode()).hexdigest()[:10]
    return Path(".lossary") / f"{data.name}-{key}"


@contextmanager
def _progress(folder: Path) -> Iterator[Any]:
    """Show a bar on stderr; after Ctrl-C say what is kept and how to go on."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True, markup=False)
    label = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), Remaining(), label)
    done = 0
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=None)

        def advance(finished: int, total: int, text: str) -> None:
            nonlocal done
            done = finished
            bar.update(task, completed=finished, total=total, description=text)

        try:
            yield advance
        except KeyboardInterrupt:
            bar.stop()
            _leave(
                f"stopped; {done} finished trials are kept in {folder}, and the same "
                "command goes on from there",
                INTERRUPTED,
            )


def _console() -> Console:
    return Console(markup=False, highlight=False)


def _dumps(found: Any) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False)


def _leave(message: str, code: int) -> None:
    print(f"lossary: {message}", file=sys.stderr)
    raise SystemExit(code)
