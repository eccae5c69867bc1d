"""The optimisers of the network and of the embedding tables, which may be too large to be updated whole; the steps."""

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.ranker import Compiled, Ranker
from models.training.diagnostics import weight_sums
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
    """Gives the ranker, whose weights have been created, the optimiser that its spec's `training` asks for.

    Where tables are not trained as the network is, TFRS' `CompositeOptimizer` holds both optimisers. Adagrad updates
    the rows that a batch has read, and has one number beside each of a table where Adam has two.
    """
    training = model.spec.training
    rate = training.embedding_learning_rate or training.learning_rate
    if training.embedding_optimizer == "adagrad":
        of_tables = tf.keras.optimizers.legacy.Adagrad(rate)
    elif rate != training.learning_rate:
        of_tables = LazyAdam(rate)
    else:
        of_tables = None
    optimizer = LazyAdam(training.learning_rate)
    parts = [(optimizer, model.trainable_variables)]
    if of_tables:
        parts = [(optimizer, model.network_variables()), (of_tables, model.embedding_tables())]
        # The first one counts the steps.
        optimizer = tfrs.experimental.optimizers.CompositeOptimizer([(part, lambda v=v: v) for part, v in parts])
    for part, variables in parts:
        # Outside of any compiled function.
        part._create_all_weights(variables)
    model.compile(optimizer=optimizer)


def by_rows(training: Training, table_sizes: Mapping[str, int], embedding_dim: int) -> bool:
    """Whether a step updates the rows of the embedding tables that its batch has read, and not whole tables."""
    if training.embedding_optimizer == "auto":
        return sum(table_sizes.values()) * embedding_dim > DENSE_TABLES_MAX
    return training.embedding_optimizer != "adam"


def what_to_compile(sparse_tables: bool, steps: int, replicas: int = 1) -> Compiled:
    """What is the fastest to train with, in all.

    `step`: all under XLA, which has no sparse update and no sum over replicas; where it takes one of them, `head`: XLA
    for what is above the embeddings. `nothing`, where there are too few steps to make up for compiling.
    """
    if steps < WORTH_COMPILING_STEPS:
        return "nothing"
    return "head" if sparse_tables or replicas > 1 else "step"


def training_function(model: Ranker):
    """`model.train_step` as one compiled function of each replica's batch, giving the loss."""
    return _on_every_replica(model, lambda batch: model.train_step(batch)["loss"])


def evaluation_function(model: Ranker):
    """One compiled function of each replica's batch: it updates the metrics and no weight, and gives `weight_sums`."""

    def evaluate(batch):
        model.compute_loss(batch, training=False)
        return weight_sums(model, batch)

    return _on_every_replica(model, evaluate)


def _on_every_replica(model: Ranker, step):
    """What it gives is of the whole batch, and the same on every replica."""
    strategy = model.distribute_strategy

    @tf.function(jit_compile=model.compiled == "step")
    def run(batch):
        return strategy.experimental_local_results(strategy.run(step, args=(batch,)))[0]

    return run
