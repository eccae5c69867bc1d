"""Customized sharing: beside the network that all tasks share, one of its own for each."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, shared, stacked
from models.layers.experts import Experts
from models.layers.routings.base import Routing


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CustomizedSharing(Routing):
    """`f_k(x) = [MLP_s(x), MLP_k(x)]`: what is shared and what is the task's own are apart, and never mixed by a gate.

    Reference: Tang et al. (PLE), RecSys 2020: one of its single-level models, to which CGC adds experts and gates.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of the shared network and of each task's.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the shared network then reads their mean).
    Output: a list of one `(batch, 2 * units[-1])` per task.

    >>> [y.shape.as_list() for y in CustomizedSharing(tasks=2, units=(32, 16))(tf.ones([4, 8]))]
    [[4, 32], [4, 32]]
    """

    takes_user_item_rows = True

    def __init__(self, tasks: int, units: Sequence[int] | int, activation="relu", **kwargs):
        super().__init__(tasks, units, activation, **kwargs)
        self.shared = Experts(1, self.units, self.activation, name="shared", dtype=self.dtype_policy)
        self.own = Experts(self.tasks, self.units, self.activation, name="own", dtype=self.dtype_policy)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        common = self.shared(shared(inputs, self.tasks))[0]
        networks = tf.unstack(self.own(stacked(inputs, self.tasks)), num=self.tasks)
        return [tf.concat([common, network], axis=-1) for network in networks]
