"""Any loss in XGBoost, with start score, link, weights and curvature.

`XGBRegressor`, `XGBClassifier` and `XGBRanker` are XGBoost's own scikit-learn classes
with one more parameter, ``loss``; `train` is the counterpart of ``xgboost.train``;
`Objective` and `Metric` are the bare callables for code that calls XGBoost itself.

XGBoost's ``min_child_weight`` counts curvature: it is the number of rows times their
mean curvature. That is 1 per row for ``squared_error`` and quantiles, p·(1 - p) for
``binary_cross_entropy``, the mean for ``poisson``; for losses with a majorised
curvature it is 1 at the start.
"""

from lossary.frameworks.xgboost.boosted import Boosted, train
from lossary.frameworks.xgboost.classifier import XGBClassifier
from lossary.frameworks.xgboost.estimators import XGBRanker, XGBRegressor
from lossary.frameworks.xgboost.objective import Metric, Objective

__all__ = [
    "Boosted",
    "Metric",
    "Objective",
    "XGBClassifier",
    "XGBRanker",
    "XGBRegressor",
    "train",
]
