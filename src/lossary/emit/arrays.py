"""Array code: one spelling table per library, and functions compiled from it.

The text that `loss.code` prints is the text that runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lossary.emit.source import Spelling, function
from lossary.expr.graph import Node

# log(1 + exp(x)) and 1/(1 + exp(-x)) where a library has no stable function of its
# own: written so that no exponential overflows.
_GENERIC = {
    "abs": "{m}.abs({{}})",
    "sign": "{m}.sign({{}})",
    "minimum": "{m}.minimum({{}}, {{}})",
    "maximum": "{m}.maximum({{}}, {{}})",
    "where": "{m}.where({{}}, {{}}, {{}})",
    "exp": "{m}.exp({{}})",
    "expm1": "{m}.expm1({{}})",
    "log": "{m}.log({{}})",
    "log1p": "{m}.log1p({{}})",
    "sqrt": "{m}.sqrt({{}})",
    "tanh": "{m}.tanh({{}})",
    "sigmoid": "{m}.exp({m}.minimum({{0}}, 0)) / (1 + {m}.exp(-{m}.abs({{0}})))",
    "softplus": "({m}.maximum({{0}}, 0) + {m}.log1p({m}.exp(-{m}.abs({{0}}))))",
    "xlogy": "{m}.where({{0}} == 0, 0, {{0}} * {m}.log({{1}}))",
}


def _calls(module: str, **own: str) -> dict[str, str]:
    return {op: text.format(m=module) for op, text in _GENERIC.items()} | own


NUMPY = Spelling(
    name="numpy",
    header="import numpy as np",
    calls=_calls("np"),
    fill="np.full_like({1}, {0})",
    mean="np.mean({})",
)
TORCH = Spelling(
    name="torch",
    header="import torch",
    calls=_calls(
        "torch",
        sign="torch.where({0} == {0}, torch.sign({0}), {0})",  # its sign of NaN is 0
        sigmoid="torch.sigmoid({})",
        softplus="-torch.nn.functional.logsigmoid(-({}))",
    ),
    fill="torch.full_like({1}, {0})",
    mean="torch.mean({})",
    clamps={
        "minimum": "torch.clamp({}, max={})",
        "maximum": "torch.clamp({}, min={})",
    },
)
TENSORFLOW = Spelling(
    name="tensorflow",
    header="import tensorflow as tf",
    calls=_calls("tf", log="tf.math.log({})", log1p="tf.math.log1p({})")
    | {
        "expm1": "tf.math.expm1({})",
        "softplus": "tf.nn.softplus({})",
        "sigmoid": "tf.sigmoid({})",
        "xlogy": "tf.where({0} == 0, tf.zeros_like({1}), {0} * tf.math.log({1}))",
    },
    fill="tf.zeros_like({1}) + {0}",
    mean="tf.reduce_mean({})",
    # The first argument decides the dtype: in a graph, a number's would be int32.
    clamps={"minimum": "tf.minimum({}, {})", "maximum": "tf.maximum({}, {})"},
    typed_choice=True,
)
JAX = Spelling(
    name="jax",
    header="import jax\nimport jax.numpy as jnp",
    calls=_calls("jnp", softplus="jax.nn.softplus({})", sigmoid="jax.nn.sigmoid({})"),
    fill="jnp.full_like({1}, {0})",
    mean="jnp.mean({})",
)
STANDARD = Spelling(  # any array API library; the text takes its namespace, xp
    name="standard",
    header="",
    calls=_calls("xp"),
    fill="xp.full_like({1}, {0})",
    mean="xp.mean({})",
)

SPELLINGS = {s.name: s for s in (NUMPY, TORCH, TENSORFLOW, JAX, STANDARD)}


def compiled(
    name: str, arguments: Sequence[str], roots: Sequence[Node], library: str
) -> Callable[..., Any]:
    """Print a function for an array library and run the text.

    Parameters
    ----------
    name
        The function's name.
    arguments
        Its arguments, inputs first; the second one lends shape and dtype to a
        constant result.
    roots
        The formulas whose values it returns.
    library
        A key of `SPELLINGS`.
    """
    spelling = SPELLINGS[library]
    text = function(name, arguments, roots, spelling, arguments[1])
    namespace: dict[str, Any] = {"math": math}
    exec(spelling.header, namespace)
    exec(compile(text, f"<lossary {library} {name}>", "exec"), namespace)
    result: Callable[..., Any] = namespace[name]
    result.__lossary_source__ = text  # type: ignore[attr-defined]
    return result
