"""What a routing is: which parameters a task shares with the others, behind one interface."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from models.layers.arguments import (
    TaskInputs,
    at_least,
    by_level,
    expert_counts,
    first_shape,
    input_dim,
    layer_sizes,
    per_task,
    shared,
)
from models.layers.expert_bank import ExpertBank, Gate
from models.layers.experts import Experts, reseeded


class Routing(tf.keras.layers.Layer):
    """A layer between the features and the tasks' towers: from what the tasks read to a representation of each.

    Any Keras layer with such a `call` may be one. Deriving it from this class gives it the arguments that all have.

    Args:
      tasks: the number of tasks.
      units: the layer sizes of each network or expert.
      activation: of every layer.

    Input: `(batch, inputs)`, which all tasks read, or a list of one such tensor per task.
    Output: a list of one `(batch, units)` per task.

    Attributes:
      takes_user_item_rows: whether `call` takes `UserItemRows` in place of the one tensor that all tasks read. A ranker
        hands a routing that doesn't say so the rows written out.

    Raises:
      ValueError: no task, no layer, or a layer size below 1.
    """

    takes_user_item_rows = False

    def __init__(self, tasks: int, units: Sequence[int] | int, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.units = layer_sizes("units", units)
        self.activation = tf.keras.activations.get(activation)

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        raise NotImplementedError(f"{type(self).__qualname__} has no `call`")

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """Returns what each gate gives each expert, `(batch, experts)`, by the gate's name; empty without gates."""
        return {}

    def get_config(self) -> dict[str, Any]:
        activation = tf.keras.activations.serialize(self.activation)
        return {**super().get_config(), "tasks": self.tasks, "units": self.units, "activation": activation}


class LevelledRouting(Routing):
    """A routing of levels: at each, streams read pools of experts through gates, and the next level what was fused.

    The streams are one per task, then the shared one. A pool, where there is a gate, and a fused output have the
    stream's name: `task_<k>`, `shared`. No one reads the shared stream of the last level, and it has no gate there.

    Args:
      tasks: the number of tasks.
      levels: the number of levels.
      task_experts: experts of its own per task and level: a count for all tasks, or one count per task.
      shared_experts: experts of the shared stream per level.
      units: the layer sizes of each expert.
      activation: of every layer.
      kernel_initializer: of the experts, drawn for each anew.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the shared stream then reads their mean).
    Output: a list of one `(batch, units[-1])` per task.

    Raises:
      ValueError: a count below 1 (shared experts: below `fewest_shared_experts`), or as many expert counts as there are
        no tasks.
    """

    takes_user_item_rows = True
    fewest_shared_experts = 1

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
        super().__init__(tasks, units, activation, **kwargs)
        self.levels = at_least("levels", levels, 1)
        self.task_experts = expert_counts(task_experts, self.tasks)
        self.shared_experts = at_least("shared_experts", shared_experts, self.fewest_shared_experts)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    @property
    def counts(self) -> dict[str, int]:
        """Returns how many experts each stream's pool has, by the stream's name."""
        counts = {f"task_{k}": count for k, count in enumerate(self.task_experts)}
        return counts | ({"shared": self.shared_experts} if self.shared_experts else {})

    def bank(self, level: int) -> ExpertBank:
        """Returns the experts and gates of a level, counted from 0."""
        raise NotImplementedError(f"{type(self).__qualname__} has no `bank`")

    def fuse_level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns what each stream with a gate fuses at a level, counted from 0: what the next level reads."""
        raise NotImplementedError(f"{type(self).__qualname__} has no `fuse_level`")

    def gate_inputs(self, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns what the gates read, where the pools read `streams`."""
        return streams

    def streams(self, inputs: TaskInputs) -> list[tf.Tensor]:
        """Returns what the first level's pools read: each task's input, then the mean of all."""
        streams = per_task(inputs, self.tasks)
        return [*streams, shared(inputs, self.tasks)] if self.shared_experts else streams

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        streams = self.streams(inputs)
        for level in range(self.levels):
            streams = self.fuse_level(level, streams)
        return streams

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """Returns what each gate gives each expert, `(batch, experts)`, by `level_<j>/task_<k>` and `level_<j>/shared`.

        The experts are those that the gate selects over: tasks' in their order, then the shared ones.
        """
        if not self.built:
            self(inputs)
        streams = self.streams(inputs)
        weights: dict[str, tf.Tensor] = {}
        for level in range(self.levels):
            selections = self.bank(level).select(self.gate_inputs(streams))
            weights |= {f"level_{level + 1}/{name}": w for name, w in zip(self.counts, selections, strict=False)}
            streams = self.fuse_level(level, streams)
        return weights

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "levels": self.levels,
            "task_experts": self.task_experts,
            "shared_experts": self.shared_experts,
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }


class FullyGatedRouting(LevelledRouting):
    """A levelled routing whose every gate selects over all experts of its level: every task's, then the shared ones.

    A subclass has a `fuse_level`; the arguments are those of `LevelledRouting`.
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
        super().__init__(tasks, levels, task_experts, shared_experts, units, activation, kernel_initializer, **kwargs)
        policy, every_level = self.dtype_policy, range(1, self.levels + 1)
        # Checkpoints hold the pools of all levels before the gates of all.
        self._pools = [
            Experts(
                count,
                self.units,
                self.activation,
                kernel_initializer=reseeded(self.kernel_initializer, level, name),
                name=f"level_{level}_{name}_experts",
                dtype=policy,
            )
            for level in every_level
            for name, count in self.counts.items()
        ]
        self._gates = [
            Gate(sum(self.counts.values()), name=f"level_{level}_{name}_gate", dtype=policy)
            for level in every_level
            for name in self.gated(level)
        ]
        self._banks = [
            ExpertBank(pools, gates, name=f"level_{level}", dtype=policy)
            for level, pools, gates in zip(every_level, self.pools, self.gates, strict=True)
        ]

    def gated(self, level: int) -> list[str]:
        """Returns the streams that have a gate at a level, counted from 1: those whose output is read."""
        return list(self.counts) if level < self.levels else list(self.counts)[: self.tasks]

    def bank(self, level: int) -> ExpertBank:
        return self._banks[level]

    @property
    def pools(self) -> list[Sequence[Experts]]:
        """Returns the experts of each stream, by level."""
        return by_level(self._pools, len(self.counts), self.levels)

    @property
    def gates(self) -> list[Sequence[Gate]]:
        """Returns the gate of each stream, by level."""
        return by_level(self._gates, len(self.counts), self.levels)

    def build(self, input_shape) -> None:
        size = input_dim(first_shape(input_shape))
        for bank in self._banks:
            bank.build([(None, size)] * len(self.counts))
            size = self.units[-1]
        super().build(input_shape)
