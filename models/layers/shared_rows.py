"""Rows that begin alike, multiplied without repeating what they share."""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class SharedRows:
    """`x_n = [s, o_n]`: one user's candidates, whose rows all begin with what is known of the user.

    The routings take it in place of the tensor `(n, a + b)`, once their weights exist.

    Attributes:
      shared: `s`, `(1, a)`.
      own: `o`, `(n, b)`.
    """

    shared: tf.Tensor
    own: tf.Tensor

    def rows(self) -> tf.Tensor:
        """`x`, `(n, a + b)`, written out."""
        repeated = tf.broadcast_to(self.shared, [tf.shape(self.own)[0], self.shared.shape[-1]])
        return tf.concat([repeated, self.own], axis=-1)


def product(inputs: tf.Tensor | SharedRows, kernel: tf.Tensor) -> tf.Tensor:
    """`x W`; where rows begin alike `x_n W = s W_s + o_n W_o`, and `s W_s` is computed once.

    Input: `x (n, inputs)`, or with leading axes that broadcast with the kernel's; `W (..., inputs, units)`.
    Output: `(..., n, units)`, in the precision of `W`.

    >>> product(SharedRows(tf.constant([[1.0]]), tf.constant([[2.0], [3.0]])), tf.constant([[10.0], [1.0]])).numpy()
    array([[12.],
           [13.]], dtype=float32)
    """
    if not isinstance(inputs, SharedRows):
        return tf.matmul(tf.cast(inputs, kernel.dtype), kernel)
    size = int(inputs.shared.shape[-1])
    shared, own = (tf.cast(part, kernel.dtype) for part in (inputs.shared, inputs.own))
    return tf.matmul(shared, kernel[..., :size, :]) + tf.matmul(own, kernel[..., size:, :])
