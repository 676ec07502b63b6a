"""NumPy by hand, continued: losses of images and of embeddings.

Each returns the mean over images, or rows, and its gradient in the prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _overlap(alpha: float, beta: float, power: float = 1.0) -> Any:
    """Return a Tversky loss, of which Dice and Jaccard are two cases."""

    def both(y: Any, z: Any) -> Any:
        p = 1 / (1 + np.exp(-z))
        tp, all_y, all_p = (x.sum(axis=(1, 2), keepdims=True) for x in (y * p, y, p))
        missed = alpha * (all_p - tp) + beta * (all_y - tp)
        below = tp + missed
        share = missed / below
        slope = 1 / (below * below * len(y))
        if power != 1:
            slope *= power * share ** (power - 1)
        p *= 1 - p
        p *= slope * (alpha * tp) - (slope * ((alpha + beta) * tp + missed)) * y
        return (share**power).mean(), p

    return both


OVERLAPS: dict[str, Any] = {
    "dice": _overlap(0.5, 0.5),
    "jaccard": _overlap(1.0, 1.0),
    "tversky": _overlap(0.5, 0.5),
    "focal_tversky": _overlap(0.3, 0.7, 0.75),
}


def _contrastive(of_scores: Callable[[Any], Any], temperature: float) -> Any:
    """Return a loss of scores, given its value and its gradient in them."""

    def both(y: Any, z: Any) -> Any:
        length = np.sqrt((z * z).sum(axis=1, keepdims=True))
        unit = z / length
        keys = y / np.sqrt((y * y).sum(axis=1, keepdims=True))
        value, slope = of_scores(unit @ keys.T / temperature)
        pull = slope @ keys / temperature
        pull -= unit * (unit * pull).sum(axis=1, keepdims=True)
        return value, pull / length

    return both


def _info_nce(scores: Any) -> Any:
    top = scores.max(axis=1, keepdims=True)
    slope = np.exp(scores - top)
    total = slope.sum(axis=1, keepdims=True)
    slope /= total
    value = (np.log(total) + top)[:, 0] - scores.diagonal()
    slope.flat[:: len(slope) + 1] -= 1
    return value.mean(), slope / len(slope)


def _siglip(scores: Any) -> Any:
    scores -= 10
    e = np.exp(-abs(scores))
    value = (np.maximum(scores, 0) + np.log1p(e)).sum() - scores.trace()
    slope = 1 / (1 + np.exp(-scores))
    slope.flat[:: len(slope) + 1] -= 1
    return value / len(slope), slope / len(slope)


CONTRASTIVE: dict[str, Any] = {
    "info_nce": _contrastive(_info_nce, 0.07),
    "siglip": _contrastive(_siglip, 0.1),
}
