"""Kernels of these tests are kept between runs, in pytest's own cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("llvmlite") else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def kernel_directory(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("LOSSARY_CACHE_DIR")
    os.environ["LOSSARY_CACHE_DIR"] = str(request.config.cache.mkdir("kernels"))
    yield
    os.environ.pop("LOSSARY_CACHE_DIR")
    if before is not None:
        os.environ["LOSSARY_CACHE_DIR"] = before
