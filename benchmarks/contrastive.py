"""Contrastive losses over large batches, beside PyTorch on the whole matrix of scores.

    python benchmarks/contrastive.py [--rows 8192] [--width 256] [--turns 3]
        [--threads 2] [--without-compiled]

Value and gradients in both sides' vectors, float32 (NumPy: in the predictions). All
take turns in one process; columns give the median of the ratios to plain PyTorch and to
the three matrix products alone, of the same turn. Memory is the peak of a process of
its own that does one of them (Linux), beyond inputs and gradients, in per cent of what
all scores would take.

PyTorch computes InfoNCE as a cross-entropy, in both directions as OpenAI's CLIP, and
SigLIP as OpenCLIP does: ``-logsigmoid(labels * logits)``, labels being 1 and -1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

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
from torch.nn import functional

import lossary as ls

SLOWEST, LARGEST = 1.0, 100.0
"""The targets: the ratio to plain PyTorch, and per cent of the scores."""
FLOOR = "three products"
PLAIN, COMPILED = "PyTorch, plain", "PyTorch, compiled"

Vectors = tuple[torch.Tensor, torch.Tensor]


def data(rows: int, width: int) -> Vectors:
    """Return keys, and queries that lie near them."""
    made = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(2, rows, width, generator=made)
    return keys, queries + keys


def with_torch(loss: Callable[..., Any], vectors: Vectors) -> Any:
    """Return value and gradients, that in the predictions first."""
    value, in_keys, in_queries = pulled(loss, vectors)
    return value, in_queries, in_keys


def with_numpy(loss: Any, vectors: Vectors) -> Any:
    """Return value and the gradient in the predictions, from NumPy."""
    return loss.value_and_grad(*(x.numpy() for x in vectors))


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
    logits = scores(keys, queries, 0.1) - 10
    labels = 2 * torch.eye(len(logits)) - 1
    return -functional.logsigmoid(labels * logits).sum() / len(logits)


LOSSES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "info_nce": (ls.info_nce, info_nce),
    "info_nce, both": (ls.info_nce(direction="both"), clip),
    "siglip": (ls.siglip, siglip),
}


def competitors(name: str) -> dict[str, Run]:
    """Return who computes a loss."""
    mine, theirs = LOSSES[name]
    # Of one shape: a dynamic one would be compiled for the first size it meets.
    compiled = torch.compile(theirs, dynamic=False)
    return {
        PLAIN: partial(with_torch, theirs),
        COMPILED: partial(with_torch, compiled),
        "lossary, PyTorch": partial(with_torch, mine),
        "lossary, NumPy": partial(with_numpy, mine),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--without-compiled", action="store_true")
    asked = arguments(parser)
    x = data(asked.rows, asked.width)
    if asked.peak:
        name, who = asked.peak.split(": ")
        # What is compiled is so for a number of rows, and others are quick to start.
        warm = x if who == COMPILED else tuple(v[:300] for v in x)
        print(peak(competitors(name)[who], warm, x))
        return
    whole = 4 * asked.rows**2
    print(f"{asked.rows} rows of {asked.width}; all scores: {whole / 1e6:.0f} MB")
    print(f"{'':34}{'seconds':>8}{'plain':>8}{'products':>10}{'memory':>9}")
    for name in LOSSES:
        runs = competitors(name)
        if asked.without_compiled:
            del runs[COMPILED]
        agree(runs, data(1200, asked.width), PLAIN, 1e-4)
        runs[FLOOR] = lambda x: products(torch.mm, *x)
        report(name, times(runs, x, asked.turns), whole)


def report(name: str, found: dict[str, list[float]], whole: int) -> None:
    floor, plain = found.pop(FLOOR), found[PLAIN]
    for who, seconds in found.items():
        of_plain, share = ratio(seconds, plain), 100 * peak_alone(f"{name}: {who}")
        share /= whole
        missed = who.startswith("lossary") and (of_plain > SLOWEST or share > LARGEST)
        print(
            f"{name:16}{who:18}{median(seconds):8.2f}{of_plain:8.2f}"
            f"{ratio(seconds, floor):10.2f}{share:8.1f}%"
            + ("  missed" if missed else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
