"""Customized gate control (CGC) and its progressive stack: progressive layered extraction (PLE).

Reference: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
Recommendations", RecSys 2020.
"""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import at_least, layer_sizes, named_in_files
from models.layers.expert_bank import ExpertBank, Gate, fuse
from models.layers.experts import Experts, reseeded
from models.layers.routings.base import LevelledRouting


@named_in_files("GatedExtraction")
class CGC(tf.keras.layers.Layer):
    """One extraction level: CGC (PLE, eq. 2-5), and a level of PLE (eq. 6-7).

    Task k selects over its own experts and the shared ones, never another task's:

        g_k(x) = w_k(x) S_k(x)                               (eq. 2)
        w_k(x) = softmax(W_k x_k)                            (eq. 3)
        S_k(x) = [E_k,1 .. E_k,m_k, E_s,1 .. E_s,m_s]        (eq. 4)

    where task k's experts and gate read `x_k`, and the shared experts read `x_s`. With `shared_gate`, a further gate
    reads `x_s` and selects over all experts of the level: every task's, in their order, then the shared ones.

    Args:
      task_experts: how many experts of its own each task has.
      shared_experts: how many experts all tasks share.
      units: the layer sizes of each expert.
      shared_gate: whether the level also gives a fused output of the shared stream; a last level does not.

    Input: a list of `len(task_experts) + 1` tensors `(batch, inputs)`: one per task, then the shared stream's.
    Output: a list of `(batch, units[-1])`: one per task, then, with `shared_gate`, the shared stream's.

    >>> level = CGC(task_experts=(2, 3), shared_experts=1, units=(16,), shared_gate=True)
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
        # The bank casts.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(task_experts, list | tuple) or not task_experts:
            raise ValueError(f"task_experts: expected one count per task, got {task_experts!r}")
        self.task_experts = tuple(at_least("task_experts", count, 1) for count in task_experts)
        self.shared_experts = at_least("shared_experts", shared_experts, 1)
        self.units = layer_sizes("units", units)
        self.shared_gate = bool(shared_gate)
        self.activation = tf.keras.activations.get(activation)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        names = [*(f"task_{k}" for k in range(len(self.task_experts))), "shared"]
        counts = [*self.task_experts, self.shared_experts]
        selected = [count + self.shared_experts for count in self.task_experts]
        if self.shared_gate:
            selected.append(sum(counts))
        pools = [self._pool(count, f"{name}_experts") for name, count in zip(names, counts, strict=True)]
        gates = [
            Gate(experts, name=f"{name}_gate", dtype=self.dtype_policy)
            for name, experts in zip(names, selected, strict=False)
        ]
        self.bank = ExpertBank(pools, gates, joint=True, name="bank", dtype=self.dtype_policy)
        # Checkpoints have them here.
        self.pools, self.gates = pools, gates

    def _pool(self, count: int, name: str) -> Experts:
        # Pools that start alike, as a seed would have them, leave the gates over them without a gradient.
        initializer = reseeded(self.kernel_initializer, name)
        return Experts(
            count, self.units, self.activation, kernel_initializer=initializer, name=name, dtype=self.dtype_policy
        )

    def build(self, input_shape) -> None:
        self._check(input_shape)
        self.bank.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        self._check(inputs)
        # E(x), and w(x) = softmax(W x), eq. 3
        experts, weights = self.bank(inputs)
        # S_k, eq. 4
        *task_experts, shared = experts
        selected = [[*task, *shared] for task in task_experts]
        if self.shared_gate:
            selected.append([expert for pool in experts for expert in pool])
        # g_k = w_k S_k, eq. 2
        return [fuse(w, s) for w, s in zip(weights, selected, strict=True)]

    def gate_weights(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns what each gate gives each expert, `(batch, experts)`: a task's own experts, then the shared ones."""
        return self.bank.select(inputs)

    def _check(self, inputs) -> None:
        expected = len(self.task_experts) + 1
        if not isinstance(inputs, list | tuple) or len(inputs) != expected:
            received = f"{len(inputs)} tensors" if isinstance(inputs, list | tuple) else repr(inputs)
            raise ValueError(
                f"inputs: expected a list of {expected} tensors (one per task, then shared), got {received}"
            )

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


@named_in_files("ProgressiveExtraction")
class PLE(LevelledRouting):
    """PLE: extraction levels, each reading what the one below has fused (PLE, eq. 6-7).

        level 1:      x_k = x_s = x
        level j > 1:  x_k = g_k of level j-1, x_s = g_s of level j-1; the raw input is not read again

    Each level is a `CGC`; every one but the last has a shared gate. `LevelledRouting.call` goes through them.

    Args:
      tasks: the number of tasks.
      levels: the number of extraction levels.
      task_experts: experts of its own per task and level: a count for all tasks, or one count per task.
      shared_experts: shared experts per level.
      units: the layer sizes of each expert.

    Input: `(batch, inputs)`, or a list of one such tensor per task (the shared stream then reads their mean).
    Output: a list of one `(batch, units[-1])` per task.

    >>> ple = PLE(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(16,))
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
        super().__init__(tasks, levels, task_experts, shared_experts, units, activation, kernel_initializer, **kwargs)
        self.extractions = [
            CGC(
                self.task_experts,
                self.shared_experts,
                self.units,
                shared_gate=level < self.levels,
                activation=self.activation,
                kernel_initializer=reseeded(self.kernel_initializer, level),
                name=f"level_{level}",
                dtype=self.dtype_policy,
            )
            for level in range(1, self.levels + 1)
        ]

    def bank(self, level: int) -> ExpertBank:
        return self.extractions[level].bank

    def fuse_level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        return self.extractions[level](streams)
