"""Gradients of a batch that comes in parts are those of the whole batch."""

from __future__ import annotations

import weakref

import pytest
import torch
from laws.cases import VARIANTS, random

import lossary as ls
from lossary.errors import DomainError, ParameterError, ShapeError
from lossary.frameworks.torch import Accumulator

TIGHT = {"rtol": 1e-12, "atol": 1e-12}
every_loss = pytest.mark.parametrize("loss", VARIANTS, ids=repr)
PARTS = [slice(0, 3), slice(3, 4), slice(4, 9), slice(9, 12)]


class Model(torch.nn.Module):
    """Scores that are nearly the numbers that it is given, and depend on weights."""

    def __init__(self, z):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(z.shape[1:], dtype=z.dtype))
        self.slope = torch.nn.Parameter(torch.ones((), dtype=z.dtype))

    def forward(self, z):
        return self.slope * z + self.shift

    def gradients(self):
        return [p.grad.clone() for p in self.parameters()]


def data(loss, n=12):
    inputs = random(loss, n=n, seed=3)
    return torch.tensor(inputs.y), torch.tensor(inputs.z)


def options(n=12):
    weight = torch.arange(float(n), dtype=torch.float64) % 4
    return [{}, {"sample_weight": weight}, {"mask": weight > 0}]


def cut(given, part):
    return {name: array[part] for name, array in given.items()}


def whole(criterion, model, y, z, **given):
    model.zero_grad()
    criterion.zero_grad()
    value = criterion(model(z), y, **given)
    value.backward()
    return value.detach(), model.gradients()


def in_parts(accumulator, model, y, z, parts=PARTS, **given):
    model.zero_grad()
    accumulator.criterion.zero_grad()
    for part in parts:
        accumulator.backward(model(z[part]), y[part], **cut(given, part))
    return accumulator.finish(), model.gradients()


@every_loss
def test_any_split_is_the_whole(loss):
    y, z = data(loss)
    model, criterion = Model(z), loss.to_torch(check="off")
    accumulator = Accumulator(criterion, model.parameters())
    for given in options():
        expected = whole(criterion, model, y, z, **given)
        for parts in (PARTS, PARTS[::-1], [slice(0, 12)]):
            got = in_parts(accumulator, model, y, z, parts, **given)
            torch.testing.assert_close(got, expected, **TIGHT)


@pytest.mark.parametrize("name", ["huber", "cross_entropy", "dice", "info_nce"])
@pytest.mark.parametrize(
    "reduction", ["mean", "mean_over_items", "mean_over_rows", "sum"]
)
def test_every_reduction(name, reduction):
    loss = ls.get(name)
    y, z = data(loss)
    model, criterion = Model(z), loss.to_torch(reduction=reduction)
    accumulator = Accumulator(criterion, model.parameters())
    for given in options():
        expected = whole(criterion, model, y, z, **given)
        got = in_parts(accumulator, model, y, z, **given)
        torch.testing.assert_close(got, expected, **TIGHT)


@pytest.mark.parametrize(
    "loss",
    [
        0.5 * ls.dice + ls.binary_cross_entropy,
        ls.dice(over="batch") + 2 * ls.binary_cross_entropy,
        ls.binary_cross_entropy + ls.dice(over="batch"),
    ],
    ids=repr,
)
def test_each_term_of_a_sum_has_its_denominator(loss):
    torch.manual_seed(0)
    y, z = torch.rand(12, 5).double().round(), torch.randn(12, 5).double()
    y[0:3] = 0
    model, criterion = Model(z), loss.to_torch()
    accumulator = Accumulator(criterion, model.parameters())
    for given in options():
        expected = whole(criterion, model, y, z, **given)
        got = in_parts(accumulator, model, y, z, **given)
        torch.testing.assert_close(got, expected, **TIGHT)


@pytest.mark.parametrize(
    ("name", "learn"),
    [("general_robust", ("alpha", "scale")), ("info_nce", ("temperature",))],
)
def test_learned_parameters(name, learn):
    loss = ls.get(name)
    y, z = data(loss)
    model, criterion = Model(z), loss.to_torch(learn=learn).double()
    expected = whole(criterion, model, y, z)
    slopes = [p.grad.clone() for p in criterion.parameters()]
    got = in_parts(Accumulator(criterion, model.parameters()), model, y, z)
    torch.testing.assert_close(got, expected, **TIGHT)
    for parameter, slope in zip(criterion.parameters(), slopes, strict=True):
        torch.testing.assert_close(parameter.grad, slope, **TIGHT)


