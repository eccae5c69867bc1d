"""Multi-head attention over the real positions of a sequence."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskedAttention(tf.keras.layers.Layer):
    """What each query reads of a sequence: for each head, and then side by side through one linear layer,

        softmax_t(q W_q (x_t W_k)^T / sqrt(d)) x_t W_v

    over real positions t only. What padded ones hold changes nothing, as long as it is finite and one is real.

    `folded` computes the same without making keys and values of every position: `q W_q W_k^T` is compared with `x_t`
    itself, and `W_v` applied to the one vector that was read. It is less work where queries are few.

    Reference: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.

    Args:
      heads: the number of heads; the size of a position is a multiple of it.
      folded: which way to compute it; the weights and the result are the same.

    Input: queries `(..., queries, dim)`; positions `(..., length, dim)`, whose leading axes broadcast with the
    queries'; mask `(batch, length)`, true at real positions, where batch is the last of the leading axes.
    Output: `(..., queries, dim)`.

    >>> x, mask = tf.ones([2, 5, 8]), tf.ones([2, 5], tf.bool)
    >>> MaskedAttention(heads=2)(x, x, mask).shape
    TensorShape([2, 5, 8])

    Raises:
      ValueError: no head, or a size that is no multiple of the number of heads.
    """

    def __init__(self, heads: int, folded: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.heads = at_least("heads", heads, 1)
        self.folded = bool(folded)

    def build(self, input_shape) -> None:
        self.dim = input_dim(input_shape)
        if self.dim % self.heads:
            raise ValueError(f"heads: expected a divisor of the inputs' size {self.dim}, got {self.heads}")
        for name in ("query", "key", "value", "output"):
            shape = (self.dim, self.dim)
            setattr(self, f"{name}_kernel", self.add_weight(name=f"{name}_kernel", shape=shape))
            if name != "key":
                # A bias of the keys adds the same to every score of a query: softmax does not see it.
                bias = self.add_weight(name=f"{name}_bias", shape=(self.dim,), initializer="zeros")
                setattr(self, f"{name}_bias", bias)
        super().build(input_shape)

    def call(self, queries: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        asked = (tf.tensordot(queries, self.query_kernel, 1) + self.query_bias) * (self.dim // self.heads) ** -0.5
        read = (self._folded if self.folded else self._plain)(self._by_head(asked), positions, mask)
        # (..., heads, queries, dim / heads) -> (..., queries, dim)
        side_by_side = _merged(tf.einsum("...hqd->...qhd", read))
        return tf.tensordot(side_by_side + self.value_bias, self.output_kernel, 1) + self.output_bias

    def _plain(self, asked: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        keys = self._by_head(tf.tensordot(positions, self.key_kernel, 1))
        values = self._by_head(tf.tensordot(positions, self.value_kernel, 1))
        weights = masked_softmax(tf.matmul(asked, keys, transpose_b=True), mask[:, tf.newaxis, tf.newaxis, :])
        return tf.matmul(weights, values)

    def _folded(self, asked: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        # (heads, dim, dim / heads)
        keys, values = (self._by_head(kernel) for kernel in (self.key_kernel, self.value_kernel))
        asked = tf.matmul(asked, keys, transpose_b=True)
        queries = tf.shape(asked)[-2]
        # (..., heads * queries, dim): every head is a query of its own.
        flat = tf.reshape(asked, tf.concat([tf.shape(asked)[:-3], [self.heads * queries, self.dim]], axis=0))
        weights = masked_softmax(tf.matmul(flat, positions, transpose_b=True), mask[:, tf.newaxis, :])
        read = tf.matmul(weights, positions)
        read = tf.reshape(read, tf.concat([tf.shape(read)[:-2], [self.heads, queries, self.dim]], axis=0))
        return tf.matmul(read, values)

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """`(..., n, dim)` to `(..., heads, n, dim / heads)`."""
        split = tf.reshape(x, tf.concat([tf.shape(x)[:-1], [self.heads, self.dim // self.heads]], axis=0))
        return tf.einsum("...nhd->...hnd", split)

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads, "folded": self.folded}


def masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis; exactly 0 where the mask is false, if it is true anywhere."""
    return tf.nn.softmax(tf.where(mask, scores, scores.dtype.min))


def _merged(x: tf.Tensor) -> tf.Tensor:
    """`(..., n, a, b)` to `(..., n, a * b)`."""
    return tf.reshape(x, tf.concat([tf.shape(x)[:-2], [x.shape[-2] * x.shape[-1]]], axis=0))
