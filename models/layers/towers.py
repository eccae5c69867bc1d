"""Task towers: from each task's representation to its logit."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, at_least, layer_sizes, per_task
from models.layers.experts import Experts


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Towers(tf.keras.layers.Layer):
    """`y_k = t_k(g_k(x))` (PLE, eq. 5): a perceptron per task, with a linear last layer of one unit.

    Args:
      tasks: the number of tasks.
      units: the hidden layer sizes; may be empty.
      output_bias: the logit that each task starts from, such as the log odds of its base rate; zeros if not given.

    Input: a list of one `(batch, inputs)` per task. Output: a list of one logit `(batch, 1)` per task.

    >>> [y.shape.as_list() for y in Towers(tasks=2, units=(8,))([tf.ones([4, 16])] * 2)]
    [[4, 1], [4, 1]]
    """

    def __init__(
        self,
        tasks: int,
        units: Sequence[int] | int = (),
        output_bias: Sequence[float] | None = None,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.units = layer_sizes("units", units, minimum=0)
        if output_bias is not None and len(output_bias) != tasks:
            raise ValueError(f"output_bias: expected {tasks} values (one per task), got {output_bias!r}")
        self.output_bias = None if output_bias is None else tuple(float(bias) for bias in output_bias)
        self.activation = tf.keras.activations.get(activation)
        self.networks = Experts(
            self.tasks,
            (*self.units, 1),
            self.activation,
            last_activation=None,
            name="networks",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape) -> None:
        shapes = per_task(input_shape, self.tasks) if isinstance(input_shape, list) else [input_shape]
        with tf.name_scope(self.networks.name):
            self.networks.build((self.tasks, *tf.TensorShape(shapes[0])))
        if self.output_bias is not None:
            self.networks.biases[-1].assign(tf.reshape(tf.constant(self.output_bias), (self.tasks, 1, 1)))
        super().build(input_shape)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        # (tasks, batch, inputs) -> (tasks, batch, 1)
        return tf.unstack(self.networks(tf.stack(per_task(inputs, self.tasks))), num=self.tasks)

    def get_config(self) -> dict:
        activation = tf.keras.activations.serialize(self.activation)
        arguments = {
            "tasks": self.tasks,
            "units": self.units,
            "output_bias": self.output_bias,
            "activation": activation,
        }
        return {**super().get_config(), **arguments}
