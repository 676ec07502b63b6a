"""Losses on a graphics card, beside PyTorch and the two best-known Triton libraries.

    python benchmarks/cuda_cards.py [--turns 15] [--only linear] [--results FOLDER]

Value and gradient, through autograd. All competitors take turns in one process; times
are medians, in units of the floor: for losses one ``torch.add`` that reads and writes
the same bytes, for a projection its three matrix products alone. Memory is the peak
beyond what was there before the call, in bytes of the logits or predictions. Every
answer is compared with PyTorch's before it is timed. Liger-Kernel and cut-cross-entropy
take part where they are installed. Results are written under the card's name.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

import lossary as ls

VOCABULARIES = {32_000: 8192, 64_000: 8192, 128_000: 4096, 256_000: 2048}
"""How many tokens there are for each size of the vocabulary."""
WIDTH = 2048
ITEMS = 1 << 26
FORMATS = torch.float32, torch.bfloat16
PEERS = {
    functional.mse_loss: ls.squared_error,
    functional.huber_loss: ls.huber,
    functional.binary_cross_entropy_with_logits: ls.binary_cross_entropy,
}

Task = Callable[..., torch.Tensor]


@dataclass
class Case:
    """One loss at one size.

    Attributes
    ----------
    section, name
        Where it stands in the table, and what it is called there.
    leaves
        The tensors whose gradients are asked for.
    label
        What every competitor gets besides.
    floor
        What nobody can be faster than.
    unit
        The bytes in which memory is given.
    competitors
        Functions of the leaves and the label that give the loss.
    """

    section: str
    name: str
    leaves: tuple[torch.Tensor, ...]
    label: torch.Tensor
    floor: Callable[[], Any]
    unit: int
    competitors: dict[str, Task] = field(default_factory=dict)


def found(module: str, name: str) -> Any:
    """Return what a peer's module has under a name; None where it is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        return None


def streaming(x: torch.Tensor) -> Callable[[], Any]:
    out = torch.empty_like(x)
    return lambda: torch.add(x, x, out=out)


def spelled(dtype: torch.dtype) -> str:
    """Return the name of a format as users know it."""
    return str(dtype).removeprefix("torch.")


def class_cases(device: str, sizes: dict[int, int]) -> Iterator[Case]:
    """Yield cross-entropy of logits in every format; the rest at the smallest size."""
    for dtype in FORMATS:
        for classes, tokens in sizes.items():
            z = torch.randn(tokens, classes, device=device).to(dtype)
            labels = torch.randint(classes, (tokens,), device=device)
            name = f"{tokens} × {classes}, {spelled(dtype)}"
            yield class_case(name, z, labels, 0.0)
            if classes == min(sizes):
                yield class_case(f"{name}, label smoothing", z, labels, 0.1)
                shares = torch.randn_like(z).softmax(1)
                yield class_case(f"{name}, distributions", z, shares, 0.0)


