"""The public face: what is exported, documented and promised."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import lossary as ls
from lossary.registry import registry

PUBLIC = [n for n in ls.__all__ if n not in registry() and n != "ops"]


def test_every_loss_is_exported_and_listed():
    assert set(registry()) <= set(ls.__all__)
    assert set(registry()) <= set(dir(ls))
    assert ls.names() == sorted(registry())
    assert all(getattr(ls, name) is loss for name, loss in registry().items())


def test_families_partition_the_losses():
    families = {loss.definition.family for loss in registry().values()}
    assert sorted(n for f in families for n in ls.names(family=f)) == ls.names()


def test_every_exported_name_exists():
    assert all(getattr(ls, name) is not None for name in ls.__all__)


@pytest.mark.parametrize("name", [*PUBLIC, *registry()])
def test_what_is_public_has_a_text_and_an_example(name):
    text = getattr(ls, name).__doc__
    assert text
    if not name.startswith("Lossary"):
        assert ">>> " in text, f"{name} has no example"


@pytest.mark.parametrize("name", ls.ops.__all__)
def test_every_function_of_the_vocabulary_has_a_text(name):
    assert getattr(ls.ops, name).__doc__


def test_a_loss_states_its_source():
    for name, loss in registry().items():
        has_year = any(f"({y}" in loss.__doc__ for y in range(1750, 2030))
        assert has_year or name == "squared_log_error", name


def test_an_unknown_attribute_names_the_nearest():
    with pytest.raises(AttributeError, match=r"did you mean 'huber'"):
        _ = ls.hubber


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(ls.__path__, "lossary.")]
)
def test_every_room_opens_first(module):
    """No import cycle hides behind the order in which the package happens to load."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=60)
