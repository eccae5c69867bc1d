"""A behaviour sequence as one vector."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, input_dim


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskedPooling(tf.keras.layers.Layer):
    """The mean of a sequence's real positions, or a mean that forgets.

        p(x) = sum_t w_t x_t,  w_t = m_t / sum m                        without ages
                               w_t = m_t e^(-a s_t) / sum_u m_u e^(-a s_u)   with ages s

    Where `s` is the logarithm of an age, `e^(-a s)` is a power law of forgetting, with one learned `a` that starts from
    0: training starts from the mean. A sequence without a real position gives a learned vector that starts from 0.
    What padded positions hold changes nothing, as long as it is finite.

    Input: `x (batch, length, dim)`; `mask (batch, length)`, true at real positions; `ages (batch, length)`, optional.
    Output: `(batch, dim)`.

    >>> x, mask = tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[True, True, False]])
    >>> MaskedPooling()(x, mask).numpy().tolist()
    [[2.0]]
    """

    def build(self, input_shape) -> None:
        shape = tf.TensorShape(input_shape)
        if shape.rank != 3:
            raise ValueError(f"inputs: expected (batch, length, dim), got shape {shape}")
        self.empty = self.add_weight(name="empty", shape=(input_dim(shape),), initializer="zeros")
        self.forgetting = self.add_weight(name="forgetting", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, ages: tf.Tensor | None = None) -> tf.Tensor:
        real = tf.cast(mask, inputs.dtype)
        weights = real
        if ages is not None:
            decay = tf.where(mask, -self.forgetting * ages, inputs.dtype.min)
            # Subtracting the largest keeps the exponential finite; it cancels in the quotient.
            weights = real * tf.exp(decay - tf.reduce_max(decay, axis=1, keepdims=True))
        weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
        # (batch, 1, length) x (batch, length, dim)
        pooled = tf.reduce_sum(weights[:, :, tf.newaxis] * inputs, axis=1)
        return tf.where(tf.reduce_any(mask, axis=1, keepdims=True), pooled, self.empty)
