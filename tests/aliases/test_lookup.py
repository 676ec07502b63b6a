"""Names and options: what `get` knows, and what it says to the rest."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import lossary as ls
from lossary.aliases import alias, elsewhere, known
from lossary.aliases.table import ROWS, SPOKEN
from lossary.errors import NameLookupError, ParameterError
from lossary.registry import registry


@pytest.mark.parametrize(
    ("name", "options", "meaning"),
    [
        ("mse", {}, "squared_error"),
        ("MSELoss", {}, "squared_error"),
        ("nn.L1Loss", {}, "absolute_error"),
        ("F.mse_loss", {}, "squared_error"),
        ("l2", {}, "squared_error"),
        ("lightgbm.l2", {}, "0.5*squared_error"),
        ("reg:squarederror", {}, "0.5*squared_error"),
        ("log_loss", {}, "binary_cross_entropy"),
        ("sklearn.metrics.log_loss", {}, "binary_cross_entropy(from_logits=False)"),
        ("mape", {}, "absolute_percentage_error"),
        ("tf.keras.losses.MAPE", {}, "100*absolute_percentage_error"),
        ("torch.nn.SmoothL1Loss", {"beta": 2.0}, "0.5*huber(delta=2.0)"),
        ("torch.nn.HuberLoss", {"delta": 2.0}, "huber(delta=2.0)"),
        ("keras.losses.Huber", {}, "huber"),
        ("Huber", {}, "huber"),
        ("HINGE", {}, "hinge"),
        ("Quantile(alpha=0.9)", {}, "pinball(tau=0.9)"),
        ("quantile", {"alpha": 0.9}, "pinball(tau=0.9)"),
        ("torch.nn.KLDivLoss", {"reduction": "batchmean"}, "kl_divergence"),
        ("torch.nn.MSELoss", {"reduction": "mean"}, "squared_error"),
    ],
)
def test_get_knows(name: str, options: dict[str, Any], meaning: str) -> None:
    assert repr(ls.get(name, **options)) == meaning


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mselos", {}, NameLookupError, "did you mean 'MSELoss'"),
        ("Poisson", {}, NameLookupError, "write 'catboost.Poisson' for poisson or"),
        ("torch.nn.SmoothL1Loss", {"bta": 2}, ParameterError, "did you mean 'beta'"),
        ("torch.nn.SmoothL1Loss", {"beta": 0}, ParameterError, "beta must be a number"),
        ("torch.nn.MSELoss", {"reduction": "sum"}, ParameterError, "pass reduction="),
        ("torch.nn.KLDivLoss", {}, ParameterError, "reduction='batchmean'"),
        ("torch.nn.BCEWithLogitsLoss", {"pos_weight": np.ones(3)}, ParameterError,
         "got pos_weight=array.*sample_weight"),
        ("torch.nn.CrossEntropyLoss", {"label_smoothing": 1}, ParameterError,
         "label_smoothing must be a number at least 0 and less than 1"),
        ("keras.losses.BinaryCrossentropy", {"label_smoothing": 0.1}, ParameterError,
         "smooth the targets"),
        ("catboost.Huber", {}, ParameterError, "no default of delta"),
        ("mse", {"tau": 0.1}, ParameterError, "no parameter 'tau'"),
        ("reg:squarederror", {"alpha": 1}, ParameterError, "it has none"),
    ],
)  # fmt: skip
def test_get_refuses(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ls.get(name, **options)


def test_every_row_names_a_loss_and_its_parameters() -> None:
    for row in ROWS:
        loss = registry()[row.loss]
        legal = {*loss.parameters, *loss.form_options()}
        ours = {o.ours for o in row.options.values() if o.ours}
        assert ours | set(row.given) <= legal, row


def test_a_name_is_listed_once() -> None:
    names = [name for row in ROWS for name in row.names if row.library != "optax"]
    assert len(names) == len(set(names))
    assert not set(names) & set(registry())


def test_every_loss_has_names_elsewhere() -> None:
    assert [name for name in registry() if not elsewhere(name)] == []


def test_short_names_have_no_factor() -> None:
    assert all(row.factor == 1 for row in ROWS if row.library == SPOKEN)


def test_every_listed_name_is_understood() -> None:
    for name in known():
        with contextlib.suppress(ParameterError, NameLookupError):
            assert alias(name, {}, registry()) is not None, name


def test_names_is_still_the_function_after_a_look_up() -> None:
    ls.get("mse")
    assert "dice" in ls.names(family="segmentation")
