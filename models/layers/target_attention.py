"""A behaviour sequence as a candidate sees it: DIN's attention."""

import itertools
from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, input_dim, layer_sizes


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TargetAttention(tf.keras.layers.Layer):
    """The sum of a sequence's real positions, each weighed by what it is to the query.

        v(q) = sum_t m_t a(k_t, q) k_t,   a(k, q) = MLP([k, q, k - q, k * q])

    The perceptron has one output, and parametric ReLUs between its layers, `max(0, x) + s min(0, x)` with a learned s
    a unit that starts from 0.25. The weights are not made to add up to 1: how much of what the query is like is in the
    sequence is kept. A sequence without a real position gives 0. What padded positions hold, a NaN even, changes
    nothing.

    *Inference*: parametric ReLU, which the paper compares with, in place of Dice, whose statistics are a batch's: a
    candidate's output would follow from those beside it.

    Reference: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, section 4.3.

    Args:
      units: the sizes of the perceptron's hidden layers.

    Input: keys `(batch, length, dim)`; mask `(batch, length)`, true at real positions; queries `(batch, dim)`. Keys and
    mask of one user (a batch of 1) serve any number of queries.
    Output: `(batch, dim)`, of the queries' batch.

    >>> attention = TargetAttention(units=4)
    >>> keys, mask = tf.ones([2, 3, 5]), tf.constant([[True, True, False], [False, False, False]])
    >>> weighed = attention(keys, mask, tf.ones([2, 5]))
    >>> weighed.shape.as_list(), weighed[1].numpy().tolist()
    ([2, 5], [0.0, 0.0, 0.0, 0.0, 0.0])

    Raises:
      ValueError: no hidden layer, or one of a size below 1.
    """

    def __init__(self, units: Sequence[int] | int = (36,), **kwargs):
        super().__init__(**kwargs)
        self.units = layer_sizes("units", units)

    def build(self, input_shape) -> None:
        dim = input_dim(input_shape)
        sizes = [4 * dim, *self.units, 1]
        self.kernels = [
            self.add_weight(name=f"kernel_{layer}", shape=(rows, columns))
            for layer, (rows, columns) in enumerate(itertools.pairwise(sizes))
        ]
        self.biases = [
            self.add_weight(name=f"bias_{layer}", shape=(columns,), initializer="zeros")
            for layer, columns in enumerate(sizes[1:])
        ]
        self.slopes = [
            self.add_weight(name=f"slope_{layer}", shape=(columns,), initializer=tf.keras.initializers.Constant(0.25))
            for layer, columns in enumerate(self.units)
        ]
        super().build(input_shape)

    def call(self, keys: tf.Tensor, mask: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
        keys = tf.where(mask[:, :, tf.newaxis], keys, 0.0)
        weights = tf.where(mask, self._weights(keys, queries), 0.0)
        if keys.shape[0] == 1:
            # (queries, length) x (length, dim)
            return tf.matmul(weights, keys[0])
        return tf.squeeze(tf.matmul(weights[:, tf.newaxis, :], keys), axis=1)

    def _weights(self, keys: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
        """Returns `a(k_t, q)`, `(batch, length)`.

        The first layer's product is taken apart, `k (A + C) + q (B - C) + (k * q) D` for the kernels A, B, C, D of the
        four parts of its input: what is the sequence's alone, or the query's, is multiplied once.
        """
        of_key, of_query, of_difference, of_product = tf.split(self.kernels[0], 4)
        from_keys = tf.tensordot(keys, of_key + of_difference, 1)
        from_queries = tf.matmul(queries, of_query - of_difference) + self.biases[0]
        hidden = from_keys + from_queries[:, tf.newaxis] + _bilinear(keys, queries, of_product)
        for slope, kernel, bias in zip(self.slopes, self.kernels[1:], self.biases[1:], strict=True):
            hidden = tf.tensordot(tf.maximum(hidden, 0.0) + slope * tf.minimum(hidden, 0.0), kernel, 1) + bias
        return tf.squeeze(hidden, axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def _bilinear(keys: tf.Tensor, queries: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns `(k_t * q) D`, `(batch, length, units)`."""
    if keys.shape[0] != 1:
        return tf.tensordot(keys * queries[:, tf.newaxis], kernel, 1)
    # One sequence becomes a kernel of its own, (dim, length * units), for all queries.
    length, units = tf.shape(keys)[1], kernel.shape[1]
    by_position = tf.transpose(keys[0])[:, :, tf.newaxis] * kernel[:, tf.newaxis]
    product = tf.matmul(queries, tf.reshape(by_position, [-1, length * units]))
    return tf.reshape(product, [-1, length, units])
