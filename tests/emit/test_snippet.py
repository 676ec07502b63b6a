"""A printed snippet runs by itself, and gives what lossary gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch
from laws.accuracy import error, limit
from laws.cases import ROWWISE, VARIANTS, edges, random, separable
from laws.frameworks import FRAMEWORKS
from laws.oracle import beside, truth

import lossary as ls
from lossary.emit import snippet
from lossary.emit.arrays import SPELLINGS
from lossary.emit.words import LIBRARIES as WORDS
from lossary.errors import ParameterError
from lossary.ops import square

jax.config.update("jax_enable_x64", True)

LIBRARIES = ("numpy", "torch", "tensorflow", "jax")
every_loss = pytest.mark.parametrize("loss", VARIANTS, ids=repr)
every_library = pytest.mark.parametrize("library", LIBRARIES)

TOTALS = [
    ls.get("0.5*dice + cross_entropy"),
    ls.get("0.5*dice(smooth=1.0) + 2*binary_cross_entropy + dice(over='batch')"),
    ls.get("0.5*huber(delta=2.0) + squared_error"),
]


def function(loss: Any, library: str) -> Callable[..., Any]:
    """Run the text where nothing but its own imports is known."""
    text = snippet.code(loss, library)
    assert "lossary" not in text
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "<snippet>", "exec"), namespace)
    return list(namespace.values())[-1]


def computed(loss: Any, library: str, y: np.ndarray, z: np.ndarray) -> float:
    make = FRAMEWORKS[library].make
    with np.errstate(all="ignore"):
        return float(function(loss, library)(make(y), make(z)))


# -- values ---------------------------------------------------------------------------


def accurate(loss: Any, library: str, dtype: str) -> None:
    """The law: every row of the edge grid is within the bound of 50 digits."""
    inputs, values = edges(loss, dtype), truth(loss, dtype)[0]
    make, run = FRAMEWORKS[library].make, function(loss, library)
    rows = [slice(i, i + 1) for i in range(len(inputs.y))]
    if not separable(loss):
        rows, values = [slice(None)], [sum(values) / len(values)]
    for row, true in zip(rows, values, strict=True):
        y, z = inputs.y[row], inputs.z[row]
        if loss.structure.name == "overlap" and not np.isfinite(float(true)):
            continue
        with np.errstate(all="ignore"):
            got = run(make(y), make(z))
        assert np.asarray(got).dtype == dtype, f"{got.dtype} from {dtype}"
        sides = [true]
        if loss.structure.name == "pointwise" and np.isfinite(z[0]):
            sides += beside(loss, loss.formula.value, float(y[0]), float(z[0]), dtype)
        off = min(error(float(got), t, dtype) for t in sides)
        bound = limit(loss, "value", dtype)
        assert off <= bound, f"{y} {z}: {float(got)!r}, not {true}"


@every_loss
@every_library
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_accurate_on_the_edges(loss, library, dtype):
    accurate(loss, library, dtype)


@every_loss
@every_library
def test_the_same_mean(loss, library):
    inputs = random(loss)
    expected = float(loss(inputs.y, inputs.z))
    np.testing.assert_allclose(
        computed(loss, library, inputs.y, inputs.z), expected, rtol=1e-14, atol=1e-14
    )


def test_a_naive_text_is_caught(monkeypatch):
    words = WORDS["numpy"]
    naive = {**words.spelling.calls, "softplus": "np.log(1 + np.exp({}))"}
    spelling = replace(words.spelling, calls=naive)
    monkeypatch.setitem(WORDS, "numpy", replace(words, spelling=spelling))
    for loss in (ls.binary_cross_entropy, ls.cross_entropy, ls.log_cosh):
        with pytest.raises(AssertionError):
            accurate(loss, "numpy", "float64")


@every_library
@pytest.mark.parametrize("loss", TOTALS, ids=repr)
def test_weighted_sums(library, loss):
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 2, (3, 4)), rng.normal(size=(3, 4))
    if "cross_entropy" in repr(loss) and "binary" not in repr(loss):
        z = rng.normal(size=(3, 4, 5))
    if "huber" in repr(loss):
        y = y.astype(float)
    np.testing.assert_allclose(
        computed(loss, library, y, z), float(loss(y, z)), rtol=1e-14
    )


@every_library
def test_dice_of_one_row_of_classes(library):
    total, y = TOTALS[0], np.array([0, 2, 1])
    z = np.random.default_rng(0).normal(size=(3, 3))
    got = computed(total, library, y, z)
    np.testing.assert_allclose(got, float(total(y, z)), rtol=1e-14)


@every_library
@pytest.mark.parametrize("loss", [v for v in ROWWISE if v.name != "kl_divergence"])
def test_a_label_without_a_class_is_no_plausible_number(library, loss):
    z = np.array([[0.25, 0.75]])
    try:
        assert not np.isfinite(computed(loss, library, np.array([2]), z))
    except (RuntimeError, ValueError):  # PyTorch says so itself
        assert library == "torch"


# -- derivatives and compilers --------------------------------------------------------


@dataclass(frozen=True)
class Native:
    """A library's own derivative, eager and compiled."""

    gradient: Callable[..., Any]
    compiled: Callable[..., Any]


def _torch_gradient(run, y, z):
    scores = torch.tensor(z, requires_grad=True)
    (gradient,) = torch.autograd.grad(run(torch.tensor(y), scores), scores)
    return gradient


