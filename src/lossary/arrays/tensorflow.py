"""TensorFlow: the array API names that lossary uses, and custom gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from lossary.arrays.standard import Function, Library
from lossary.errors import KindError, ShapeError
from lossary.expr.derivative import derivative, guarded
from lossary.expr.formula import Formula
from lossary.expr.graph import Node, is_const, symbol


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=axis, keepdims=keepdims)

    return reduce


_DENSE = {
    tf.RaggedTensor: "pass x.to_tensor(), with mask=tf.sequence_mask(x.row_lengths())",
    tf.SparseTensor: "pass tf.sparse.to_dense(x)",
}
"""How to make a tensor dense."""

NAMESPACE = SimpleNamespace(
    abs=tf.abs,
    all=_reduction(tf.reduce_all),
    any=_reduction(tf.reduce_any),
    arange=lambda stop, dtype=None: tf.range(stop, dtype=dtype),
    argmax=lambda x, axis: tf.argmax(x, axis=axis),
    broadcast_to=tf.broadcast_to,
    concat=lambda arrays, axis=0: tf.concat(arrays, axis),
    exp=tf.exp,
    expand_dims=lambda x, axis: tf.expand_dims(x, axis),
    int64=tf.int64,
    isfinite=tf.math.is_finite,
    log=tf.math.log,
    matmul=tf.matmul,
    matrix_transpose=tf.linalg.matrix_transpose,
    max=_reduction(tf.reduce_max),
    minimum=tf.minimum,
    ones_like=tf.ones_like,
    reshape=tf.reshape,
    sqrt=tf.sqrt,
    sum=_reduction(tf.reduce_sum),
    where=tf.where,
    zeros_like=tf.zeros_like,
)
"""The functions of the array API that the structures call."""


class _TensorFlow(Library):
    name = "tensorflow"
    autodiff = True

    def __init__(self) -> None:
        super().__init__()
        self._differentiable: dict[Any, Callable[..., Any]] = {}

    def namespace(self, *arrays: Any) -> Any:
        return NAMESPACE

    def asarray(self, x: Any, like: Any = None) -> Any:
        if isinstance(x, (tf.RaggedTensor, tf.SparseTensor)):
            raise KindError(f"is a {type(x).__name__}; {_DENSE[type(x)]}")
        x = _converted(x)
        if not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
            raise KindError(
                f"is a tensor of {x.dtype.name}, but losses compare real numbers; "
                "convert it first, as tf.math.real, tf.abs or tf.strings.to_number do"
            )
        if x.shape.rank is None:
            raise ShapeError(
                "has an unknown number of axes; declare them, such as "
                "tf.ensure_shape(x, [None, 1]) for rows of one number"
            )
        return x

    def shape(self, x: Any) -> tuple[Any, ...]:
        return tuple(x.shape)

    def sizes(self, x: Any) -> tuple[Any, ...]:
        known = self.shape(x)
        if None not in known:
            return known
        found = tf.shape(x, out_type=tf.int64)
        return tuple(found[i] if n is None else n for i, n in enumerate(known))

    def count(self, x: Any) -> Any:
        if None not in self.shape(x):
            return super().count(x)
        return tf.cast(tf.size(x, out_type=tf.int64), x.dtype)

    def sized(self, x: Any, sizes: tuple[Any, ...], sentence: str) -> Any:
        if not any(tf.is_tensor(n) for n in (*self.sizes(x), *sizes)):
            return x
        found = tf.shape(x, out_type=tf.int64)
        wanted = tf.cast(tf.stack(sizes), tf.int64)
        check = tf.debugging.assert_equal(found, wanted, message=sentence)
        with tf.control_dependencies([check]):
            # XLA leaves assertions out, but not the impossible reshape.
            checked = tf.reshape(x, tf.where(found == wanted, found, -2))
        checked.set_shape(x.shape)
        return checked

    def numbered(self, x: Any) -> Any:
        return tf.range(self.sizes(x)[-1], dtype=tf.int64)

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
        key = (node, formula, params)
        if key not in self._differentiable:
            self._differentiable[key] = self._attach(node, formula, params)
        return self._differentiable[key]

    def _attach(
        self, node: Node, formula: Formula, params: tuple[float, ...]
    ) -> Callable[..., Any]:
        run = self.run(node, (*formula.inputs, *formula.params))

        def slope(name: str, inputs: tuple[Any, ...], upstream: Any) -> Any:
            derived = derivative(node, symbol(name))
            if is_const(derived, 0.0):
                return tf.zeros_like(upstream)
            partial = self.elementwise(guarded(derived, formula.value), formula, params)
            return upstream * partial(*inputs)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def items(*inputs: Any) -> Any:
            def pull(upstream: Any) -> Any:
                return [slope(name, inputs, upstream) for name in formula.inputs]

            return run(*inputs, *params), pull

        # A variable that it reads by itself would need a gradient of its own.
        return lambda *inputs: items(*map(tf.convert_to_tensor, inputs))


def _converted(x: Any) -> Any:
    """Make a tensor of a list or of another library's array."""
    try:
        return tf.convert_to_tensor(x)
    except (TypeError, ValueError, OverflowError):
        raise KindError(
            f"is a {type(x).__name__} of which no tensor of numbers can be made; pass "
            "a tensor"
        ) from None


LIBRARY = _TensorFlow()
