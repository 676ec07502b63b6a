"""Losses for masks: formulas of soft counts over an image."""

from __future__ import annotations

from lossary.parameters import Param
from lossary.structures.overlap import overlap


@overlap(elicits="mask where the probability exceeds half the optimal Dice")
def dice(tp, y, p, smooth=Param(0.0, ge=0)):
    """One minus the soft Dice coefficient of target and predicted mask.

    Use it where the foreground is small; alone it is noisy, so it is often added to
    cross-entropy. Targets are 0/1 masks or class numbers, predictions logits;
    ``over="batch"`` counts over all images before dividing, and `smooth` is added to
    numerator and denominator.

    Milletari, Navab and Ahmadi (2016), V-Net, 3DV.

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.dice([1.0, 1.0, 0.0], [1.0, 1.0, 1.0], from_logits=False))
    0.19999999999999996
    """
    return 1 - (2 * tp + smooth) / (y + p + smooth)
