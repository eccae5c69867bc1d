"""Customized gate control (CGC) and its progressive stack: progressive layered extraction (PLE).

Reference: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
Recommendations", RecSys 2020.
"""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import (
    PACKAGE,
    TaskInputs,
    at_least,
    expert_counts,
    input_dim,
    layer_sizes,
    per_task,
    shared,
)
from models.layers.experts import Experts, reseeded
from models.layers.joint_products import joint_products
from models.layers.shared_rows import SharedRows, product


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Gate(tf.keras.layers.Layer):
    """Which experts a stream listens to: `w(x) = softmax(W x)`, one linear layer without bias (PLE, eq. 3).

    Args:
      experts: how many experts the gate selects over.

    Input: `(batch, inputs)`. Output: `(batch, experts)` in float32, rows summing to 1.

    >>> Gate(experts=4)(tf.ones([2, 8])).shape
    TensorShape([2, 4])
    """

    def __init__(self, experts: int, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.experts = at_least("experts", experts, 1)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    def build(self, input_shape) -> None:
        shape = (input_dim(input_shape), self.experts)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor | SharedRows) -> tf.Tensor:
        return selection(product(inputs, self.kernel))

    def get_config(self) -> dict:
        initializer = tf.keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "experts": self.experts, "kernel_initializer": initializer}


