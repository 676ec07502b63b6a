"""Losses of embeddings: rows that belong together are told from all others."""

from __future__ import annotations

from lossary.ops import softplus, weighted
from lossary.structures.pairwise import pairwise


@pairwise(temperature=0.07, elicits="log-density ratio")
def info_nce(y, z):
    """Log loss of finding a row's own target among the targets of the whole batch.

    Use it to learn embeddings from pairs: y_true holds one vector per row (keys), and
    y_pred the vectors that are to lie beside them (queries); the other rows of the
    batch are the negatives. It is NT-Xent; with ``direction="both"`` it is CLIP's.

    van den Oord et al. (2018), Representation learning with contrastive predictive
    coding, arXiv:1807.03748. Chen et al. (2020), A simple framework for contrastive
    learning of visual representations, ICML. Radford et al. (2021), Learning
    transferable visual models from natural language supervision, ICML.

    Examples
    --------
    >>> import lossary as ls
    >>> keys = [[1.0, 0.0], [0.0, 1.0]]
    >>> round(float(ls.info_nce(keys, keys, temperature=1.0)), 4)
    0.3133
    """
    return weighted(y, softplus(-z))