def test_weights_that_are_learned():
    y, z = data(ls.huber)
    raw = torch.linspace(0.5, 2.0, 12, dtype=torch.float64).requires_grad_()
    model, criterion = Model(z), ls.huber.to_torch()
    expected = whole(criterion, model, y, z, sample_weight=raw)
    slope, raw.grad = raw.grad, None
    accumulator = Accumulator(criterion, [*model.parameters(), raw])
    got = in_parts(accumulator, model, y, z, sample_weight=raw)
    torch.testing.assert_close(got, expected, **TIGHT)
    torch.testing.assert_close(raw.grad, slope, **TIGHT)


def test_takes_a_loss_and_a_name():
    y, z = data(ls.huber)
    model = Model(z)
    expected = whole(ls.huber.to_torch(), model, y, z)
    for loss in (ls.huber, "huber"):
        got = in_parts(Accumulator(loss, model.parameters()), model, y, z)
        torch.testing.assert_close(got, expected, **TIGHT)


# -- what .grad holds -----------------------------------------------------------------


def test_a_gradient_that_was_there_is_kept():
    y, z = data(ls.huber)
    model = Model(z)
    _, expected = whole(ls.huber.to_torch(), model, y, z)
    model.zero_grad()
    accumulator = Accumulator(ls.huber, model.parameters())
    former = torch.tensor(5.0, dtype=torch.float64)
    model.slope.grad = former.clone()
    for part in PARTS:
        accumulator.backward(model(z[part]), y[part])
        assert model.slope.grad == former
        assert model.shift.grad is None
    accumulator.finish()
    expected[1] += former
    torch.testing.assert_close(model.gradients(), expected, **TIGHT)


def test_two_batches_follow_each_other():
    y, z = data(ls.huber)
    model = Model(z)
    accumulator = Accumulator(ls.huber, model.parameters())
    first = in_parts(accumulator, model, y, z)
    again = in_parts(accumulator, model, y, z)
    torch.testing.assert_close(again, first)


def test_parts_are_forgotten_by_reset():
    y, z = data(ls.huber)
    model = Model(z)
    accumulator = Accumulator(ls.huber, model.parameters())
    accumulator.backward(model(z[:5]), y[:5])
    accumulator.reset()
    got = in_parts(accumulator, model, y, z)
    torch.testing.assert_close(got, whole(ls.huber.to_torch(), model, y, z), **TIGHT)


def test_frozen_parameters_get_no_gradient():
    y, z = data(ls.huber)
    model = Model(z)
    model.slope.requires_grad_(False)
    accumulator = Accumulator(ls.huber, model.parameters())
    for part in PARTS:
        accumulator.backward(model(z[part]), y[part])
    value = accumulator.finish()
    torch.testing.assert_close(value, ls.huber(y, z))
    assert model.slope.grad is None
    assert model.shift.grad is not None


def test_the_graph_of_a_part_is_let_go():
    y, z = data(ls.huber)
    model = Model(z)
    accumulator = Accumulator(ls.huber, model.parameters())
    scores = model(z[:3])
    gone = weakref.ref(scores)
    accumulator.backward(scores, y[:3])
    del scores
    assert gone() is None


# -- precision ------------------------------------------------------------------------


def test_half_precision_gradients_do_not_overflow():
    n = 1 << 17
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float16))
    accumulator = Accumulator(ls.squared_error, [weight])
    for _ in range(2):
        accumulator.backward(weight.expand(n), torch.zeros(n, dtype=torch.float16))
    assert accumulator.finish().item() == 1.0
    assert weight.grad.item() == 2.0


def test_a_gradient_scaler_scales_and_unscales():
    y, z = data(ls.huber)
    model = Model(z)
    _, expected = whole(ls.huber.to_torch(), model, y, z)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    accumulator = Accumulator(ls.huber, model.parameters(), scaler=scaler)
    _, scaled = in_parts(accumulator, model, y, z)
    torch.testing.assert_close(scaled, [1024 * g for g in expected], **TIGHT)
    scaler.unscale_(optimiser)
    torch.testing.assert_close(model.gradients(), expected, **TIGHT)


