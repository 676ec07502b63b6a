"""Any loss in LightGBM, with start score, link, weights and curvature.

`LGBMRegressor`, `LGBMClassifier` and `LGBMRanker` are LightGBM's own scikit-learn
classes with one more parameter, ``loss``; `train` is the counterpart of
``lightgbm.train``; `Objective` is the bare callable for code that calls LightGBM
itself.

LightGBM's ``min_sum_hessian_in_leaf`` (``min_child_weight``) counts curvature: it is
the number of rows times their mean curvature. That is 1 per row for
``squared_error``, ``huber`` and quantiles, p·(1 - p) for ``binary_cross_entropy``, the
mean for ``poisson``; for losses with a majorised curvature it is 1 at the start.
"""

from lossary.frameworks.lightgbm.boosted import Boosted, train
from lossary.frameworks.lightgbm.estimators import (
    LGBMClassifier,
    LGBMRanker,
    LGBMRegressor,
)
from lossary.frameworks.lightgbm.objective import Objective

__all__ = [
    "Boosted",
    "LGBMClassifier",
    "LGBMRanker",
    "LGBMRegressor",
    "Objective",
    "train",
]
