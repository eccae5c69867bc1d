"""Multi-head attention over the real positions of a sequence."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskedAttention(tf.keras.layers.Layer):
    """What each query reads of a sequence: for each head, and then side by side through one linear layer,

        softmax_t(q W_q (x_t W_k)^T / sqrt(d)) x_t W_v

    over real positions t only. What padded ones hold changes nothing, as long as it is finite and one is real.

    Reference: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.

    Args:
      heads: the number of heads; the size of a position is a multiple of it.

    Input: `x (..., length, dim)`, whose positions are the queries as well; mask `(batch, length)`, true at real
    positions, where batch is the last of the leading axes. `read` has queries of their own.
    Output: `(..., length, dim)`.

    >>> MaskedAttention(heads=2)(tf.ones([2, 5, 8]), tf.ones([2, 5], tf.bool)).shape
    TensorShape([2, 5, 8])

    Raises:
      ValueError: no head, or a size that is no multiple of the number of heads.
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = at_least("heads", heads, 1)

    def build(self, input_shape) -> None:
        self.dim = input_dim(input_shape)
        if self.dim % self.heads:
            raise ValueError(f"heads: expected a divisor of the inputs' size {self.dim}, got {self.heads}")
        # Queries, keys and values side by side. A bias of the keys would add the same to every score of a query.
        self.kernel = self.add_weight(name="kernel", shape=(self.dim, 3 * self.dim), initializer=_side_by_side)
        self.output_kernel = self.add_weight(name="output_kernel", shape=(self.dim, self.dim))
        for name in ("query", "value", "output"):
            bias = self.add_weight(name=f"{name}_bias", shape=(self.dim,), initializer="zeros")
            setattr(self, f"{name}_bias", bias)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        queries, keys, values = tf.split(tf.tensordot(inputs, self.kernel, 1), 3, axis=-1)
        queries, keys, values = (self._by_head(projection) for projection in (self._scaled(queries), keys, values))
        scores = tf.matmul(queries, keys, transpose_b=True)
        return self._joined(_mean(scores, mask[:, tf.newaxis, tf.newaxis, :], values))

    def read(self, queries: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        """Returns what queries read of `x scale_c + shift_c`, for each condition c.

        Neither that, nor keys and values of every position are made: what a query is compared with the positions by,
        `scale_c * (q W_q W_k^T)`, and the one vector that it reads take their place. A shift adds the same to every
        score of a query, and itself to what is read.

        Args:
          queries: `(batch, queries, dim)`.
          x: `(1, batch, length, dim)`, which all conditions read, or `(conditions, batch, length, dim)`.
          mask: `(batch, length)`.
          scale, shift: `(conditions, dim)`, in any precision.

        Returns:
          `(conditions, batch, queries, dim)`. Queries and `x` may have a batch of 1 each.
        """
        query_kernel, *others = tf.split(self.kernel, 3, axis=-1)
        scale, shift = (tf.cast(factor, x.dtype) for factor in (scale, shift))
        # (heads, dim, dim / heads)
        keys, values = (self._by_head(kernel) for kernel in others)
        folded = tf.matmul(self._by_head(self._scaled(tf.tensordot(queries, query_kernel, 1))), keys, transpose_b=True)
        batch, count, conditions = tf.shape(folded)[0], tf.shape(folded)[2], scale.shape[0]
        by_condition = [conditions, 1, 1, 1, self.dim]
        # (conditions, batch, heads, queries, dim)
        folded = folded[tf.newaxis] * tf.reshape(scale, by_condition)
        if x.shape[0] == 1:
            # Every condition and head is a query of its own of the one sequence.
            folded = tf.reshape(
                tf.einsum("cbhqd->bchqd", folded), [1, batch, conditions * self.heads * count, self.dim]
            )
        else:
            folded = tf.reshape(folded, [conditions, batch, self.heads * count, self.dim])
        read = _mean(tf.matmul(folded, x, transpose_b=True), mask[:, tf.newaxis, :], x)
        if x.shape[0] == 1:
            read = tf.einsum("bchqd->cbhqd", tf.reshape(read, [batch, conditions, self.heads, count, self.dim]))
        else:
            read = tf.reshape(read, [conditions, batch, self.heads, count, self.dim])
        return self._joined(tf.matmul(read * tf.reshape(scale, by_condition) + tf.reshape(shift, by_condition), values))

    def _scaled(self, queries: tf.Tensor) -> tf.Tensor:
        return (queries + self.query_bias) * (self.dim // self.heads) ** -0.5

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """Splits `(..., n, dim)` by head: `(..., heads, n, dim / heads)`."""
        split = tf.reshape(x, tf.concat([tf.shape(x)[:-1], [self.heads, self.dim // self.heads]], axis=0))
        return tf.einsum("...nhd->...hnd", split)

    def _joined(self, read: tf.Tensor) -> tf.Tensor:
        """Joins and projects the heads, `(..., heads, n, dim / heads)` to `(..., n, dim)`."""
        side_by_side = tf.einsum("...hnd->...nhd", read)
        joined = tf.reshape(side_by_side, tf.concat([tf.shape(side_by_side)[:-2], [self.dim]], axis=0))
        return tf.tensordot(joined + self.value_bias, self.output_kernel, 1) + self.output_bias

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads}


def _mean(scores: tf.Tensor, mask: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns `softmax(scores) values` over the real positions; a padded one weighs exactly 0, if any is real.

    Divides what was summed, not every weight. The weights are found in float32 whatever the scores are in.
    """
    scores = tf.cast(scores, tf.float32)
    scores = tf.where(mask, scores, scores.dtype.min)
    # The largest cancels in the quotient; subtracting it keeps the exponential finite.
    weights = tf.exp(scores - tf.stop_gradient(tf.reduce_max(scores, axis=-1, keepdims=True)))
    total = tf.reduce_sum(weights, axis=-1, keepdims=True)
    return tf.matmul(tf.cast(weights, values.dtype), values) / tf.cast(total, values.dtype)


def _side_by_side(shape, dtype=None, **kwargs) -> tf.Tensor:
    """Draws the square matrices of `(dim, 3 dim)`, each with its own fan-out."""
    # One initializer would give the same values each time.
    return tf.concat([tf.keras.initializers.GlorotUniform()((shape[0], shape[0]), dtype) for _ in range(3)], axis=1)