def test_ranks_that_average_gradients():
    """Two ranks with uneven parts: `reduce` is their average of sums."""
    y, z = data(ls.cross_entropy)
    criterion = ls.cross_entropy.to_torch()
    model = Model(z)
    expected = whole(criterion, model, y, z)
    sums = []

    def remember(vector):
        sums.append(vector)
        return vector

    ranks = [slice(0, 9), slice(9, 12)]
    for rank in ranks:
        accumulator = Accumulator(criterion, model.parameters(), reduce=remember)
        in_parts(accumulator, model, y, z, [rank])
    average = (sums[0] + sums[1]) / 2
    gradients = []
    for rank in ranks:
        accumulator = Accumulator(
            criterion, model.parameters(), reduce=lambda vector: average
        )
        value, found = in_parts(accumulator, model, y, z, [rank])
        torch.testing.assert_close(value, expected[0], **TIGHT)
        gradients.append(found)
    averaged = [(a + b) / 2 for a, b in zip(*gradients, strict=True)]
    torch.testing.assert_close(averaged, expected[1], **TIGHT)


# -- nothing left, and mistakes -------------------------------------------------------


@pytest.mark.parametrize("empty", ["nan", "zero"])
def test_nothing_left_is_a_policy(empty):
    y, z = data(ls.huber)
    model, criterion = Model(z), ls.huber.to_torch(empty=empty)
    nobody = torch.zeros(12, dtype=torch.bool)
    expected = whole(criterion, model, y, z, mask=nobody)
    accumulator = Accumulator(criterion, model.parameters())
    got = in_parts(accumulator, model, y, z, mask=nobody)
    torch.testing.assert_close(got, expected, equal_nan=True)


def test_nothing_left_leaves_gradients_alone_where_it_is_an_error():
    y, z = data(ls.huber)
    model = Model(z)
    accumulator = Accumulator(ls.huber.to_torch(empty="raise"), model.parameters())
    nobody = torch.zeros(12, dtype=torch.bool)
    accumulator.backward(model(z), y, mask=nobody)
    with pytest.raises(DomainError, match="nothing is left to average"):
        accumulator.finish()
    assert model.slope.grad is None


def test_an_empty_part_adds_nothing():
    y, z = data(ls.huber)
    model, criterion = Model(z), ls.huber.to_torch()
    accumulator = Accumulator(criterion, model.parameters())
    got = in_parts(accumulator, model, y, z, [slice(0, 0), *PARTS])
    torch.testing.assert_close(got, whole(criterion, model, y, z), **TIGHT)


def refused(call, kind, sentence):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(sentence)


def test_a_parameter_that_was_not_given_is_named():
    y, z = data(ls.cross_entropy)
    model = Model(z)
    accumulator = Accumulator(ls.cross_entropy, [model.slope])
    refused(
        lambda: accumulator.backward(model(z), y),
        ParameterError,
        "cross_entropy: gradients flow to a tensor of shape (4,) that the accumulator "
        "was not given",
    )


def test_shapes_are_named_in_the_words_of_pytorch():
    accumulator = Accumulator(ls.huber, [])
    refused(
        lambda: accumulator.backward(torch.zeros(3, 1), torch.zeros(3)),
        ShapeError,
        "huber: target has shape (3,) and input has shape (3, 1)",
    )


def test_other_mistakes_are_named():
    refused(
        lambda: Accumulator(ls.huber, []).finish(),
        ParameterError,
        "huber: there is no part of a batch to finish",
    )
    refused(
        lambda: Accumulator(ls.huber.to_torch(reduction="none"), []),
        ParameterError,
        "huber: reduction='none' leaves nothing to accumulate",
    )
    total = ls.dice(over="batch").to_torch(reduction="sum")
    refused(
        lambda: Accumulator(total, []).backward(torch.zeros(3), torch.ones(3)),
        ParameterError,
        "dice(over='batch'): an overlap counted over the whole batch is one number",
    )
    ranks = Accumulator(ls.info_nce, [], reduce=lambda vector: vector)
    ranks.backward(torch.eye(3), torch.eye(3))
    refused(
        ranks.finish,
        ParameterError,
        "info_nce is not a mean of items whose denominators can be reduced apart",
    )
