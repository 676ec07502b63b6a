"""PyTorch: a loss as a module, and gradients of a batch that comes in parts.

A module of a loss is called as PyTorch calls its own: the prediction first. Its state
is the raw values of the parameters that it learns, if any.
"""

from lossary.frameworks.torch.accumulator import Accumulator
from lossary.frameworks.torch.module import Criterion, to_torch

__all__ = ["Accumulator", "Criterion", "to_torch"]
