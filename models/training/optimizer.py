"""The optimisers of the network and of the embedding tables, and what of a step XLA compiles."""

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.ranker import Compiled, Ranker
from schema.modelling import Training

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
            self._resource_scatter_update(m, indices, m_rows),
            self._resource_scatter_update(v, indices, v_rows),
            self._resource_scatter_add(var, indices, -step),
        )


def compile_for_training(model: Ranker) -> None:
    """Compiles the ranker, whose weights must exist, with the optimiser that its spec's `training` asks for.

    Where tables are not trained as the network is, TFRS' `CompositeOptimizer` holds both optimisers. Adagrad updates
    the rows that a batch has read, and has one number beside each of a table where Adam has two.
    """
    training = model.spec.training
    rate = training.embedding_learning_rate or training.learning_rate
    if training.embedding_optimizer == "adagrad":
        table_optimizer = tf.keras.optimizers.legacy.Adagrad(rate)
    elif rate != training.learning_rate:
        table_optimizer = LazyAdam(rate)
    else:
        table_optimizer = None
    optimizer = LazyAdam(training.learning_rate)
    updates = [(optimizer, model.trainable_variables)]
    if table_optimizer:
        updates = [(optimizer, model.network_variables()), (table_optimizer, model.embedding_tables())]
        # The first one counts the steps.
        optimizer = tfrs.experimental.optimizers.CompositeOptimizer([(inner, lambda v=v: v) for inner, v in updates])
    for inner, variables in updates:
        # Outside of any compiled function.
        inner._create_all_weights(variables)
    model.compile(optimizer=optimizer)


def uses_sparse_updates(training: Training, table_sizes: Mapping[str, int], embedding_dim: int) -> bool:
    """Returns whether a step updates the rows of the embedding tables that its batch reads, and not whole tables."""
    if training.embedding_optimizer == "auto":
        return sum(table_sizes.values()) * embedding_dim > DENSE_TABLES_MAX
    return training.embedding_optimizer != "adam"


def choose_jit(sparse_tables: bool, steps: int, replicas: int = 1) -> Compiled:
    """Returns what XLA should compile for the shortest training, compiling included.

    `step`: the whole step, but XLA has no sparse update and no sum over replicas; where one is needed, `head`: what is
    above the embeddings. `nothing`, where there are too few steps to make up for compiling.
    """
    if steps < WORTH_COMPILING_STEPS:
        return "nothing"
    return "head" if sparse_tables or replicas > 1 else "step"
