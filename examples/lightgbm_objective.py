"""Any loss as a LightGBM objective, and the proof that nothing is lost on the way.

First a loss that LightGBM has: trained from here, the trees are LightGBM's own. Then
one that it does not have, as quickly: a focal loss, and a weighted sum of two losses.

Data: the breast cancer study of Wolberg et al. (1993), shipped with scikit-learn.
"""

from __future__ import annotations

import lightgbm
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

import lossary as ls
from lossary.frameworks.lightgbm import train

ROUNDS = 60
SETTINGS = {
    "learning_rate": 0.1,
    "num_leaves": 7,
    "verbosity": -1,
    "num_threads": 2,
    "deterministic": True,
    "force_row_wise": True,
}


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X, X_new, y, y_new = train_test_split(X, y, random_state=0, stratify=y)

    built_in = lightgbm.train(
        {**SETTINGS, "objective": "binary"}, lightgbm.Dataset(X, y), ROUNDS
    )
    ours = train("binary_cross_entropy", X, y, params=SETTINGS, num_boost_round=ROUNDS)
    gap = np.abs(built_in.predict(X_new) - ours.predict(X_new)).max()
    print(f"largest difference to LightGBM's own objective: {gap:.1e}")
    assert gap < 1e-6

    mixed = 0.5 * ls.binary_cross_entropy + 0.5 * ls.binary_focal
    print(f"{'trained with':52} {'log loss':>8} {'AUC':>6}")
    for loss in (ls.binary_cross_entropy, ls.binary_focal(gamma=1.0), mixed):
        model = train(loss, X, y, params=SETTINGS, num_boost_round=ROUNDS)
        p = model.predict(X_new)
        scores = log_loss(y_new, p), roc_auc_score(y_new, p)
        print(f"{loss!r:52} {scores[0]:8.4f} {scores[1]:6.4f}")


if __name__ == "__main__":
    main()
