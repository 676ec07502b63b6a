"""A PyTorch training loop on ls.huber, where one target in twenty is a typing error.

The loss is called with tensors, so it is a tensor that knows its gradient. Batches of
different sizes are merged exactly for the validation figure: sums, not means of means.

Data: the diabetes study of Efron et al. (2004), shipped with scikit-learn; the typing
errors, a zero too many, are ours.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

import lossary as ls


def tensors(X: np.ndarray, y: np.ndarray) -> TensorDataset:
    return TensorDataset(*(torch.as_tensor(a, dtype=torch.float32) for a in (X, y)))


def fit(loss: ls.Loss, rows: TensorDataset) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        for x, y in DataLoader(rows, batch_size=64, shuffle=True):
            optimiser.zero_grad()
            # (n, 1) against (n,) would be refused, not broadcast to n × n.
            loss(y, model(x).squeeze(1)).backward()
            optimiser.step()
    return model


@torch.no_grad()
def mean_error(model: torch.nn.Module, rows: TensorDataset) -> float:
    parts = [
        ls.absolute_error.sums(y, model(x).squeeze(1))
        for x, y in DataLoader(rows, batch_size=100)
    ]
    return float(sum(parts[1:], start=parts[0]).mean())


def main() -> None:
    X, y = load_diabetes(return_X_y=True)
    y = y / 100
    X, X_new, y, y_new = train_test_split(X, y, test_size=0.3, random_state=0)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.05, 10 * y, y)
    scaler = StandardScaler().fit(X)
    rows, new = tensors(scaler.transform(X), y), tensors(scaler.transform(X_new), y_new)
    errors = {}
    for loss in (ls.squared_error, ls.huber(delta=0.5)):
        errors[loss.name] = mean_error(fit(loss, rows), new)
        print(f"{loss!r:20} mean absolute error on new rows {errors[loss.name]:.3f}")
    assert errors["huber"] < errors["squared_error"]


if __name__ == "__main__":
    main()
