"""The kernels compile for cards, to instructions that round as they should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compiling.py")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return the instructions of each kernel, by card, kind and format."""
    cache = {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    lines = subprocess.run(
        [sys.executable, SCRIPT],
        env=environment | cache,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {tuple(plan): set(found) for plan, found in map(json.loads, lines)}


def of_format(compiled, dtype):
    return {plan: found for plan, found in compiled.items() if plan[-1] == dtype}


def test_no_instruction_is_an_approximation(compiled):
    for instructions in compiled.values():
        assert not [i for i in instructions if "approx" in i or "full" in i]


@pytest.mark.parametrize("kind", ["items", "curvature", "formula"])
def test_float32_is_divided_as_ieee_754_says(compiled, kind):
    assert "div.rn.f32" in compiled[80, kind, "float32"]


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [("float32", "v4.b32"), ("float64", "v2.b64"), ("bfloat16", "v4.b32")],
)
def test_memory_is_read_and_written_sixteen_bytes_at_once(compiled, dtype, wide):
    for found in of_format(compiled, dtype).values():
        assert f"ld.global.{wide}" in found
        assert f"st.global.{wide}" in found or dtype == "bfloat16"


@pytest.mark.parametrize(
    ("dtype", "conversion"), [("bfloat16", "cvt.rn.bf16"), ("float16", "cvt.rn.f16")]
)
def test_half_precision_is_rounded_to_nearest(compiled, dtype, conversion):
    for found in of_format(compiled, dtype).values():
        assert any(i.startswith(conversion) for i in found)
