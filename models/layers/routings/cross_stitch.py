"""Cross-stitch networks: a network per task, and after each layer a learned linear mixture of all of them."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, TaskInputs, stacked
from models.layers.experts import Experts
from models.layers.routings.base import Routing


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CrossStitch(Routing):
    """`h_k = sum_j a_kj MLP_j(h_j)` after each layer, with one learned matrix `a` a layer, the same for every example.

    *Inference*: one number per pair of tasks and layer, where the paper, on images, has one a channel; a task's own
    network starts from `own`, and the others share the rest evenly. The paper has two tasks and starts from [0, 1].

    Reference: Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016, eq. 1.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of each task's network.
      own: what a task's own network counts for at first; the rest to 1 is the other tasks'.

    Input: `(batch, inputs)`, or a list of one such tensor per task.
    Output: a list of one `(batch, units[-1])` per task.

    >>> [y.shape.as_list() for y in CrossStitch(tasks=2, units=(32, 16))(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: no task, no layer, or a share that is not in [0, 1].
    """

    takes_user_item_rows = True

    def __init__(self, tasks: int, units: Sequence[int] | int, own: float = 0.9, activation="relu", **kwargs):
        super().__init__(tasks, units, activation, **kwargs)
        if not 0 <= own <= 1:
            raise ValueError(f"own: expected a share in [0, 1], got {own!r}")
        self.own = float(own)
        self.networks = [
            Experts(self.tasks, (size,), self.activation, name=f"layer_{layer}", dtype=self.dtype_policy)
            for layer, size in enumerate(self.units, start=1)
        ]

    def build(self, input_shape) -> None:
        others = (1 - self.own) / (self.tasks - 1) if self.tasks > 1 else 0.0
        start = tf.fill([self.tasks, self.tasks], others)
        start = tf.linalg.set_diag(start, tf.fill([self.tasks], self.own if self.tasks > 1 else 1.0))
        self.stitches = [
            self.add_weight(
                name=f"stitch_{layer}",
                shape=(self.tasks, self.tasks),
                initializer=lambda shape, dtype=None, **_: tf.cast(start, dtype),
            )
            for layer in range(1, len(self.units) + 1)
        ]
        super().build(input_shape)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        hidden = stacked(inputs, self.tasks)
        for network, stitch in zip(self.networks, self.stitches, strict=True):
            # (tasks, tasks) x (tasks, batch, units)
            hidden = tf.tensordot(stitch, network(hidden), axes=1)
        return tf.unstack(hidden, num=self.tasks)

    def get_config(self) -> dict:
        return {**super().get_config(), "own": self.own}
