"""Rowwise losses: each row has one logit per class, the last axis.

A member sees, per class, the target y and the log-odds u of the class against all
others, u = z - log Σ_others exp(z). That is the one statistic in which log p,
log(1 - p) and every function of them keep their digits when a row is confident.
With label smoothing ε the y of k classes that it sees is (1 - ε)·y + ε/k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossary.arrays import Library
from lossary.arrays.fused import OnePass
from lossary.batch import Batch, only_counted
from lossary.emit.latex import latex
from lossary.errors import ParameterError, some_rows
from lossary.expr.formula import Formula
from lossary.expr.graph import symbol
from lossary.expr.untraced import Table
from lossary.kernels.interval import sum_limit
from lossary.kinds import Kind, kind
from lossary.loss import Loss
from lossary.ops import weighted
from lossary.parameters import Param
from lossary.shapes import Signature
from lossary.structures.constants import best_log_odds
from lossary.structures.declare import define
from lossary.structures.items import ItemStructure
from lossary.structures.row_slopes import (
    distribution_slopes,
    label_slopes,
    probability_slopes,
)

LABELS = Signature("*b, *b k -> *b")
DISTRIBUTION = Signature("*b k, *b k -> *b")


class Rowwise(ItemStructure):
    """One loss per row of class scores.

    Parameters
    ----------
    signatures
        `LABELS` for class numbers, `DISTRIBUTION` for one probability per class.
    """

    name = "rowwise"
    kernel = "rows"
    quick = "lossary.structures.plain_rows", "PlainRows"

    def __init__(self, *signatures: Signature) -> None:
        self.signatures = signatures

    def indexed(self, signature: Signature) -> bool:
        """Say whether the target holds class numbers."""
        return signature == LABELS

    def count_shape(
        self, target: tuple[int, ...], prediction: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the shape of the rows."""
        return prediction[:-1]

    def kinds(self, loss: Loss, signature: Signature) -> tuple[Kind, Kind]:
        """Return the kinds of target and prediction."""
        target = "class_index" if signature == LABELS else "distribution"
        return kind(target), loss.prediction

    def suspicions(self, loss: Loss, batch: Batch) -> list[str]:
        """Say what is surely wrong with class numbers, rows and logits."""
        found = []
        lib, counting = batch.lib, batch.counting
        every = loss.form == "class_probability"
        labels, limit = batch.signature == LABELS, sum_limit(lib.itemsize(batch.dtype))
        scores = batch.z if every else lib.in_reach(batch.z)
        scores = lib.concrete(batch.wide(scores))
        if scores is None or not scores.size:
            return []
        if labels or not batch.compiled:  # a kernel looks at distributions itself
            target = lib.concrete(batch.y if labels else batch.wide(batch.y))
            if target is None:
                return []
            if not labels:
                found.append(bad_sums("y_true", target, counting, limit))
            elif not (batch.compiled and target.dtype.kind in "iub"):
                found.append(bad_labels(target, scores.shape[-1], counting))
        if loss.form == "class_probability":
            found.append(bad_sums("y_pred", scores, counting, limit))
        elif _on_simplex(scores):
            found.append(
                "y_pred holds rows of probabilities, but logits are expected; pass "
                "from_logits=False, or the logits themselves"
            )
        return [f"{loss.name}: {text}" for text in found if text]

    # -- computing ------------------------------------------------------------------

    def items(self, loss: Loss, batch: Batch) -> Any:
        """Return the loss of each row."""
        batch = _smoothed(loss, batch)
        lib, seen, _ = _seen(loss, batch)
        formula = _formula(loss, batch)
        values = lib.elementwise(formula.value, formula, loss.params)
        if self.indexed(batch.signature):
            return values(lib.constant(seen), seen)
        return lib.namespace(seen).sum(values(batch.y, seen), axis=-1)

    def slopes(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return the loss of each row, and its gradient in the class scores."""
        value, slope, _ = self._derivatives(loss, batch)
        return value, slope

    def curved(self, loss: Loss, batch: Batch) -> tuple[Any, Any]:
        """Return gradient and diagonal curvature in the class scores."""
        plain = self.indexed(batch.signature) and not smoothing(loss)
        call = self.one_pass(loss, batch) if plain else None
        fused = None if call is None else batch.lib.fused_curvature(call)
        if fused is not None:
            return fused
        _, slope, curvature = self._derivatives(loss, batch)
        return slope, curvature

    def along_items(self, batch: Batch, scale: Any, gradient: Any) -> Any:
        """Multiply each row's gradient by its own number."""
        return batch.lib.namespace(scale).expand_dims(scale, axis=-1) * gradient

    def kernel_for(self, loss: Loss) -> str | None:
        """Name the kernel that computes a loss in one pass, where there is one."""
        if loss.form != "class_logits":
            return None
        return "smoothed_rows" if smoothing(loss) else self.kernel

    def one_pass(self, loss: Loss, batch: Batch) -> OnePass | None:
        """Return the sum of all rows as one pass, if a kernel computes the loss."""
        call = super().one_pass(loss, batch)
        return call and replace(call, smoothing=smoothing(loss))

    def _derivatives(self, loss: Loss, batch: Batch) -> tuple[Any, Any, Any]:
        batch = _smoothed(loss, batch)
        lib, seen, shares = _seen(loss, batch)
        formula = _formula(loss, batch)
        labels = self.indexed(batch.signature)
        y = lib.constant(seen) if labels else batch.y
        f, a, c = (
            lib.elementwise(node, formula, loss.params)(y, seen)
            for node in (formula.value, formula.gradient, formula.curvature)
        )
        xp = lib.namespace(seen)
        if loss.form == "class_probability":
            return probability_slopes(xp, shares, f, a, c, labels)
        if labels:
            hit, others = shares
            return f, *label_slopes(lib, xp, hit, others, a, c)
        return xp.sum(f, axis=-1), *distribution_slopes(lib, xp, seen, a, c)

    def best_constant(self, loss: Loss, y_true: Any, sample_weight: Any) -> Any:
        """Return the constant scores of the least loss, one per class."""
        return best_log_odds(loss, y_true, sample_weight)

    def latex(self, loss: Loss, what: str) -> str:
        """Print value, gradient or curvature per class, and what z stands for."""
        text = latex(getattr(loss.formula, what))
        given = ""
        if smoothing(loss):
            given = r", \quad y = (1 - \epsilon)\, t_k + \frac{\epsilon}{K}"
        if loss.form == "class_probability":
            return rf"\sum_k {text}{given}"
        odds = r"z = s_k - \log \sum_{j \ne k} e^{s_j}"
        return rf"\sum_k \left[{text}\right], \quad {odds}{given}"


def smoothing(loss: Loss) -> float:
    """Return the label smoothing of a loss over classes; a weighted sum has none."""
    rate: float = loss.parameters.get("label_smoothing", 0.0)
    return rate


def linear_in_target(formula: Formula) -> bool:
    """Say whether a formula is the target times something else."""
    at_one = formula.at(**{formula.inputs[0]: 1.0}).value
    return weighted(symbol(formula.inputs[0]), at_one) is formula.value


def _smoothed(loss: Loss, batch: Batch) -> Batch:
    """Return the batch with the targets that the formula sees, (1 - ε)·y + ε/k.

    Class numbers become distributions.
    """
    rate = smoothing(loss)
    if not rate:
        return batch
    lib, y = batch.lib, batch.y
    xp = lib.namespace(batch.z)
    if loss.structure.indexed(batch.signature):
        hit, valid = _hits(lib, y, batch.z)
        valid = xp.expand_dims(valid, axis=-1)
        y = _or_nan(xp, valid, lib.cast(hit, batch.z.dtype))
    classes = xp.sum(xp.ones_like(batch.z), axis=-1, keepdims=True)
    y = (1 - rate) * y + rate / classes
    return replace(batch, y=y, signature=DISTRIBUTION)


_OF_TRUE_CLASS: Table[Formula] = Table(lambda formula: formula.at(y=1.0))


def _formula(loss: Loss, batch: Batch) -> Formula:
    """Return the formula, at y = 1 where only the true class counts."""
    if not loss.structure.indexed(batch.signature):
        return loss.formula
    return _OF_TRUE_CLASS.of(loss.formula)


def _seen(loss: Loss, batch: Batch) -> tuple[Library, Any, Any]:
    """Return what the formula sees of each row, and what its slope needs besides."""
    lib, z = batch.lib, batch.z
    labels = loss.structure.indexed(batch.signature)
    if loss.form == "class_probability":
        if not labels:
            return lib, z, None
        return lib, *lib.at_once(_label_shares, batch.y, z)
    if labels:
        return lib, *lib.at_once(label_odds, batch.y, z)
    return lib, lib.at_once(class_odds, z), None


def _label_shares(lib: Library, y: Any, p: Any) -> tuple[Any, Any]:
    """Return the true class's probability, and where it stands."""
    hit, valid = _hits(lib, y, p)
    xp = lib.namespace(p)
    true = xp.sum(xp.where(hit, p, xp.zeros_like(p)), axis=-1)
    valid = valid & xp.all(p == p, axis=-1)  # no NaN of another class is forgotten
    return _or_nan(xp, valid, true), hit


def _hits(lib: Library, y: Any, z: Any) -> tuple[Any, Any]:
    """Mark the true class of each row, and the rows whose class exists."""
    xp = lib.namespace(z)
    labels = lib.cast(y, xp.int64)
    classes = lib.sizes(z)[-1]
    hit = xp.expand_dims(labels, axis=-1) == lib.numbered(z)
    return hit, (labels >= 0) & (labels < classes)


def _or_nan(xp: Any, valid: Any, x: Any) -> Any:
    """Give NaN to rows whose label is out of range, never a plausible number."""
    return xp.where(valid, x, xp.zeros_like(x) + math.nan)


def label_odds(lib: Library, y: Any, z: Any) -> tuple[Any, Any]:
    """Return the true class's log-odds, and the shares of all other classes.

    The other classes have a maximum of their own, so that nothing underflows when
    the true class is far ahead; -inf masks a class.
    """
    xp = lib.namespace(z)
    hit, valid = _hits(lib, y, z)
    true = xp.sum(xp.where(hit, z, xp.zeros_like(z)), axis=-1)
    others = xp.where(hit, xp.zeros_like(z) - math.inf, z)
    highest = xp.sum if lib.shape(z)[-1] == 0 else xp.max  # of no pairs there is none
    top = lib.constant(highest(others, axis=-1, keepdims=True))
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    e = xp.exp(others - top)
    total = xp.sum(e, axis=-1)
    some = total != 0
    safe = xp.where(some, total, xp.ones_like(total))
    log_total = xp.where(some, xp.log(safe), xp.zeros_like(safe) - math.inf)
    odds = true - top[..., 0] - log_total
    shares = e / xp.expand_dims(safe, axis=-1)
    return _or_nan(xp, valid, odds), (hit, shares)


def class_odds(lib: Library, z: Any) -> Any:
    """Return the log-odds of every class against all others.

    The sum over the others is the total less the class's own term, except for the
    first maximum, where that would cancel and the others are summed instead.
    """
    xp = lib.namespace(z)
    top = lib.constant(xp.max(z, axis=-1, keepdims=True))
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    e = xp.exp(z - top)
    leader = xp.expand_dims(xp.argmax(z, axis=-1), axis=-1)
    first = lib.numbered(z) == leader
    rest = xp.sum(xp.where(first, xp.zeros_like(e), e), axis=-1, keepdims=True)
    others = xp.where(
        first, rest + xp.zeros_like(e), xp.sum(e, axis=-1, keepdims=True) - e
    )
    some = others != 0
    safe = xp.where(some, others, xp.ones_like(others))
    log_others = xp.where(some, xp.log(safe), xp.zeros_like(safe) - math.inf)
    return z - top - log_others


# -- checks of values -----------------------------------------------------------------


def bad_labels(labels: np.ndarray, classes: int, counting: Any) -> str:
    """Say which counted rows have a class number that is none; "" for no row."""
    bad = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    bad = only_counted(bad, counting)
    if not bad.any():
        return ""
    rows = np.argwhere(bad)
    where = some_rows(sorted({int(r[0]) for r in rows})) if bad.ndim else "the one row"
    return (
        f"y_true must hold class numbers from 0 to {classes - 1}, but there is "
        f"{labels[bad].flat[0]:g} in {where}; y_pred has {classes} classes, and rows "
        "to ignore are left out by mask"
    )


def bad_sums(
    argument: str, rows: np.ndarray, counting: Any, limit: float = 1e-3
) -> str:
    """Say which counted rows do not sum to 1, but for a limit; "" for no row."""
    sums = rows.sum(axis=-1, dtype=np.float64)
    bad = only_counted(np.asarray(abs(sums - 1) > limit), counting)
    if not bad.any():
        return ""
    found = np.argwhere(bad)
    where = some_rows(sorted({int(r[0]) for r in found})) if bad.ndim else "the one row"
    return (
        f"the probabilities of a row of {argument} must sum to 1, but there is a sum "
        f"of {np.asarray(sums)[bad].flat[0]:.6g} in {where}; divide each row by its sum"
    )


def _on_simplex(scores: np.ndarray) -> bool:
    """Spot probabilities; rows of zeros and ones may well be logits."""
    if scores.shape[-1] < 2 or (scores.reshape(-1, scores.shape[-1])[0] < 0).any():
        return False  # one look at the first row spares most calls the rest
    if not (scores >= 0).all():
        return False
    sums = scores.sum(axis=-1, dtype=np.float64)
    tolerance = 4 * scores.shape[-1] * np.finfo(scores.dtype).eps
    return bool(
        (abs(sums - 1) <= tolerance).all() and ((scores != 0) & (scores != 1)).any()
    )


def rowwise(
    *,
    target: str = "class_index",
    elicits: str = "",
    forms: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[[Callable[..., Any]], Loss]:
    """Make a loss over classes of a formula of ``y`` and the log-odds ``z``.

    Every member has the parameter ``label_smoothing``, at least 0 and less than 1: the
    target of each of k classes that the formula sees is (1 - ε)·y + ε/k, whether class
    numbers or distributions are given (Szegedy et al. 2016, Rethinking the Inception
    architecture for computer vision, CVPR).

    Parameters
    ----------
    target
        ``"class_index"`` takes class numbers or distributions, ``"distribution"``
        only the latter.
    elicits
        The functional that minimises the expected loss.
    forms
        The same loss of class probabilities, ``{"class_probability": formula}``.

    Examples
    --------
    >>> from lossary import rowwise
    >>> from lossary.ops import softplus, weighted
    >>> @rowwise()
    ... def surprise(y, z):
    ...     return weighted(y, softplus(-z))
    >>> round(float(surprise([0], [[2.0, 0.0]])), 4)
    0.1269
    >>> round(float(surprise([0], [[2.0, 0.0]], label_smoothing=0.1)), 4)
    0.2269
    """
    if target not in ("class_index", "distribution"):
        raise ParameterError(
            f"target must be 'class_index' or 'distribution', got {target!r}"
        )
    both = target == "class_index"
    structure = Rowwise(LABELS, DISTRIBUTION) if both else Rowwise(DISTRIBUTION)
    about = "the share of a target that is spread evenly over all classes"

    def declare(function: Callable[..., Any]) -> Loss:
        return define(
            function,
            structure=structure,
            target=target,
            prediction="class_logits",
            elicits=elicits,
            link="softmax",
            forms=forms or {},
            majoriser=None,
            options={"label_smoothing": Param(0.0, ge=0, lt=1, about=about)},
        )

    return declare
