"""A loss as a module, called as PyTorch calls its own: the prediction first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from lossary.arrays.small_tensors import small_call
from lossary.batch import CHECKS, Options
from lossary.combination import Combination, check_per_item
from lossary.errors import ParameterError, nearest
from lossary.frameworks.torch import forgotten
from lossary.frameworks.torch.wording import in_words_of_torch
from lossary.learning import Learning
from lossary.loss import Loss
from lossary.reduction import checked_policy
from lossary.registry import get

OPTIONS = ("reduction", "empty", "check", "learn")


class Criterion(torch.nn.Module):
    """A loss as a module, called ``(input, target)`` like those of ``torch.nn``.

    Parameters
    ----------
    loss : Loss, Combination or str
        The loss; a string is looked up by `lossary.get`.
    reduction : {"mean", "mean_over_items", "mean_over_rows", "sum", "none"}
        As in a call of the loss.
    empty : {"nan", "zero", "raise"}
        The mean of nothing.
    check : {"raise", "warn", "off"}
        What to do about values that are surely wrong.
    learn : sequence of str
        Parameters that are learned with the model. For each there is an
        ``nn.Parameter`` of unconstrained values, ``raw_alpha`` for ``alpha``, and
        ``module.alpha`` is the value that the loss sees. A pointwise loss then comes
        as the negative log-likelihood.

    Raises
    ------
    ParameterError
        For an option that is not known, or a parameter that cannot be learned.

    Examples
    --------
    >>> import torch
    >>> criterion = Criterion("huber(delta=2)")
    >>> criterion
    Criterion(huber(delta=2.0))
    >>> criterion(torch.tensor([3.0]), torch.tensor([0.0]))
    tensor(4.)
    >>> robust = Criterion("general_robust", learn=["scale"])
    >>> list(robust.state_dict()), robust.scale.item()
    (['raw_scale'], 1.0)
    """

    def __init__(
        self,
        loss: Any,
        *,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        learn: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.loss: Loss | Combination = get(loss)
        checked_policy(reduction, empty)
        if check not in CHECKS:
            raise ParameterError(f"check must be one of {CHECKS}, got {check!r}")
        if reduction == "none":
            check_per_item(self.loss)
        self.reduction, self.empty, self.check = reduction, empty, check
        self.learning = Learning(self.loss, learn)
        for name, value in self.learning.start().items():
            raw = torch.nn.Parameter(torch.tensor(value))
            self.register_parameter(f"raw_{name}", raw)
        forgotten.watch(self)

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        sample_weight: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the reduced loss.

        Parameters
        ----------
        input, target : Tensor
            Prediction and target, of the shapes that the loss declares.
        sample_weight : Tensor, optional
            At least 0, one per loss or per row; 0 removes a row.
        mask : Tensor, optional
            False removes a row, whatever it holds.

        Raises
        ------
        ShapeError, DomainError, KindError
            For tensors that the loss cannot pair, and values that are surely wrong.
        """
        options = {
            "sample_weight": sample_weight,
            "mask": mask,
            "reduction": self.reduction,
            "empty": self.empty,
            "check": self.check,
        }
        value = in_words_of_torch(self._value, self.check, target, input, options)
        return cast(torch.Tensor, value)

    def _value(self, y: Any, z: Any, options: dict[str, Any]) -> Any:
        if self.learning.names:
            return self.learning(y, z, self.raw, **options)
        if isinstance(self.loss, Combination):  # all terms in one step, if it is small
            small = small_call(self.loss, "value", y, z, Options(**options), {})
            if small is not None:
                return small
        return self.loss(y, z, **options)

    @property
    def raw(self) -> dict[str, torch.Tensor]:
        """The unconstrained values of the learned parameters."""
        return {name: getattr(self, f"raw_{name}") for name in self.learning.names}

    def __getattr__(self, name: str) -> Any:
        learning = self.__dict__.get("learning")
        if learning is not None and name in learning.names:
            return learning.values(self.raw)[name]
        return super().__getattr__(name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        forgotten.watch(self)

    def extra_repr(self) -> str:
        """Return the loss, and what is not as usual."""
        usual = {"reduction": "mean", "empty": "nan", "check": "raise"}
        options = [
            f"{name}={getattr(self, name)!r}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        if self.learning.names:
            options.append(f"learn={self.learning.names}")
        return ", ".join([repr(self.loss), *options])


def to_torch(loss: Any, **options: Any) -> Criterion:
    """Return a loss as a module; options are those of `Criterion`.

    Raises
    ------
    ParameterError
        For an option that is not known: those of the losses of ``torch.nn`` too.
    """
    for name in options:
        if name not in OPTIONS:
            raise ParameterError(
                f"{loss!r}: to_torch has no option {name!r}; {_instead(loss, name)}"
            )
    return Criterion(loss, **options)


def _instead(loss: Any, name: str) -> str:
    """Say what to do about an option that belongs elsewhere, or nowhere."""
    if name in ("weight", "pos_weight", "ignore_index"):
        return (
            "weights and masks are given at the call, as in criterion(input, target, "
            "sample_weight=..., mask=...)"
        )
    if name in getattr(loss, "parameters", {}):
        return f"bind it before, as in {loss.name}({name}=...).to_torch()"
    return nearest(name, OPTIONS)
