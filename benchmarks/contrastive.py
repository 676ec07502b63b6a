"""Contrastive losses over large batches, beside PyTorch on the whole matrix of scores.

    python benchmarks/contrastive.py [--rows 8192] [--width 256] [--turns 5]
        [--threads 2]

Value and gradients in both sides' vectors, float32 (NumPy: in the predictions). All
take turns in one process; a column gives the median of the ratios to plain PyTorch in
the same turn. Memory is the peak of a process of its own that does one of them (Linux),
beyond inputs and gradients, in per cent of what all scores would take.
"""

from __future__ import annotations

import argparse
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
from torch.nn import functional

import lossary as ls

SLOWEST, LARGEST = 1.0, 100.0
"""The targets: the ratio to plain PyTorch, and per cent of the scores."""
PAUSE = 0.05
"""Seconds in which the threads of one competitor stop spinning before the next."""

Vectors = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[Vectors], tuple[Any, ...]]


def pulled(loss: Callable[..., Any], vectors: Vectors) -> tuple[Any, ...]:
    """Return value and gradients by PyTorch's autograd."""
    keys, queries = (x.detach().requires_grad_() for x in vectors)
    value = loss(keys, queries)
    value.backward()
    return value.detach(), queries.grad, keys.grad


def with_numpy(loss: Any, vectors: Vectors) -> tuple[Any, ...]:
    """Return value and the gradient in the predictions, from NumPy."""
    keys, queries = (x.numpy() for x in vectors)
    return tuple(loss.value_and_grad(keys, queries))


def scores(keys: Any, queries: Any, temperature: float) -> Any:
    keys, queries = (functional.normalize(x, dim=1) for x in (keys, queries))
    return queries @ keys.T / temperature


def info_nce(keys: Any, queries: Any) -> Any:
    s = scores(keys, queries, 0.07)
    return functional.cross_entropy(s, torch.arange(len(s)))


def clip(keys: Any, queries: Any) -> Any:
    s = scores(keys, queries, 0.07)
    own = torch.arange(len(s))
    return (functional.cross_entropy(s, own) + functional.cross_entropy(s.T, own)) / 2


def siglip(keys: Any, queries: Any) -> Any:
    s = scores(keys, queries, 0.1) - 10
    return -functional.logsigmoid((2 * torch.eye(len(s)) - 1) * s).sum() / len(s)


LOSSES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "info_nce": (ls.info_nce, info_nce),
    "info_nce, both": (ls.info_nce(direction="both"), clip),
    "siglip": (ls.siglip, siglip),
}
RUNS: dict[tuple[str, str], Run] = {
    (name, who): run
    for name, (ours, theirs) in LOSSES.items()
    for who, run in {
        "PyTorch, plain": partial(pulled, theirs),
        "lossary, PyTorch": partial(pulled, ours),
        "lossary, NumPy": partial(with_numpy, ours),
    }.items()
}
PLAIN = "PyTorch, plain"


def data(rows: int, width: int) -> Vectors:
    """Return keys, and queries that lie near them."""
    made = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(2, rows, width, generator=made)
    return keys, queries + keys


def check(vectors: Vectors) -> None:
    """Hold value and gradients of all to those of plain PyTorch."""
    for (name, who), run in RUNS.items():
        expected = RUNS[name, PLAIN](vectors)
        for mine, theirs in zip(run(vectors), expected, strict=False):
            apart = abs(np.asarray(mine) - np.asarray(theirs)).max()
            if apart > 1e-4 * abs(np.asarray(theirs)).max():
                raise SystemExit(f"{name}: {who} differs from PyTorch by {apart}")


def times(vectors: Vectors, turns: int) -> dict[tuple[str, str], list[float]]:
    """Return seconds, of all in turns."""
    found: dict[tuple[str, str], list[float]] = {key: [] for key in RUNS}
    for turn in range(turns + 1):  # the first is not counted
        for key, run in RUNS.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run(vectors)
            if turn:
                found[key].append(time.perf_counter() - start)
    return found


def peak(key: tuple[str, str], vectors: Vectors) -> float:
    """Return the bytes that a call took at its peak, beyond inputs and gradients."""
    run = RUNS[key]
    few: Any = tuple(x[:300] for x in vectors)
    run(few)  # threads and code
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before = _status("VmRSS")
    kept = run(vectors)
    gradients = sum(g.nbytes for g in kept[1:])
    return float(_status("VmHWM") - before - gradients)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(i.split()[1]) << 10 for i in lines if i.startswith(field))


def memory(key: tuple[str, str], arguments: list[str]) -> float:
    """Measure the peak in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--peak", *key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    vectors = data(given.rows, given.width)
    if given.peak:
        print(peak(tuple(given.peak), vectors))
        return
    check(vectors)
    found = times(vectors, given.turns)
    arguments = [f"--{k}={getattr(given, k)}" for k in ("rows", "width", "threads")]
    whole = 4 * given.rows**2
    print(
        f"{given.rows} rows of {given.width}, float32; all scores: {whole / 1e6:.0f} MB"
    )
    for key, seconds in found.items():
        name, who = key
        plain = found[name, PLAIN]
        ratio = median(a / b for a, b in zip(seconds, plain, strict=True))
        share = 100 * memory(key, arguments) / whole
        missed = who != PLAIN and (ratio > SLOWEST or share > LARGEST)
        print(
            f"{name:16}{who:18}{ratio:6.2f}× the time{share:7.0f} % of the scores"
            + ("  missed" if missed else "")
        )


if __name__ == "__main__":
    main()
