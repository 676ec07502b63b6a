"""Learned parameters in JAX: a pytree that optimisers, compilers and files take."""

from __future__ import annotations

import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lossary as ls
from lossary.errors import ParameterError
from lossary.frameworks.jax import Learned, to_jax

Y, Z = jnp.zeros(5), jnp.array([0.1, -0.3, 0.2, 0.4, 6.0])
BOTH = ("alpha", "scale")
ROBUST = to_jax("general_robust(scale=0.5)", BOTH)


def cost(robust: Learned) -> Any:
    return robust(Y, Z)


# -- the pytree -----------------------------------------------------------------------


def test_the_leaves_are_the_learned_parameters():
    paths, _ = jax.tree_util.tree_flatten_with_path(ROBUST)
    assert [jax.tree_util.keystr(path) for path, _ in paths] == [
        ".raw['alpha']",
        ".raw['scale']",
    ]
    assert all(leaf.shape == () and not leaf.weak_type for _, leaf in paths)


def test_a_loss_that_learns_nothing_has_no_leaves():
    plain = ls.huber(delta=2.0).to_jax()
    assert jax.tree.leaves(plain) == []
    assert plain(Y, Z, reduction="sum") == ls.huber(Y, Z, delta=2.0, reduction="sum")


def test_learning_starts_at_the_bound_parameters():
    values = ls.general_robust(alpha=1.5, scale=0.25).to_jax(learn=BOTH).values
    assert float(values["alpha"]) == pytest.approx(1.5, rel=1e-12)
    assert float(values["scale"]) == pytest.approx(0.25, rel=1e-12)


def test_values_stay_in_their_interval_wherever_an_update_goes():
    for step in (-30.0, 30.0):
        values = jax.tree.map(lambda raw, step=step: raw + step, ROBUST).values
        assert 0.001 <= float(values["alpha"]) <= 1.999
        assert 0 < float(values["scale"]) < math.inf


def test_the_loss_is_a_negative_log_likelihood():
    """At alpha = 2 that of the normal distribution."""
    normal = ls.general_robust(alpha=2.0, scale=0.5).to_jax(learn=["scale"])
    z = jnp.array([0.25])
    expected = 0.25**2 / 0.5**2 / 2 + math.log(0.5 * math.sqrt(2 * math.pi))
    assert float(normal(jnp.zeros(1), z)) == pytest.approx(expected, rel=1e-12)


