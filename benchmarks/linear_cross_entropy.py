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
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

import lossary as ls

SLOWEST, LARGEST = 1.15, 10.0
"""The targets: the ratio to the matrix products, and per cent of the logits."""
PAUSE = 0.05
"""Seconds in which the threads of one competitor stop spinning before the next."""
FUSED = "PyTorch, fused"


def data(rows: int, width: int, classes: int) -> dict[str, Any]:
    """Return hidden states, weight and labels."""
    made = torch.Generator().manual_seed(0)
    return {
        "hidden": torch.randn(rows, width, generator=made),
        "weight": torch.randn(classes, width, generator=made) / width**0.5,
        "labels": torch.randint(classes, (rows,), generator=made),
    }


def pulled(loss: Callable[..., Any], x: dict[str, Any]) -> tuple[Any, ...]:
    """Return value and gradients of a loss, by PyTorch's autograd."""
    hidden, weight = (
        x[name].detach().requires_grad_() for name in ("hidden", "weight")
    )
    value = loss(hidden, weight, x["labels"])
    value.backward()
    return value.detach(), hidden.grad, weight.grad


def plain(hidden: Any, weight: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(nn.functional.linear(hidden, weight), labels)


def fused(hidden: Any, weight: Any, labels: Any) -> Any:
    options = nn.LinearCrossEntropyOptions()
    return nn.functional.linear_cross_entropy(hidden, weight, labels, options=options)


def products(multiply: Any, hidden: Any, weight: Any) -> tuple[Any, ...]:
    logits = multiply(hidden, weight.T)
    return logits, multiply(logits, weight), multiply(logits.T, hidden)


def with_numpy(x: dict[str, Any]) -> Any:
    arrays = (x[name].numpy() for name in ("hidden", "weight", "labels"))
    value, (d_hidden, d_weight, _) = ls.linear_cross_entropy.value_and_grad(*arrays)
    return value, d_hidden, d_weight


def ours(**options: Any) -> Callable[[dict[str, Any]], Any]:
    return partial(pulled, ls.linear_cross_entropy(**options))


FLOORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "three products, PyTorch": lambda x: products(torch.mm, x["hidden"], x["weight"]),
    "three products, NumPy": lambda x: products(
        np.matmul, x["hidden"].numpy(), x["weight"].numpy()
    ),
}
CROSS_ENTROPY: dict[str, Callable[[dict[str, Any]], Any]] = {
    "lossary, PyTorch": ours(),
    "lossary, NumPy": with_numpy,
    "PyTorch, plain": partial(pulled, plain),
}
if hasattr(nn.functional, "linear_cross_entropy"):
    CROSS_ENTROPY[FUSED] = partial(pulled, fused)
RELATIVES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "lossary, focal": ours(loss="focal"),
    "lossary, label smoothing": ours(label_smoothing=0.1),
    "lossary, soft-capping": ours(softcap=30.0),
    "lossary, z-loss": ours(z_loss=1e-4),
}
COMPETITORS = CROSS_ENTROPY | RELATIVES


def check(x: dict[str, Any]) -> None:
    """Hold value and gradients of all that compute cross-entropy to one another."""
    x = {name: a[:64].contiguous() for name, a in x.items()}
    x["labels"] = x["labels"] % 64
    expected = CROSS_ENTROPY["PyTorch, plain"](x)
    for name, run in CROSS_ENTROPY.items():
        for mine, theirs in zip(run(x), expected, strict=True):
            apart = abs(np.asarray(mine) - np.asarray(theirs)).max()
            if apart > 1e-5:
                raise SystemExit(f"{name} differs from PyTorch by {apart}")


def times(x: dict[str, Any], turns: int) -> dict[str, list[float]]:
    """Return seconds, of all in turns."""
    runs = FLOORS | COMPETITORS
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):  # the first is not counted
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run(x)
            if turn:
                found[name].append(time.perf_counter() - start)
    return found


def peak(name: str, x: dict[str, Any]) -> float:
    """Return the bytes that a call took at its peak, beyond inputs and gradients."""
    run = COMPETITORS[name]
    run(x | {name: x[name][:256] for name in ("hidden", "labels")})  # threads and code
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before = _status("VmRSS")
    kept = run(x)
    gradients = sum(g.nbytes for g in kept[1:])
    return _status("VmHWM") - before - gradients


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(i.split()[1]) << 10 for i in lines if i.startswith(field))


def memory(name: str, arguments: list[str]) -> str:
    """Measure the peak in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--peak", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=32000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="two turns, and no relatives"
    )
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.quick:
        asked.turns = 2
        for name in RELATIVES:
            del COMPETITORS[name]
    torch.set_num_threads(asked.threads)
    x = data(asked.rows, asked.width, asked.classes)
    if asked.peak:
        print(peak(asked.peak, x))
        return
    check(x)
    report(times(x, asked.turns), 4 * asked.rows * asked.classes)


def report(found: dict[str, list[float]], logits: int) -> None:
    arguments = [a for a in sys.argv[1:] if a != "--peak"]
    torch_floor, numpy_floor = (found[name] for name in FLOORS)
    print(f"{'':28}{'seconds':>9}{'ratio':>8}{'memory':>9}")
    for name, seconds in found.items():
        floor = numpy_floor if "NumPy" in name else torch_floor
        ratio = median(s / f for s, f in zip(seconds, floor, strict=True))
        line = f"{name:28}{median(seconds):9.2f}{ratio:8.2f}"
        if name in COMPETITORS:
            share = 100 * float(memory(name, arguments)) / logits
            line += f"{share:8.1f}%"
            if name.startswith("lossary") and name in CROSS_ENTROPY:
                line += "" if ratio <= SLOWEST and share <= LARGEST else "  missed"
        print(line, flush=True)


if __name__ == "__main__":
    main()
