"""Losses with learned parameters in JAX: a pytree whose leaves an optimiser updates.

A loss without learned parameters needs no adapter: it is a function of arrays, and a
static argument of `jax.jit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossary.learning import Learning
from lossary.registry import get


@partial(
    jax.tree_util.register_dataclass, data_fields=("raw",), meta_fields=("learning",)
)
@dataclass(frozen=True, eq=False)  # equality of arrays is an array
class Learned:
    """A loss and the raw values of its learned parameters, as `to_jax` makes it.

    It is called like the loss, and belongs among the parameters of the model: in
    what `jax.grad` differentiates, the optimiser updates and a checkpoint keeps.

    Attributes
    ----------
    learning : Learning
        The loss and the names that are learned: the static part of the pytree.
    raw : dict of str to jax.Array
        A number on the whole line for each learned parameter: the leaves. An update
        may take them anywhere; `values` stay inside their intervals.
    """

    learning: Learning
    raw: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """The learned parameters, as the loss has them.

        Examples
        --------
        >>> import lossary as ls
        >>> ls.general_robust(scale=2.0).to_jax(learn=["scale"]).values["scale"].item()
        2.0
        """
        return self.learning.values(self.raw)

    def __call__(self, y_true: Any, y_pred: Any, **options: Any) -> Any:
        """Compute the loss at the learned parameters; options are those of a loss.

        A pointwise loss comes as the negative log-likelihood of the density that is
        proportional to exp(-loss): without what normalises it, the parameters would
        run to where every loss is small. It may be negative.
        """
        return self.learning(y_true, y_pred, self.raw, **options)

    def sums(self, y_true: Any, y_pred: Any, **options: Any) -> Any:
        """Return numerator and denominator of `__call__`; those of parts add."""
        return self.learning.sums(y_true, y_pred, self.raw, **options)


def to_jax(loss: Any, learn: Sequence[str] = ()) -> Learned:
    """Return a loss as a pytree whose leaves are its learned parameters.

    Parameters
    ----------
    loss : str, Loss or weighted sum
        Its bound parameters are where learning starts.
    learn : sequence of str
        The parameters to learn; without any there are no leaves.

    Raises
    ------
    ParameterError
        For a parameter that the loss cannot learn.

    Notes
    -----
    The learned likelihood is that of Barron (2019), A general and adaptive robust loss
    function, CVPR, section 3.

    Examples
    --------
    >>> robust = to_jax("general_robust", learn=["scale"])
    >>> y, z = jnp.zeros(4), jnp.array([0.1, -0.2, 0.3, 0.5])
    >>> slopes = jax.grad(lambda robust: robust(y, z))(robust)
    >>> robust = jax.tree.map(lambda raw, slope: raw - slope, robust, slopes)
    >>> float(robust.values["scale"]) < 1.0
    True
    """
    learning = Learning(get(loss), learn)
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    raw = {name: jnp.asarray(x, dtype) for name, x in learning.start().items()}
    # Where learning starts is in the leaves alone: the static part is bound to the
    # middle, so that pytrees of one loss have one structure, and compile once.
    middle = learning.values({name: np.zeros(()) for name in raw})
    loss = learning.loss(**{name: float(x) for name, x in middle.items()})
    return Learned(Learning(loss, learning.names), raw)
