"""STEM-Net: every task reads every expert, and trains only its own and the shared ones."""

import tensorflow as tf

from models.layers.arguments import TaskInputs, named_in_files
from models.layers.expert_bank import fuse
from models.layers.routings.base import FullyGatedRouting
from models.layers.user_item_rows import UserItemRows


@named_in_files("StemExtraction")
class STEM(FullyGatedRouting):
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

    >>> stem = STEM(tasks=2, levels=1, task_experts=1, shared_experts=1, units=(16,))
    >>> [fused.shape.as_list() for fused in stem([tf.ones([4, 8])] * 3)]
    [[4, 16], [4, 16]]

    Raises:
      ValueError: a count below 1, or as many expert counts as there are no tasks.
    """

    def streams(self, inputs: TaskInputs) -> list[tf.Tensor]:
        if isinstance(inputs, list | tuple) and len(inputs) == self.tasks + 1:
            return list(inputs)
        return super().streams(inputs)

    def gate_inputs(self, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        *task_streams, shared = streams
        return [*(_sum(x, shared) for x in task_streams), shared]

    def fuse_level(self, level: int, streams: list[tf.Tensor]) -> list[tf.Tensor]:
        (*task_pools, shared), weights = self.bank(level)(streams, self.gate_inputs(streams))
        still = [[tf.stop_gradient(expert) for expert in pool] for pool in task_pools]
        fused = []
        # The shared stream's gate comes after the tasks' and trains none of their experts.
        for k, weight in enumerate(weights):
            readable = [pool if j == k else still[j] for j, pool in enumerate(task_pools)]
            fused.append(fuse(weight, [expert for pool in [*readable, shared] for expert in pool]))
        return fused


def _sum(a: tf.Tensor | UserItemRows, b: tf.Tensor | UserItemRows) -> tf.Tensor | UserItemRows:
    if isinstance(a, UserItemRows) and isinstance(b, UserItemRows):
        return UserItemRows(a.user + b.user, a.items + b.items)
    return tf.add(a, b)
