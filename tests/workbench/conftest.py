from __future__ import annotations

import pytest
from workbench import toy as toy_module

from lossary.workbench.models import MODELS


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(MODELS, "toy", toy_module.TOY)
    monkeypatch.setattr(toy_module, "fits", [])
    return toy_module