def _tf_gradient(run, y, z):
    scores = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = run(tf.constant(y), scores)
    return tape.gradient(value, scores)


def _jax_gradient(run, y, z):
    return jax.grad(run, argnums=1)(jax.numpy.asarray(y), jax.numpy.asarray(z))


NATIVE = {
    "torch": Native(
        _torch_gradient,
        lambda run: torch.compile(run, fullgraph=True, backend="aot_eager"),
    ),
    "tensorflow": Native(_tf_gradient, tf.function),
    "jax": Native(_jax_gradient, jax.jit),
}


def differentiable(loss: Any, library: str, z: np.ndarray, y: np.ndarray) -> None:
    """The law: the library's own gradient is the loss's gradient."""
    expected = loss.value_and_grad(y, z)[1]
    got = NATIVE[library].gradient(function(loss, library), y, z)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-15)


@every_loss
@pytest.mark.parametrize("library", NATIVE)
def test_differentiable(loss, library):
    inputs = random(loss)
    differentiable(loss, library, inputs.z, inputs.y)


SMOOTH = [v for v in VARIANTS if v.form in ("logit", "log", "class_logits")]


@pytest.mark.parametrize("loss", [*SMOOTH, ls.log_cosh], ids=repr)
@pytest.mark.parametrize("library", NATIVE)
def test_differentiable_at_zero_and_far_out(loss, library):
    """Where a model starts, and where a softplus is no longer curved."""
    inputs = random(loss)
    for scale in (0.0, 20.0):
        differentiable(loss, library, inputs.z * scale, inputs.y)


@pytest.mark.parametrize("library", ["tensorflow", "jax"])
def test_a_wrong_slope_at_zero_is_caught(monkeypatch, library):
    """The spelling for libraries without a softplus of their own will not do here."""
    words, module = WORDS[library], {"tensorflow": "tf", "jax": "jnp"}[library]
    own = SPELLINGS["standard"].calls
    calls = {op: own[op].replace("xp.", f"{module}.") for op in ("softplus", "sigmoid")}
    calls["softplus"] = calls["softplus"].replace("tf.log1p", "tf.math.log1p")
    plain = replace(words.spelling, calls=words.spelling.calls | calls)
    monkeypatch.setitem(WORDS, library, replace(words, spelling=plain))
    inputs = random(ls.binary_cross_entropy)
    with pytest.raises(AssertionError):
        differentiable(ls.binary_cross_entropy, library, inputs.z * 0, inputs.y)


COMPILED = [ls.huber, ls.binary_focal, ls.cross_entropy, ls.kl_divergence, ls.dice]


@pytest.mark.parametrize("loss", COMPILED, ids=repr)
@pytest.mark.parametrize("library", NATIVE)
def test_compiles(loss, library):
    inputs = random(loss)
    make = FRAMEWORKS[library].make
    run = NATIVE[library].compiled(function(loss, library))
    got = float(run(make(inputs.y), make(inputs.z)))
    np.testing.assert_allclose(got, float(loss(inputs.y, inputs.z)), rtol=1e-14)


# -- text -----------------------------------------------------------------------------

HUBER = '''\
import numpy as np


def huber(y_true, y_pred, delta=2.0):
    """Quadratic near the target, linear beyond `delta`: an outlier has a bounded pull.

    Huber (1964), Robust estimation of a location parameter, Ann. Math. Statist. 35(1).

    y_true: real numbers; y_pred: real numbers.
    """
    t1 = np.abs(y_pred - y_true)
    t2 = np.minimum(t1, delta)
    return np.mean(t2 * t2 / 2 + delta * (t1 - t2))
'''


def test_golden_text():
    assert ls.huber(delta=2.0).code("numpy") == HUBER


def test_documents_itself():
    text = ls.focal.code("jax")
    assert text.startswith("import jax\nimport jax.numpy as jnp\n\n\ndef focal(")
    assert "Lin et al. (2017), Focal loss" in text
    assert "y_true: class numbers from 0; y_pred: one logit per class." in text


def test_parameters_stay_arguments():
    run = function(ls.huber, "numpy")
    y, z = np.zeros(3), np.array([0.5, 3.0, -4.0])
    assert run(y, z, delta=3.0) == ls.huber(y, z, delta=3.0)


@ls.pointwise
def awkward(y, z, t1=2.0, np=3.0, e=0.5):
    r"""A loss \w awkward \names, and \"""quotes\"""."""
    return square((z - y) * t1) * np + square(z - y) * e


@every_library
def test_names_of_a_user_do_not_collide(library):
    y, z = np.zeros(3), np.array([0.5, 3.0, -4.0])
    expected = np.mean(4 * z**2 * 3 + z**2 * 0.5)
    np.testing.assert_allclose(computed(awkward, library, y, z), expected)
    unnamed = ls.pointwise(lambda y, z: square(z - y))
    np.testing.assert_allclose(computed(unnamed, library, y, z), np.mean(z**2))


def test_whole_numbers_are_labels():
    y, z = np.array([0, 1, 1]), np.array([0.5, 2.0, -1.0], dtype=np.float32)
    for library in LIBRARIES:
        got = computed(ls.hinge, library, y, z)
        np.testing.assert_allclose(got, float(ls.hinge(y, z)), rtol=1e-6)


def test_another_library_is_refused():
    with pytest.raises(ParameterError, match=r"'pytorch'; did you mean 'torch'\?"):
        ls.huber.code("pytorch")
