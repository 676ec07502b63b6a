"""Losses for masks: formulas of soft counts over an image."""

from __future__ import annotations

from lossary.ops import equal, maximum, where
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


@overlap(elicits="mask where the probability exceeds half the optimal Dice")
def jaccard(tp, y, p, smooth=Param(0.0, ge=0)):
    """One minus the soft Jaccard index: intersection over union of two masks.

    Use it where the score that counts is IoU; it ranks masks as `dice` does and is
    harder on bad ones. Targets are 0/1 masks or class numbers, predictions logits;
    `smooth` is added to intersection and union.

    Rahman and Wang (2016), Optimizing intersection-over-union in deep neural networks
    for image segmentation, ISVC.

    Examples
    --------
    >>> import lossary as ls
    >>> float(ls.jaccard([1.0, 1.0, 0.0], [1.0, 0.5, 0.5], from_logits=False))
    0.4
    """
    different = (p - tp) + (y - tp)
    return different / (tp + different + smooth)


def _false(tp, y, p, alpha, beta):
    """Weigh what is predicted and not there, and what is there and not predicted."""
    # Rounding must not make a negative number of a perfect prediction.
    return maximum(alpha * (p - tp) + beta * (y - tp), 0.0)


@overlap()
def tversky(
    tp, y, p, alpha=Param(0.5, gt=0), beta=Param(0.5, gt=0), smooth=Param(0.0, ge=0)
):
    """One minus the soft Tversky index: false positives and negatives at two prices.

    Use it where a missed pixel costs more (beta > alpha) or less than a false one;
    `alpha` weighs false positives, `beta` false negatives. Both 0.5 give `dice`, both
    1 give `jaccard`. `smooth` is added to numerator and denominator of the index.

    Salehi, Erdogmus and Gholipour (2017), Tversky loss function for image segmentation
    using 3D fully convolutional deep networks, MLMI.

    Examples
    --------
    >>> import lossary as ls
    >>> missing = ls.tversky(alpha=0.25, beta=0.75)
    >>> float(missing([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], from_logits=False))
    0.42857142857142855
    """
    false = _false(tp, y, p, alpha, beta)
    return false / (tp + false + smooth)


@overlap()
def focal_tversky(
    tp,
    y,
    p,
    alpha=Param(0.3, gt=0),
    beta=Param(0.7, gt=0),
    gamma=Param(4 / 3, gt=0),
    smooth=Param(0.0, ge=0),
):
    """Tversky loss to the power 1/gamma: above 1, a nearly right mask still counts.

    Use it for small lesions that `tversky` gives up on. `alpha` weighs false positives
    and `beta` false negatives (the paper has the two letters the other way round). For
    gamma > 1 the slope grows without bound towards a perfect mask, and is 0 at it.

    Abraham and Khan (2019), A novel focal Tversky loss function with improved attention
    U-Net for lesion segmentation, ISBI.

    Examples
    --------
    >>> import lossary as ls
    >>> y, p = [1.0, 1.0, 0.0], [1.0, 0.5, 0.5]
    >>> float(ls.focal_tversky(y, p, from_logits=False, gamma=2.0))
    0.5
    """
    false = _false(tp, y, p, alpha, beta)
    return where(equal(false, 0.0), 0.0, (false / (tp + false + smooth)) ** (1 / gamma))
