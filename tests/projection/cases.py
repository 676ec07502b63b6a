"""Data, and what linear cross-entropy is, typed from the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

ROWS, WIDTH, CLASSES = 23, 5, 11

OPTIONS: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "smoothed": {"label_smoothing": 0.1},
    "capped": {"softcap": 2.0},
    "z-loss": {"z_loss": 0.05},
    "focal": {"loss": "focal(gamma=1.5)"},
    "smoothed focal": {"loss": "focal", "label_smoothing": 0.2},
    "all": {"label_smoothing": 0.1, "softcap": 3.0, "z_loss": 0.01, "loss": "focal"},
}
"""What a row costs."""


def arrays(dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return hidden states, weight and bias, labels and weights of rows."""
    rng = np.random.default_rng(0)
    return {
        "hidden": rng.normal(size=(ROWS, WIDTH)).astype(dtype),
        "weight": rng.normal(size=(CLASSES, WIDTH)).astype(dtype),
        "bias": rng.normal(size=CLASSES).astype(dtype),
        "labels": rng.integers(0, CLASSES, ROWS),
    }


def row_losses(
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any,
    *,
    loss: str = "",
    label_smoothing: float = 0.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
) -> torch.Tensor:
    """Return the loss of each row by operations of PyTorch."""
    z = hidden @ weight.T + bias
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    logp = z.log_softmax(-1)
    items = -logp
    if loss.startswith("focal"):
        gamma = 1.5 if "1.5" in loss else 2.0
        items = items * (1 - logp.exp()) ** gamma
    own = items.gather(-1, labels[:, None])[:, 0]
    items = (1 - label_smoothing) * own + label_smoothing * items.mean(-1)
    return items + z_loss * z.logsumexp(-1) ** 2


def expected(
    x: dict[str, np.ndarray],
    options: dict[str, Any],
    of_rows: Any = None,
    divisor: float | None = None,
) -> tuple[float, list[np.ndarray]]:
    """Return Σ w·l / divisor and its gradients in hidden, weight and bias."""
    inputs = [
        torch.tensor(x[name], dtype=torch.float64, requires_grad=True)
        for name in ("hidden", "weight", "bias")
    ]
    items = row_losses(*inputs[:2], torch.tensor(x["labels"]), inputs[2], **options)
    w = np.ones(len(items)) if of_rows is None else np.asarray(of_rows, np.float64)
    counted = torch.tensor(w) != 0
    total = (items[counted] * torch.tensor(w)[counted]).sum()
    value = total / (w.sum() if divisor is None else divisor)
    found = torch.autograd.grad(value, inputs)
    return value.item(), [g.numpy() for g in found]
