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


@pairwise(each="pair", temperature=0.1, bias=-10.0, elicits="log-density ratio")
def siglip(y, z):
    """Log loss of judging of every pair of the batch whether it belongs together.

    Use it to learn embeddings from pairs, as `info_nce`; each pair is judged on its
    own, so that no row needs the scores of the others. The loss of a row is the sum
    over its pairs, of which one belongs together. A score is the similarity divided
    by ``temperature``, plus ``bias``: the paper multiplies by t = 10, which is a
    temperature of 0.1, and starts at b = -10; both are meant to be learned.

    Zhai et al. (2023), Sigmoid loss for language image pre-training, ICCV.

    Examples
    --------
    >>> import lossary as ls
    >>> keys = [[1.0, 0.0], [0.0, 1.0]]
    >>> round(float(ls.siglip(keys, keys)), 4)
    0.6932
    """
    return weighted(y, softplus(-z)) + weighted(1 - y, softplus(z))
