"""Losses under what autodiff libraries do to functions: compile, transform, batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from laws.cases import random
from laws.frameworks import FRAMEWORKS

import lossary as ls
from lossary.registry import registry

jax.config.update("jax_enable_x64", True)

TESTS = Path(__file__).parents[1]
LOSSES = list(registry().values())
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
by_row = pytest.mark.parametrize(  # rows that are not told from each other
    "loss", [v for v in LOSSES if v.structure.name != "pairwise"], ids=repr
)
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


def eager_gradient(loss: Any, y: Any, z: Any) -> Any:
    return loss.value_and_grad(y, z)[1]


# -- torch.compile --------------------------------------------------------------------

COLD = """
import torch
import lossary as ls
from laws.cases import random

for name in ls.names():
    loss = ls.get(name)
    inputs = random(loss, n=6)
    y, z = torch.tensor(inputs.y), torch.tensor(inputs.z, requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda y, z, loss=loss: loss(y, z), fullgraph=True, backend="aot_eager"
    )
    value = compiled(y, z)
    (gradient,) = torch.autograd.grad(value, z)
    expected = loss(y, z)
    (slope,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=1e-14)
    print(name)
"""


def test_losses_never_called_before_compile_without_a_break():
    """In a fresh process: nothing is derived, printed or cached before."""
    command = [sys.executable, "-c", COLD]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=TESTS
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split() == ls.names()


@pytest.mark.parametrize("name", ["huber", "cross_entropy"])
def test_generated_code_gives_the_same_value_and_gradient(name):
    loss = ls.get(name)
    inputs = random(loss, n=6)
    y, z = torch.tensor(inputs.y), torch.tensor(inputs.z, requires_grad=True)
    compiled = torch.compile(lambda y, z: loss(y, z), fullgraph=True)
    value = compiled(y, z)
    (gradient,) = torch.autograd.grad(value, z)
    assert value.item() == pytest.approx(float(loss(inputs.y, inputs.z)), rel=1e-12)
    expected = eager_gradient(loss, inputs.y, inputs.z)
    np.testing.assert_allclose(gradient, expected, **TIGHT)


def test_parameters_weights_and_reductions_compile():
    def cost(y, z, w):
        return ls.huber(y, z, delta=2.0, sample_weight=w, reduction="sum")

    y, z = torch.zeros(4), torch.tensor([0.5, 3.0, -1.0, 9.0])
    w = torch.tensor([1.0, 2.0, 0.0, 1.0])
    compiled = torch.compile(cost, fullgraph=True, backend="aot_eager")
    assert compiled(y, z, w) == cost(y, z, w)


def test_value_and_grad_compiles():
    y, z = torch.zeros(4), torch.tensor([0.5, 3.0, -1.0, 9.0])
    compiled = torch.compile(
        lambda y, z: ls.log_cosh.value_and_grad(y, z),
        fullgraph=True,
        backend="aot_eager",
    )
    torch.testing.assert_close(compiled(y, z), ls.log_cosh.value_and_grad(y, z))


# -- torch.func and autograd ----------------------------------------------------------


def torch_pair(loss: Any, n: int = 5) -> tuple[Any, Any]:
    inputs = random(loss, n=n, seed=2)
    return torch.tensor(inputs.y), torch.tensor(inputs.z)


@every_loss
def test_torch_grad(loss):
    y, z = torch_pair(loss)
    got = torch.func.grad(lambda s: loss(y, s))(z)
    expected = eager_gradient(loss, y.numpy(), z.numpy())
    np.testing.assert_allclose(got, expected, **TIGHT)


@by_row
def test_torch_vmap_of_grad_is_a_loop(loss):
    y, z = torch_pair(loss)

    def slope(target, score):
        return torch.func.grad(lambda s: loss(target, s))(score)

    got = torch.func.vmap(slope)(y, z)
    expected = torch.stack([slope(a, b) for a, b in zip(y, z, strict=True)])
    torch.testing.assert_close(got, expected, **TIGHT)


@by_row
def test_torch_hessian_has_the_curvature_on_its_diagonal(loss):
    y, z = torch_pair(loss, n=3)
    hessian = torch.func.hessian(lambda s: loss(y, s, reduction="sum"))(z)
    diagonal = hessian.reshape(z.numel(), z.numel()).diagonal().reshape(z.shape)
    _, expected = loss.grad_and_hess(y.numpy(), z.numpy())
    np.testing.assert_allclose(diagonal, expected, rtol=1e-10, atol=1e-12)


@every_loss
def test_torch_forward_mode_is_reverse_mode(loss):
    y, z = torch_pair(loss)
    way = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).reshape(z.shape)
    _, tangent = torch.func.jvp(lambda s: loss(y, s), (z,), (way,))
    expected = (eager_gradient(loss, y.numpy(), z.numpy()) * way.numpy()).sum()
    assert tangent.item() == pytest.approx(expected, rel=1e-12)


@every_loss
def test_torch_layouts_do_not_matter(loss):
    y, z = torch_pair(loss, n=6)
    expected = loss(y, z)
    apart = [torch.stack([x, x], dim=-1)[..., 0] for x in (y, z)]
    assert not apart[1].is_contiguous()
    assert loss(*apart) == expected
    wide = [x[:1].expand(4, *x.shape[1:]) for x in (y, z)]
    copies = [x.contiguous() for x in wide]
    assert float(loss(*wide)) == pytest.approx(float(loss(*copies)), rel=1e-12)


@every_loss
def test_torch_without_rows_is_the_mean_of_nothing(loss):
    y, z = (x[:0] for x in torch_pair(loss))
    assert torch.isnan(loss(y, z))
    assert loss(y, z, empty="zero") == 0
    assert loss.value_and_grad(y, z)[1].shape == z.shape


@every_loss
def test_torch_inference_mode(loss):
    y, z = torch_pair(loss)
    with torch.inference_mode():
        assert loss(y, z).item() == pytest.approx(float(loss(y.numpy(), z.numpy())))


# -- JAX ------------------------------------------------------------------------------


def jax_pair(loss: Any, n: int = 5) -> tuple[Any, Any]:
    inputs = random(loss, n=n, seed=2)
    return jnp.asarray(inputs.y), jnp.asarray(inputs.z)


@every_loss
def test_jax_jit_of_value_and_grad(loss):
    y, z = jax_pair(loss)
    value, gradient = jax.jit(jax.value_and_grad(lambda s, y: loss(y, s)))(z, y)
    expected, slope = loss.value_and_grad(np.asarray(y), np.asarray(z))
    np.testing.assert_allclose(value, expected, **TIGHT)
    np.testing.assert_allclose(gradient, slope, **TIGHT)


@by_row
def test_jax_vmap_of_grad_is_a_loop(loss):
    y, z = jax_pair(loss)
    slope = jax.grad(lambda s, target: loss(target, s))
    expected = jnp.stack([slope(b, a) for a, b in zip(y, z, strict=True)])
    np.testing.assert_allclose(jax.vmap(slope)(z, y), expected, **TIGHT)


@by_row
def test_jax_hessian_has_the_curvature_on_its_diagonal(loss):
    y, z = jax_pair(loss, n=3)
    hessian = jax.hessian(lambda s: loss(y, s, reduction="sum"))(z)
    diagonal = jnp.diagonal(hessian.reshape(z.size, z.size)).reshape(z.shape)
    _, expected = loss.grad_and_hess(np.asarray(y), np.asarray(z))
    np.testing.assert_allclose(diagonal, expected, rtol=1e-10, atol=1e-12)


def test_jax_takes_a_loss_as_a_static_argument():
    traced = []

    def cost(loss, y, z):
        traced.append(loss)
        return loss(y, z)

    compiled = jax.jit(cost, static_argnums=0)
    y, z = jnp.zeros(3), jnp.array([0.5, 3.0, -1.0])
    for loss in (ls.huber, ls.huber(delta=1.0), ls.huber(delta=2.0)):
        np.testing.assert_allclose(compiled(loss, y, z), loss(y, z), **TIGHT)
    # An equal loss is the same static argument: it is traced once.
    assert traced == [ls.huber, ls.huber(delta=2.0)]


# -- TensorFlow -----------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_tensorflow_function(loss, jit):
    import tensorflow as tf

    inputs = random(loss, n=5, seed=2)
    y, z = tf.constant(inputs.y), tf.constant(inputs.z)

    @tf.function(jit_compile=jit)
    def step(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return value, tape.gradient(value, z)

    value, gradient = step(y, z)
    expected, slope = loss.value_and_grad(inputs.y, inputs.z)
    np.testing.assert_allclose(value, expected, **TIGHT)
    np.testing.assert_allclose(gradient, slope, **TIGHT)


@pytest.mark.parametrize("name", ["log_cosh", "binary_focal", "tweedie"])
def test_tensorflow_nested_tapes(name):
    import tensorflow as tf

    loss = ls.get(name)
    inputs = random(loss, n=5, seed=2)
    y, z = tf.constant(inputs.y), tf.Variable(inputs.z)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = loss(y, tf.convert_to_tensor(z), reduction="sum")
        slope = inner.gradient(value, z)
    _, expected = loss.grad_and_hess(inputs.y, inputs.z)
    np.testing.assert_allclose(outer.gradient(slope, z), expected, **TIGHT)


# -- Dask -----------------------------------------------------------------------------


def refusing_to_compute(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("something was computed")


@every_loss
def test_dask_stays_lazy_whatever_the_chunks(loss):
    import dask
    import dask.array as da

    inputs = random(loss, n=12)
    y = da.from_array(inputs.y, chunks=(5, *inputs.y.shape[1:]))
    z = da.from_array(inputs.z, chunks=(4, *inputs.z.shape[1:]))
    weights = da.from_array(np.arange(12.0), chunks=3)
    with dask.config.set(scheduler=refusing_to_compute):
        value = loss(y, z, sample_weight=weights)
        _, gradient = loss.value_and_grad(y, z, sample_weight=weights)
        assert isinstance(value, da.Array)
        assert isinstance(gradient, da.Array)
        assert gradient.shape == z.shape
        with pytest.raises(AssertionError, match="something was computed"):
            value.compute()
    options = {"sample_weight": np.arange(12.0)}
    expected, slope = loss.value_and_grad(inputs.y, inputs.z, **options)
    got = dask.compute(value, gradient, scheduler="synchronous")
    np.testing.assert_allclose(got[0], expected, **TIGHT)
    np.testing.assert_allclose(got[1], slope, **TIGHT)


# -- the standard ---------------------------------------------------------------------


@every_loss
def test_a_library_of_the_array_standard(loss):
    import array_api_strict

    strict = FRAMEWORKS["strict"]
    inputs = random(loss, n=5)
    value, gradient = loss.value_and_grad(strict.make(inputs.y), strict.make(inputs.z))
    assert array_api_strict.__name__ in type(value).__module__
    assert array_api_strict.__name__ in type(gradient).__module__
    expected, slope = loss.value_and_grad(inputs.y, inputs.z)
    np.testing.assert_allclose(np.asarray(value), expected, **TIGHT)
    np.testing.assert_allclose(np.asarray(gradient), slope, **TIGHT)
