"""scikit-learn: linear models trained on any loss, and any loss as a scorer.

The estimators minimise ::

    mean loss(y, X @ coef + intercept) + alpha * penalty(coef)

where the mean is Σ w·l / Σ w and the penalty is ``Σ|coef|`` ("l1") or ``Σ coef²/2``
("l2"); the intercept is free. This is `QuantileRegressor` for ``pinball``,
`PoissonRegressor` for ``poisson``, `ElasticNet` for ``0.5*squared_error``, `Ridge` at
``alpha = 2·alpha/n`` for ``squared_error``, and `LogisticRegression` at
``C = 1/(n·alpha)`` for ``binary_cross_entropy`` and ``cross_entropy``.
"""

from lossary.frameworks.sklearn.estimators import LossClassifier, LossRegressor
from lossary.frameworks.sklearn.scoring import Metric, Scorer, to_scorer

__all__ = ["LossClassifier", "LossRegressor", "Metric", "Scorer", "to_scorer"]
