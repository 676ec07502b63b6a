"""A linear layer with its cross-entropy, beside its matrix products and PyTorch's own.

    python benchmarks/linear_cross_entropy.py [--rows 4096] [--width 512]
        [--classes 32000] [--turns 7] [--threads 2] [--quick]

Value and all gradients, float32. All take turns in one process; a column gives the
median of the ratios to the three matrix products of the same turn. Memory is the peak
of a process of its own that does one of them (Linux), beyond inputs and gradients, in
per cent of what all logits would take.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from speed.turns import (
    Run,
    agree,
    arguments,
    peak,
    peak_alone,
    products,
    pulled,
    ratio,
    times,
)
from torch import nn

import lossary as ls

SLOWEST, SLOWEST_RELATIVE, LARGEST = 1.15, 1.2, 10.0
"""The targets: ratios to the matrix products, and per cent of the logits."""
FUSED, REFERENCE = "PyTorch, fused", "PyTorch, plain"

Arrays = dict[str, torch.Tensor]


def data(rows: int, width: int, classes: int) -> Arrays:
    """Return hidden states, weight and labels."""
    made = torch.Generator().manual_seed(0)
    return {
        "hidden": torch.randn(rows, width, generator=made),
        "weight": torch.randn(classes, width, generator=made) / width**0.5,
        "labels": torch.randint(classes, (rows,), generator=made),
    }


def first(x: Arrays, rows: int) -> Arrays:
    """Return some of the rows."""
    return x | {name: x[name][:rows].contiguous() for name in ("hidden", "labels")}


def with_torch(loss: Callable[..., Any], x: Arrays) -> Any:
    return pulled(loss, (x["hidden"], x["weight"]), x["labels"])


def with_numpy(options: dict[str, Any], x: Arrays) -> Any:
    arrays = (x[name].numpy() for name in ("hidden", "weight", "labels"))
    loss = ls.linear_cross_entropy(**options)
    value, (d_hidden, d_weight, _) = loss.value_and_grad(*arrays)
    return value, d_hidden, d_weight


def plain(hidden: Any, weight: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(nn.functional.linear(hidden, weight), labels)


def fused(hidden: Any, weight: Any, labels: Any) -> Any:
    options = nn.LinearCrossEntropyOptions()
    return nn.functional.linear_cross_entropy(hidden, weight, labels, options=options)


def ours(name: str, **options: Any) -> dict[str, Run]:
    """Return our own competitors."""
    loss = ls.linear_cross_entropy(**options)
    return {
        f"lossary, PyTorch{name}": partial(with_torch, loss),
        f"lossary, NumPy{name}": partial(with_numpy, options),
    }


FLOORS: dict[str, Run] = {
    "three products, PyTorch": lambda x: products(torch.mm, x["hidden"], x["weight"]),
    "three products, NumPy": lambda x: products(
        np.matmul, x["hidden"].numpy(), x["weight"].numpy()
    ),
}
CROSS_ENTROPY: dict[str, Run] = ours("") | {REFERENCE: partial(with_torch, plain)}
if hasattr(nn.functional, "linear_cross_entropy"):
    CROSS_ENTROPY[FUSED] = partial(with_torch, fused)
RELATIVES: dict[str, Run] = {
    **ours(", focal", loss="focal"),
    **ours(", smoothing", label_smoothing=0.1),
    **ours(", soft-capping", softcap=30.0),
    **ours(", z-loss", z_loss=1e-4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=32000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument(
        "--quick", action="store_true", help="two turns, and no relatives"
    )
    asked = arguments(parser)
    competitors = CROSS_ENTROPY | ({} if asked.quick else RELATIVES)
    x = data(asked.rows, asked.width, asked.classes)
    if asked.peak:
        print(peak(competitors[asked.peak], first(x, 256), x))
        return
    few = first(x, 64)
    agree(CROSS_ENTROPY, few | {"labels": few["labels"] % 64}, REFERENCE, 1e-4)
    turns = 2 if asked.quick else asked.turns
    found = times(FLOORS | competitors, x, turns)
    report(found, 4 * asked.rows * asked.classes)


def report(found: dict[str, list[float]], logits: int) -> None:
    torch_floor, numpy_floor = (found[name] for name in FLOORS)
    print(f"{'':32}{'seconds':>9}{'ratio':>8}{'memory':>9}")
    for name, seconds in found.items():
        of_floor = ratio(seconds, numpy_floor if "NumPy" in name else torch_floor)
        line = f"{name:32}{median(seconds):9.2f}{of_floor:8.2f}"
        if name not in FLOORS:
            share = 100 * peak_alone(name) / logits
            line += f"{share:8.1f}%"
            if name.startswith("lossary"):
                slowest = SLOWEST if name in CROSS_ENTROPY else SLOWEST_RELATIVE
                kept = of_floor <= slowest and share <= LARGEST
                if name in CROSS_ENTROPY and FUSED in found:
                    kept = kept and ratio(seconds, found[FUSED]) <= 1
                line += "" if kept else "  missed"
        print(line, flush=True)


if __name__ == "__main__":
    main()
