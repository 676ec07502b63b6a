"""What a row of raw logits costs: the cap, the loss, the penalty of the log-sum-exp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossary.arrays import Library
from lossary.loss import Loss
from lossary.projection import capping
from lossary.projection.capping import CAPPED, log_sum


@dataclass(frozen=True)
class RowLoss:
    """The loss of a row: f(z) + λ·lse(z)², where z is capped, if it is.

    Parameters
    ----------
    loss : Loss
        A loss of class numbers and logits.
    softcap : float, optional
        Where given, z is cap·tanh(raw / cap).
    z_loss : float
        λ, the weight of the squared log-sum-exp.
    """

    loss: Loss
    softcap: float | None
    z_loss: float

    @property
    def alone(self) -> bool:
        """Whether there is neither a cap nor a penalty beside the loss."""
        return self.softcap is None and not self.z_loss

    @property
    def compiled(self) -> bool:
        """Whether a kernel computes the loss, if there are kernels."""
        return self.loss.structure.kernel_for(self.loss) is not None

    def items(self, lib: Library, labels: Any, z: Any) -> Any:
        """Return the loss of each row, through which gradients flow."""
        if self.softcap is not None:
            capped = lib.elementwise(CAPPED.value, CAPPED, (self.softcap,))
            z = capped(lib.constant(z), z)
        items = self.loss(labels, z, reduction="none", check="off")
        if self.z_loss:
            sums = capping.exponentials(lib, z)
            items = items + self.z_loss * log_sum(lib, sums) ** 2
        return items

    def total(self, lib: Library, labels: Any, z: Any, shares: Any) -> Any:
        """Return Σ w·l, and use the logits up."""
        sums = None
        if not self.alone:
            sums = capping.forward(lib, self.softcap, z, z, bool(self.z_loss))
        value = self.loss(labels, z, sample_weight=shares, reduction="sum", check="off")
        return value if sums is None else value + self._penalty(lib, sums, shares)[0]

    def slopes(self, lib: Library, labels: Any, z: Any, shares: Any, spare: Any) -> Any:
        """Return Σ w·l, and write its gradient over the logits.

        `spare` is an array like `z`, to be used; without cap and penalty none is
        needed.
        """
        if self.alone:
            return self._pulled(labels, z, shares, z)
        sums = capping.forward(lib, self.softcap, z, spare, bool(self.z_loss))
        seen = z if self.softcap is None else spare
        value, added = self._pulled(labels, seen, shares, spare), None
        if sums is not None:
            penalty, factor = self._penalty(lib, sums, shares)
            value, added = value + penalty, (sums[0], factor)
        capping.backward(lib, self.softcap, z, spare, added)
        return value

    def _pulled(self, labels: Any, z: Any, shares: Any, out: Any) -> Any:
        """Return Σ w·f, and write its gradient."""
        value, _ = self.loss.value_and_grad(
            labels, z, sample_weight=shares, reduction="sum", check="off", out=out
        )
        return value

    def _penalty(
        self, lib: Library, sums: capping.PerRow, shares: Any
    ) -> tuple[Any, Any]:
        """Return Σ w·λ·lse², and its slope in the exponentials of each row."""
        lse = log_sum(lib, sums)
        rate = self.z_loss * lse
        rate = rate if shares is None else shares * rate
        return lib.total(rate * lse), 2 * rate / sums[1]
