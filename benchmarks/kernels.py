"""Fused kernels beside NumPy, PyTorch and scikit-learn, in one run on one machine.

    python benchmarks/kernels.py [--items 8000000] [--repeats 9]

The unit is the floor: the time to stream the same memory once. For pointwise losses
it is ``np.add(a, b, out=c)``; for class scores it is one read and one write,
``np.add(z, 1, out=g)``. Competitors take turns, and medians are compared, so that
whatever else the machine does hits all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import lossary as ls
from lossary.kernels import pointwise, rows, threads

TARGETS = {
    "squared_error": 1.5,
    "absolute_error": 1.5,
    "huber": 1.5,
    "pinball": 1.5,
    "hinge": 1.5,
    "binary_cross_entropy": 3.0,
    "log_cosh": 3.0,
    "poisson": 3.0,
    "binary_focal": 3.0,
}

PAUSE = 0.005
"""Seconds between tasks: OpenMP's threads spin on the cores for a while after work."""

Task = Callable[[], Any]


def medians(tasks: dict[str, Task], repeats: int) -> dict[str, float]:
    """Return the median time of each task in ms, run in turns after a first call."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * median(found) for name, found in times.items()}


def line(name: str, ms: float, ratio: float, target: str, met: bool) -> None:
    mark = "" if met else "  missed"
    print(f"{name:44}{ms:10.2f} ms{ratio:9.2f}x   {target}{mark}")


def floor_lines(found: dict[str, float], limits: dict[str, float]) -> None:
    floor = found["floor"]
    for name, limit in limits.items():
        ratio = found[name] / floor
        line(name, found[name], ratio, f"<= {limit}x the floor", ratio <= limit)


def peer_line(found: dict[str, float], ours: str, peer: str, times: float) -> None:
    ratio = found[peer] / found[ours]
    line(peer, found[peer], ratio, f">= {times}x slower than ours", ratio >= times)


def torch_task(forward: Callable[[Any], Any], z: np.ndarray) -> Task:
    import torch

    leaf = torch.from_numpy(z).requires_grad_()

    def run() -> None:
        leaf.grad = None
        forward(leaf).backward()

    return run


def pointwise_lines(items: int, repeats: int) -> None:
    """Print value + gradient of each loss, and the peers on logistic loss."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, items).astype(np.float32)
    real = rng.normal(0, 3, items).astype(np.float32)
    label = (real > 0).astype(np.float32)
    out, scale = np.empty_like(z), 1 / items
    tasks: dict[str, Task] = {"floor": lambda: np.add(real, z, out=out)}
    given = {"label": label, "fraction": label, "count": abs(real).round()}
    for name in TARGETS:
        loss = ls.get(name)
        y = given.get(loss.target.name, real)
        tasks[name] = _bound(loss, y, z, scale, out)
    found = medians(tasks, repeats)
    print(f"value + gradient, {items:,} float32; floor {found['floor']:.2f} ms")
    floor_lines(found, TARGETS)
    peers = _logistic_peers(label, z)
    ours = "binary_cross_entropy"
    found = medians({ours: tasks[ours], **peers}, max(3, repeats // 3))
    print(f"\nlogistic loss, value + gradient; ours {found[ours]:.2f} ms")
    peer_line(found, ours, "PyTorch, forward + backward", 3)
    peer_line(found, ours, "sklearn._loss, loss_gradient", 10)


def _bound(
    loss: Any, y: np.ndarray, z: np.ndarray, scale: float, out: np.ndarray
) -> Task:
    return lambda: pointwise.value_and_grad(
        loss.formula, loss.params, y, z, scale=scale, out=out
    )


def _logistic_peers(label: np.ndarray, z: np.ndarray) -> dict[str, Task]:
    import torch
    from sklearn._loss import HalfBinomialLoss

    y = torch.from_numpy(label)
    functional = torch.nn.functional
    halved = HalfBinomialLoss()
    value, slope = np.empty_like(z), np.empty_like(z)
    return {
        "PyTorch, forward + backward": torch_task(
            lambda leaf: functional.binary_cross_entropy_with_logits(leaf, y), z
        ),
        "sklearn._loss, loss_gradient": lambda: halved.loss_gradient(
            label, z, loss_out=value, gradient_out=slope, n_threads=threads.count()
        ),
    }


def rows_lines(count: int, classes: int, repeats: int, limit: float | None) -> None:
    """Print softmax cross-entropy, its floor and PyTorch."""
    import torch

    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, (count, classes)).astype(np.float32)
    labels = rng.integers(0, classes, count)
    y, out = torch.from_numpy(labels), np.empty_like(z)
    ours, peer = f"cross_entropy {count} x {classes}", "PyTorch, forward + backward"
    found = medians(
        {
            "floor": lambda: np.add(z, np.float32(1), out=out),
            ours: lambda: rows.value_and_grad(
                ls.cross_entropy.formula, (), labels, z, scale=1 / count, out=out
            ),
            peer: torch_task(
                lambda leaf: torch.nn.functional.cross_entropy(leaf, y), z
            ),
        },
        repeats,
    )
    print(f"\nsoftmax cross-entropy; floor {found['floor']:.2f} ms")
    if limit is None:
        line(ours, found[ours], found[ours] / found["floor"], "", True)
        line(peer, found[peer], found[peer] / found[ours], "slower than ours", True)
    else:
        floor_lines(found, {ours: limit})
        peer_line(found, ours, peer, 3)


def main() -> None:
    """Print all ratios; a missed target is marked, and is not an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=8_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print(f"NumPy {np.__version__}, {threads.count()} threads")
    pointwise_lines(options.items, options.repeats)
    rows_lines(8192, 1000, options.repeats, 2.0)
    rows_lines(options.items // 10, 10, max(3, options.repeats // 3), None)


if __name__ == "__main__":
    main()
