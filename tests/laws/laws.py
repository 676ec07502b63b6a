"""The laws: what must hold for every loss, in every framework.

A law takes a loss (or something that stands in for one) and raises AssertionError.
`test_laws.py` walks them over the registry; `test_suite_bites.py` shows each of them
a broken loss that it must refuse.
"""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import lossary as ls
from laws.accuracy import limit, measure
from laws.cases import Inputs, by_labels, random, separable
from laws.frameworks import NUMPY, Framework
from laws.oracle import M, at
from lossary.expr.graph import Node
from lossary.expr.reference import FLOATS, evaluate

TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def _weights(inputs: Inputs, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, len(inputs.z)).astype(float)


def _poisoned(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """Put NaN where nothing may look (and a wrong class where NaN is no label)."""
    y, z = inputs.y.copy(), inputs.z.copy()
    z[rows] = np.nan
    y[rows] = np.nan if y.dtype.kind == "f" else -7
    return Inputs(y, z)


def refusal(loss: Any, *args: Any, **options: Any) -> str:
    """Return the sentence with which a call is refused; accepting it is a failure."""
    try:
        loss(*args, **options)
    except ls.LossaryError as error:
        return str(error)
    raise AssertionError("a wrong call was accepted")


# -- numbers --------------------------------------------------------------------------


def accurate(loss: Any, framework: Framework, dtype: str) -> None:
    """Value, gradient and curvature are those of 50 digits, on the edge grid."""
    for what, worst in measure(loss, framework, dtype).items():
        assert worst.error <= limit(loss, what, dtype), (
            f"{what} is off by {worst.error:.2e} at {worst.place}"
        )


def agrees(loss: Any, framework: Framework) -> None:
    """Every framework gives NumPy's value, under every reduction and with weights."""
    inputs = random(loss)
    weights = _weights(inputs)
    for reduction in ("mean", "mean_over_items", "mean_over_rows", "sum", "none"):
        options = {"sample_weight": weights, "reduction": reduction}
        expected = loss(inputs.y, inputs.z, **options)
        options["sample_weight"] = framework.make(weights)
        got = loss(framework.make(inputs.y), framework.make(inputs.z), **options)
        assert_allclose(np.asarray(got), expected, **TIGHT)


def derivative_is_derivative(loss: Any) -> None:
    """Gradient and curvature are the derivatives of the value, to 15 digits."""
    inputs = random(loss, n=5, seed=3)
    formula = loss.formula
    derived = (formula.gradient, formula.curvature)
    for y, z in zip(inputs.y.ravel()[:5], inputs.z.ravel()[:5], strict=False):

        def value(x: Any, y: float = float(y)) -> Any:
            return at(loss, formula.value, y=y, z=x)

        assert_allclose(
            [float(at(loss, n, y=float(y), z=float(z))) for n in derived],
            [float(M.mp.diff(value, M.mp.mpf(float(z)), n)) for n in (1, 2)],
            rtol=1e-12, atol=1e-12,
        )  # fmt: skip


def floats_and_digits_agree(loss: Any) -> None:
    """The reference interpreter reads the same numbers in floats and in mpmath."""
    inputs = random(loss, n=8)
    nodes = (loss.formula.value, loss.formula.gradient, loss.formula.curvature)
    for y, z in zip(inputs.y.ravel()[:8], inputs.z.ravel()[:8], strict=False):
        for node in nodes:
            exact = float(at(loss, node, y=float(y), z=float(z)))
            assert_allclose(
                _in_floats(loss, node, float(y), float(z)),
                exact,
                rtol=1e-12,
                atol=1e-13,
            )


def _in_floats(loss: Any, node: Node, y: float, z: float) -> float:
    from lossary.expr.graph import parameter, symbol

    formula = loss.formula
    points = {symbol("y"): y, symbol("z"): z}
    points |= {
        parameter(p): v for p, v in zip(formula.params, loss.params, strict=True)
    }
    return float(evaluate(node, points, FLOATS))


def gradient_is_slope(loss: Any) -> None:
    """The gradient of the reduced value is its slope, weights and masks included."""
    inputs = random(loss, n=6, seed=4)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    for reduction in ("mean", "mean_over_items", "mean_over_rows", "sum"):
        options = {"sample_weight": weights, "reduction": reduction, "check": "off"}
        value, gradient = loss.value_and_grad(inputs.y, inputs.z, **options)
        assert_allclose(value, loss(inputs.y, inputs.z, **options), rtol=1e-13)
        way = np.random.default_rng(0).normal(size=inputs.z.shape)
        step = 1e-6 * way
        rise = loss(inputs.y, inputs.z + step, **options) - loss(
            inputs.y, inputs.z - step, **options
        )
        assert_allclose((gradient * way).sum(), rise / 2e-6, rtol=2e-5, atol=1e-8)


# -- meaning --------------------------------------------------------------------------


def batch_is_loop(loss: Any) -> None:
    """A batch is its rows, one by one."""
    inputs = random(loss)
    together = loss(inputs.y, inputs.z, reduction="none")
    if not separable(loss):
        return
    one_by_one = [
        loss(inputs.y[i : i + 1], inputs.z[i : i + 1], reduction="none")
        for i in range(len(inputs.z))
    ]
    assert_allclose(together, np.concatenate(one_by_one), **TIGHT)


def weight_zero_removes(loss: Any, framework: Framework = NUMPY) -> None:
    """Weight 0 and mask False remove a row, whatever it holds, and its gradient."""
    inputs = random(loss)
    gone = np.arange(len(inputs.z)) % 3 == 0
    dirty = _poisoned(inputs, gone)
    expected = loss(inputs.y[~gone], inputs.z[~gone])
    make = framework.make
    for option in ({"sample_weight": (~gone).astype(float)}, {"mask": ~gone}):
        option = {k: make(v) for k, v in option.items()}
        got = loss(make(dirty.y), make(dirty.z), **option)
        assert_allclose(np.asarray(got), expected, **TIGHT)
        value, gradient = loss.value_and_grad(make(dirty.y), make(dirty.z), **option)
        assert_allclose(np.asarray(value), expected, **TIGHT)
        assert_array_equal(np.asarray(gradient)[gone], 0)
        assert np.isfinite(np.asarray(gradient)).all()


def integer_weight_repeats(loss: Any) -> None:
    """A weight of 3 is the row three times, where a row may stand beside its copy."""
    if loss.structure.name == "pairwise":
        return
    inputs = random(loss)
    weights = _weights(inputs)
    times = weights.astype(int)
    expected = loss(
        np.repeat(inputs.y, times, axis=0), np.repeat(inputs.z, times, axis=0)
    )
    assert_allclose(loss(inputs.y, inputs.z, sample_weight=weights), expected, **TIGHT)


def parts_merge(loss: Any) -> None:
    """Any split into micro-batches gives the value of the whole."""
    inputs = random(loss)
    weights = _weights(inputs)
    whole = loss(inputs.y, inputs.z, sample_weight=weights)
    cuts = [0, 1, 7, 7, 20, len(inputs.z)]
    sums = [
        loss.sums(inputs.y[a:b], inputs.z[a:b], sample_weight=weights[a:b])
        for a, b in pairwise(cuts)
        if b > a
    ]
    total = sums[0]
    for part in sums[1:]:
        total = total + part
    assert_allclose(total.mean(), whole, **TIGHT)


def gradients_merge(loss: Any) -> None:
    """The gradients of parts, over the whole's denominator, are the whole's."""
    if not separable(loss):
        return
    inputs = random(loss)
    _, whole = loss.value_and_grad(inputs.y, inputs.z)
    halves = [loss.value_and_grad(inputs.y[s], inputs.z[s], reduction="sum")[1]
              for s in (slice(0, 5), slice(5, None))]  # fmt: skip
    denominator = float(loss.sums(inputs.y, inputs.z).denominator)
    assert_allclose(np.concatenate(halves) / denominator, whole, **TIGHT)


def nothing_left_is_a_policy(loss: Any) -> None:
    """The mean of no rows is NaN, 0 or an error, and its denominator is 0."""
    inputs = random(loss, n=3)
    nobody = np.zeros(3)
    assert np.isnan(loss(inputs.y, inputs.z, sample_weight=nobody))
    assert loss(inputs.y, inputs.z, sample_weight=nobody, empty="zero") == 0
    value, gradient = loss.value_and_grad(
        inputs.y, inputs.z, mask=nobody > 0, empty="zero"
    )
    assert value == 0
    assert_array_equal(gradient, np.zeros_like(inputs.z))
    said = refusal(loss, inputs.y, inputs.z, sample_weight=nobody, empty="raise")
    assert "nothing is left to average" in said
    sums = loss.sums(inputs.y, inputs.z, sample_weight=nobody)
    assert float(getattr(sums, "denominator", 0)) == 0


def nan_stays_in_its_row(loss: Any) -> None:
    """NaN in a counted row comes out as NaN, and nowhere else."""
    inputs = random(loss, n=6)
    if not separable(loss):
        return
    for name in ("y", "z"):
        dirty = Inputs(inputs.y.copy(), inputs.z.copy())
        if getattr(dirty, name).dtype.kind != "f":
            continue
        getattr(dirty, name)[2] = np.nan
        items = loss(dirty.y, dirty.z, reduction="none", check="off")
        pair = loss.grad_and_hess(dirty.y, dirty.z, check="off")
        for result in (items, *pair):
            bad = np.isnan(result.reshape(len(result), -1))
            assert bad[2].all(), f"NaN in {name} was forgotten"
            assert not np.delete(bad, 2, axis=0).any(), "NaN reached other rows"


def _library(array: Any) -> str:
    return type(array).__module__.split(".")[0]


def keeps_dtype_and_shape(loss: Any, framework: Framework) -> None:
    """Type, dtype and shape come back as they went in; inputs are unchanged."""
    for dtype in ("float32", "float64"):
        inputs = random(loss, dtype=dtype)
        y, z = framework.make(inputs.y.copy()), framework.make(inputs.z.copy())
        value, (again, gradient) = loss(y, z), loss.value_and_grad(y, z)
        bends = () if loss.structure.name == "pairwise" else loss.grad_and_hess(y, z)
        for result in (value, again, gradient, *bends):
            assert dtype in str(result.dtype), f"{dtype} became {result.dtype}"
        assert tuple(gradient.shape) == inputs.z.shape
        assert tuple(value.shape) == ()
        if framework.name != "numpy":
            assert (
                type(gradient).__module__.split(".")[0]
                == type(z).__module__.split(".")[0]
            )
        assert_array_equal(np.asarray(z), inputs.z)
        assert_array_equal(np.asarray(y), inputs.y)


def half_precision_sums_wide(loss: Any) -> None:
    """Half precision goes in, float32 does the sums."""
    inputs = random(loss, n=64, dtype="float16")
    copies = 1 if loss.structure.name == "pairwise" else 400  # of n², not of n
    y, z = (np.concatenate([x] * copies) for x in (inputs.y, inputs.z))
    got = loss(y, z, check="off")
    expected = loss(y.astype(float), z.astype(float), check="off")
    assert got.dtype == np.float32, "the mean of half precision must be float32"
    assert_allclose(got, expected, rtol=2e-6)
    _, gradient = loss.value_and_grad(y, z, check="off")
    assert gradient.dtype == np.float16


# -- constants, facts, identity -------------------------------------------------------


def best_constant_is_best(loss: Any) -> None:
    """No other constant has a smaller loss."""
    if loss.structure.name == "pairwise":
        assert "no constant" in refusal(loss.best_constant, random(loss).y)
        return
    inputs = random(loss, n=40, seed=5)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, 40)
    best = loss.best_constant(inputs.y, sample_weight=weights)

    def cost(c: Any) -> float:
        z = np.broadcast_to(np.asarray(c, float), inputs.z.shape).copy()
        return float(loss(inputs.y, z, sample_weight=weights, check="off"))

    least = cost(best)
    assert np.isfinite(least)
    for k in range(np.size(best)):
        for step in (1e-3, 1e-1):
            for way in (-step, step):
                other = np.array(best, float)
                other[... if np.ndim(best) == 0 else k] += way
                if loss.form in ("probability", "class_probability"):
                    other = np.clip(other, 1e-9, 1 - 1e-9)
                    other = other / other.sum() if np.ndim(best) else other
                assert least <= cost(other) + 1e-12 * abs(least)


