"""PyTorch's losses and formulas under ``torch.compile``."""

from __future__ import annotations

from typing import Any

import torch

from speed.cases import VALUE, Case
from speed.peers.with_torch import OWN, WORDS, backward, tensors
from speed.peers.written import mean_of
from speed.tasks import Task


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return forward + backward, compiled for the very shape.

    A dynamic shape would be compiled once, for the number of threads that pays at the
    first size it meets, and be slow at the others. In float32 alone, at some seconds
    each; the compiler does not differentiate twice, so that it has no curvature.
    """
    found = mean_of(case, OWN, WORDS)
    if found is None or case.what != VALUE or case.dtype != "float32":
        return {}
    torch.set_num_threads(threads)
    torch._dynamo.reset()  # or else it gives up compiling after eight losses
    mean, written = found
    compiled = torch.compile(mean, dynamic=False)
    return {"torch.compile": backward(compiled, *tensors(y, z), written)}
