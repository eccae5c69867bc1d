"""Multi-gate mixture of experts (MMoE) and its stack of several levels (ML-MMoE)."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import TaskInputs, at_least, by_level, named_in_files, per_task, shared
from models.layers.expert_bank import Gate, fuse
from models.layers.experts import Experts, reseeded
from models.layers.routings.base import Routing


@named_in_files("MultiGateMixture")
class MMoE(Routing):
    """MMoE: all experts are shared, and each task mixes them by a gate of its own.

        f_k(x) = sum_e w_k,e(x) E_e(x),  w_k(x) = softmax(W_k x)

    ML-MMoE, with more than one level: expert e of level j + 1 reads a mixture of level j's experts by a gate of its
    own. *Inference*: no paper says what the gates between levels read; here they read the raw input, as those of the
    AdaTT authors' library do.

    Reference: Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
    KDD 2018. ML-MMoE is a baseline of Tang et al. (PLE), RecSys 2020.

    Args:
      tasks: the number of tasks.
      experts: how many experts each level has.
      units: the layer sizes of each expert.
      levels: the number of levels; 1 is MMoE.

    Input: `(batch, inputs)`, or a list of one such tensor per task (each task's gate reads its own, all else the mean).
    Output: a list of one `(batch, units[-1])` per task.

    >>> mixture = MMoE(tasks=2, experts=3, units=(16,))
    >>> [mixed.shape.as_list() for mixed in mixture(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: a count below 1, or another number of inputs than of tasks.
    """

    takes_user_item_rows = True

    def __init__(
        self,
        tasks: int,
        experts: int,
        units: Sequence[int] | int,
        levels: int = 1,
        activation="relu",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(tasks, units, activation, **kwargs)
        self.experts = at_least("experts", experts, 1)
        self.levels = at_least("levels", levels, 1)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        self.pools = [
            Experts(
                self.experts,
                self.units,
                self.activation,
                kernel_initializer=reseeded(self.kernel_initializer, level),
                name=f"level_{level}_experts",
                dtype=self.dtype_policy,
            )
            for level in range(1, self.levels + 1)
        ]
        self._gates = [
            Gate(self.experts, name=f"level_{level}_{reader}_gate", dtype=self.dtype_policy)
            for level in range(1, self.levels + 1)
            for reader in (self._tasks if level == self.levels else self._experts)
        ]

    @property
    def gates(self) -> list[Sequence[Gate]]:
        """Returns, by level, a gate for each expert of the next, and in the last for each task."""
        return by_level(self._gates, self.experts, self.levels)

    @property
    def _tasks(self) -> list[str]:
        return [f"task_{k}" for k in range(self.tasks)]

    @property
    def _experts(self) -> list[str]:
        return [f"expert_{e}" for e in range(self.experts)]

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        weights = self._weights(inputs)
        hidden = shared(inputs, self.tasks)
        for pool, gates in zip(self.pools[:-1], weights[:-1], strict=True):
            outputs = tf.unstack(pool(hidden))
            # (experts, batch, units): what each expert of the next level reads
            hidden = tf.stack([fuse(gate, outputs) for gate in gates])
        outputs = tf.unstack(self.pools[-1](hidden))
        return [fuse(gate, outputs) for gate in weights[-1]]

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """Returns what each gate gives each expert, by `level_<j>/task_<k>` or `level_<j>/expert_<e>`."""
        named = {}
        for level, weights in enumerate(self._weights(inputs), start=1):
            for reader, weight in zip(self._tasks if level == self.levels else self._experts, weights, strict=True):
                named[f"level_{level}/{reader}"] = weight
        return named

    def _weights(self, inputs: TaskInputs) -> list[list[tf.Tensor]]:
        """Returns by level the weights of its gates, of which those of the last read their tasks' input."""
        mean = shared(inputs, self.tasks)
        below = [[gate(mean) for gate in gates] for gates in self.gates[:-1]]
        last = [gate(x) for gate, x in zip(self.gates[-1], per_task(inputs, self.tasks), strict=True)]
        return [*below, last]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "experts": self.experts,
            "levels": self.levels,
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }
