"""Figures: the right losses and targets in them, safe inside a page."""

from __future__ import annotations

import re

import numpy as np
import pytest

import lossary as ls
from lossary.errors import ParameterError
from lossary.report.curves import own_curves, shared_curves, usual_targets
from lossary.report.plots import (
    GREY,
    difference_chart,
    fold_chart,
    loss_chart,
    study_colours,
    to_svg,
)
from lossary.workbench.study import Study


@pytest.mark.parametrize("name", ls.names())
def test_every_loss_has_curves_whose_gradient_is_their_slope(name: str) -> None:
    loss = ls.get(name)
    for curve in own_curves(loss):
        assert np.isfinite(curve.value).all()
        slope = np.diff(curve.value) / np.diff(curve.x)
        ends = curve.gradient[:-1], curve.gradient[1:]
        if name.startswith(("binary_focal", "focal", "dice")):  # it turns in between
            assert np.allclose(slope, np.mean(ends, axis=0), atol=5e-3)
            continue
        room = 1e-3 * np.abs(curve.gradient).max()
        assert (slope >= np.minimum(*ends) - room).all()
        assert (slope <= np.maximum(*ends) + room).all()


def test_shared_curves_forget_factors_and_constants() -> None:
    pair = [ls.squared_error, 3 * ls.squared_error]
    one, other = shared_curves(pair, (1.0,), (-2.0, 4.0))
    assert np.allclose(one.value, other.value)
    assert np.allclose(one.gradient, other.gradient)
    assert one.value.min() == 0


def test_losses_of_a_log_link_are_drawn_over_the_response() -> None:
    (curve,) = shared_curves([ls.poisson], (3.0,), (0.5, 8.0))
    assert curve.x[np.argmin(curve.value)] == pytest.approx(3.0, abs=0.05)
    assert np.interp(3.0, curve.x, curve.gradient) == pytest.approx(0, abs=1e-2)


def test_losses_of_classes_are_drawn_for_both_labels() -> None:
    assert usual_targets(ls.hinge) == (1.0, 0.0)
    rows = loss_chart([ls.hinge]).data.values
    assert {row["target"] for row in rows} == {"label 1", "label 0"}


def test_losses_that_share_no_axis_are_refused() -> None:
    with pytest.raises(ParameterError, match="share no axis"):
        loss_chart([ls.huber, ls.hinge])
    with pytest.raises(ParameterError, match="at least one loss"):
        loss_chart([])


def test_a_loss_plots_itself() -> None:
    assert "Chart" in type(ls.huber.plot()).__name__


def test_figures_of_a_study_hold_its_numbers(study: Study) -> None:
    folds, differences = (to_svg(f(study)) for f in (fold_chart, difference_chart))
    assert f"difference to {study.control}<" in differences
    for row in study.table:
        assert f">{row.loss}<" in folds
        assert (f">{row.loss}<" in differences) == (row.comparison is not None)


def test_the_control_is_grey_in_every_figure(study: Study) -> None:
    colours = study_colours(study)
    assert [name for name, c in colours.items() if c == GREY] == [study.control]


def test_an_svg_brings_nothing_of_its_own_into_a_page() -> None:
    svg = to_svg(loss_chart([ls.huber, ls.squared_error]), "figure")
    assert not re.search(r"https?:|<script|href=", svg)
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("figure-") for name in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= set(ids)
    assert svg == to_svg(loss_chart([ls.huber, ls.squared_error]), "figure")