def selection(logits: tf.Tensor) -> tf.Tensor:
    """Softmax over the experts, in float32 whatever the logits are in."""
    return tf.nn.softmax(tf.cast(logits, tf.float32), axis=-1)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class GatedExtraction(tf.keras.layers.Layer):
    """One extraction level: CGC (PLE, eq. 2-5), and a level of PLE (eq. 6-7).

    Task k selects over its own experts and the shared ones, never another task's:

        S_k(x) = [E_k,1 .. E_k,m_k, E_s,1 .. E_s,m_s]      (eq. 4)
        g_k(x) = softmax(W_k x_k) S_k                        (eq. 2, 3)

    where task k's experts and gate read `x_k`, and the shared experts read `x_s`. With `shared_gate`, a further gate
    reads `x_s` and selects over all experts of the level: every task's, in their order, then the shared ones.

    Args:
      task_experts: how many experts of its own each task has.
      shared_experts: how many experts all tasks share.
      units: the layer sizes of each expert.
      shared_gate: whether the level also gives a fused output of the shared stream; a last level does not.

    Input: a list of `len(task_experts) + 1` tensors `(batch, inputs)`: one per task, then the shared stream's.
    Output: a list of `(batch, units[-1])`: one per task, then, with `shared_gate`, the shared stream's.

    >>> level = GatedExtraction(task_experts=(2, 3), shared_experts=1, units=(16,), shared_gate=True)
    >>> [fused.shape.as_list() for fused in level([tf.ones([4, 8])] * 3)]
    [[4, 16], [4, 16], [4, 16]]

    Raises:
      ValueError: no task, a count below 1, or a wrong number of input tensors.
    """

    def __init__(
        self,
        task_experts: Sequence[int],
        shared_experts: int,
        units: Sequence[int] | int,
        shared_gate: bool = False,
        activation="relu",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        # `joint_products` casts.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(task_experts, list | tuple) or not task_experts:
            raise ValueError(f"task_experts: expected one count per task, got {task_experts!r}")
        self.task_experts = tuple(at_least("task_experts", count, 1) for count in task_experts)
        self.shared_experts = at_least("shared_experts", shared_experts, 1)
        self.units = layer_sizes("units", units)
        self.shared_gate = bool(shared_gate)
        self.activation = tf.keras.activations.get(activation)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

        def pool(count: int, name: str) -> Experts:
            # Pools that start alike, as a seed would have them, leave the gates over them without a gradient.
            initializer = reseeded(self.kernel_initializer, name)
            return Experts(
                count, self.units, self.activation, kernel_initializer=initializer, name=name, dtype=self.dtype_policy
            )

        self.pools = [pool(count, f"task_{k}_experts") for k, count in enumerate(self.task_experts)]
        self.pools.append(pool(self.shared_experts, "shared_experts"))
        self.gates = [
            Gate(count + self.shared_experts, name=f"task_{k}_gate", dtype=self.dtype_policy)
            for k, count in enumerate(self.task_experts)
        ]
        if self.shared_gate:
            everyone = sum(self.task_experts) + self.shared_experts
            self.gates.append(Gate(everyone, name="shared_gate", dtype=self.dtype_policy))

    def build(self, input_shape) -> None:
        self._check(input_shape)
        readers: list[tf.keras.layers.Layer] = [*self.pools, *self.gates]
        for reader, shape in zip(readers, [*input_shape, *input_shape[: len(self.gates)]], strict=True):
            with tf.name_scope(reader.name):
                reader.build(shape)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        self._check(inputs)
        kernels = [*(pool.first_kernels() for pool in self.pools), *([gate.kernel] for gate in self.gates)]
        products = joint_products([*inputs, *inputs[: len(self.gates)]], kernels)
        # Each stream's experts, (batch, units) each.
        pools = [pool.from_product(first) for pool, first in zip(self.pools, products, strict=False)]
        weights = selections(products[len(pools) :])
        fused = [fuse(weight, [*own, *pools[-1]]) for weight, own in zip(weights, pools[:-1], strict=False)]
        if self.shared_gate:
            fused.append(fuse(weights[-1], [expert for pool in pools for expert in pool]))
        return fused

    def gate_weights(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """What each gate gives each expert, `(batch, experts)`: a task's own experts first, then the shared ones."""
        return [gate(stream) for gate, stream in zip(self.gates, inputs, strict=False)]

    def _check(self, inputs) -> None:
        expected = len(self.task_experts) + 1
        if not isinstance(inputs, list | tuple) or len(inputs) != expected:
            given = f"{len(inputs)} tensors" if isinstance(inputs, list | tuple) else repr(inputs)
            raise ValueError(f"inputs: expected a list of {expected} tensors (one per task, then shared), got {given}")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "task_experts": self.task_experts,
            "shared_experts": self.shared_experts,
            "units": self.units,
            "shared_gate": self.shared_gate,
            "activation": tf.keras.activations.serialize(self.activation),
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }


def selections(logits: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`selection` of each `(batch, experts)`; those over the same number of experts are computed at once."""
    alike: dict[int, list[int]] = {}
    for i, given in enumerate(logits):
        alike.setdefault(int(given.shape[-1]), []).append(i)
    weights: dict[int, tf.Tensor] = {}
    for places in alike.values():
        joint = selection(tf.stack([logits[i] for i in places]))
        weights.update(zip(places, tf.unstack(joint), strict=True))
    return [weights[i] for i in range(len(logits))]


def fuse(weights: tf.Tensor, experts: Sequence[tf.Tensor]) -> tf.Tensor:
    """`sum_e w[:, e] E_e`, `(batch, units)`, expert by expert: stacking would copy them. Summed as `w` is.

    Args:
      weights: `w`, `(batch, experts)`.
      experts: `E_e`, `(batch, units)` each.
    """
    columns = tf.split(weights, len(experts), axis=1)
    parts = [column * tf.cast(expert, weights.dtype) for column, expert in zip(columns, experts, strict=True)]
    return tf.cast(tf.add_n(parts), experts[0].dtype)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ProgressiveExtraction(tf.keras.layers.Layer):
    """PLE: extraction levels, each reading what the one below has fused (PLE, eq. 6-7).

        level 1:      x_k = x_s = x
        level j > 1:  x_k = g_k of level j-1, x_s = g_s of level j-1; the raw input is not read again

    Every level but the last has a shared gate. One level is CGC.

    Args:
      tasks: the number of tasks.
      levels: the number of extraction levels.
      task_experts: experts of its own per task and level: a count for all tasks, or one count per task.
      shared_experts: shared experts per level.
      units: the layer sizes of each expert.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the shared stream then reads their mean).
    Output: a list of one `(batch, units[-1])` per task.

    >>> ple = ProgressiveExtraction(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(16,))
    >>> [fused.shape.as_list() for fused in ple(tf.ones([4, 8]))]
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
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        self.extractions = [
            GatedExtraction(
                self.task_experts,
                shared_experts,
                units,
                shared_gate=level < self.levels,
                activation=activation,
                kernel_initializer=reseeded(self.kernel_initializer, level),
                name=f"level_{level}",
                dtype=self.dtype_policy,
            )
            for level in range(1, self.levels + 1)
        ]

    def call(self, inputs: TaskInputs) -> list[tf.Tensor]:
        streams = [*per_task(inputs, self.tasks), shared(inputs, self.tasks)]
        for extraction in self.extractions:
            streams = extraction(streams)
        return streams

    def gate_weights(self, inputs: TaskInputs) -> dict[str, tf.Tensor]:
        """What each gate gives each expert, `(batch, experts)`, by `level_<j>/task_<k>` and `level_<j>/shared`."""
        streams = [*per_task(inputs, self.tasks), shared(inputs, self.tasks)]
        names = [*(f"task_{k}" for k in range(self.tasks)), "shared"]
        weights = {}
        for extraction in self.extractions:
            for name, weight in zip(names, extraction.gate_weights(streams), strict=False):
                weights[f"{extraction.name}/{name}"] = weight
            streams = extraction(streams)
        return weights

    def get_config(self) -> dict:
        level = self.extractions[0].get_config()
        shape = {key: level[key] for key in ("shared_experts", "units", "activation")}
        initializer = tf.keras.initializers.serialize(self.kernel_initializer)
        own = {"tasks": self.tasks, "levels": self.levels, "task_experts": self.task_experts}
        return {**super().get_config(), **own, **shape, "kernel_initializer": initializer}
