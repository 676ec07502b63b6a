"""The losses of many compared rows, block by block: never all scores at once.

A block is some rows of `a` against all of `b`. Its scores are computed, used where
they lie and forgotten, so that n rows of width d take memory of n·d numbers and a
block. What a block needs of the others is small: in ``direction="both"`` the maximum
of every column and the sum of exponentials below it, which grow from block to block
(an online log-sum-exp). The gradient computes the scores of each block again; that
product costs less time than it takes to write n² numbers and read them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lossary.arrays import Library
from lossary.loss import Loss
from lossary.structures.pairwise import compared, whole
from lossary.structures.pairwise.compared import Compared
from lossary.structures.pairwise.views import VIEWS, View

LEAST = 256
"""Rows that a block has at least, since fewer make matrix products slow."""

Wanted = tuple[bool, ...]
"""Which gradients are asked for: in a, b, temperature and bias."""

ONLY_A: Wanted = (True, False, False, False)


def items(loss: Loss, c: Compared) -> Any:
    """Return the loss of each row, through which gradients flow."""
    return c.lib.differentiable(_Items.of(loss, c), *_inputs(c))


def total(loss: Loss, c: Compared, shares: Any) -> Any:
    """Return the shared sum of the items, through which gradients flow."""
    return c.lib.differentiable(_Total(_Items.of(loss, c)), *_inputs(c), shares)


def pull(loss: Loss, c: Compared, shares: Any) -> tuple[Any, Any]:
    """Return items, and the gradient of their shared sum in the vectors `a`."""
    c = replace(c, a=c.lib.constant(c.a), b=c.lib.constant(c.b))
    call, share = _Items.of(loss, c), c.lib.constant(shares)
    if call.by_block:
        found, (gradient, *_) = call.at_once(share, ONLY_A, *_inputs(c))
        return found, gradient
    found, view = call.forward(ONLY_A, *_inputs(c))
    return found, call.backward(view, share, ONLY_A, *_inputs(c))[0]


def _inputs(c: Compared) -> tuple[Any, Any, Any, Any]:
    return c.a, c.b, c.temperature, c.bias


@dataclass(frozen=True)
class _Items:
    """The loss of each row, and gradients, in a, b, temperature and bias.

    `frame` is the comparison without these, which autograd keeps.
    """

    loss: Loss
    frame: Compared

    @classmethod
    def of(cls, loss: Loss, c: Compared) -> _Items:
        """Return the calls of a comparison."""
        return cls(loss, replace(c, a=None, b=None, temperature=None, bias=None))

    @property
    def lib(self) -> Library:
        """The library of the arrays."""
        return self.frame.lib

    @property
    def by_block(self) -> bool:
        """Whether gradients can be computed together with the losses."""
        return self._view().by_block

    def plain(self, a: Any, b: Any, temperature: Any, bias: Any) -> Any:
        """Return the items by operations that the library differentiates."""
        c = replace(self.frame, a=a, b=b, temperature=temperature, bias=bias)
        return whole.items(self.loss, c)

    def forward(self, wanted: Wanted, *inputs: Any) -> tuple[Any, View]:
        """Return the items, and the view that `backward` needs."""
        view = self._view()
        for part, scores in _blocks(self.lib, *inputs):
            view.look(part, scores)
        return view.items(), view

    def backward(
        self, view: View, shares: Any, wanted: Wanted, *inputs: Any
    ) -> tuple[Any, ...]:
        """Return the gradients of the items' shared sum, None where not wanted."""
        pulled = _Pulled(self.lib, wanted, *inputs)
        with self.lib.quiet():  # a backward pass has a context of its own
            for part, scores in _blocks(self.lib, *inputs):
                pulled.add(part, view.slopes_of(part, scores, shares))
            return pulled.gradients()

    def at_once(
        self, shares: Any, wanted: Wanted, *inputs: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return the items and gradients of their shared sum, from the same scores."""
        view, pulled = self._view(), _Pulled(self.lib, wanted, *inputs)
        for part, scores in _blocks(self.lib, *inputs):
            pulled.add(part, view.slopes(part, view.look(part, scores), shares))
        return view.items(), pulled.gradients()

    def _view(self) -> View:
        return VIEWS[self.frame.each](self.loss, self.frame)


@dataclass(frozen=True)
class _Total:
    """The shared sum of the items, in the same and the shares."""

    of: _Items

    def plain(self, *inputs: Any) -> Any:
        """Return the sum by operations that the library differentiates."""
        return self.of.lib.total(inputs[4] * self.of.plain(*inputs[:4]))

    def forward(self, wanted: Wanted, *inputs: Any) -> tuple[Any, Any]:
        """Return the sum; keep the gradients where they cost no second product."""
        compared, shares = inputs[:4], inputs[4]
        view = gradients = None
        if any(wanted[:4]) and self.of.by_block:
            items, gradients = self.of.at_once(shares, wanted[:4], *compared)
        else:
            items, view = self.of.forward(wanted[:4], *compared)
        return self.of.lib.total(shares * items), (items, view, gradients)

    def backward(
        self, kept: Any, upstream: Any, wanted: Wanted, *inputs: Any
    ) -> tuple[Any, ...]:
        """Return the gradients of the sum that are wanted."""
        items, view, gradients = kept
        if gradients is None:
            shares = upstream * inputs[4]
            found = self.of.backward(view, shares, wanted[:4], *inputs[:4])
        else:
            found = tuple(None if g is None else upstream * g for g in gradients)
        return *found, upstream * items if wanted[4] else None


def _blocks(
    lib: Library, a: Any, b: Any, temperature: Any, bias: Any
) -> Iterator[tuple[slice, Any]]:
    """Walk over the rows of `a`, with their scores: always in the same memory."""
    xp = lib.namespace(a)
    n, m = lib.shape(a)[0], lib.shape(b)[0]
    step = max(LEAST, compared.MEMORY // max(1, m * lib.itemsize(a.dtype)))
    scaled, columns = a / temperature, xp.matrix_transpose(b)
    room: Any = None
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        out = None if start == 0 else room[: part.stop - start]
        scores = xp.matmul(scaled[part], columns, out=out)
        room = scores if start == 0 else room
        if bias is not None:
            scores += bias
        yield part, scores


class _Pulled:
    """Gradients in vectors, temperature and bias, added up from slopes in scores."""

    def __init__(
        self, lib: Library, wanted: Wanted, a: Any, b: Any, temperature: Any, bias: Any
    ) -> None:
        self.lib, self.wanted, self.xp = lib, wanted, lib.namespace(a)
        self.a, self.b, self.temperature = a, b, temperature
        # The gradient in the temperature follows from either of the vectors'.
        of_rows = wanted[0] or (wanted[2] and not wanted[1])
        self.in_a: Any = self.xp.zeros_like(a) if of_rows else None
        self.in_b: Any = self.xp.zeros_like(b) if wanted[1] else None
        self.in_bias: Any = 0.0

    def add(self, part: slice, slopes: Any) -> None:
        """Pull the slopes of a block back."""
        xp = self.xp
        if self.in_a is not None:
            xp.matmul(slopes, self.b, out=self.in_a[part])
        if self.in_b is not None:
            self.in_b += xp.matmul(xp.matrix_transpose(slopes), self.a[part])
        if self.wanted[3]:
            self.in_bias = self.in_bias + self.lib.total(slopes)

    def gradients(self) -> tuple[Any, ...]:
        """Return what was wanted of a, b, temperature and bias."""
        found = [self.in_a, self.in_b, None, self.in_bias]
        for x in (self.in_a, self.in_b):
            if x is not None:
                x /= self.temperature
        if self.wanted[2]:
            x, gradient = (
                (self.b, self.in_b) if self.in_a is None else (self.a, self.in_a)
            )
            found[2] = -self.lib.total(x * gradient) / self.temperature
        return tuple(x if w else None for x, w in zip(found, self.wanted, strict=True))
