"""STEM-Net: every task reads every expert, and trains only its own and the shared ones."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import (
    PACKAGE,
    TaskInputs,
    at_least,
    by_level,
    expert_counts,
    layer_sizes,
    per_task,
    shared,
)
from models.layers.experts import Experts, level_pools
from models.layers.routings.ple import Gate, fuse
from models.layers.shared_rows import SharedRows


@tf.keras.utils.register_keras_serializable(PACKAGE)
class StemExtraction(tf.keras.layers.Layer):
    """All forward, task-specific backward: a gate over all experts, with other tasks' experts held still.

        g_k = softmax(W_k (x_k + x_s)) [sg(E_1), .., E_k, .., sg(E_K), E_s]      sg: no gradient passes
        g_s = softmax(W_s x_s) [sg(E_1), .., sg(E_K), E_s]

    where task k's experts read `x_k`, made of embeddings of its own, and the shared ones `x_s`, made of shared
    embeddings. A task learns from what the others know without pulling their experts and tables its way. With more than
    one level the next one reads `g_k` and `g_s`; the last level has no `g_s`.

    *Inference*: `g_s` holds the tasks' experts still as well, as otherwise a task would train another's through the
    next level's shared experts; each gate is one linear layer without bias, as PLE's, where the authors' library has a
    perceptron; where all tasks are given one input, `x_k = x_s`; where they are given one each, `x_s` is their mean.

    Reference: Su et al., "STEM: Unleashing the Power of Embeddings for Multi-Task Recommendation", AAAI 2024.

    Args:
      tasks: the number of tasks.
      levels: the number of levels.
      task_experts: experts of its own per task and level: a count for all tasks, or one count per task.
      shared_experts: shared experts per level.
      units: the layer sizes of each expert.

    Input: a list of `tasks + 1` tensors `(batch, inputs)`, one per task and the shared one, as STEM has it; or one
    tensor, or a list of one per task.
    Output: a list of one `(batch, units[-1])` per task.

    >>> stem = StemExtraction(tasks=2, levels=1, task_experts=1, shared_experts=1, units=(16,))
    >>> [fused.shape.as_list() for fused in stem([tf.ones([4, 8])] * 3)]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: a count below 1, or as many expert counts as there are no tasks.
    """

    def __init__(
        self,
        tasks: int,
        levels: int,
        task_experts: int | Sequence[int],
        shared_experts: int,
        units: Sequence[int] | int,
        activation="relu",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.levels = at_least("levels", levels, 1)
        self.task_experts = expert_counts(task_experts, self.tasks)
        self.shared_experts = at_least("shared_experts", shared_experts, 1)
        self.units = layer_sizes("units", units)
        self.activation = tf.keras.activations.get(activation)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        counts = [*self.task_experts, self.shared_experts]
        names = [*(f"task_{k}" for k in range(self.tasks)), "shared"]
        by_name = dict(zip(names, counts, strict=True))
        self._pools = level_pools(
            self.levels, by_name, self.units, self.activation, self.kernel_initializer, self.dtype_policy
        )
        self._gates = [
            Gate(sum(counts), name=f"level_{level}_{name}_gate", dtype=self.dtype_policy)
            for level in range(1, self.levels + 1)
            for name in (names if level < self.levels else names[:-1])
        ]

    @property
    def pools(self) -> list[Sequence[Experts]]:
        """The experts of each stream, by level."""
        return by_level(self._pools, self.tasks + 1, self.levels)

    @property
    def gates(self) -> list[Sequence[Gate]]:
        """The gate of each stream, by level."""
        return by_level(self._gates, self.tasks + 1, self.levels)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        streams = self._streams(inputs)
        for level in range(self.levels):
            streams = self._level(level, streams)
        return streams

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """What each gate gives each expert, `(batch, experts)`, by `level_<j>/task_<k>` and `level_<j>/shared`.

        The experts are every task's, in their order, then the shared ones.
        """
        streams, named = self._streams(inputs), {}
        for level in range(self.levels):
            for k, weight in enumerate(self._weights(level, streams)):
                named[f"level_{level + 1}/{f'task_{k}' if k < self.tasks else 'shared'}"] = weight
            streams = self._level(level, streams)
        return named

    def _streams(self, inputs: TaskInputs) -> list[tf.Tensor]:
        if isinstance(inputs, list | tuple) and len(inputs) == self.tasks + 1:
            return list(inputs)
        return [*per_task(inputs, self.tasks), shared(inputs, self.tasks)]

    def _weights(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        both = [_sum(own, streams[-1]) for own in streams[:-1]]
        return [gate(stream) for gate, stream in zip(self.gates[level], [*both, streams[-1]], strict=False)]

    def _level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        pools = [tf.unstack(pool(stream)) for pool, stream in zip(self.pools[level], streams, strict=True)]
        still = [[tf.stop_gradient(expert) for expert in pool] for pool in pools[:-1]]
        fused = []
        for k, weight in enumerate(self._weights(level, streams)):
            seen = [own if j == k else held for j, (own, held) in enumerate(zip(pools, still, strict=False))]
            seen.append(pools[-1])
            fused.append(fuse(weight, [expert for pool in seen for expert in pool]))
        return fused

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "tasks": self.tasks,
            "levels": self.levels,
            "task_experts": self.task_experts,
            "shared_experts": self.shared_experts,
            "units": self.units,
            "activation": tf.keras.activations.serialize(self.activation),
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }


def _sum(a: tf.Tensor | SharedRows, b: tf.Tensor | SharedRows) -> tf.Tensor | SharedRows:
    if isinstance(a, SharedRows) and isinstance(b, SharedRows):
        return SharedRows(a.shared + b.shared, a.own + b.own)
    return tf.add(a, b)
