"""Adam, and its lazy form for embedding tables that are too large to be updated whole at every step."""

from collections.abc import Mapping

import tensorflow as tf

from models.ranker import Compiled

# Above this many numbers in embedding tables, updating them whole costs more than XLA saves (`benchmarks.training`).
DENSE_TABLES_MAX = 8_000_000
# XLA takes ten seconds or so to compile a step, and saves some 20 ms a step.
WORTH_COMPILING_STEPS = 400


class LazyAdam(tf.keras.optimizers.legacy.Adam):
    """Adam that moves only the rows of an embedding table that the batch has read, and only their moments.

    A row's moments don't decay while it isn't read: not quite Adam, but work in proportion to the batch and not to the
    table. Dense gradients are plain Adam's.
    """

    def _resource_apply_sparse(self, grad, var, indices, apply_state=None):
        c = apply_state[(var.device, var.dtype.base_dtype)]
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = c["beta_1_t"] * tf.gather(m, indices) + c["one_minus_beta_1_t"] * grad
        v_rows = c["beta_2_t"] * tf.gather(v, indices) + c["one_minus_beta_2_t"] * tf.square(grad)
        step = c["lr"] * m_rows / (tf.sqrt(v_rows) + c["epsilon"])
        return tf.group(
            m.scatter_update(tf.IndexedSlices(m_rows, indices)),
            v.scatter_update(tf.IndexedSlices(v_rows, indices)),
            var.scatter_sub(tf.IndexedSlices(step, indices)),
        )


def what_to_compile(table_sizes: Mapping[str, int], embedding_dim: int, steps: int) -> Compiled:
    """What is the fastest to train with, in all.

    `step`: all under XLA, tables updated whole. `head`, for large tables: XLA for what is above the embeddings, and
    `LazyAdam` for the rows that were read. `nothing`, where there are too few steps to make up for compiling.
    """
    if sum(table_sizes.values()) * embedding_dim > DENSE_TABLES_MAX:
        return "head"
    return "step" if steps >= WORTH_COMPILING_STEPS else "nothing"


def training_function(model: tf.keras.Model):
    """`model.train_step` as one compiled function of a batch, giving the loss."""
    return tf.function(lambda batch: model.train_step(batch)["loss"], jit_compile=model.compiled == "step")


def evaluation_function(model: tf.keras.Model):
    """`model.compute_loss` of a batch as one compiled function: it updates the metrics and no weight."""
    return tf.function(lambda batch: model.compute_loss(batch, training=False), jit_compile=model.compiled == "step")
