"""Hard parameter sharing: one network below all tasks."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, shared
from models.layers.experts import Experts
from models.layers.routings.base import Routing


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SharedBottom(Routing):
    """`f_k(x) = MLP(x)` for every task k: all tasks read the same representation.

    Reference: Caruana, "Multitask Learning", Machine Learning 28, 1997.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of the network.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the network then reads their mean).
    Output: a list of one `(batch, units[-1])` per task, all the same.

    >>> [y.shape.as_list() for y in SharedBottom(tasks=2, units=(32, 16))(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]
    """

    takes_user_item_rows = True

    def __init__(self, tasks: int, units: Sequence[int] | int, activation="relu", **kwargs):
        super().__init__(tasks, units, activation, **kwargs)
        self.bottom = Experts(1, self.units, self.activation, name="bottom", dtype=self.dtype_policy)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        return [self.bottom(shared(inputs, self.tasks))[0]] * self.tasks
