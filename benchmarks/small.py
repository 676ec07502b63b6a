"""Small calls: 32 numbers, where the time is that of the interpreter.

From NumPy every pointwise loss stands beside the function that ``loss.code()`` prints,
which checks nothing: as a value, with its gradient, with weights, with a mask, and with
its parameters given in the call. From PyTorch a forward and a backward pass stand
beside PyTorch's own function. All calls of a line are measured in turns, in one
process, after the kernels have been loaded:

    python benchmarks/small.py --items 32
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

import lossary as ls
from lossary.kinds import Kind
from lossary.registry import registry

MICROSECONDS = 10.0
"""What a call from NumPy may take."""
AGAINST_TORCH = 1.3
"""What forward and backward may take of the time of PyTorch's own."""

Call = Callable[[], Any]


def in_turns(calls: Sequence[Call], number: int = 40, turns: int = 300) -> list[float]:
    """Return the least time of each call, in µs, measured in turns."""
    for call in calls:
        timeit.timeit(call, number=2000)  # a kernel is loaded after so many calls
    times = [
        [timeit.timeit(call, number=number) / number * 1e6 for call in calls]
        for _ in range(turns)
    ]
    return [min(column) for column in zip(*times, strict=True)]


def drawn(kind: Kind, items: int, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers of a kind."""
    if kind.whole:
        return rng.integers(0, 2, items).astype(np.float32)
    if kind.low > -np.inf:
        return rng.uniform(kind.low + 0.1, min(kind.high, kind.low + 1) - 0.1, items)
    return rng.normal(size=items)


def printed(loss: ls.Loss) -> Callable[..., Any]:
    """Return the function that a loss prints."""
    namespace: dict[str, Any] = {}
    exec(loss.code("numpy"), namespace)
    function: Callable[..., Any] = namespace[loss.name]
    return function


def from_numpy(items: int) -> None:
    """Print a line per pointwise loss: times in µs, and as ratios to the floor."""
    print(f"NumPy, {items} float32: µs (ratio to the printed function, unchecked)")
    heads = "value", "with gradient", "weights", "mask", "parameters"
    print(f"{'loss':28}{'printed':>9}" + "".join(f"{head:>15}" for head in heads))
    rng = np.random.default_rng(0)
    for loss in registry().values():
        if loss.structure.name != "pointwise":
            continue
        y = drawn(loss.target, items, rng).astype(np.float32)
        z = drawn(loss.prediction, items, rng).astype(np.float32)
        w = rng.uniform(0.5, 1.5, items).astype(np.float32)
        bound, given = loss.bind(**loss.parameters), loss.parameters
        found = in_turns(
            [
                partial(printed(loss), y, z),
                partial(bound, y, z),
                partial(bound.value_and_grad, y, z),
                partial(bound, y, z, sample_weight=w),
                partial(bound, y, z, mask=w > 0.7),
                partial(loss, y, z, **given),
            ]
        )
        cells = "".join(f"{t:8.1f} ({t / found[0]:4.2f})" for t in found[1:])
        mark = "" if max(found[1:]) <= MICROSECONDS else "  over the target"
        print(f"{loss.name:28}{found[0]:9.1f}{cells}{mark}")


def backward(function: Callable[..., Any], z: torch.Tensor, *others: Any) -> Call:
    """Return a call that computes a loss of a tensor, and its gradient."""

    def call() -> None:
        z.grad = None
        function(z, *others).backward()

    return call


def from_torch(items: int) -> None:
    """Print a line per loss that PyTorch has: forward and backward."""
    print(f"\nPyTorch, {items} float32, forward and backward: µs")
    print(f"{'loss':28}{'theirs':>9}{'ours':>15}{'as a module':>15}")
    torch.manual_seed(0)
    z, y = torch.randn(items, requires_grad=True), torch.randn(items)
    labels, counts = (y > 0).float(), y.abs()
    scores = torch.randn(items // 4 or 1, 4, requires_grad=True)
    classes = torch.randint(0, 4, (len(scores),))
    for name, theirs, score, target in (
        ("squared_error", F.mse_loss, z, y),
        ("absolute_error", F.l1_loss, z, y),
        ("huber", F.huber_loss, z, y),
        ("poisson", F.poisson_nll_loss, z, counts),
        ("binary_cross_entropy", F.binary_cross_entropy_with_logits, z, labels),
        ("cross_entropy", F.cross_entropy, scores, classes),
    ):
        loss = ls.get(name)
        found = in_turns(
            [
                backward(theirs, score, target),
                backward(lambda z, y, loss=loss: loss(y, z), score, target),
                backward(loss.to_torch(), score, target),
            ]
        )
        cells = "".join(f"{t:8.1f} ({t / found[0]:4.2f})" for t in found[1:])
        mark = "" if found[1] <= AGAINST_TORCH * found[0] else "  over the target"
        print(f"{name:28}{found[0]:9.1f}{cells}{mark}")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=32)
    items = parser.parse_args().items
    torch.set_num_threads(1)
    from_numpy(items)
    from_torch(items)


if __name__ == "__main__":
    main()
