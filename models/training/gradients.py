"""What becomes of a batch's gradients before the optimiser takes them: L2 on the rows read, clipping by norm."""

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from models.distribution import all_reduce_sum
from models.ranker import Ranker
from schema.modelling import Training

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


def are_regularized(training: Training) -> bool:
    """Returns whether `regularized` has anything to do."""
    return bool(training.embedding_l2 or training.clip_norm)


def regularized(
    model: Ranker, gradients_and_variables: Sequence[tuple[Gradient, tf.Variable]]
) -> list[tuple[Gradient, tf.Variable]]:
    """Returns the gradients of the batch of all replicas, penalised and clipped, each with its variable.

        g_r <- g_r + 2 l2 e_r   for each row e_r of an embedding table that has a gradient, however often it was read
        g <- g min(1, clip_norm / |g|)   where |g| is the norm of all gradients together

    Args:
      gradients_and_variables: the gradients of this replica's part of the batch.
    """
    training = model.spec.training
    gradients, variables = zip(*gradients_and_variables, strict=True)
    tables = {table.ref() for table in model.embedding_tables()}
    summed = [_with_distinct_rows(gradient) for gradient in all_reduce_sum(*gradients)]
    if training.embedding_l2:
        summed = [
            _penalised(gradient, variable, training.embedding_l2) if variable.ref() in tables else gradient
            for gradient, variable in zip(summed, variables, strict=True)
        ]
    if training.clip_norm:
        summed, _ = tf.clip_by_global_norm(summed, training.clip_norm)
    return list(zip(summed, variables, strict=True))


def _with_distinct_rows(gradient: Gradient) -> Gradient:
    """Sums what a sparse gradient has of the same row: else neither norm nor penalty would be that of the sum."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _penalised(gradient: Gradient, table: tf.Variable, strength: float) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        values = _with_l2(gradient.values, tf.gather(table, gradient.indices), strength)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return _with_l2(gradient, tf.convert_to_tensor(table), strength)


def _with_l2(gradients: tf.Tensor, rows: tf.Tensor, strength: float) -> tf.Tensor:
    """Adds the penalty's gradient to those rows that have one: padding reads row 0 and moves nothing."""
    moved = tf.reduce_any(gradients != 0.0, axis=1, keepdims=True)
    return gradients + 2.0 * strength * tf.where(moved, rows, 0.0)
