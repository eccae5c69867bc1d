"""No sharing: the reference that every kind of sharing is measured against."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, at_least, layer_sizes, per_task
from models.layers.experts import Experts


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SingleTask(tf.keras.layers.Layer):
    """`f_k(x) = MLP_k(x)`: each task has a network of its own, with no parameter in common.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of each network.

    Input: `(batch, inputs)`, or a list of one such tensor per task.
    Output: a list of one `(batch, units[-1])` per task.

    >>> [y.shape.as_list() for y in SingleTask(tasks=2, units=(32, 16))(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]
    """

    def __init__(self, tasks: int, units: Sequence[int] | int, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.units = layer_sizes("units", units)
        self.activation = tf.keras.activations.get(activation)
        self.bottoms = Experts(self.tasks, self.units, self.activation, name="bottoms", dtype=self.dtype_policy)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        stacked = tf.stack(per_task(inputs, self.tasks)) if isinstance(inputs, list | tuple) else inputs
        return tf.unstack(self.bottoms(stacked), num=self.tasks)

    def get_config(self) -> dict:
        activation = tf.keras.activations.serialize(self.activation)
        return {**super().get_config(), "tasks": self.tasks, "units": self.units, "activation": activation}
