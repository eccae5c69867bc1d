"""Weights that are constants of a graph, so that what is made of them alone is computed once, while it is traced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

_are_constant: ContextVar[bool] = ContextVar("constant_weights", default=False)


@contextmanager
def constant_weights() -> Iterator[None]:
    """Traces graphs, while the block lasts, in which weights never change: those that are served."""
    token = _are_constant.set(True)
    try:
        yield
    finally:
        _are_constant.reset(token)


def of_weights(compute: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns what `compute` makes of weights alone; within `constant_weights` as a constant.

    >>> kernel = tf.Variable([[1.0], [2.0]])
    >>> of_weights(lambda: tf.transpose(kernel)).numpy()
    array([[1., 2.]], dtype=float32)
    """
    if not _are_constant.get():
        return compute()
    with tf.init_scope():
        values = compute().numpy() if tf.executing_eagerly() else None
    return compute() if values is None else tf.constant(values)
