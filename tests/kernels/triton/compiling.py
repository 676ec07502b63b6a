"""Compile printed kernels for a card that need not be there, and look at the result.

Run as a command, for Triton decides once per process whether it interprets.
"""

from __future__ import annotations

import re
from collections import Counter

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import lossary as ls
from lossary.kernels.triton import pointwise, rows
from lossary.kernels.triton.modules import load

CARD = GPUTarget("cuda", 80, 32)
POINTERS = {"float32": "*fp32", "float64": "*fp64", "bfloat16": "*bf16"}
SWITCHES = {"WEIGHTED": True, "KEPT": True, "SCALED": True, "WRITTEN": True}
FLAGS = {
    pointwise: {"LIMITED": True, "BLOCK": pointwise.BLOCK},
    rows: {"ROWS": 1, "BLOCK": rows.WIDEST},
}


def instructions(module, loss, dtype):
    """Return how often each instruction is there, of a kernel with all it may have."""
    real = "float64" if dtype == "float64" else "float32"
    what = ("value_and_grad", real) if module is pointwise else (real,)
    kernel = load(module.printed(loss.formula, *what), "kernel")
    constants = SWITCHES | FLAGS[module]
    types = dict.fromkeys(kernel.arg_names, "i32")
    types |= {name: POINTERS[dtype] for name in types if name.endswith("_at")}
    types |= dict.fromkeys(("scale_at", "numbers_at", "sums_at"), "*fp64")
    types["keep_at"] = "*u8"
    if module is rows:
        types["label_at"] = "*i64"
    types |= dict.fromkeys(constants, "constexpr")
    whole = [["tt.divisibility", 16]]
    hints = {(i,): whole for i, t in enumerate(types.values()) if t != "constexpr"}
    source = ASTSource(kernel, types, constants, hints)
    built = triton.compile(source, target=CARD, options={"enable_fp_fusion": False})
    assert built.asm["cubin"]
    return Counter(re.findall(r"^\s+(?:@%p\d+ )?([a-z][\w.]+)", built.asm["ptx"], re.M))


def main() -> None:
    """Print the instructions of some kernels, one kernel a line."""
    cases = [(pointwise, ls.binary_cross_entropy), (rows, ls.focal(gamma=1.5))]
    for module, loss in cases:
        for dtype in POINTERS:
            print(*sorted(instructions(module, loss, dtype)))


if __name__ == "__main__":
    main()
