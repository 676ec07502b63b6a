"""A loss of one's own: too low costs four times as much as too high.

A clinic plans hours of care by the predicted course of a disease. Both kinds of error
have a price, so the loss is these prices, smoothly joined, and a linear model is
trained on it. No gradient is written anywhere.

Data: the diabetes study of Efron et al. (2004), shipped with scikit-learn.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import lossary as ls
from lossary.frameworks.sklearn import LossRegressor
from lossary.ops import softplus


@ls.pointwise
def planning(y, z, price=4.0, blur=10.0):
    """Cost of planning z where y is needed; `blur` rounds the corner, in units of y."""
    missing = (y - z) / blur
    return blur * (price * softplus(missing) + softplus(-missing))


def main() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, X_new, y, y_new = train_test_split(X, y, test_size=0.3, random_state=0)
    print(f"loss: {planning.latex()}")
    print(f"convex: {planning.facts.convex}")
    print(f"{'trained with':20} {'cost per patient':>16} {'too low':>8}")
    costs = {}
    for loss in (ls.squared_error, ls.pinball(tau=0.8), planning):
        predicted = LossRegressor(loss).fit(X, y).predict(X_new)
        costs[loss.name] = float(planning(y_new, predicted))
        short = np.mean(predicted < y_new)
        print(f"{loss.name:20} {costs[loss.name]:16.1f} {short:8.0%}")
    assert costs["planning"] < costs["squared_error"]


if __name__ == "__main__":
    main()
