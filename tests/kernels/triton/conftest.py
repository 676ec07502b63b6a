"""What runs on a card, run by Triton's interpreter on tensors of the processor."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]


@pytest.fixture(autouse=True)
def as_quiet_as_a_card() -> Iterator[None]:
    """Let the interpreter overflow without a word: it computes with NumPy."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send tensors of the processor to the kernels of a card."""
    from lossary.arrays import card, standard

    monkeypatch.setattr(card, "EVERYWHERE", True)
    monkeypatch.setattr(standard, "SMALL", 0)
