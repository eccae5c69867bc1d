"""One user's rows, one an item, multiplied without repeating what is the user's."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class UserItemRows:
    """`x_n = [u, i_n]`: one user's candidates, whose rows all begin with what is known of the user.

    A routing that `takes_user_item_rows` takes it in place of the tensor `(n, a + b)`, once its weights exist.

    Attributes:
      user: `u`, `(1, a)`.
      items: `i`, `(n, b)`.
    """

    user: tf.Tensor
    items: tf.Tensor

    def materialize(self) -> tf.Tensor:
        """Returns `x`, `(n, a + b)`, with the user's part repeated in every row."""
        repeated = tf.broadcast_to(self.user, [tf.shape(self.items)[0], self.user.shape[-1]])
        return tf.concat([repeated, self.items], axis=-1)


def materialize(inputs: Any) -> Any:
    """Returns a routing's input, one or a list of them, with plain tensors in place of `UserItemRows`."""
    if isinstance(inputs, list | tuple):
        return [materialize(rows) for rows in inputs]
    return inputs.materialize() if isinstance(inputs, UserItemRows) else inputs


def matmul(inputs: tf.Tensor | UserItemRows, kernel: tf.Tensor) -> tf.Tensor:
    """Returns `x W`; for one user's rows `x_n W = u W_u + i_n W_i`, with `u W_u` computed once.

    Input: `x (n, inputs)`, or with leading axes that broadcast with the kernel's; `W (..., inputs, units)`.
    Output: `(..., n, units)`, in the precision of `W`.

    >>> matmul(UserItemRows(tf.constant([[1.0]]), tf.constant([[2.0], [3.0]])), tf.constant([[10.0], [1.0]])).numpy()
    array([[12.],
           [13.]], dtype=float32)
    """
    if not isinstance(inputs, UserItemRows):
        return tf.matmul(tf.cast(inputs, kernel.dtype), kernel)
    size = int(inputs.user.shape[-1])
    user, items = (tf.cast(columns, kernel.dtype) for columns in (inputs.user, inputs.items))
    return tf.matmul(user, kernel[..., :size, :]) + tf.matmul(items, kernel[..., size:, :])
