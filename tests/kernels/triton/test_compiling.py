"""The kernels compile for a card, to instructions that round as they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compiling.py")
DTYPES = ("float32", "float64", "bfloat16")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return the instructions of each kernel, by its kind and dtype."""
    cache = {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    lines = subprocess.run(
        [sys.executable, SCRIPT],
        env=environment | cache,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    kernels = [(kind, dtype) for kind in ("pointwise", "rows") for dtype in DTYPES]
    return dict(zip(kernels, map(str.split, lines), strict=True))


def test_no_instruction_is_an_approximation(compiled):
    for instructions in compiled.values():
        assert not [i for i in instructions if "approx" in i or "full" in i]


def test_float32_is_divided_as_ieee_754_says(compiled):
    assert "div.rn.f32" in compiled["pointwise", "float32"]


@pytest.mark.parametrize("kind", ["pointwise", "rows"])
def test_memory_is_read_and_written_sixteen_bytes_at_once(compiled, kind):
    for dtype, wide in (("float32", "v4.b32"), ("float64", "v2.b64")):
        found = compiled[kind, dtype]
        assert f"ld.global.{wide}" in found
        assert f"st.global.{wide}" in found
    assert "ld.global.v4.b32" in compiled[kind, "bfloat16"]


def test_bfloat16_is_rounded_to_nearest(compiled):
    for kind in ("pointwise", "rows"):
        assert any(i.startswith("cvt.rn.bf16") for i in compiled[kind, "bfloat16"])
