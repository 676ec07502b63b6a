"""What the terminal shows: formulas, plots and tables in 80 columns."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

import lossary as ls
from lossary.report import braille
from lossary.report.formula import legend, written
from lossary.report.terminal import loss_list, loss_page, study_page
from lossary.workbench.study import Study

Y, Z = 0.75, 1.25


def printed(renderable: object) -> str:
    console = Console(width=80, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def evaluated(line: str, **values: float) -> float:
    """Read a printed formula back: it is Python but for its letters."""
    for sign, name in {"−": "-", "·": "*", "²": "**2", "^": "**"}.items():
        line = line.replace(sign, name)
    parts = line.split("|")  # no formula of ours nests absolute values
    line = "".join(p if i % 2 == 0 else f"abs({p})" for i, p in enumerate(parts))
    names = {
        "exp": np.exp,
        "log": np.log,
        "log1p": np.log1p,
        "sign": np.sign,
        "sqrt": np.sqrt,
        "expm1": np.expm1,
        "softplus": lambda x: np.log1p(np.exp(x)),
        "σ": lambda x: 1 / (1 + np.exp(-x)),
    }
    line = line.replace("≤", "<=").replace(" = ", " == ")
    return float(eval(line, names | values))


POINTWISE = [n for n in ls.names() if ls.get(n).structure.name == "pointwise"]


@pytest.mark.parametrize("name", POINTWISE)
def test_a_printed_formula_computes_the_loss(name: str) -> None:
    loss = ls.get(name)
    y = 1.0 if loss.target.name == "label" else Y
    letters = {"alpha": "α", "delta": "δ", "gamma": "γ", "tau": "τ"}
    values = {letters.get(k, k): v for k, v in loss.parameters.items()}
    value, gradient = loss.value_and_grad(np.array([y]), np.array([Z]))
    found = evaluated(written(loss), y=y, z=Z, **values)
    assert found == pytest.approx(float(value), rel=1e-5)
    found = evaluated(written(loss, "gradient"), y=y, z=Z, **values)
    assert found == pytest.approx(float(gradient[0]), rel=1e-5)


def test_a_sum_prints_its_terms() -> None:
    both = 0.5 * ls.dice + ls.binary_cross_entropy
    assert written(both).startswith("0.5·[1 − ")
    assert written(both, "gradient") == ""
    assert "per mask" in legend(both)


@pytest.mark.parametrize("name", ls.names())
def test_a_page_of_a_loss_fits_80_columns(name: str) -> None:
    page = printed(loss_page(ls.get(name)))
    assert max(map(len, page.splitlines())) <= 80
    assert "Formula" in page
    assert "┤" in page
    assert "Examples" not in page
    assert "…" not in page


def test_the_list_has_every_loss_under_its_family() -> None:
    page = printed(loss_list([ls.get(n) for n in ls.names()]))
    for name in ls.names():
        assert name in page.split()
    assert page.index("regression") < page.index("huber") < page.index("segmentation")


def test_the_table_of_a_study_fits_80_columns(study: Study, failed: Study) -> None:
    page = printed(study_page(study))
    assert max(map(len, page.splitlines())) <= 80
    for row in study.table:
        assert row.loss in page
    assert " ".join(study.verdict.split()) in " ".join(page.split())
    assert "FAILED" in printed(study_page(failed))


def test_a_plot_puts_dots_where_the_values_are() -> None:
    x = np.linspace(0, 1, 41)
    assert braille.plot(x, [x], width=3, height=2) == ["1 ┤⠀⢀⠎", "0 ┤⡠⠃⠀"]
    gap = np.where(x < 0.5, np.nan, x)
    assert braille.plot(x, [gap], width=3, height=2)[1].startswith("0.5 ┤⠀")


def test_a_flat_line_is_drawn() -> None:
    rows = braille.plot(np.linspace(0, 1, 9), [np.ones(9)], width=3, height=2)
    assert rows[0] == "1 ┤⠉⠉⠉"