FUNCTIONALS = {
    "mean": lambda y, loss: np.mean(y),
    "median": lambda y, loss: np.median(y),
    "tau-quantile": lambda y, loss: np.quantile(y, loss.parameters["tau"]),
    "mean of log(1 + y)": lambda y, loss: np.expm1(np.log1p(y).mean()),
    "half the log-odds": lambda y, loss: np.log(y.mean() / (1 - y.mean())) / 2,
    "sign of p - 1/2": lambda y, loss: np.sign(y.mean() - 0.5),
    "2p - 1, clipped": lambda y, loss: 2 * y.mean() - 1,
}


def minimiser_is_declared(loss: Any) -> None:
    """The best constant is the functional that the loss says it elicits."""
    functional = FUNCTIONALS.get(loss.definition.elicits)
    if functional is None or loss.structure.name != "pointwise":
        return
    y = random(loss, n=41, seed=6).y
    wanted = functional(y, loss)
    inverse = {"logit": lambda c: 1 / (1 + np.exp(-c)), "log": np.exp}
    got = inverse.get(loss.form, lambda c: c)(loss.best_constant(y))
    assert_allclose(got, wanted, rtol=1e-6)


def facts_hold(loss: Any) -> None:
    """What is stated of convexity, bounds and symmetry holds at random points."""
    facts, rng = loss.facts, np.random.default_rng(11)
    inputs = random(loss, n=300, seed=7)
    spread = 30.0 if loss.form in ("real", "logit", "class_logits") else 0.0
    z = inputs.z + spread * rng.normal(size=inputs.z.shape)
    _, gradient = loss.value_and_grad(inputs.y, z, reduction="sum")
    if facts.gradient_bound is not None:
        assert abs(gradient).max() <= facts.gradient_bound * (1 + 1e-9)
    ways = rng.normal(size=z.shape) * 1e-2
    if loss.form in ("probability", "class_probability"):
        ways *= 1e-2
    _, further = loss.value_and_grad(inputs.y, z + ways, reduction="sum", check="off")
    rise = (gradient - further) * -ways
    rise = rise.reshape(len(rise), -1).sum(axis=1)
    if facts.convex:
        assert rise.min() >= -1e-12
    elif loss.structure.name != "overlap" and loss.name != "squared_log_error":
        assert rise.min() < 0, "said not to be convex, and no proof was found"
    if facts.symmetric and loss.structure.name == "pointwise" and loss.form == "real":
        mirrored = 2 * inputs.y - z
        if loss.target.name == "label":
            return
        assert_allclose(loss(inputs.y, z), loss(inputs.y, mirrored), rtol=1e-12)


