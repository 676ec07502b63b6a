"""A loss in other libraries' terms: the adapters, loaded when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from lossary.errors import MissingExtraError


class Conversions:
    """The methods that take a loss, or a weighted sum, to another library.

    An adapter imports its library, so that it is loaded here, by name, at the call.
    """

    def to_torch(self, *, learn: Sequence[str] = (), **options: Any) -> Any:
        """Return the loss as a ``torch.nn.Module`` called with ``(input, target)``.

        Parameters
        ----------
        learn : sequence of str
            Parameters of the loss that are learned with the model.
        **options
            ``reduction``, ``empty`` and ``check``, as for a call.

        Examples
        --------
        >>> import lossary as ls
        >>> import torch
        >>> criterion = ls.huber(delta=2.0).to_torch()
        >>> criterion(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
        tensor(2.2500)
        """
        return _adapter("torch").to_torch(self, learn=learn, **options)

    def to_keras(self, *, learn: Sequence[str] = (), **options: Any) -> Any:
        """Return the loss as a ``keras.losses.Loss``, for any backend of Keras.

        Parameters
        ----------
        learn : sequence of str
            Parameters of the loss that are learned with the model.
        **options
            ``reduction``, ``name`` and ``dtype`` as Keras has them, and ``check``.
        """
        return _adapter("keras").to_keras(self, learn=learn, **options)

    def to_jax(self, *, learn: Sequence[str] = ()) -> Any:
        """Return the loss as a pytree whose leaves are the learned parameters.

        Without any, the loss itself is all that JAX needs: a function of arrays.

        Parameters
        ----------
        learn : sequence of str
            Parameters of the loss that are learned with the model.
        """
        return _adapter("jax").to_jax(self, learn=learn)

    def to_sklearn(self) -> Any:
        """Return the loss as a scikit-learn scorer, with its direction."""
        return _adapter("sklearn").to_scorer(self)

    def to_lightgbm(self) -> Any:
        """Return the loss as a LightGBM objective with start score and link."""
        return _adapter("lightgbm").Objective(self)

    def to_xgboost(self) -> Any:
        """Return the loss as an XGBoost objective with start score and link."""
        return _adapter("xgboost").Objective(self)

    def to_catboost(self) -> Any:
        """Return the loss as a CatBoost objective with start score and link."""
        return _adapter("catboost").Objective(self)


# The extra that brings what an adapter imports, where its name is another.
_EXTRA = {
    "keras": "tensorflow",
}


def _adapter(name: str) -> Any:
    try:
        return importlib.import_module(f"lossary.frameworks.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "lossary"):
            raise
        raise MissingExtraError(
            f"to_{name} needs the package {package}, which is not installed; install "
            f"lossary[{_EXTRA.get(name, name)}]"
        ) from None
