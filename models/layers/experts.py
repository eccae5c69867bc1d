"""A pool of expert networks, computed together."""

import itertools
import zlib
from collections.abc import Callable, Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim, layer_sizes
from models.layers.user_item_rows import UserItemRows, matmul


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Experts(tf.keras.layers.Layer):
    """`count` multi-layer perceptrons of equal shape and different weights.

    `h_e = a(h_e W_e + b_e)` for each layer of expert e. The experts are one batched matmul, expert first.

    Args:
      count: the number of experts.
      units: the layer sizes of each expert.
      activation: of every layer but the last.
      last_activation: of the last layer; `activation` if not given.
      kernel_initializer: drawn for each expert anew, so that no two are equal. Equal experts would leave a gate over
        them without a gradient.

    Input: `(batch, inputs)`, read by every expert, or `(count, batch, inputs)`, one slice each.
    Output: `(count, batch, units[-1])`.

    >>> Experts(count=3, units=(32, 16))(tf.ones([4, 8])).shape
    TensorShape([3, 4, 16])

    Raises:
      ValueError: `count` or a layer size below 1, no layers, or an input that is neither of the two forms.
    """

    def __init__(
        self,
        count: int,
        units: Sequence[int] | int,
        activation: str | Callable | None = "relu",
        last_activation: str | Callable | None = "same",
        kernel_initializer: str | tf.keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.count = at_least("count", count, 1)
        self.units = layer_sizes("units", units)
        self.activation = tf.keras.activations.get(activation)
        self.last_activation = (
            self.activation if last_activation == "same" else tf.keras.activations.get(last_activation)
        )
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    def build(self, input_shape) -> None:
        shape = tf.TensorShape(input_shape)
        if shape.rank not in (2, 3) or (shape.rank == 3 and shape[0] != self.count):
            raise ValueError(f"inputs: expected (batch, inputs) or ({self.count}, batch, inputs), got shape {shape}")
        sizes = [input_dim(shape), *self.units]
        self.kernels, self.biases = [], []
        for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            self.kernels.append(
                self.add_weight(
                    name=f"kernel_{layer}",
                    shape=(self.count, rows, columns),
                    initializer=_drawn_by_expert(self.kernel_initializer, layer),
                )
            )
            self.biases.append(
                self.add_weight(name=f"bias_{layer}", shape=(self.count, 1, columns), initializer="zeros")
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor | UserItemRows) -> tf.Tensor:
        # (batch, rows) or (count, batch, rows) x (count, rows, columns)
        return self._upper_layers(self._activation(0)(matmul(inputs, self.kernels[0]) + self.biases[0]))

    def _first_kernels(self) -> list[tf.Tensor]:
        """Returns each expert's first layer, `(inputs, units[0])`: what `ExpertBank` multiplies with others."""
        return tf.unstack(self.kernels[0])

    def _from_first_matmul(self, product: tf.Tensor) -> list[tf.Tensor]:
        """Returns each expert's output, `(batch, units[-1])`, from what `ExpertBank` has multiplied.

        Args:
          product: the inputs times `_first_kernels()` side by side, `(batch, count * units[0])`.
        """
        hidden = tf.split(self._activation(0)(product + tf.reshape(self.biases[0], [-1])), self.count, axis=1)
        return hidden if len(self.units) == 1 else tf.unstack(self._upper_layers(tf.stack(hidden)))

    def _upper_layers(self, hidden: tf.Tensor) -> tf.Tensor:
        """Returns what the layers above the first make of its output; both are `(count, batch, units)`."""
        for layer in range(1, len(self.units)):
            hidden = self._activation(layer)(tf.matmul(hidden, self.kernels[layer]) + self.biases[layer])
        return hidden

    def _activation(self, layer: int) -> Callable:
        return self.last_activation if layer == len(self.units) - 1 else self.activation

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "count": self.count,
            "units": self.units,
            "activation": tf.keras.activations.serialize(self.activation),
            "last_activation": tf.keras.activations.serialize(self.last_activation),
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }


def _drawn_by_expert(initializer: Callable, layer: int) -> Callable:
    """Returns an initialiser of `(count, rows, columns)` that draws each matrix anew, with the fan-in of one."""

    def stacked(shape, dtype=None, **kwargs):
        return tf.stack([reseeded(initializer, layer, e)(shape[1:], dtype=dtype) for e in range(shape[0])])

    return stacked


def reseeded(initializer: Callable, *place: int | str) -> Callable:
    """Returns a copy that draws differently at each place. A seeded initializer gives the same values at every call.

    A function that is no Keras initializer is left as it is.
    """
    if not isinstance(initializer, tf.keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if config.get("seed") is not None:
        config["seed"] = zlib.crc32(repr((config["seed"], *place)).encode()) % 2**31
    return type(initializer).from_config(config)
