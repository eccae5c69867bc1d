"""No sharing: the reference that every kind of sharing is measured against."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, stacked
from models.layers.experts import Experts
from models.layers.routings.base import Routing


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SingleTask(Routing):
    """`f_k(x) = MLP_k(x)`: each task has a network of its own, with no parameter in common.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of each network.

    Input: `(batch, inputs)`, or a list of one such tensor per task.
    Output: a list of one `(batch, units[-1])` per task.

    >>> [y.shape.as_list() for y in SingleTask(tasks=2, units=(32, 16))(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]
    """

    takes_user_item_rows = True

    def __init__(self, tasks: int, units: Sequence[int] | int, activation="relu", **kwargs):
        super().__init__(tasks, units, activation, **kwargs)
        self.bottoms = Experts(self.tasks, self.units, self.activation, name="bottoms", dtype=self.dtype_policy)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        return tf.unstack(self.bottoms(stacked(inputs, self.tasks)), num=self.tasks)