def test_options_are_those_of_a_loss():
    mask = jnp.array([True, True, True, True, False])
    kept = ROBUST(Y[:4], Z[:4], reduction="sum")
    np.testing.assert_allclose(ROBUST(Y, Z, mask=mask, reduction="sum"), kept)
    weighted = ROBUST(Y, Z, sample_weight=jnp.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(weighted, ROBUST(Y[:4], Z[:4]))


def test_sums_of_parts_are_those_of_the_whole():
    parts = ROBUST.sums(Y[:2], Z[:2]) + ROBUST.sums(Y[2:], Z[2:])
    np.testing.assert_allclose(parts.mean(), ROBUST(Y, Z), rtol=1e-12)


# -- through transformations ----------------------------------------------------------


def test_its_gradient_is_a_pytree_of_its_kind_and_right():
    slopes = jax.jit(jax.grad(cost))(ROBUST)
    assert isinstance(slopes, Learned)
    for name in BOTH:
        ends = [
            cost(Learned(ROBUST.learning, {**ROBUST.raw, name: ROBUST.raw[name] + h}))
            for h in (1e-5, -1e-5)
        ]
        expected = (float(ends[0]) - float(ends[1])) / 2e-5
        assert float(slopes.raw[name]) == pytest.approx(expected, rel=1e-6)


def test_forward_mode_and_second_derivatives_reach_the_parameters():
    hessian = jax.jit(jax.jacfwd(jax.grad(cost)))(ROBUST)
    mixed = hessian.raw["alpha"].raw["scale"], hessian.raw["scale"].raw["alpha"]
    assert float(mixed[0]) == pytest.approx(float(mixed[1]), rel=1e-9)
    assert float(mixed[0]) != 0


def test_where_learning_starts_is_no_part_of_the_structure():
    structures = {
        jax.tree.structure(to_jax(ls.general_robust(alpha=alpha), BOTH))
        for alpha in (0.5, 1.5)
    }
    assert structures == {jax.tree.structure(ROBUST)}


def test_an_update_compiles_once():
    traced = []
    optimizer = optax.adam(0.1)

    @jax.jit
    def step(robust: Learned, state: Any) -> Any:
        traced.append(None)
        updates, state = optimizer.update(jax.grad(cost)(robust), state)
        return optax.apply_updates(robust, updates), state

    robust, state = ROBUST, optimizer.init(ROBUST)
    for _ in range(20):
        robust, state = step(robust, state)
    assert len(traced) == 1
    assert cost(robust) < cost(ROBUST)
    assert robust.learning == ROBUST.learning


def test_vmap_evaluates_an_ensemble_of_losses():
    starts = [to_jax(ls.general_robust(alpha=a), BOTH) for a in (0.5, 1.0, 1.5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    got = jax.vmap(cost)(stacked)
    np.testing.assert_allclose(got, [cost(robust) for robust in starts], rtol=1e-12)


def test_a_float32_model_learns_in_float32():
    robust = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), ROBUST)
    value, slopes = jax.value_and_grad(lambda r: r(*F32))(robust)
    assert value.dtype == jnp.float32
    assert slopes.raw["alpha"].dtype == jnp.float32
    assert float(value) == pytest.approx(float(cost(ROBUST)), rel=1e-5)


F32 = (Y.astype(jnp.float32), Z.astype(jnp.float32))


# -- saved and loaded -----------------------------------------------------------------


def test_it_pickles():
    copy = pickle.loads(pickle.dumps(ROBUST))
    assert jax.tree.structure(copy) == jax.tree.structure(ROBUST)
    assert cost(copy) == cost(ROBUST)


def test_its_leaves_go_to_a_file_and_back(tmp_path):
    file = tmp_path / "parameters.npz"
    trained = jax.tree.map(lambda leaf: leaf + 1, ROBUST)
    paths, structure = jax.tree_util.tree_flatten_with_path(trained)
    np.savez(file, **{jax.tree_util.keystr(path): leaf for path, leaf in paths})
    with np.load(file) as stored:
        leaves = [stored[jax.tree_util.keystr(path)] for path, _ in paths]
    assert cost(jax.tree.unflatten(structure, map(jnp.asarray, leaves))) == cost(
        trained
    )


# -- errors ---------------------------------------------------------------------------


def test_a_parameter_that_is_not_learned_is_refused():
    with pytest.raises(ParameterError, match="huber: 'delta' cannot be learned"):
        ls.huber.to_jax(learn=["delta"])


def test_a_sum_of_losses_learns_nothing():
    with pytest.raises(ParameterError, match="sum of losses"):
        (0.5 * ls.dice + ls.binary_cross_entropy).to_jax(learn=["scale"])


# -- learning -------------------------------------------------------------------------


def fitted(loss: Learned, x: Any, y: Any) -> tuple[Any, Any]:
    """Fit a line as Barron's notebook does: Adam, rate 0.01, 2000 steps."""
    optimizer = optax.adam(0.01)
    model = {"slope": jnp.float32(0), "shift": jnp.float32(0), "loss": loss}

    def cost(model: Any) -> Any:
        return model["loss"](y, model["slope"] * x + model["shift"])

    def step(carry: Any, _: Any) -> Any:
        model, state = carry
        value, slopes = jax.value_and_grad(cost)(model)
        updates, state = optimizer.update(slopes, state)
        return (optax.apply_updates(model, updates), state), value

    @jax.jit
    def run(model: Any) -> Any:
        start = model, optimizer.init(model)
        (end, _), values = jax.lax.scan(step, start, None, 2000)
        return end, values[-1]

    return run(model)


@pytest.fixture(scope="module")
def line() -> tuple[Any, Any]:
    """The data of that notebook: y = 0.7 x + 0.15, five of fifty points flipped."""
    random = np.random.RandomState(1)
    x = random.uniform(size=50)
    y = 0.7 * x + 0.15 + random.normal(scale=0.025, size=50)
    flipped = random.uniform(size=50) > 0.9
    y = np.where(flipped, 0.05 + 0.4 * (1 - np.sign(y - 0.5)), y)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def test_squared_error_fits_the_outliers_as_published(line):
    """The notebook prints 1.673694."""
    model, value = fitted(ls.general_robust(alpha=2.0, scale=0.1).to_jax(), *line)
    assert float(value) == pytest.approx(1.673694, abs=2e-6)
    assert abs(model["slope"] - 0.7) > 0.15


def test_a_learned_loss_finds_the_line_as_published(line):
    """The notebook prints -1.514423 at alpha 0.0118 and scale 0.01207.

    Its log-partition is a spline, ours the integral, hence the tolerance.
    """
    start = jax.tree.map(
        lambda x: x.astype(jnp.float32), to_jax(ls.general_robust, BOTH)
    )
    model, value = fitted(start, *line)
    learned = model["loss"].values
    assert float(value) == pytest.approx(-1.5144, abs=1e-3)
    assert float(learned["alpha"]) == pytest.approx(0.0118, abs=3e-3)
    assert float(learned["scale"]) == pytest.approx(0.01207, abs=1e-4)
    assert float(model["slope"]) == pytest.approx(0.7, abs=0.02)
    assert float(model["shift"]) == pytest.approx(0.15, abs=0.01)


def test_a_temperature_is_learned():
    keys = jax.random.normal(jax.random.key(0), (8, 4))
    contrast = ls.info_nce.to_jax(learn=["temperature"])
    slopes = jax.grad(lambda contrast: contrast(keys, keys + 0.01))(contrast)
    # Every row is nearest to its own key: a colder softmax is surer of it.
    assert float(slopes.raw["temperature"]) > 0
