"""The network that makes the conditions of a conditional transformer from a task and a behaviour type."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least
from models.layers.experts import Experts


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HyperNetwork(tf.keras.layers.Layer):
    """Scale and shift of every layer-norm position l, for each pair of a task i and a behaviour type j:

        g_ij^l = MLP_g^l(T_i, B_j),  b_ij^l = MLP_b^l(T_i, B_j)

    two separate two-layer perceptrons with ReLU for each position, reading the task's embedding `T_i` next to the
    behaviour type's `B_j`. *Inference*: the last layers start so that `g = 1` and `b = 0`: training starts from the
    plain transformer.

    Reference: Liu et al. (DTRN), CIKM 2023: its task interest module.

    Args:
      norms: the number of layer-norm positions.
      dim: the size of what is normalised.
      units: the size of the perceptrons' hidden layer.

    Input: task embeddings `(tasks, a)` and behaviour embeddings `(behaviours, b)`.
    Output: scale and shift, each `(norms, tasks, behaviours, dim)`.

    >>> scale, shift = HyperNetwork(norms=4, dim=8)(tf.ones([2, 5]), tf.ones([3, 5]))
    >>> scale.shape, float(scale[0, 0, 0, 0]), float(shift[0, 0, 0, 0])
    (TensorShape([4, 2, 3, 8]), 1.0, 0.0)
    """

    def __init__(self, norms: int, dim: int, units: int = 16, **kwargs):
        super().__init__(**kwargs)
        self.norms = at_least("norms", norms, 1)
        self.dim = at_least("dim", dim, 1)
        self.units = at_least("units", units, 1)
        # Every position's scale, then every position's shift, as one pool.
        self.hidden = Experts(2 * self.norms, (self.units,), "relu", name="hidden", dtype=self.dtype_policy)
        self.last = Experts(
            2 * self.norms, (self.dim,), None, kernel_initializer="zeros", name="last", dtype=self.dtype_policy
        )

    def call(self, tasks: tf.Tensor, behaviours: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        counts = [tasks.shape[0], behaviours.shape[0]]
        pairs = tf.concat(
            [
                tf.repeat(tasks, counts[1], axis=0),
                tf.tile(behaviours, [counts[0], 1]),
            ],
            axis=-1,
        )
        # (2 norms, tasks * behaviours, dim)
        modulations = tf.reshape(self.last(self.hidden(pairs)), [2, self.norms, *counts, self.dim])
        return 1.0 + modulations[0], modulations[1]

    def get_config(self) -> dict:
        return {**super().get_config(), "norms": self.norms, "dim": self.dim, "units": self.units}
