"""Losses whose rows, or whose classes, are split over the ranks of PyTorch.

Either module gives what one process gives on the whole: the value on every rank, and
the gradient, in the convention of whatever adds the ranks' gradients up.
"""

from lossary.frameworks.distributed.rows import GlobalLoss
from lossary.frameworks.distributed.vocabulary import VocabularyParallel

__all__ = ["GlobalLoss", "VocabularyParallel"]
