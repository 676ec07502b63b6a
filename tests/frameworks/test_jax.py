"""A loss is a function of JAX arrays: every transformation gives what it should."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import export
from laws.cases import random

import lossary as ls
from lossary.errors import DomainError, KindError, ParameterError, ShapeError

TIGHT = {"rtol": 1e-12, "atol": 1e-14}
# One of each structure, and of each way to be awkward: kinks, poles, labels, shares.
SOME = ["huber", "poisson", "cross_entropy", "kl_divergence", "dice", "info_nce"]
some_losses = pytest.mark.parametrize("name", SOME)
Y, Z = jnp.zeros(4), jnp.array([0.5, 3.0, -1.0, 9.0])
SUM = 0.5 * ls.dice(over="batch") + ls.binary_cross_entropy


def pair(loss: Any, n: int = 4) -> tuple[Any, Any]:
    inputs = random(loss, n=n, seed=3)
    return jnp.asarray(inputs.y), jnp.asarray(inputs.z)


def primitives(jaxpr: Any) -> set[str]:
    """Name all primitives of a traced function, those of inner functions included."""
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found |= primitives(inner)
    return found


# -- derivatives ----------------------------------------------------------------------


def by_vjp(f: Any, z: Any) -> Any:
    value, pull = jax.vjp(f, z)
    return pull(jnp.ones_like(value))[0]


def by_linearizing(f: Any, z: Any) -> Any:
    _, push = jax.linearize(f, z)
    basis = jnp.eye(z.size, dtype=z.dtype).reshape(z.size, *z.shape)
    return jax.vmap(push)(basis).reshape(z.shape)


MODES = {
    "forward": lambda f, z: jax.jacfwd(f)(z),
    "reverse": lambda f, z: jax.jacrev(f)(z),
    "vjp": by_vjp,
    "linearize": by_linearizing,
    "checkpoint": lambda f, z: jax.grad(jax.checkpoint(f))(z),
}


@some_losses
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_gradient(name, mode):
    loss = ls.get(name)
    y, z = pair(loss)
    expected = loss.value_and_grad(np.asarray(y), np.asarray(z))[1]
    gradient = jax.jit(partial(MODES[mode], partial(loss, y)))(z)
    np.testing.assert_allclose(gradient, expected, **TIGHT)


@some_losses
def test_second_derivatives_agree_in_every_order_of_modes(name):
    loss = ls.get(name)
    y, z = pair(loss, n=3)
    modes = jax.jacfwd, jax.jacrev
    orders = [(outer, inner) for outer in modes for inner in modes]

    @jax.jit
    def hessians(z: Any) -> Any:
        return [outer(inner(partial(loss, y)))(z) for outer, inner in orders]

    first, *others = hessians(z)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-10, atol=1e-13)


def test_the_target_has_a_gradient_too():
    in_target, in_prediction = jax.grad(ls.huber, argnums=(0, 1))(Y, Z)
    np.testing.assert_allclose(in_target, -in_prediction, **TIGHT)


def barron(y: Any, z: Any, alpha: Any, scale: Any) -> Any:
    """Equation 1 of Barron (2019), derived by JAX alone."""
    b = jnp.abs(alpha - 2)
    power = (((z - y) / scale) ** 2 / b + 1) ** (alpha / 2)
    return jnp.mean(b / alpha * (power - 1))


def test_parameters_that_are_arrays_have_mixed_second_derivatives():
    def ours(at: Any) -> Any:
        return ls.general_robust(Y, at[:4], alpha=at[4], scale=at[5])

    def theirs(at: Any) -> Any:
        return barron(Y, at[:4], at[4], at[5])

    at = jnp.array([*Z, 0.7, 1.3])
    got, expected = (jax.jit(jax.hessian(f))(at) for f in (ours, theirs))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


# -- batching and loops ---------------------------------------------------------------


def test_vmap_over_a_parameter_is_a_loop():
    deltas = jnp.array([0.5, 1.0, 4.0])
    got = jax.vmap(lambda d: jax.grad(lambda z: ls.huber(Y, z, delta=d))(Z))(deltas)
    for row, delta in zip(got, deltas.tolist(), strict=True):
        expected = ls.huber(delta=delta).value_and_grad(Y, Z)[1]
        np.testing.assert_allclose(row, expected, **TIGHT)


@pytest.mark.parametrize("option", ["sample_weight", "mask"])
def test_vmap_over_what_counts_is_a_loop(option):
    rows = jnp.array([[1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 1]])
    rows = rows.astype(bool if option == "mask" else float)
    got = jax.vmap(lambda row: ls.cross_entropy(*LABELLED, **{option: row}))(rows)
    expected = [ls.cross_entropy(*LABELLED, **{option: row}) for row in rows]
    np.testing.assert_allclose(got, expected, **TIGHT)


LABELLED = pair(ls.cross_entropy)


@pytest.mark.parametrize("loss", [ls.huber, ls.dice(over="batch"), SUM], ids=repr)
def test_sums_are_merged_by_a_scan(loss):
    y, z = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]), jnp.linspace(-2, 2, 6)
    weight = jnp.array([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    parts = [x.reshape(3, 2) for x in (y, z, weight)]

    def merge(sums: Any, part: Any) -> Any:
        target, score, w = part
        return sums + loss.sums(target, score, sample_weight=w), None

    first, rest = ([x[i] for x in parts] for i in (0, slice(1, None)))
    start = loss.sums(first[0], first[1], sample_weight=first[2])
    sums, _ = jax.lax.scan(merge, start, rest)
    whole = loss.sums(y, z, sample_weight=weight).mean()
    np.testing.assert_allclose(sums.mean(), whole, **TIGHT)


def test_sums_start_at_nothing():
    scan = jax.lax.scan
    pairs = (Y.reshape(2, 2), Z.reshape(2, 2))
    nothing = ls.Sums(0.0, 0.0)
    sums, _ = scan(lambda s, p: (s + ls.huber.sums(*p), None), nothing, pairs)
    np.testing.assert_allclose(sums.mean(), ls.huber(Y, Z), **TIGHT)


# -- compiling ------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [ls.huber(delta=2.0), SUM], ids=repr)
def test_an_equal_loss_is_not_compiled_again(loss):
    traced = []

    @partial(jax.jit, static_argnums=0)
    def cost(loss: Any, y: Any, z: Any) -> Any:
        traced.append(loss)
        return loss(y, z)

    for same in (loss, pickle.loads(pickle.dumps(loss)), ls.get(repr(loss))):
        cost(same, jnp.ones(4), Z)
    assert traced == [loss]


def test_a_loss_travels_in_a_partial_pytree():
    cost = jax.tree_util.Partial(ls.huber, Y)
    value = jax.jit(lambda cost, z: cost(z))(cost, Z)
    np.testing.assert_allclose(value, ls.huber(Y, Z), **TIGHT)


@some_losses
def test_compiled_code_calls_nothing_on_the_host(name):
    loss = ls.get(name)
    y, z = pair(loss)
    step = jax.value_and_grad(lambda z: loss(y, z, sample_weight=jnp.ones(len(z))))
    used = primitives(jax.make_jaxpr(step)(z).jaxpr)
    assert not {p for p in used if "callback" in p or "infeed" in p}


def test_nothing_leaks_out_of_a_trace():
    with jax.checking_leaks():
        jax.jit(jax.hessian(partial(ls.log_cosh, Y)))(Z)


def test_donated_buffers():
    @partial(jax.jit, donate_argnums=0)
    def step(z: Any) -> Any:
        return z - jax.grad(partial(ls.huber, Y))(z)

    expected = Z - ls.huber.value_and_grad(Y, Z)[1]
    np.testing.assert_allclose(step(jnp.array(Z)), expected, **TIGHT)


def test_a_program_is_exported_for_any_size():
    (n,) = jax.export.symbolic_shape("n")
    rows = jax.ShapeDtypeStruct((n,), Y.dtype)
    program = jax.export.export(jax.jit(ls.huber))(rows, rows)
    for size in (3, 4):
        y, z = Y[:size], Z[:size]
        np.testing.assert_allclose(program.call(y, z), ls.huber(y, z), **TIGHT)


def test_exported_code_runs_without_lossary():
    step = jax.jit(jax.value_and_grad(partial(ls.cross_entropy, LABELLED[0])))
    stored = export.export(step)(LABELLED[1]).serialize()
    value, gradient = export.deserialize(stored).call(LABELLED[1])
    expected, slope = step(LABELLED[1])
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


# -- numbers and modes ----------------------------------------------------------------


@some_losses
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_sums_wide_and_has_a_gradient_of_its_own(name, dtype):
    loss = ls.get(name)
    y, z = pair(loss)
    short = z.astype(dtype)
    y = y.astype(dtype) if jnp.issubdtype(y.dtype, jnp.floating) else y
    value, gradient = jax.jit(jax.value_and_grad(partial(loss, y)))(short)
    assert (value.dtype, gradient.dtype) == (jnp.float32, short.dtype)
    wide = [x.astype(jnp.float32) if x.dtype == dtype else x for x in (y, short)]
    expected = jax.jit(loss)(*wide)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


@some_losses
def test_without_64_bits_all_is_float32_and_nothing_warns(name):
    loss = ls.get(name)
    inputs = random(loss, n=4, seed=3)
    with jax.enable_x64(False):
        y, z = jnp.asarray(inputs.y), jnp.asarray(inputs.z)
        value, gradient = jax.jit(jax.value_and_grad(partial(loss, y)))(z)
        eager = loss(y, z)
    assert {value.dtype, eager.dtype, gradient.dtype} == {np.dtype("float32")}
    expected = float(loss(inputs.y, inputs.z))
    assert [float(value), float(eager)] == pytest.approx([expected, expected], rel=1e-5)


@some_losses
def test_strict_promotion_of_types_and_ranks(name):
    loss = ls.get(name)
    y, z = pair(loss)
    keep = jnp.arange(len(z)) > 0
    plain = [np.asarray(x) for x in (y, z, keep)]
    expected = loss.value_and_grad(*plain[:2], mask=plain[2])
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        ways = loss.value_and_grad, lambda *d, **o: jax.value_and_grad(loss, 1)(*d, **o)
        found = [jax.jit(way)(y, z, mask=keep) for way in ways]
    for way in found:
        for got, value in zip(way, expected, strict=True):
            np.testing.assert_allclose(got, value, **TIGHT)


def test_a_result_is_not_weakly_typed():
    assert not ls.huber(jnp.asarray(1.0), jnp.asarray(2.0)).weak_type


def test_numpy_arrays_are_taken_beside_those_of_jax():
    y, z = np.asarray(Y), np.asarray(Z)
    expected = ls.huber(Y, Z)
    for pair_ in ((y, Z), (Y, z)):
        value = ls.huber(*pair_)
        assert isinstance(value, jax.Array)
        assert value == expected
    np.testing.assert_allclose(jax.jit(partial(ls.huber, y))(Z), expected, **TIGHT)


def test_arrays_of_another_library_are_refused():
    with pytest.raises(KindError, match="different array libraries"):
        ls.huber(torch.zeros(4), Z)


EDGES = [
    ("poisson", {}, [0.0, 2.0], [-np.inf, 1.0]),
    ("binary_cross_entropy", {"from_logits": False}, [0.0, 1.0], [0.0, 1.0]),
    ("binary_cross_entropy", {}, [0.0, 1.0], [-np.inf, np.inf]),
    ("cross_entropy", {}, [1, 0], [[-np.inf, 0.0], [1e4, -1e4]]),
    ("kl_divergence", {}, [[0.0, 1.0]], [[-np.inf, 0.0]]),
    ("info_nce", {}, [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]),
]


@pytest.mark.parametrize(("name", "options", "y", "z"), EDGES)
def test_debugging_nans_finds_none_where_values_and_gradients_are_finite(
    name, options, y, z
):
    loss, y, z = ls.get(name, **options), jnp.asarray(y), jnp.asarray(z)
    with jax.debug_nans(True):
        for run in (lambda f: f, jax.jit):
            value, gradient = run(jax.value_and_grad(partial(loss, y)))(z)
            assert jnp.isfinite(value)
            assert jnp.isfinite(gradient).all()
        assert jnp.isfinite(loss(y, z, mask=jnp.arange(len(z)) < 1))


def test_debugging_nans_finds_those_that_are_there():
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        ls.huber(Y, Z.at[0].set(jnp.nan))


# -- errors ---------------------------------------------------------------------------


def test_shapes_are_refused_while_tracing():
    with pytest.raises(ShapeError, match=r"huber: y_true has shape \(4, 1\)"):
        jax.jit(ls.huber)(Y[:, None], Z)


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["called", "compiled"])
def test_complex_numbers_are_refused(run):
    with pytest.raises(KindError, match="huber: y_pred is an array of complex"):
        run(ls.huber)(Y, 1j * Z)
    with pytest.raises(KindError, match="huber: sample_weight is an array of complex"):
        run(lambda w: ls.huber(Y, Z, sample_weight=w))(1j * Z)


@pytest.mark.parametrize(
    "y", [None, ["cat", "dog", "cat", "owl"]], ids=["nothing", "strings"]
)
def test_what_is_no_array_is_refused(y):
    with pytest.raises(KindError, match=r"huber: y_true is a \w+ of which no array"):
        ls.huber(y, Z)


def test_values_are_checked_where_they_are_known():
    labels = jnp.array([0, 7, 1, 2])
    with pytest.raises(DomainError, match="7 in row 1"):
        ls.cross_entropy(labels, LABELLED[1])
    assert jnp.isnan(jax.jit(ls.cross_entropy)(labels, LABELLED[1]))


def test_nothing_left_is_nan_where_no_error_can_be_raised():
    def mean(mask):
        return ls.huber(Y, Z, mask=mask, empty="raise")

    none = jnp.zeros(len(Y), bool)
    with pytest.raises(DomainError, match="nothing is left to average"):
        mean(none)
    assert jnp.isnan(jax.jit(mean)(none))


def test_a_traced_number_is_not_bound():
    with pytest.raises(ParameterError, match=r"delta must be .* together with y_true"):
        jax.jit(lambda delta: ls.huber(delta=delta)(Y, Z))(2.0)
