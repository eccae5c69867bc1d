"""What several kernels make of the same input, by one matmul."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.shared_rows import SharedRows, product


def joint_products(inputs: Sequence[tf.Tensor | SharedRows], kernels: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
    """`x_i [W_i1 ... W_im]` for every i. All kernels that read the same tensor stand side by side in one matmul.

    One large matmul is faster than several small ones, and so is its gradient. What reads by it must get its inputs as
    they are (`autocast=False`): Keras would cast each by itself, and none would be the same tensor as another.

    Input: `x_i (batch, rows_i)`; `W_ij (rows_i, columns_ij)`.
    Output: `(batch, sum_j columns_ij)` each, in the precision of W.

    >>> x = tf.constant([[1.0, 2.0]])
    >>> a, b = joint_products([x, x], [[tf.constant([[3.0], [4.0]])], [tf.eye(2), tf.constant([[0.0], [1.0]])]])
    >>> a.numpy().tolist(), b.numpy().tolist()
    ([[11.0]], [[1.0, 2.0, 2.0]])
    """
    readers: dict[int, list[int]] = {}
    for i, x in enumerate(inputs):
        readers.setdefault(id(x), []).append(i)
    products: dict[int, tf.Tensor] = {}
    for places in readers.values():
        joint = product(inputs[places[0]], tf.concat([kernel for i in places for kernel in kernels[i]], axis=1))
        widths = [sum(int(kernel.shape[1]) for kernel in kernels[i]) for i in places]
        products.update(zip(places, tf.split(joint, widths, axis=1), strict=True))
    return [products[i] for i in range(len(inputs))]
