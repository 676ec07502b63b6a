"""What is declared about a loss, and what its structure must provide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lossary.errors import ParameterError
from lossary.expr.formula import Formula
from lossary.kinds import Kind
from lossary.parameters import Choice, Param
from lossary.shapes import Signature

if TYPE_CHECKING:
    from lossary.batch import Batch
    from lossary.loss import Loss


class Structure(Protocol):
    """What a family of losses sees; it owns axes, weights, reduction and kernels."""

    name: str
    signatures: tuple[Signature, ...]
    inputs: tuple[str, ...]
    log_partition: Any

    def indexed(self, signature: Signature) -> bool:
        """Say whether the target holds class numbers."""

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape that weights and masks belong to."""

    def kinds(self, loss: Loss, signature: Signature) -> tuple[Kind, Kind]:
        """Return the kinds of target and prediction."""

    def readable(self, loss: Loss) -> tuple[str, ...]:
        """Name the parameters that may be arrays of a call."""

    def check_learnable(self, loss: Loss, names: tuple[str, ...]) -> None:
        """Refuse parameters that cannot be learned from the loss."""

    def suspicions(self, loss: Loss, batch: Batch) -> list[str]:
        """Say what else is surely wrong with the values."""

    def value(self, loss: Loss, batch: Batch, reduction: str, empty: str) -> Any:
        """Return the reduced loss."""

    def plain(self, loss: Loss) -> Any:
        """Return the commonest call of a loss made ready, or None."""

    def kernel_for(self, loss: Loss) -> str | None:
        """Name the kernel that computes a loss in one pass, where there is one."""

    def sums(self, loss: Loss, batch: Batch, reduction: str) -> Any:
        """Return what merges."""

    def value_and_grad(
        self, loss: Loss, batch: Batch, reduction: str, empty: str, out: Any
    ) -> tuple[Any, Any]:
        """Return the reduced loss and its gradient in the prediction."""

    def grad_and_hess(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and curvature per item."""

    def best_constant(self, loss: Loss, y_true: Any, sample_weight: Any) -> Any:
        """Return the constant prediction of the least loss."""

    def linked(self, loss: Loss) -> Loss:
        """Return the loss as a function of its link-space score."""

    def latex(self, loss: Loss, what: str) -> str:
        """Print value, gradient or curvature."""


@dataclass(frozen=True)
class Definition:
    """What is declared once about a loss; everything else is derived.

    Attributes
    ----------
    name, doc, family, module : str
        Its name, its documentation, and the file and the module it lives in.
    structure : Structure
        What it sees.
    target : str
        The kind of its target.
    forms : mapping of str to Formula
        A formula per kind of prediction; the first is the default.
    params : mapping of str to Param
        Its parameters.
    elicits : str
        The functional that its minimiser is.
    link : str
        From the response scale to the raw prediction that a booster adds up.
    majoriser : Formula, optional
        A curvature that bounds the loss from above, where the true one is no use.
    """

    name: str
    structure: Any
    target: str
    forms: Mapping[str, Formula]
    params: Mapping[str, Param | Choice] = field(default_factory=dict)
    elicits: str = ""
    link: str = "identity"
    majoriser: Formula | None = None
    doc: str = ""
    family: str = ""
    module: str = ""

    def form(self, option: str, value: Any) -> str:
        """Return the form that the value of an option picks."""
        wanted = FORM_OPTIONS[option].get(value, ())
        for form in self.forms:
            if form in wanted:
                return form
        raise ParameterError(
            f"{self.name} cannot take {option}={value!r}; it takes predictions as "
            + " or ".join(self.forms)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.family, tuple(self.forms)))


# Which option picks the form of the prediction, and which form its value picks.
FORM_OPTIONS: dict[str, dict[bool, tuple[str, ...]]] = {
    "from_logits": {
        True: ("logit", "class_logits"),
        False: ("probability", "class_probability"),
    },
    "from_log": {True: ("log",), False: ("positive",)},
}


def option_of(form: str) -> str:
    """Name the option that picks predictions of a kind."""
    for option, choices in FORM_OPTIONS.items():
        if any(form in forms for forms in choices.values()):
            return option
    raise ParameterError(f"no option picks predictions of kind {form!r}")
