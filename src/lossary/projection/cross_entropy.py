"""Cross-entropy of a linear layer, and its relatives: the record of that name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from lossary.batch import Options
from lossary.errors import ParameterError, nearest
from lossary.loss import Loss
from lossary.parameters import Param
from lossary.projection import values
from lossary.projection.call import NAME, Call, Given, prepare
from lossary.projection.rows import RowLoss
from lossary.registry import get, registry
from lossary.structures.rowwise import LABELS

_SOFTCAP = Param(30.0, gt=0)
_Z_LOSS = Param(0.0, ge=0)

Result = TypeVar("Result")


@dataclass(frozen=True)
class LinearCrossEntropy:
    """Cross-entropy of a linear layer, ``hidden @ weight.T + bias``, in little memory.

    Use it where there are many classes, such as the words of a language model: logits
    are computed a few hundred rows at a time and never stored, and the gradients of
    hidden states, weight and bias come out of the same pass, exact, by three matrix
    products. NumPy has ``linear_cross_entropy.value_and_grad``, PyTorch its autograd.
    Called with options alone it binds them, as a loss does its parameters.

    Wijmans et al. (2025), Cut your losses in large-vocabulary language models, ICLR.
    Hsu et al. (2024), Liger kernel: efficient Triton kernels for LLM training.

    Parameters of a call
    --------------------
    hidden : array, shape (*b, d)
        What goes into the layer: of NumPy or PyTorch.
    weight : array, shape (k, d)
        One row per class, as in ``torch.nn.Linear``.
    labels : array, shape (*b)
        Class numbers from 0 to k - 1.
    bias : array, shape (k,), optional
        What is added to the logits.
    loss : Loss or str
        Any loss of class numbers and logits, such as ``"focal(gamma=1)"``;
        cross-entropy by default.
    label_smoothing : float, optional
        ε: the target is 1 - ε + ε/k for the true class and ε/k for all others.
    softcap : float, optional
        Logits become softcap·tanh(logits / softcap).
    z_loss : float
        λ: the squared log-sum-exp of a row's logits is added λ times to its loss.
    class_weight : array, shape (k,), optional
        The weight of a row, by its label: the loss of the whole row is multiplied, and
        the mean is Σwℓ/Σw.
    ignore_index : int, optional
        Rows of this label do not count: -100 is usual.
    sample_weight, mask : array, shape (*b) or its leading axes, optional
        As in every loss: weight 0 and False remove a row, whatever it holds. A removed
        row costs no time.
    reduction : {"mean", "mean_over_items", "mean_over_rows", "sum", "none"}
        As in every loss. With ``"none"`` PyTorch computes the gradients in the backward
        pass, with one more matrix product.
    empty : {"nan", "zero", "raise"}
        The mean of nothing.
    check : {"raise", "warn", "off"}
        What to do about labels and weights that are surely wrong.
    memory : int, optional
        Bytes to use beside inputs and gradients: by default 8 % of what all logits
        would take, but from 32 MiB to 1 GiB.

    Raises
    ------
    ShapeError, KindError, DomainError, ParameterError
        Naming the argument, what was given, and how to mend it.

    Notes
    -----
    Half precision is added up in float32: logits, sums and the gradient of the weight.
    Second derivatives, forward mode, ``torch.func``, ``torch.compile`` and learned
    weights of rows are right too, by PyTorch's own operations, which store the logits.

    Examples
    --------
    >>> import lossary as ls, numpy as np
    >>> hidden, weight = np.ones((2, 3)), np.arange(12.0).reshape(4, 3) / 10
    >>> round(float(ls.linear_cross_entropy(hidden, weight, [3, 0])), 4)
    1.8441
    >>> value, (d_hidden, d_weight, d_bias) = ls.linear_cross_entropy.value_and_grad(
    ...     hidden, weight, [3, 0])
    >>> d_hidden.shape, d_weight.shape, d_bias
    ((2, 3), (4, 3), None)
    """

    loss: Any = registry()["cross_entropy"]
    softcap: float | None = None
    z_loss: float = 0.0
    ignore_index: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        loss: Any = get(self.loss)
        memory: Any = self.memory
        if not (
            isinstance(loss, Loss)
            and LABELS in loss.structure.signatures
            and loss.form == "class_logits"
        ):
            raise ParameterError(
                f"{NAME}: loss={self.loss!r} is not a loss of class numbers and "
                "logits; use one such as 'cross_entropy' or 'focal(gamma=1)'"
            )
        if memory is not None and not (isinstance(memory, int) and memory >= 1):
            raise ParameterError(
                f"{NAME}: memory must be a whole number of bytes, at least 1, got "
                f"{memory!r}; leave it out for a share of what all logits would take"
            )
        if self.softcap is not None:
            _SOFTCAP.checked("softcap", self.softcap, NAME)
        _Z_LOSS.checked("z_loss", self.z_loss, NAME)
        object.__setattr__(self, "loss", loss)

    def bind(self, **options: Any) -> LinearCrossEntropy:
        """Return the same loss with options bound."""
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in (*known, "label_smoothing"):
                raise ParameterError(
                    f"{NAME} has no option {name!r}; "
                    + nearest(name, [*known, "label_smoothing"])
                )
        smoothing = options.pop("label_smoothing", None)
        bound = replace(self, **options)
        if smoothing is None:
            return bound
        return replace(bound, loss=bound.loss.bind(label_smoothing=smoothing))

    @property
    def rows(self) -> RowLoss:
        """What a row of logits costs."""
        return RowLoss(self.loss, self.softcap, self.z_loss)

    def _computed(
        self,
        what: Callable[[Call, RowLoss, int | None], Result],
        given: Given,
        how: Options,
    ) -> Result:
        call = prepare(given, self.ignore_index, how)
        return what(call, self.rows, self.memory)

    def __call__(
        self,
        hidden: Any = None,
        weight: Any = None,
        labels: Any = None,
        *,
        bias: Any = None,
        class_weight: Any = None,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        **options: Any,
    ) -> Any:
        """Return the reduced loss of data, or bind options.

        In PyTorch gradients flow through it.
        """
        bound = self.bind(**options) if options else self
        if hidden is None and weight is None and labels is None:
            return bound
        given = Given(hidden, weight, labels, bias, class_weight)
        how = Options(sample_weight, mask, reduction, empty, check)
        return bound._computed(values.value, given, how)

    def value_and_grad(
        self,
        hidden: Any,
        weight: Any,
        labels: Any,
        *,
        bias: Any = None,
        class_weight: Any = None,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "mean",
        empty: str = "nan",
        check: str = "raise",
        **options: Any,
    ) -> tuple[Any, tuple[Any, Any, Any]]:
        """Return the reduced loss, and its gradients in hidden, weight and bias.

        Parameters are those of a call. The last gradient is None without a bias; with
        ``reduction="none"`` gradients are those of the sum.
        """
        bound = self.bind(**options) if options else self
        given = Given(hidden, weight, labels, bias, class_weight)
        how = Options(sample_weight, mask, reduction, empty, check)
        return bound._computed(values.value_and_grad, given, how)


linear_cross_entropy = LinearCrossEntropy()
