"""Layer normalisation whose scale and shift depend on a condition."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, input_dim


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ConditionalLayerNorm(tf.keras.layers.Layer):
    """`CLN(x) = g_c g (x - m) / d + b_c + b`: ordinary layer normalisation, scaled and shifted by a condition c.

    `m` and `d` are the mean and the standard deviation over the last axis, `g` and `b` the learned scale and shift,
    `g_c` and `b_c` those of the condition, which come from outside (DTRN: from `HyperNetwork`). With `g_c = 1` and
    `b_c = 0` it is layer normalisation. A mean of bfloat16s is no mean: give it `dtype="float32"` among such layers.

    Reference: Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation" (DTRN),
    CIKM 2023.

    Args:
      epsilon: what is added to the variance.

    Input: `x (..., dim)`; `scale` and `shift`, `(..., dim)`, which broadcast against it. Output: `(..., dim)`.

    >>> x, scale, shift = tf.constant([[1.0, 3.0]]), tf.constant([10.0, 10.0]), tf.constant([0.0, 1.0])
    >>> ConditionalLayerNorm(epsilon=0.0)(x, scale, shift).numpy().tolist()
    [[-10.0, 11.0]]
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape) -> None:
        size = (input_dim(input_shape),)
        self.gamma = self.add_weight(name="gamma", shape=size, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=size, initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        scale, shift = self.conditioned(scale, shift)
        return self.normalised(inputs) * scale + shift

    def normalised(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `(x - m) / d`, which no condition changes."""
        inputs = tf.cast(inputs, self.compute_dtype)
        centred = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        return centred * tf.math.rsqrt(variance + self.epsilon)

    def conditioned(self, scale: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `g_c g` and `b_c + b`."""
        return scale * self.gamma, shift + self.beta

    def get_config(self) -> dict:
        return {**super().get_config(), "epsilon": self.epsilon}
