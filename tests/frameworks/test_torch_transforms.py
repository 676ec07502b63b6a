"""Modules under what PyTorch does to them: transforms, compilers, no values at all."""

from __future__ import annotations

import pytest
import torch
from laws.cases import random

import lossary as ls

LEARNED = [("general_robust", ("alpha", "scale")), ("info_nce", ("temperature",))]
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


def batch(loss, n=8, seed=1):
    inputs = random(loss, n=n, seed=seed)
    return torch.tensor(inputs.y), torch.tensor(inputs.z)


def value_and_grad(criterion, y, z, **options):
    z = z.detach().requires_grad_()
    value = criterion(z, y, **options)
    return value, *torch.autograd.grad(value, z)


ONE_OF_A_KIND = ["huber", "binary_cross_entropy", "cross_entropy", "dice", "info_nce"]


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_functional_transforms(name):
    loss = ls.get(name)
    criterion = loss.to_torch()
    y, z = batch(loss, n=4)
    _, expected = value_and_grad(criterion, y, z)
    torch.testing.assert_close(torch.func.grad(criterion)(z, y), expected)
    torch.testing.assert_close(torch.func.jacrev(criterion)(z, y), expected)
    _, tangent = torch.func.jvp(lambda s: criterion(s, y), (z,), (torch.ones_like(z),))
    torch.testing.assert_close(tangent, expected.sum())
    several = torch.stack([z, z + 0.1, z - 0.2])
    together = torch.func.vmap(criterion, in_dims=(0, None))(several, y)
    torch.testing.assert_close(
        together, torch.stack([criterion(s, y) for s in several])
    )
    hessian = torch.func.hessian(criterion)(z, y)
    twice = torch.autograd.functional.hessian(lambda s: criterion(s, y), z)
    torch.testing.assert_close(hessian, twice)


@pytest.mark.parametrize(("name", "learn"), LEARNED)
def test_functional_call_of_learned_parameters(name, learn):
    loss = ls.get(name)
    criterion = loss.to_torch(learn=learn).double()
    y, z = batch(loss)
    raw = {k: v.detach() + 0.2 for k, v in criterion.named_parameters()}
    got = torch.func.grad(lambda r: torch.func.functional_call(criterion, r, (z, y)))(
        raw
    )
    criterion.load_state_dict(raw)
    criterion(z, y).backward()
    for key, parameter in criterion.named_parameters():
        torch.testing.assert_close(got[key], parameter.grad)


@pytest.mark.parametrize(
    ("name", "form", "dynamic"),
    [
        ("huber", "module", False),
        ("huber", "module", True),
        ("huber", "function", True),
        ("cross_entropy", "module", True),
        ("info_nce", "module", True),
    ],
)
def test_compiles_without_a_break(name, form, dynamic):
    loss = ls.get(name)
    criterion = loss.to_torch() if form == "module" else lambda z, y: loss(y, z)
    torch._dynamo.reset()
    compiled = torch.compile(
        criterion, fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    for n in (8, 5):
        y, z = batch(loss, n=n)
        got, expected = (value_and_grad(c, y, z) for c in (compiled, criterion))
        torch.testing.assert_close(got, expected, **TIGHT)


@pytest.mark.parametrize(("name", "learn"), LEARNED)
def test_learned_parameters_compile(name, learn):
    loss = ls.get(name)
    criterion = loss.to_torch(learn=learn).double()
    torch._dynamo.reset()
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    y, z = batch(loss)
    raw = list(criterion.parameters())
    got, expected = (torch.autograd.grad(c(z, y), raw) for c in (compiled, criterion))
    torch.testing.assert_close(got, expected, **TIGHT)


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_tensors_without_values(name):
    from torch._subclasses.fake_tensor import FakeTensorMode

    criterion = ls.get(name).to_torch()
    y, z = batch(ls.get(name))
    value = criterion(z.to("meta"), y.to("meta"))
    assert (value.device.type, value.shape) == ("meta", ())
    with FakeTensorMode() as fake:
        value = criterion(fake.from_tensor(z), fake.from_tensor(y))
    assert (value.device.type, value.shape) == ("cpu", ())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_without_gradients(name, context):
    loss = ls.get(name)
    y, z = batch(loss)
    with context():
        value = loss.to_torch()(z.requires_grad_(), y)
    assert not value.requires_grad
    assert value.item() == pytest.approx(float(loss(y.numpy(), z.detach().numpy())))


@pytest.mark.parametrize("empty", ["nan", "zero"])
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_a_program_is_exported_for_any_size(name, empty):
    loss = ls.get(name)
    criterion = loss.to_torch(empty=empty)
    sizes = ({0: torch.export.Dim("n", min=2)},) * 2
    y, z = batch(loss, n=6)
    program = torch.export.export(criterion, (z, y), dynamic_shapes=sizes).module()
    y, z = batch(loss, n=9, seed=2)
    torch.testing.assert_close(program(z, y), criterion(z, y))


def test_sizes_that_change_compile_once():
    criterion = ls.general_robust.to_torch(learn=["alpha", "scale"])
    torch._dynamo.reset()
    compiled = torch.compile(
        criterion, fullgraph=True, backend="aot_eager", dynamic=True
    )
    with torch._dynamo.config.patch(error_on_recompile=True):
        for n in (8, 5, 13):
            z, y = torch.randn(n, requires_grad=True), torch.randn(n)
            expected = criterion(z, y)
            torch.testing.assert_close(compiled(z, y), expected)


def test_traced_programs_hold_no_data():
    """Small calls go through NumPy, which a tracer would take for constants."""
    from torch.fx.experimental.proxy_tensor import make_fx

    criterion = ls.squared_error.to_torch()
    traced = make_fx(criterion)(torch.zeros(3), torch.zeros(3))
    assert traced(torch.full((3,), 2.0), torch.zeros(3)).item() == 4.0
