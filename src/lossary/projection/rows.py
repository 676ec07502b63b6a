"""What a row of raw logits costs: the cap, the loss, the penalty of the log-sum-exp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lossary.arrays import Library
from lossary.expr.formula import trace
from lossary.loss import Loss
from lossary.ops import exp, tanh


def _cap(y: Any, z: Any, cap: Any) -> Any:
    return cap * tanh(z / cap)


def _cap_slope(y: Any, z: Any, cap: Any) -> Any:
    # What is derived, 4·σ(2x)·σ(-2x), as exactly, and with one exponential.
    e = exp(-2 * abs(z / cap))
    return 4 * e / (1 + e) ** 2


_CAPPED, _STEEP = (trace(f, ("y", "z"), ("cap",)) for f in (_cap, _cap_slope))
_TEXTS = _CAPPED.value, _STEEP.value


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
    def fused(self) -> bool:
        """Whether one kernel computes it all, if there are kernels."""
        plain = self.softcap is None and not self.z_loss
        return plain and self.loss.structure.kernel_for(self.loss) is not None

    def items(self, lib: Library, labels: Any, z: Any) -> Any:
        """Return the loss of each row, through which gradients flow."""
        if self.softcap is not None:
            capped = lib.elementwise(_CAPPED.value, _CAPPED, (self.softcap,))
            z = capped(lib.constant(z), z)
        items = self.loss(labels, z, reduction="none", check="off")
        if self.z_loss:
            items = items + self.z_loss * _exponentials(lib, z)[0] ** 2
        return items

    def total(self, lib: Library, labels: Any, z: Any, shares: Any) -> Any:
        """Return Σ w·l."""
        if self.softcap is not None:
            z = lib.run(_CAPPED.value, ("z", "cap"))(z, self.softcap)
        value = self.loss(labels, z, sample_weight=shares, reduction="sum", check="off")
        if self.z_loss:
            value = value + self._penalty(lib, _exponentials(lib, z)[0], shares)
        return value

    def slopes(self, lib: Library, labels: Any, z: Any, shares: Any) -> Any:
        """Return Σ w·l, and write its gradient over the logits."""
        steep = push = None
        if self.softcap is not None:
            text = lib.run_all(_TEXTS, ("z", "cap"))
            z[...], steep = text(z, self.softcap)
        penalty = 0.0
        if self.z_loss:
            lse, push, total = _exponentials(lib, z)
            rate = 2 * self.z_loss * lse / total
            push *= (rate if shares is None else shares * rate)[:, None]
            penalty = self._penalty(lib, lse, shares)
        value, _ = self.loss.value_and_grad(
            labels, z, sample_weight=shares, reduction="sum", check="off", out=z
        )
        if push is not None:
            z += push
        if steep is not None:
            z *= steep
        return value + penalty

    def _penalty(self, lib: Library, lse: Any, shares: Any) -> Any:
        squares = self.z_loss * lse**2
        return lib.total(squares if shares is None else shares * squares)


def _exponentials(lib: Library, z: Any) -> tuple[Any, Any, Any]:
    """Return log Σ exp(z) of each row, exp(z - max), and the sum of these."""
    xp = lib.namespace(z)
    top = lib.constant(xp.max(z, axis=-1, keepdims=True))
    top = xp.where(abs(top) < math.inf, top, xp.zeros_like(top))
    e = xp.exp(z - top)
    total = xp.sum(e, axis=-1)
    return top[..., 0] + xp.log(total), e, total
