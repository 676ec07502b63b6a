"""Pairwise losses: what their decorator takes, and SigLIP against its paper's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn.functional import logsigmoid, normalize

import lossary as ls
from lossary.learning import Learning, learnable
from lossary.ops import where
from lossary.structures.pairwise import compared


def vectors(n=12, width=4):
    return torch.randn(
        2, n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def published(images, texts, t, b):
    """Return the loss as Zhai et al. (2023), algorithm 1, write it."""
    logits = normalize(images) @ normalize(texts).T * t + b
    signs = 2 * torch.eye(len(images)) - 1
    return -logsigmoid(signs * logits).sum() / len(images)


def test_siglip_is_that_of_the_paper_at_its_defaults():
    texts, images = vectors()
    expected = published(images, texts, t=10.0, b=-10.0)
    torch.testing.assert_close(ls.siglip(texts, images), expected, rtol=1e-13, atol=0)


def test_siglip_learns_temperature_and_bias_with_the_gradients_of_the_paper():
    texts, images = vectors()
    scale, bias = (torch.tensor(x, requires_grad=True) for x in (5.0, -3.0))
    expected = torch.autograd.grad(published(images, texts, scale, bias), [scale, bias])
    value = ls.siglip(texts, images, temperature=1 / scale, bias=bias)
    found = torch.autograd.grad(value, [scale, bias])
    assert_allclose(found, expected, rtol=1e-5)


def test_a_bias_is_learned_as_it_is():
    assert learnable(ls.siglip)["bias"] == (-np.inf, np.inf)
    learning = Learning(ls.siglip, ("temperature", "bias"))
    raw = {name: np.array(value) for name, value in learning.start().items()}
    assert raw["bias"] == -10.0
    assert learning.values(raw)["bias"] == -10.0


def test_siglip_trains_with_its_own_parameters():
    criterion = ls.siglip.to_torch(learn=("temperature", "bias"))
    texts, images = vectors().float()
    criterion(images, texts).backward()
    assert all(p.grad != 0 for p in criterion.parameters())


@pytest.mark.parametrize("memory", [1, 1 << 60])
def test_a_formula_that_is_the_score_itself_keeps_the_scores(memory, monkeypatch):
    @ls.pairwise(each="pair")
    def bent(y, z):
        return where(y < 0.5, z, z**2)

    monkeypatch.setattr(compared, "MEMORY", memory)
    keys, queries = vectors().numpy()
    value, gradient = bent(similarity="dot").value_and_grad(keys, queries)
    own = (queries * keys).sum(axis=1)
    expected = (queries @ keys.T).sum() - own.sum() + (own**2).sum()
    assert_allclose(value, expected / 12)
    others = keys.sum(axis=0) - keys
    assert_allclose(gradient, (others + 2 * own[:, None] * keys) / 12)


@pytest.mark.parametrize("memory", [1, 1 << 60])
def test_a_formula_may_forget_all_but_its_own_pair(memory, monkeypatch):
    @ls.pairwise(each="pair")
    def pulled(y, z):
        return -y * z

    monkeypatch.setattr(compared, "MEMORY", memory)
    keys, queries = vectors().numpy()
    value, gradient = pulled(similarity="dot").value_and_grad(keys, queries)
    assert_allclose(value, -(queries * keys).sum() / 12)
    assert_allclose(gradient, -keys / 12)


def test_the_decorator_knows_rows_and_pairs():
    with pytest.raises(ls.LossaryError, match=r"each must be one of \('row', 'pair'\)"):
        ls.pairwise(each="batch")
    with pytest.raises(ls.LossaryError, match="bias must be 0 for losses of rows"):
        ls.pairwise(bias=1.0)


def test_rows_have_a_direction_and_pairs_a_bias():
    assert set(ls.info_nce.parameters) == {"temperature", "similarity", "direction"}
    assert set(ls.siglip.parameters) == {"temperature", "similarity", "bias"}


@pytest.mark.parametrize("name", ["temperature", "bias"])
def test_a_number_of_all_pairs_is_one_number(name):
    square = torch.ones(3, 3)
    with pytest.raises(ls.LossaryError, match=rf"siglip: {name} is one number for all"):
        ls.siglip(square, square, **{name: torch.ones(3, 3)})
