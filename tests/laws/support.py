"""Which loss does what in which framework: run, and written to docs/support.md.

``make support`` writes the page; a test writes it anew and compares. A letter in the
table is a check that ran and passed just then; a dot is one that does not apply, for
the reason beneath the table: either it was refused, in the words shown, or the
framework has no such thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lossary as ls
from laws import checks
from laws.checks import Check, DoesNotApplyError, booster, exact
from lossary.loss import Loss

PAGE = Path(__file__).parents[2] / "docs" / "support.md"
CHECKS = {
    "value": "V",
    "gradient": "G",
    "compiled": "C",
    "saved and loaded": "S",
    "distributed": "D",
}


@dataclass(frozen=True)
class Column:
    """One framework: what is checked, in what sense, and why the rest is not."""

    name: str
    checks: Mapping[str, Check]
    senses: Mapping[str, str] = field(default_factory=dict)


EXACT = "against 50 digits"
AUTODIFF = "by its own autodiff, against 50 digits"
COLUMNS = (
    Column(
        "NumPy",
        {
            "value": exact("numpy", "value"),
            "gradient": exact("numpy", "gradient"),
            "compiled": checks.numpy_compiled,
            "saved and loaded": checks.numpy_saved,
            "distributed": checks.numpy_merged,
        },
        {
            "value": EXACT,
            "gradient": "`value_and_grad`, against 50 digits",
            "compiled": "the compiled kernel",
            "saved and loaded": "pickle",
            "distributed": "`sums` of parts merge to the whole",
        },
    ),
    Column(
        "PyTorch",
        {
            "value": exact("torch", "value"),
            "gradient": exact("torch", "gradient"),
            "compiled": checks.torch_compiled,
            "saved and loaded": checks.torch_saved,
            "distributed": checks.torch_distributed,
        },
        {
            "value": EXACT,
            "gradient": AUTODIFF,
            "compiled": "`torch.compile(loss.to_torch(), fullgraph=True)`, traced and "
            "differentiated ahead of time",
            "saved and loaded": "`torch.save` of the module",
            "distributed": "`GlobalLoss` on two gloo processes with uneven rows",
        },
    ),
    Column(
        "TensorFlow",
        {
            "value": exact("tensorflow", "value"),
            "gradient": exact("tensorflow", "gradient"),
            "compiled": checks.tensorflow_compiled,
        },
        {
            "value": EXACT,
            "gradient": AUTODIFF,
            "compiled": "`tf.function(jit_compile=True)`",
            "saved and loaded": "no check: see Keras",
            "distributed": "no check",
        },
    ),
    Column(
        "Keras",
        {
            "value": checks.keras_value,
            "gradient": checks.keras_gradient,
            "compiled": checks.keras_compiled,
            "saved and loaded": checks.keras_saved,
        },
        {
            "value": "`loss.to_keras()`, on the TensorFlow backend",
            "compiled": "`compile(jit_compile=True)`",
            "saved and loaded": "a model in the `.keras` format",
            "distributed": "no check",
        },
    ),
    Column(
        "JAX",
        {
            "value": exact("jax", "value"),
            "gradient": exact("jax", "gradient"),
            "compiled": checks.jax_compiled,
            "saved and loaded": checks.jax_saved,
            "distributed": checks.jax_distributed,
        },
        {
            "value": EXACT,
            "gradient": AUTODIFF,
            "compiled": "`jax.jit(jax.value_and_grad(…))`",
            "saved and loaded": "a loaded loss is the same static argument",
            "distributed": "rows sharded over four devices of one host",
        },
    ),
    Column(
        "Dask",
        {
            "value": exact("dask", "value"),
            "gradient": exact("dask", "gradient"),
            "distributed": checks.dask_distributed,
        },
        {
            "value": EXACT,
            "gradient": "`value_and_grad`, against 50 digits",
            "compiled": "no such thing: its graph runs NumPy",
            "saved and loaded": "no such thing: the loss is pickled as on NumPy",
            "distributed": "rows in several chunks",
        },
    ),
    Column(
        "scikit-learn",
        {
            "value": checks.sklearn_value,
            "gradient": checks.sklearn_gradient,
            "saved and loaded": checks.sklearn_saved,
        },
        {
            "value": "the scorer of a fitted linear model",
            "gradient": "no step away from the coefficients lowers the objective",
            "compiled": "no such thing",
            "saved and loaded": "pickle of the fitted model",
            "distributed": "no such thing",
        },
    ),
    *(
        Column(
            name,
            booster(module, family),
            {
                "value": "twenty trees predict better than the best constant",
                "gradient": "the objective's, against NumPy, but for one factor",
                "compiled": "no such thing",
                "saved and loaded": "pickle of the fitted estimator",
                "distributed": "no check",
            },
        )
        for name, module, family in (
            ("LightGBM", "lightgbm", "LGBM"),
            ("XGBoost", "xgboost", "XGB"),
            ("CatBoost", "catboost", "CatBoost"),
        )
    ),
)


# -- the page -------------------------------------------------------------------------


def run(column: Column) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Run the checks of one framework; a failed one is not caught.

    Returns the letters of every loss, and what was refused, with the checks it was in.
    """
    letters, refused = {}, {}
    for name in ls.names():
        letters[name] = "".join(
            _letter(ls.get(name), column, check, refused) for check in CHECKS
        )
    return letters, refused


def _letter(
    loss: Loss, column: Column, name: str, refused: dict[str, list[str]]
) -> str:
    check = column.checks.get(name)
    if check is None:
        return "·"
    try:
        check(loss)
    except (ls.LossaryError, DoesNotApplyError) as refusal:
        refused.setdefault(str(refusal), []).append(name)
        return "·"
    except Exception as error:
        error.add_note(f"{column.name}, {loss.name}, {name}")
        raise
    return CHECKS[name]


def page() -> str:
    """Run every check and write the page."""
    found = {column.name: run(column) for column in COLUMNS}
    lines = [*_INTRODUCTION, *_header()]
    for name in ls.names():
        cells = (f"`{letters[name]}`" for letters, _ in found.values())
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    lines += ["", "What each letter means, and why one is missing throughout:", ""]
    lines += ["| | V | G | C | S | D |", "|---|---|---|---|---|---|"]
    for column in COLUMNS:
        senses = (column.senses.get(name, "against NumPy") for name in CHECKS)
        lines.append(f"| {column.name} | {' | '.join(senses)} |")
    lines += ["", "What was refused or left out, and why:", ""]
    lines += [
        line for name, (_, said) in found.items() for line in refusals(name, said)
    ]
    return "\n".join([*lines, ""])


def refusals(column: str, refused: dict[str, list[str]]) -> list[str]:
    """List what one framework refused."""
    return [
        f"- *{column}, {' and '.join(dict.fromkeys(checks))}:* {said}"
        for said, checks in refused.items()
    ]


_INTRODUCTION = [
    "# What works where",
    "",
    "Written by `make support`, which runs every check: a letter passed just then, a",
    "dot does not apply. Continuous integration writes the page anew and compares.",
    "",
    "V value · G gradient · C compiled · S saved and loaded · D distributed",
    "",
]


def _header() -> Iterator[str]:
    yield f"| | {' | '.join(column.name for column in COLUMNS)} |"
    yield f"|---|{'---|' * len(COLUMNS)}"


if __name__ == "__main__":
    PAGE.write_text(page())
