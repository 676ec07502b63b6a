"""The array code of the structures, in the words of each library."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossary.emit.arrays import SPELLINGS
from lossary.emit.source import Spelling


@dataclass(frozen=True)
class Words:
    """How a library says what the structures need, beside the primitives.

    The attributes are text with a ``{}`` per argument, or names of functions.
    """

    spelling: Spelling
    sum: str
    max: str
    argmax: str
    finite: str
    one_hot: str
    cast: str
    constant: str
    softmax: str
    labels: str
    transposed: str = "{}.T"
    axis: str = "axis=-1"
    keep: str = "axis=-1, keepdims=True"
    over: str = "axis=axes"
    inf: str = 'float("inf")'

    def call(self, op: str, *arguments: str) -> str:
        """Spell a primitive of arrays; a number may only come last."""
        return SPELLINGS[self.spelling.name].calls[op].format(*arguments)


LIBRARIES = {
    "numpy": Words(
        spelling=SPELLINGS["numpy"],
        sum="np.sum",
        max="np.max",
        argmax="np.argmax",
        finite="np.isfinite",
        one_hot="{}[..., None] == np.arange(y_pred.shape[-1])",
        cast="{}.astype({}.dtype)",
        constant="{}",
        softmax="e / np.sum(e, axis=-1, keepdims=True)",
        labels="np.arange(len(y_pred))",
        inf="np.inf",
    ),
    "torch": Words(
        spelling=SPELLINGS["torch"],
        sum="torch.sum",
        max="torch.amax",
        argmax="torch.argmax",
        finite="torch.isfinite",
        one_hot="torch.nn.functional.one_hot({}, y_pred.shape[-1]).bool()",
        cast="{}.to({}.dtype)",
        constant="{}.detach()",
        softmax="torch.softmax(y_pred, dim=-1)",
        labels="torch.arange(len(y_pred), device=y_pred.device)",
        axis="dim=-1",
        keep="dim=-1, keepdim=True",
        over="dim=axes",
        inf="torch.inf",
    ),
    "tensorflow": Words(
        # In a graph a number in front would be a tensor of its own dtype.
        spelling=replace(
            SPELLINGS["tensorflow"],
            calls={
                **SPELLINGS["tensorflow"].calls,
                "where": "tf.where({}, tf.cast({}, y_pred.dtype), {})",
            },
        ),
        sum="tf.reduce_sum",
        max="tf.reduce_max",
        argmax="tf.argmax",
        finite="tf.math.is_finite",
        one_hot="tf.one_hot({}, y_pred.shape[-1], True, False, dtype=tf.bool)",
        cast="tf.cast({}, {}.dtype)",
        constant="tf.stop_gradient({})",
        softmax="tf.nn.softmax(y_pred)",
        labels="tf.range(tf.shape(y_pred)[0])",
        transposed="tf.transpose({})",
    ),
    "jax": Words(
        spelling=SPELLINGS["jax"],
        sum="jnp.sum",
        max="jnp.max",
        argmax="jnp.argmax",
        finite="jnp.isfinite",
        one_hot="jax.nn.one_hot({}, y_pred.shape[-1], dtype=bool)",
        cast="{}.astype({}.dtype)",
        constant="jax.lax.stop_gradient({})",
        softmax="jax.nn.softmax(y_pred)",
        labels="jnp.arange(len(y_pred))",
        inf="jnp.inf",
    ),
}