def identity_survives(loss: Any) -> None:
    """Pickle, repr and hash give the same loss back."""
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(pickle.loads(pickle.dumps(loss))) == hash(loss)
    assert ls.get(repr(loss)) == loss
    inputs = random(loss)
    again = pickle.loads(pickle.dumps(loss))
    assert_array_equal(again(inputs.y, inputs.z), loss(inputs.y, inputs.z))


def wrong_shapes_are_refused(loss: Any, framework: Framework) -> None:
    """(n, 1) against (n,) is an error that names both shapes and the fix."""
    inputs = random(loss)
    narrow = inputs.z[..., None]
    said = refusal(loss, framework.make(inputs.y), framework.make(narrow))
    assert str(inputs.y.shape) in said, said
    assert str(narrow.shape) in said, said
    assert "nothing is broadcast" in said, said


def wrong_values_are_refused(loss: Any, framework: Framework) -> None:
    """Values that are surely wrong raise, naming the row, unless they are let pass."""
    inputs = random(loss, n=6)
    y, z = inputs.y.copy(), inputs.z.copy()
    if loss.form in ("probability", "class_probability", "positive", "above_minus_one"):
        z[4] = -3.0
    elif by_labels(loss) if loss.structure.name == "rowwise" else False:
        y[4] = 9
    elif loss.target.name not in ("real", "embedding"):
        y[4] = {"nonzero": 0.0}.get(loss.target.name, -3.0)
    else:
        return
    make = framework.make
    said = refusal(loss, make(y), make(z))
    assert "row 4" in said, said
    loss(make(y), make(z), check="off")
