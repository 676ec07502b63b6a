"""Errors and warnings of a module name `input` and `target`, as PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._dynamo.exc import Unsupported

import lossary as ls
from lossary.arrays import standard
from lossary.errors import (
    DomainError,
    KindError,
    LossaryWarning,
    ParameterError,
    ShapeError,
)

SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, -2.0]])
MISTAKES = {
    "shape": (
        lambda: ls.huber.to_torch()(torch.zeros(4, 1), torch.zeros(4)),
        ShapeError,
        "huber: target has shape (4,) and input has shape (4, 1), but their shapes "
        "must be (*b, *b), nothing is broadcast; use input.reshape(-1)",
    ),
    "label": (
        lambda: ls.cross_entropy.to_torch()(SCORES, torch.tensor([0, 5])),
        DomainError,
        "cross_entropy: target must hold class numbers from 0 to 2, but there is 5 in "
        "row 1; input has 3 classes, and rows to ignore are left out by mask",
    ),
    "probabilities": (
        lambda: ls.cross_entropy.to_torch()(SCORES.softmax(-1), torch.tensor([0, 1])),
        DomainError,
        "cross_entropy: input holds rows of probabilities, but logits are expected",
    ),
    "count": (
        lambda: ls.poisson.to_torch()(torch.zeros(2), torch.tensor([1.0, -2.0])),
        DomainError,
        "poisson: target must hold counts or amounts in [0, inf), but there is -2 in "
        "row 1; a count or an amount cannot be negative",
    ),
    "weight": (
        lambda: ls.huber.to_torch()(SCORES[0], SCORES[0], -SCORES[0]),
        DomainError,
        "huber: sample_weight must hold finite numbers, at least 0, but there is -2",
    ),
    "library": (
        lambda: ls.huber.to_torch()(torch.zeros(2), np.zeros(2)),
        KindError,
        "target and input belong to different array libraries (numpy and torch)",
    ),
    "complex": (
        lambda: ls.huber.to_torch()(1j * SCORES, SCORES),
        KindError,
        "huber: input is a tensor of torch.complex64, but losses compare real numbers",
    ),
    "complex weight": (
        lambda: ls.huber.to_torch()(SCORES, SCORES, 1j * SCORES),
        KindError,
        "huber: sample_weight is a tensor of torch.complex64, but losses compare real ",
    ),
    "sparse": (
        lambda: ls.huber.to_torch()(SCORES, SCORES.to_sparse()),
        KindError,
        "huber: target is sparse, nested or quantized, but losses take dense tensors",
    ),
    "nothing": (
        lambda: ls.huber.to_torch()(SCORES, None),
        KindError,
        "huber: target is a NoneType of which no tensor of numbers can be made",
    ),
    "strings": (
        lambda: ls.cross_entropy.to_torch()(SCORES, ["cat", "dog"]),
        KindError,
        "cross_entropy: target is a list of which no tensor of numbers can be made",
    ),
    "device": (
        lambda: ls.huber.to_torch()(SCORES.to("meta"), SCORES),
        KindError,
        "huber: target is on cpu, and what it goes with is on meta; move one",
    ),
    "learned": (
        lambda: ls.general_robust.to_torch(learn="scale")(SCORES, SCORES[0]),
        ShapeError,
        "general_robust: target has shape (3,) and input has shape (2, 3)",
    ),
    "reduction": (
        lambda: ls.huber.to_torch(reduction="avg"),
        ParameterError,
        "reduction='avg' is not known; known names are mean, mean_over_items, "
        "mean_over_rows, none, sum",
    ),
    "check": (
        lambda: ls.huber.to_torch(check="maybe"),
        ParameterError,
        "check must be one of ('raise', 'warn', 'off'), got 'maybe'",
    ),
    "parts": (
        lambda: (ls.dice + ls.binary_cross_entropy).to_torch(reduction="none"),
        ParameterError,
        "dice + binary_cross_entropy has no loss per item",
    ),
    "option of torch.nn": (
        lambda: ls.cross_entropy.to_torch(ignore_index=-100),
        ParameterError,
        "cross_entropy: to_torch has no option 'ignore_index'; weights and masks are "
        "given at the call",
    ),
    "option of the loss": (
        lambda: ls.huber.to_torch(delta=2.0),
        ParameterError,
        "huber: to_torch has no option 'delta'; bind it before, as in "
        "huber(delta=...).to_torch()",
    ),
    "option": (
        lambda: ls.huber.to_torch(reductoin="sum"),
        ParameterError,
        "huber: to_torch has no option 'reductoin'; did you mean 'reduction'?",
    ),
    "learn": (
        lambda: ls.huber.to_torch(learn="delta"),
        ParameterError,
        "huber: 'delta' cannot be learned; none of its parameters can",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, kind, sentence = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "y_true" not in str(caught.value)
    assert "y_pred" not in str(caught.value)


@pytest.mark.parametrize("n", [2, standard.SMALL + 1], ids=["small", "large"])
def test_warnings_are_in_the_same_words_and_point_here(n):
    criterion = ls.poisson.to_torch(check="warn")
    with pytest.warns(LossaryWarning, match="poisson: target must hold") as caught:
        criterion(torch.zeros(n), torch.full((n,), -1.0))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiler_says_it_in_the_same_words(fullgraph):
    torch._dynamo.reset()
    criterion = torch.compile(
        ls.huber.to_torch(), fullgraph=fullgraph, backend="aot_eager"
    )
    with pytest.raises(Unsupported if fullgraph else ShapeError) as caught:
        criterion(torch.zeros(4, 1), torch.zeros(4))
    _, _, sentence = MISTAKES["shape"]
    assert sentence in str(caught.value)
