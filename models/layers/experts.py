"""A pool of expert networks, computed together."""

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim, layer_sizes
from models.layers.shared_rows import SharedRows, product


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
                    initializer=_each_differently(self.kernel_initializer, layer),
                )
            )
            self.biases.append(
                self.add_weight(name=f"bias_{layer}", shape=(self.count, 1, columns), initializer="zeros")
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor | SharedRows) -> tf.Tensor:
        # (batch, rows) or (count, batch, rows) x (count, rows, columns)
        return self._after(self._activation(0)(product(inputs, self.kernels[0]) + self.biases[0]))

    def first_kernels(self) -> list[tf.Tensor]:
        """Each expert's first layer: `(inputs, units[0])`."""
        return tf.unstack(self.kernels[0])

    def from_product(self, first: tf.Tensor) -> list[tf.Tensor]:
        """Each expert's output: `(batch, units[-1])`.

        Args:
          first: the inputs times `first_kernels()` side by side, `(batch, count * units[0])`.
        """
        hidden = tf.split(self._activation(0)(first + tf.reshape(self.biases[0], [-1])), self.count, axis=1)
        return hidden if len(self.units) == 1 else tf.unstack(self._after(tf.stack(hidden)))

    def _after(self, hidden: tf.Tensor) -> tf.Tensor:
        """The layers after the first one, of and to `(count, batch, units)`."""
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


def level_pools(
    levels: int,
    counts: Mapping[str, int],
    units: Sequence[int],
    activation: Callable,
    kernel_initializer: tf.keras.initializers.Initializer,
    dtype: tf.keras.mixed_precision.Policy,
) -> list[Experts]:
    """A pool for each level and stream, `counts` by the stream's name: those of the first level, then of the next."""
    return [
        Experts(
            count,
            units,
            activation,
            kernel_initializer=reseeded(kernel_initializer, level, name),
            name=f"level_{level}_{name}_experts",
            dtype=dtype,
        )
        for level in range(1, levels + 1)
        for name, count in counts.items()
    ]


def _each_differently(initializer: Callable, layer: int) -> Callable:
    """Initialises the matrices of `(count, rows, columns)` one by one: each with its own draw and its own fan-in."""

    def stacked(shape, dtype=None, **kwargs):
        return tf.stack([reseeded(initializer, layer, e)(shape[1:], dtype=dtype) for e in range(shape[0])])

    return stacked


def reseeded(initializer: Callable, *place: int | str) -> Callable:
    """A copy that draws differently at each place. A seeded initializer gives the same values at every call.

    A function that is no Keras initializer is left as it is.
    """
    if not isinstance(initializer, tf.keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if config.get("seed") is not None:
        config["seed"] = zlib.crc32(repr((config["seed"], *place)).encode()) % 2**31
    return type(initializer).from_config(config)