def class_case(name: str, z: torch.Tensor, y: torch.Tensor, smoothing: float) -> Case:
    """Return cross-entropy of logits of one size and format.

    PyTorch's own is that of float32, which it sums in, as ours does.
    """

    def plain(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y = y.float() if y.is_floating_point() else y
        return functional.cross_entropy(z.float(), y, label_smoothing=smoothing)

    loss = ls.cross_entropy(label_smoothing=smoothing)
    tasks: dict[str, Task] = {
        "PyTorch": plain,
        "PyTorch, compiled": torch.compile(plain),
        "lossary": lambda z, y: loss(y, z, check="off"),
    }
    if z.dtype != torch.float32:
        tasks["PyTorch, in half"] = lambda z, y: functional.cross_entropy(
            z, y, label_smoothing=smoothing
        )
    liger = found("liger_kernel.transformers", "LigerCrossEntropyLoss")
    if liger is not None and y.ndim == 1:
        tasks["Liger-Kernel"] = liger(label_smoothing=smoothing)
    return Case("cross_entropy", name, (z,), y, streaming(z), z.nbytes, tasks)


def projection_cases(device: str, sizes: dict[int, int]) -> Iterator[Case]:
    """Yield cross-entropy of a linear layer's logits, in half precision as trained."""
    liger = found("liger_kernel.transformers", "LigerFusedLinearCrossEntropyLoss")
    cut = found("cut_cross_entropy", "linear_cross_entropy")

    def plain(h: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(functional.linear(h, w).float(), y)

    for classes, tokens in sizes.items():
        shape = {"device": device, "dtype": torch.bfloat16}
        h = torch.randn(tokens, WIDTH, **shape)  # type: ignore[call-overload]
        w = torch.randn(classes, WIDTH, **shape) / WIDTH**0.5  # type: ignore[call-overload]
        labels = torch.randint(classes, (tokens,), device=device)
        tasks: dict[str, Task] = {
            "PyTorch": plain,
            "PyTorch, compiled": torch.compile(plain),
            "lossary": lambda h, w, y: ls.linear_cross_entropy(h, w, y, check="off"),
        }
        if hasattr(functional, "linear_cross_entropy"):
            options = torch.nn.LinearCrossEntropyOptions()
            tasks["PyTorch, fused"] = lambda h, w, y, o=options: (
                functional.linear_cross_entropy(h, w, y, options=o)
            )
        if liger is not None:
            tasks["Liger-Kernel"] = lambda h, w, y: liger()(w, h, y)
        if cut is not None:
            tasks["cut-cross-entropy"] = cut

        def products(h: torch.Tensor = h, w: torch.Tensor = w) -> None:
            logits = h @ w.T
            _ = logits @ w, logits.T @ h

        name, unit = f"{tokens} × {WIDTH} × {classes}", 2 * tokens * classes
        yield Case("linear", name, (h, w), labels, products, unit, tasks)


def item_cases(device: str, items: int) -> Iterator[Case]:
    """Yield losses of single items; PyTorch's own is that of float32, as above."""
    for dtype in FORMATS:
        z = torch.randn(items, device=device).to(dtype)
        y = torch.randint(2, (items,), device=device).to(dtype)
        for theirs, ours in PEERS.items():

            def plain(
                z: torch.Tensor, y: torch.Tensor, theirs: Task = theirs
            ) -> torch.Tensor:
                return theirs(z.float(), y.float())

            tasks: dict[str, Task] = {
                "PyTorch": plain,
                "PyTorch, compiled": torch.compile(plain),
                "lossary": lambda z, y, ours=ours: ours(y, z, check="off"),
            }
            if dtype != torch.float32:
                tasks["PyTorch, in half"] = theirs
            name = f"{ours!r}, {items:,}, {spelled(dtype)}"
            yield Case("pointwise", name, (z,), y, streaming(z), z.nbytes, tasks)


def answer(case: Case, task: Task) -> tuple[float, list[torch.Tensor]]:
    leaves = [x.clone().requires_grad_() for x in case.leaves]
    value = task(*leaves, case.label)
    value.backward()
    return float(value.detach()), [x.grad for x in leaves if x.grad is not None]


def agrees(case: Case, task: Task) -> bool:
    """Say whether a competitor's value and gradients are PyTorch's."""
    value, gradients = answer(case, case.competitors["PyTorch"])
    mine, others = answer(case, task)
    loose = 2e-2 if case.leaves[0].dtype == torch.bfloat16 else 1e-4
    near = (
        (a - b).abs().max() <= loose * b.abs().max()
        for a, b in zip(others, gradients, strict=True)
    )
    return abs(mine - value) <= loose * abs(value) and all(map(bool, near))


def once(case: Case, task: Task | None, wait: Callable[[], Any]) -> float:
    """Return the seconds of one call; each has leaves of its own to write over."""
    leaves = [x.clone().requires_grad_() for x in case.leaves] if task else []
    wait()
    start = time.perf_counter()
    if task:
        task(*leaves, case.label).backward()
    else:
        case.floor()
    wait()
    return time.perf_counter() - start


def peak(case: Case, task: Task) -> float:
    """Return the most memory that a call took, in units of its logits."""
    if case.label.device.type != "cuda":
        return float("nan")
    leaves = [x.clone().requires_grad_() for x in case.leaves]
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    task(*leaves, case.label).backward()
    return (torch.cuda.max_memory_allocated() - before) / case.unit


def measured(case: Case, turns: int, wait: Callable[[], Any]) -> Iterator[str]:
    """Yield the lines of the table for one case."""
    tasks = {name: t for name, t in case.competitors.items() if agrees(case, t)}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    floor = []
    for _ in range(turns):
        floor.append(once(case, None, wait))
        for name, task in tasks.items():
            seconds[name].append(once(case, task, wait))
    unit = median(floor)
    yield f"\n{case.section}, {case.name}: the floor takes {1e3 * unit:.3f} ms\n"
    yield "| | × the floor | ms | peak memory |\n|---|---|---|---|"
    for name, task in tasks.items():
        here = median(seconds[name])
        room = f"{peak(case, task):.2f}"
        yield f"| {name} | {here / unit:.2f} | {1e3 * here:.3f} | {room} |"
    for name in case.competitors.keys() - tasks.keys():
        yield f"| {name} | answers otherwise: not timed | | |"


def cases(device: str, sizes: dict[int, int], items: int) -> Iterator[Case]:
    yield from item_cases(device, items)
    yield from class_cases(device, sizes)
    yield from projection_cases(device, sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--only", help="pointwise, cross_entropy or linear")
    here = Path(__file__).parent / "results"
    parser.add_argument("--results", type=Path, default=here)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a graphics card that PyTorch can use (CUDA)")
    card = torch.cuda.get_device_name()
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / f"cuda-{card.replace(' ', '-').lower()}.md"
    with path.open("w", encoding="utf-8") as file:
        print(f"# {card}, PyTorch {torch.__version__}", file=file)
        for case in cases("cuda", VOCABULARIES, ITEMS):
            if given.only in (None, case.section):
                for line in measured(case, given.turns, torch.cuda.synchronize):
                    print(line, flush=True)
                    print(line, file=file, flush=True)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
