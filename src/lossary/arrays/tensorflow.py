"""TensorFlow: the array API names that lossary uses, and custom gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from lossary.arrays.standard import Function, Library
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=axis, keepdims=keepdims)

    return reduce


NAMESPACE = SimpleNamespace(
    abs=tf.abs,
    all=_reduction(tf.reduce_all),
    any=_reduction(tf.reduce_any),
    arange=lambda stop, dtype=None: tf.range(stop, dtype=dtype),
    argmax=lambda x, axis: tf.argmax(x, axis=axis),
    broadcast_to=tf.broadcast_to,
    exp=tf.exp,
    expand_dims=lambda x, axis: tf.expand_dims(x, axis),
    int64=tf.int64,
    isfinite=tf.math.is_finite,
    log=tf.math.log,
    max=_reduction(tf.reduce_max),
    minimum=tf.minimum,
    ones_like=tf.ones_like,
    reshape=tf.reshape,
    sum=_reduction(tf.reduce_sum),
    where=tf.where,
    zeros_like=tf.zeros_like,
)
"""The functions of the array API that the structures call."""


class _TensorFlow(Library):
    name = "tensorflow"
    autodiff = True

    def namespace(self, *arrays: Any) -> Any:
        return NAMESPACE

    def asarray(self, x: Any, like: Any = None) -> Any:
        return tf.convert_to_tensor(x)

    def is_floating(self, x: Any) -> bool:
        return bool(x.dtype.is_floating)

    def is_boolean(self, x: Any) -> bool:
        return bool(x.dtype == tf.bool)

    def default_float(self, x: Any) -> Any:
        return tf.float32

    def itemsize(self, dtype: Any) -> int:
        return int(tf.as_dtype(dtype).size)

    def float32(self, x: Any) -> Any:
        return tf.float32

    def cast(self, x: Any, dtype: Any) -> Any:
        return tf.cast(x, dtype)

    def wider(self, a: Any, b: Any) -> Any:
        return a.dtype if a.dtype.size >= b.dtype.size else b.dtype

    def concrete(self, x: Any) -> np.ndarray | None:
        return (
            x.numpy() if isinstance(x, tf.Tensor) and tf.executing_eagerly() else None
        )

    def constant(self, x: Any) -> Any:
        return tf.stop_gradient(x)

    def _compile(self, nodes: tuple[Node, ...], arguments: tuple[str, ...]) -> Function:
        # It has no source file for AutoGraph to look at, and nothing to convert.
        text = super()._compile(nodes, arguments)
        result: Function = tf.autograph.experimental.do_not_convert(text)
        return result

    def elementwise(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        run = self.run(node, (*formula.inputs, *formula.params))

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def items(y: Any, z: Any) -> Any:
            def pull(upstream: Any) -> Any:
                return [
                    self._pull(node, n, formula, params, y, z, upstream)
                    for n in formula.inputs
                ]

            return run(y, z, *params), pull

        result: Callable[..., Any] = items
        return result

    def _pull(
        self,
        node: Node,
        name: str,
        formula: Formula,
        params: tuple[float, ...],
        y: Any,
        z: Any,
        upstream: Any,
    ) -> Any:
        derived = derivative(node, symbol(name))
        if is_const(derived, 0.0):
            return tf.zeros_like(z)
        partial = self.elementwise(guarded(derived, formula.value), formula, params)
        return upstream * partial(y, z)


LIBRARY = _TensorFlow()
