"""Adaptive task-to-task fusion (AdaTT): each task chooses among all experts, and never loses its own."""

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


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TaskFusion(tf.keras.layers.Layer):
    """AdaTT: at each level, a unit per task and one that all share; each fuses all experts, and adds its own.

        g_k = softmax(W_k x_k) [E_1, .., E_K, E_s]  +  sum_e v_k,e E_k,e
              fusion of all experts                     residual of the native ones

    where unit k's experts and gate read `x_k`, the unit's output of the level below. What separates it from PLE: a task
    may listen to another task's experts directly, at every level and example by example; the residual, which no gate
    weakens, keeps what the task needs of its own. The last level has no shared output.

    *Inference*: the gates have no bias, as PLE's; the `v_k` of a unit with several experts start from their mean, where
    the authors' library draws them at random. One expert's `v` is 1 and is not learned, as theirs is not.

    Reference: Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations",
    KDD 2023; without shared experts, its AdaTT-sp.

    Args:
      tasks: the number of tasks.
      levels: the number of fusion levels.
      task_experts: native experts per level: a count for all tasks, or one count per task.
      shared_experts: experts of the shared unit per level; may be 0.
      units: the layer sizes of each expert.
      native_residual: whether the residual is added; the paper's ablation is without.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the shared unit then reads their mean).
    Output: a list of one `(batch, units[-1])` per task.

    >>> fusion = TaskFusion(tasks=2, levels=2, task_experts=(1, 2), shared_experts=1, units=(16,))
    >>> [fused.shape.as_list() for fused in fusion(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: a count below 1 (shared experts: below 0), or as many expert counts as there are no tasks.
    """

    def __init__(
        self,
        tasks: int,
        levels: int,
        task_experts: int | Sequence[int],
        shared_experts: int,
        units: Sequence[int] | int,
        native_residual: bool = True,
        activation="relu",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.levels = at_least("levels", levels, 1)
        self.task_experts = expert_counts(task_experts, self.tasks)
        self.shared_experts = at_least("shared_experts", shared_experts, 0)
        self.units = layer_sizes("units", units)
        self.native_residual = bool(native_residual)
        self.activation = tf.keras.activations.get(activation)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        self.counts = [*self.task_experts, self.shared_experts] if self.shared_experts else [*self.task_experts]
        self.names = [f"task_{k}" for k in range(self.tasks)] + (["shared"] if self.shared_experts else [])
        by_name = dict(zip(self.names, self.counts, strict=True))
        self._pools = level_pools(
            self.levels, by_name, self.units, self.activation, self.kernel_initializer, self.dtype_policy
        )
        self._gates = [
            Gate(sum(self.counts), name=f"level_{level}_{name}_gate", dtype=self.dtype_policy)
            for level in range(1, self.levels + 1)
            for name in self._readers(level)
        ]

    @property
    def pools(self) -> list[Sequence[Experts]]:
        """The experts of each unit, by level."""
        return by_level(self._pools, len(self.names), self.levels)

    @property
    def gates(self) -> list[Sequence[Gate]]:
        """The gate of each unit, by level."""
        return by_level(self._gates, len(self.names), self.levels)

    def _readers(self, level: int) -> list[str]:
        """The units whose output somebody reads: the shared one's of the last level nobody does."""
        return self.names if level < self.levels else self.names[: self.tasks]

    def build(self, input_shape) -> None:
        self.native = {}
        for level in range(1, self.levels + 1):
            for name, count in zip(self._readers(level), self.counts, strict=False):
                if count > 1 and self.native_residual:
                    key = f"level_{level}_{name}_native"
                    # Beside gate weights, which are float32.
                    self.native[key] = self.add_weight(
                        name=key, shape=(count,), initializer=_mean_of(count), experimental_autocast=False
                    )
        super().build(input_shape)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        streams = self._streams(inputs)
        for level in range(self.levels):
            streams = self._level(level, streams)
        return streams

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """What each gate gives each expert, `(batch, experts)`, by `level_<j>/task_<k>` and `level_<j>/shared`.

        The experts are every task's, in their order, then the shared ones. The residual is not in it.
        """
        if not self.built:
            self(inputs)
        streams, named = self._streams(inputs), {}
        for level in range(self.levels):
            for name, gate, stream in zip(self._readers(level + 1), self.gates[level], streams, strict=False):
                named[f"level_{level + 1}/{name}"] = gate(stream)
            streams = self._level(level, streams)
        return named

    def _streams(self, inputs: TaskInputs) -> list[tf.Tensor]:
        own = per_task(inputs, self.tasks)
        return [*own, shared(inputs, self.tasks)] if self.shared_experts else own

    def _level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        pools = [tf.unstack(pool(stream)) for pool, stream in zip(self.pools[level], streams, strict=True)]
        experts = [expert for pool in pools for expert in pool]
        weights = [gate(stream) for gate, stream in zip(self.gates[level], streams, strict=False)]
        if self.native_residual:
            weights = [weight + self._native(level, unit) for unit, weight in enumerate(weights)]
        return [fuse(weight, experts) for weight in weights]

    def _native(self, level: int, unit: int) -> tf.Tensor:
        """`v`, `(experts,)`: 0 for those of other units."""
        values = self.native.get(f"level_{level + 1}_{self.names[unit]}_native", tf.ones([1]))
        before = sum(self.counts[:unit])
        return tf.pad(values, [[before, sum(self.counts) - before - self.counts[unit]]])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "tasks": self.tasks,
            "levels": self.levels,
            "task_experts": self.task_experts,
            "shared_experts": self.shared_experts,
            "units": self.units,
            "native_residual": self.native_residual,
            "activation": tf.keras.activations.serialize(self.activation),
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }


def _mean_of(count: int) -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.Constant(1.0 / count)
