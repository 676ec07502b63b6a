"""CatBoost's estimators, under their own names, trained on any loss.

>>> import numpy as np
>>> from lossary.frameworks.catboost import CatBoostRegressor
>>> X = np.arange(40.0)[:, None]
>>> model = CatBoostRegressor(loss="poisson", iterations=20, verbose=0).fit(X, X[:, 0])
>>> bool((model.predict(X) > 0).all())
True

Where CatBoost has the loss itself, it is trained by CatBoost's own code, with its
defaults, on any device: ``loss="squared_error"`` is ``loss_function="RMSE"``. Any
other loss goes through `Objective`, which trains on the CPU, from the best constant
score (``boost_from_average=False`` starts from 0). An `Objective` given as ``loss``
goes that way in any case.

Predictions are on the response scale: means, not their logarithms. A saved model
remembers its loss. Nothing is written to disk unless ``allow_writing_files=True``.
"""

from lossary.frameworks.catboost.estimators import CatBoostClassifier, CatBoostRegressor
from lossary.frameworks.catboost.objective import (
    Metric,
    MultiTargetMetric,
    MultiTargetObjective,
    Objective,
)

__all__ = [
    "CatBoostClassifier",
    "CatBoostRegressor",
    "Metric",
    "MultiTargetMetric",
    "MultiTargetObjective",
    "Objective",
]
