"""Adaptive task-to-task fusion (AdaTT): each task chooses among all experts, and never loses its own."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import named_in_files
from models.layers.expert_bank import fuse
from models.layers.routings.base import FullyGatedRouting


@named_in_files("TaskFusion")
class AdaTT(FullyGatedRouting):
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

    >>> fusion = AdaTT(tasks=2, levels=2, task_experts=(1, 2), shared_experts=1, units=(16,))
    >>> [fused.shape.as_list() for fused in fusion(tf.ones([4, 8]))]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: a count below 1 (shared experts: below 0), or as many expert counts as there are no tasks.
    """

    fewest_shared_experts = 0

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
        super().__init__(tasks, levels, task_experts, shared_experts, units, activation, kernel_initializer, **kwargs)
        self.native_residual = bool(native_residual)

    def build(self, input_shape) -> None:
        self.native = {}
        for level in range(1, self.levels + 1):
            for name in self.gated(level):
                count = self.counts[name]
                if count > 1 and self.native_residual:
                    key = f"level_{level}_{name}_native"
                    # Beside gate weights, which are float32.
                    self.native[key] = self.add_weight(
                        name=key, shape=(count,), initializer=_mean_of(count), experimental_autocast=False
                    )
        super().build(input_shape)

    def fuse_level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        pools, weights = self.bank(level)(streams)
        if self.native_residual:
            weights = [weight + self._native(level, name) for name, weight in zip(self.counts, weights, strict=False)]
        experts = [expert for pool in pools for expert in pool]
        return [fuse(weight, experts) for weight in weights]

    def _native(self, level: int, unit: str) -> tf.Tensor:
        """Returns `v`, `(experts,)`: 0 for those of other units."""
        values = self.native.get(f"level_{level + 1}_{unit}_native", tf.ones([1]))
        names = list(self.counts)
        before = sum(self.counts[name] for name in names[: names.index(unit)])
        return tf.pad(values, [[before, sum(self.counts.values()) - before - self.counts[unit]]])

    def get_config(self) -> dict:
        return {**super().get_config(), "native_residual": self.native_residual}


def _mean_of(count: int) -> tf.keras.initializers.Initializer:
    """Returns an initialiser of the weights that make a mean of so many."""
    return tf.keras.initializers.Constant(1.0 / count)
