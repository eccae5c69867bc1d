"""Balances the tasks' losses: by learned uncertainty, or by keeping their gradients from undoing each other."""

from collections.abc import Sequence

import tensorflow as tf


class Uncertainty(tf.Module):
    """`sum_k w_k d_k (c_k exp(-s_k) L_k + s_k / 2)`, with a learned log variance `s_k` per task that starts from 0.

    `c_k` is 1/2 for a regression by squared error and 1 for the others, `d_k` is 0 for a batch with nothing of task k,
    which says nothing of its variance, and `w_k` the weight of the spec's schedule.

    Reference: Kendall et al., "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, eq. 7 and 10.

    Args:
      regressions: which of the tasks are regressions by squared error.
    """

    def __init__(self, regressions: Sequence[bool]):
        super().__init__(name="uncertainty")
        self.scale = tf.constant([0.5 if regression else 1.0 for regression in regressions])
        self.log_variances = tf.Variable(tf.zeros([len(regressions)]), name="log_variances")

    def weights(self) -> tf.Tensor:
        """Returns `c_k exp(-s_k)`, `(tasks,)`."""
        return self.scale * tf.exp(-self.log_variances)

    def losses(self, losses: Sequence[tf.Tensor], present: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the tasks' terms without `w_k`, from `L_k` and `d_k`, all scalars."""
        return tf.unstack(tf.stack(present) * (self.weights() * tf.stack(losses) + self.log_variances / 2.0))


def pcgrad(gradients: Sequence[Sequence[tf.Tensor]], step: tf.Tensor, seed: int = 0) -> list[tf.Tensor]:
    """Sums the tasks' gradients, each without what points against another task's: PCGrad.

        for each task i, for the others j in random order:  if g_i g_j < 0:  g_i = g_i - (g_i g_j / g_j g_j) g_j

    *Inference*: the paper projects what the tasks share. That is decided here element by element: where at least two
    tasks' gradients are not 0. What is one task's alone, or dead for all others in this batch, gets that task's
    gradient whole, and counts in no inner product or norm.

    The result is a linear combination of the gradients, whose coefficients follow from their inner products: they are
    found there, and the gradients themselves read twice, however many tasks there are.

    Reference: Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.

    Args:
      gradients: by task, one tensor per variable.
      step: the optimiser's step, which the random order depends on, so that a resumed training draws the same.

    Returns:
      One tensor per variable.
    """
    # (tasks, *variable)
    by_variable = [tf.stack(of_tasks) for of_tasks in zip(*gradients, strict=True)]
    shared = [
        tf.cast(tf.reduce_sum(tf.cast(stacked != 0.0, tf.int32), axis=0, keepdims=True) > 1, stacked.dtype)
        for stacked in by_variable
    ]
    products = []
    for stacked, mask in zip(by_variable, shared, strict=True):
        flat = tf.reshape(stacked * mask, [len(gradients), -1])
        products.append(tf.matmul(flat, flat, transpose_b=True))
    tasks = len(gradients)
    order = tf.argsort(tf.random.stateless_uniform([tasks, tasks], tf.stack([tf.cast(step, tf.int64), seed])), axis=1)
    extra = projection_coefficients(tf.add_n(products), order) - 1.0
    return [
        tf.reduce_sum(stacked, axis=0) + mask[0] * tf.tensordot(extra, stacked, 1)
        for stacked, mask in zip(by_variable, shared, strict=True)
    ]


def projection_coefficients(products: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Returns how often each task's gradient counts in the sum of the projected ones, `(tasks,)`.

    Args:
      products: the gradients' inner products, `(tasks, tasks)`.
      order: in row i, the order in which task i's gradient is held against the tasks' `(tasks, tasks)`.
    """
    tasks = int(products.shape[0])
    identity = tf.eye(tasks)
    # Row i: task i's projected gradient as a combination of all.
    combined = tf.eye(tasks)
    # Row i of `opponents`: the task j, one-hot, that task i's gradient is held against next.
    for opponents in tf.unstack(tf.one_hot(order, tasks), axis=1):
        inner_product = tf.reduce_sum(combined * tf.matmul(opponents, products), axis=1)
        squared_norm = tf.linalg.matvec(opponents, tf.linalg.diag_part(products))
        itself = tf.reduce_sum(opponents * identity, axis=1) > 0
        excess = tf.where((inner_product < 0.0) & ~itself, tf.math.divide_no_nan(inner_product, squared_norm), 0.0)
        combined -= excess[:, tf.newaxis] * opponents
    return tf.reduce_sum(combined, axis=0)
