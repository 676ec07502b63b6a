"""TensorFlow: its own losses, Keras's and others, compiled by XLA."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import losses

from speed.cases import VALUE, Case
from speed.peers.written import Mean, Words, mean_of
from speed.tasks import Task

SOFTMAX = tf.nn.softmax_cross_entropy_with_logits
OF_CLASSES = tf.nn.sparse_softmax_cross_entropy_with_logits
LOGISTIC = tf.nn.sigmoid_cross_entropy_with_logits


def _mean(items: Mean) -> Mean:
    return lambda y, z: tf.reduce_mean(items(y, z))


OWN: dict[tuple[str, str], Mean] = {
    ("squared_error", "like"): losses.mean_squared_error,
    ("absolute_error", "like"): losses.mean_absolute_error,
    ("huber", "like"): losses.huber,
    ("log_cosh", "like"): losses.log_cosh,
    ("hinge", "like"): losses.hinge,
    ("squared_hinge", "like"): losses.squared_hinge,
    ("poisson", "like"): _mean(lambda y, z: tf.nn.log_poisson_loss(y, z)),
    ("binary_cross_entropy", "like"): _mean(lambda y, z: LOGISTIC(y, z)),
    ("cross_entropy", "labels"): _mean(lambda y, z: OF_CLASSES(y, z)),
    ("cross_entropy", "distribution"): _mean(lambda y, z: SOFTMAX(y, z)),
    ("cross_entropy smoothed", "labels"): _mean(
        lambda y, z: losses.categorical_crossentropy(
            tf.one_hot(y, z.shape[-1], dtype=z.dtype), z,
            from_logits=True, label_smoothing=0.1,
        )
    ),
    ("dice", "like"): _mean(
        lambda y, z: losses.dice(y, tf.sigmoid(z), axis=(1, 2))
    ),
    ("tversky", "like"): _mean(
        lambda y, z: losses.tversky(y, tf.sigmoid(z), axis=(1, 2))
    ),
}  # fmt: skip

WORDS = Words(
    exp=tf.exp,
    log=tf.math.log,
    log1p=tf.math.log1p,
    sqrt=tf.sqrt,
    relu=tf.nn.relu,
    where=tf.where,
    sigmoid=tf.sigmoid,
    softplus=tf.nn.softplus,
    logistic=lambda y, z: LOGISTIC(y, z),
    log_softmax=tf.nn.log_softmax,
    mean=tf.reduce_mean,
    sum=tf.reduce_sum,
    count=lambda mask, like: tf.reduce_sum(tf.cast(mask, like.dtype)),
    pick=lambda rows, y: tf.gather(rows, y, batch_dims=1),
    transpose=tf.transpose,
    diagonal=tf.linalg.diag_part,
)


def tasks(case: Case, y: Any, z: Any, threads: int) -> dict[str, Task]:
    """Return the derivatives under ``jit_compile=True``."""
    found = mean_of(case, OWN, WORDS)
    if found is None or (case.what != VALUE and case.target != "like"):
        return {}
    _limit(threads)
    mean, written = found
    make = _plain if case.what == VALUE else _curved
    compute = tf.function(make(mean), jit_compile=True)
    with tf.device("CPU"):
        target, prediction = tf.nest.map_structure(tf.constant, (y, z))
    return {
        "TensorFlow XLA": Task(
            lambda: compute(target, prediction),
            lambda pair: tuple(x.numpy() for x in pair),
            written,
        )
    }


def _limit(threads: int) -> None:
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)


def _plain(mean: Mean) -> Any:
    def compute(y: Any, z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = mean(y, z)
        return value, tape.gradient(value, z)

    return compute


def _curved(mean: Mean) -> Any:
    def compute(y: Any, z: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(z)
            with tf.GradientTape() as tape:
                tape.watch(z)
                total = mean(y, z) * tf.cast(tf.size(z), z.dtype)
            slope = tape.gradient(total, z)
        return slope, outer.gradient(slope, z, unconnected_gradients="zero")

    return compute
