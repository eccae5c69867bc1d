"""Task towers: from each task's representation to its logit."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, at_least, layer_sizes, per_task
from models.layers.experts import Experts


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Towers(tf.keras.layers.Layer):
    """`y_k = t_k(g_k(x))` (PLE, eq. 5): a perceptron per task, with a linear last layer.

    Args:
      tasks: the number of tasks.
      units: the hidden layer sizes; may be empty.
      output_bias: the logit that each task starts from, such as the log odds of its base rate; zeros if not given.
      output_scale: what each task's last layer is multiplied by, a weight that isn't trained: a network whose values
        are of the order of 1 then gives logits of any size. Ones, and no such weight, if not given.
      logits: the units of the last layer. All but the first, which `output_bias` is of, start from 0.

    Input: a list of one `(batch, inputs)` per task. Output: a list of one `(batch, logits)` per task.

    >>> [y.shape.as_list() for y in Towers(tasks=2, units=(8,))([tf.ones([4, 16])] * 2)]
    [[4, 1], [4, 1]]
    """

    def __init__(
        self,
        tasks: int,
        units: Sequence[int] | int = (),
        output_bias: Sequence[float] | None = None,
        activation="relu",
        output_scale: Sequence[float] | None = None,
        logits: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.units = layer_sizes("units", units, minimum=0)
        if output_bias is not None and len(output_bias) != tasks:
            raise ValueError(f"output_bias: expected {tasks} values (one per task), got {output_bias!r}")
        if output_scale is not None and (len(output_scale) != tasks or min(output_scale) <= 0):
            raise ValueError(f"output_scale: expected {tasks} values above 0 (one per task), got {output_scale!r}")
        self.output_bias = None if output_bias is None else tuple(float(bias) for bias in output_bias)
        self.output_scale = None if output_scale is None else tuple(float(scale) for scale in output_scale)
        self.logits = at_least("logits", logits, 1)
        self.scale: tf.Variable | None = None
        self.activation = tf.keras.activations.get(activation)
        self.networks = Experts(
            self.tasks,
            (*self.units, self.logits),
            self.activation,
            last_activation=None,
            name="networks",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape) -> None:
        shapes = per_task(input_shape, self.tasks) if isinstance(input_shape, list) else [input_shape]
        with tf.name_scope(self.networks.name):
            self.networks.build((self.tasks, *tf.TensorShape(shapes[0])))
        if self.output_scale is not None:
            initial = tf.keras.initializers.Constant(np.reshape(self.output_scale, (self.tasks, 1, 1)))
            self.scale = self.add_weight("scale", (self.tasks, 1, 1), initializer=initial, trainable=False)
        if self.output_bias is not None:
            bias = np.divide(self.output_bias, self.output_scale or 1.0)
            first = np.eye(1, self.logits)
            self.networks.biases[-1].assign(np.reshape(bias, (self.tasks, 1, 1)) * first)
        super().build(input_shape)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        # (tasks, batch, inputs) -> (tasks, batch, logits)
        logits = self.networks(tf.stack(per_task(inputs, self.tasks)))
        if self.scale is not None:
            logits *= self.scale
        return tf.unstack(logits, num=self.tasks)

    def get_config(self) -> dict:
        activation = tf.keras.activations.serialize(self.activation)
        arguments = {
            "tasks": self.tasks,
            "units": self.units,
            "output_bias": self.output_bias,
            "activation": activation,
            "output_scale": self.output_scale,
            "logits": self.logits,
        }
        return {**super().get_config(), **arguments}
