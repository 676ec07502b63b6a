"""A twin: a real loss with one thing broken, to try the laws on."""

from __future__ import annotations

from functools import partial
from typing import Any

from lossary.loss import Loss


class Twin:
    """A loss of which some attributes or methods are broken, and the rest is real.

    A broken method is a function of the real loss and the arguments of the call.
    """

    def __init__(self, loss: Loss, broken: dict[str, Any]) -> None:
        self.real, self.broken = loss, broken

    def __getattr__(self, name: str) -> Any:
        if name not in self.broken:
            return getattr(self.real, name)
        found = self.broken[name]
        return partial(found, self.real) if callable(found) else found

    def __call__(self, *data: Any, **options: Any) -> Any:
        call = self.broken.get("call", lambda loss, *a, **o: loss(*a, **o))
        return call(self.real, *data, **options)

    def __repr__(self) -> str:
        return self.broken.get("repr", repr(self.real))

    def __eq__(self, other: object) -> bool:
        return other is self or (isinstance(other, Loss) and other == self.real)

    def __hash__(self) -> int:
        return hash(self.real) if "hash" not in self.broken else id(self)

    def __reduce__(self) -> Any:
        if "hash" in self.broken:
            return Twin, (self.real, self.broken)
        return _same, (self.broken.get("copy", self.real),)


def _same(loss: Any) -> Any:
    return loss


def computing(other: Loss) -> dict[str, Any]:
    """Break what a loss computes: another loss under its name."""
    names = ("value_and_grad", "grad_and_hess", "sums")
    methods = {n: lambda _, *a, n=n, **o: getattr(other, n)(*a, **o) for n in names}
    return {"call": lambda _, *a, **o: other(*a, **o), **methods}
