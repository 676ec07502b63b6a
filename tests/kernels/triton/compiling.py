"""Compile printed kernels for cards that need not be there, and look at the result.

Run as a command, for Triton decides once per process whether it interprets.
"""

from __future__ import annotations

import json
import re
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import lossary as ls
from lossary.kernels.triton import distributions, labels, pointwise, rows
from lossary.kernels.triton.modules import load

POINTERS = {
    "float32": "*fp32", "float64": "*fp64", "bfloat16": "*bf16", "float16": "*fp16",
}  # fmt: skip
SWITCHES = {"WEIGHTED": True, "KEPT": True, "SCALED": True, "WRITTEN": True}
OF_ITEMS = SWITCHES | {"LIMITED": True, "BLOCK": pointwise.BLOCK}
OF_ROWS = SWITCHES | {"SAVED": True, "RESUMED": False}
NAMED, SHARED = OF_ROWS | {"LABELLED": True}, OF_ROWS | {"LABELLED": False}

KERNELS: dict[str, tuple[Any, Any, tuple[str, ...], dict[str, Any]]] = {
    "items": (pointwise, ls.binary_cross_entropy, ("value_and_grad",), OF_ITEMS),
    "curvature": (
        pointwise, ls.binary_cross_entropy, ("grad_and_hess",), {"BLOCK": 1024}
    ),
    "labels": (labels, ls.focal(gamma=1.5), (), NAMED),
    "resumed labels": (labels, ls.focal, (), NAMED | {"RESUMED": True}),
    "resumed shares": (distributions, ls.focal, (), SHARED | {"RESUMED": True}),
    "smoothed": (distributions, ls.cross_entropy, (), NAMED),
    "shares": (distributions, ls.kl_divergence, (), SHARED),
    "formula": (distributions, ls.focal(gamma=1.5), (), SHARED),
}  # fmt: skip
"""What is compiled: module, loss, what is asked for, and what is known beforehand."""

PLANS = [
    *((80, kind, "float32") for kind in KERNELS),
    *((80, kind, "float64") for kind in ("items", "labels")),
    *((80, kind, "bfloat16") for kind in ("items", "labels")),
    *((90, kind, "bfloat16") for kind in ("labels", "formula")),
    (90, "items", "float16"),
]
"""Cards by their capability, kernels and formats of the scores."""


def instructions(card: int, kind: str, dtype: str) -> set[str]:
    """Return the instructions of a kernel with all it may have."""
    module, loss, wanted, constants = KERNELS[kind]
    real, options = "float64" if dtype == "float64" else "float32", {}
    if module is not pointwise:
        tile, block, options["num_warps"] = rows.shape(module, real, 1 << 20)
        constants = constants | {"ROWS": tile, "BLOCK": block}
    kernel = load(module.printed(loss.formula, *wanted, real), "kernel")
    types = dict.fromkeys(kernel.arg_names, "i32")
    types |= {name: POINTERS[dtype] for name in types if name.endswith("_at")}
    for name in ("scale_at", "numbers_at", "sums_at"):
        types |= {name: "*fp64"} if name in types else {}
    types |= {"keep_at": "*u8"} if "keep_at" in types else {}
    types |= {"kept_at": "*fp64"} if "kept_at" in types else {}
    types |= {"target_at": "*i64"} if constants.get("LABELLED") else {}
    types |= dict.fromkeys(constants, "constexpr")
    whole = [["tt.divisibility", 16]]
    hints = {(i,): whole for i, t in enumerate(types.values()) if t != "constexpr"}
    source = ASTSource(kernel, types, constants, hints)
    target = GPUTarget("cuda", card, 32)
    built = triton.compile(
        source, target=target, options=options | {"enable_fp_fusion": False}
    )
    assert built.asm["cubin"]
    return set(re.findall(r"^\s+(?:@%p\d+ )?([a-z][\w.]+)", built.asm["ptx"], re.M))


def main() -> None:
    """Print the instructions of each kernel, one kernel a line."""
    for plan in PLANS:
        print(json.dumps([plan, sorted(instructions(*plan))]))


if __name__ == "__main__":
    main()
