"""A learned parameter that no optimiser holds is said, once, and never wrongly."""

from __future__ import annotations

import copy
import gc
import linecache
import warnings
import weakref

import pytest
import torch

import lossary as ls
from lossary.errors import LossaryWarning


def train(optimisers, criterion, model, steps=6, every=1):
    """Train, and return the warnings."""
    x, y = torch.randn(8, 2), torch.randn(8, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(steps):
            criterion(model(x), y).backward()
            if (step + 1) % every == 0:
                for optimiser in optimisers:
                    optimiser.step()
                    optimiser.zero_grad()
    said = [w for w in caught if w.category is LossaryWarning]
    for w in said:
        assert linecache.getline(w.filename, w.lineno).strip() == "optimiser.step()"
    return [str(w.message) for w in said]


def model_and_criterion(learn=("alpha", "scale")):
    torch.manual_seed(0)
    return torch.nn.Linear(2, 1), ls.general_robust.to_torch(learn=learn)


def sgd(*modules):
    return torch.optim.SGD([p for m in modules for p in m.parameters()], lr=0.01)


def test_a_forgotten_parameter_is_said_once():
    model, criterion = model_and_criterion()
    (said,) = train([sgd(model)], criterion, model, steps=20)
    assert said.startswith(
        "general_robust: alpha and scale had gradients for 3 steps and did not move, "
        "because no optimiser holds them"
    )


def test_only_what_is_forgotten_is_said():
    model, criterion = model_and_criterion()
    optimiser = torch.optim.SGD([*model.parameters(), criterion.raw_alpha], lr=0.01)
    (said,) = train([optimiser], criterion, model)
    assert said.startswith("general_robust: scale had")


def test_a_copy_is_forgotten_too():
    model, criterion = model_and_criterion()
    optimiser = sgd(model, criterion)
    (said,) = train([optimiser], copy.deepcopy(criterion), model)
    assert "no optimiser holds them" in said


@pytest.mark.parametrize("every", [1, 3], ids=["each batch", "accumulated"])
def test_no_alarm_where_one_optimiser_holds_all(every):
    model, criterion = model_and_criterion()
    assert train([sgd(model, criterion)], criterion, model, 15, every) == []


def test_no_alarm_where_another_optimiser_holds_it():
    model, criterion = model_and_criterion()
    late = sgd(criterion)  # not stepped yet
    assert train([sgd(model)], criterion, model) == []
    late.step()


def test_no_alarm_where_it_is_moved_by_hand():
    model, criterion = model_and_criterion(learn="scale")

    class ByHand:
        def step(self):
            criterion.raw_scale.data -= 0.01 * criterion.raw_scale.grad

        def zero_grad(self):
            criterion.zero_grad()

    assert train([sgd(model), ByHand()], criterion, model) == []


@pytest.mark.parametrize(
    "rest",
    [lambda c: c.requires_grad_(False), lambda c: c.eval()],
    ids=["frozen", "evaluated"],
)
def test_no_alarm_for_parameters_at_rest(rest):
    model, criterion = model_and_criterion()
    rest(criterion)
    assert train([sgd(model)], criterion, model) == []


def test_no_alarm_for_a_criterion_that_was_only_tried():
    tried = ls.general_robust.to_torch(learn="scale")
    tried(torch.ones(3), torch.zeros(3)).backward()
    model, criterion = model_and_criterion()
    assert train([sgd(model, criterion)], criterion, model) == []
    assert tried.raw_scale.grad is not None


def test_no_alarm_where_a_schedule_starts_at_nothing():
    model, criterion = model_and_criterion()
    groups = [{"params": model.parameters()}, {"params": criterion.parameters()}]
    optimiser = torch.optim.SGD(groups, lr=0.01)
    torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: 0.0)
    assert train([optimiser], criterion, model) == []


def test_watching_keeps_nothing_alive():
    criterion = ls.general_robust.to_torch(learn="scale")
    gone = weakref.ref(criterion)
    del criterion
    gc.collect()
    assert gone() is None
