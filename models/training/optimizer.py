"""The optimisers of the network and of the embedding tables, and what of a step XLA compiles."""

import re
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.ranker import Compiled, Ranker
from models.training.schedule import RateSchedule, rate_of
from schema.modelling import Training

# Above this many numbers in embedding tables, updating them whole costs more than XLA saves (`benchmarks.training`).
DENSE_TABLES_MAX = 8_000_000
# XLA takes twenty seconds or more to compile a step, and saves some 25 ms a step.
WORTH_COMPILING_STEPS = 800
# A step's code is 2,000 to 5,000 memory mappings, and by default Linux gives a process 65,530.
MAPPINGS_TO_COMPILE = 16_000

# The names of kernels: not those of biases, norms' scales, embeddings.
_KERNEL = re.compile(r"(^|[/_])kernel(_\d+)?(/replica_\d+)?:\d+$")


class LazyAdam(tf.keras.optimizers.legacy.Adam):
    """Adam that moves only the rows of an embedding table that the batch has read, and only their moments.

    A row's moments don't decay while it isn't read: not quite Adam, but work in proportion to the batch and not to the
    table. Dense gradients are plain Adam's.

    Args:
      learning_rate: the rate, or how it goes.
      weight_decay: what a step takes of each kernel beside Adam's step, times the rate (AdamW).

    Reference: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    def __init__(self, learning_rate: float | RateSchedule, weight_decay: float = 0.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.weight_decay = weight_decay

    def _resource_apply_dense(self, grad, var, apply_state=None):
        if not self.weight_decay or not is_kernel(var):
            return super()._resource_apply_dense(grad, var, apply_state)
        rate = apply_state[(var.device, var.dtype.base_dtype)]["lr_t"]
        with tf.control_dependencies([var.assign_sub(rate * self.weight_decay * var)]):
            return super()._resource_apply_dense(grad, var, apply_state)

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


def is_kernel(variable: tf.Variable) -> bool:
    """Returns whether a variable is what a layer multiplies its inputs with, which weight decay is for."""
    return _KERNEL.search(variable.name) is not None


def compile_for_training(model: Ranker, steps: int = 0) -> None:
    """Compiles the ranker, whose weights must exist, with the optimiser that its spec's `training` asks for.

    Where tables are not trained as the network is, TFRS' `CompositeOptimizer` holds both optimisers. Adagrad updates
    the rows that a batch has read, and has one number beside each of a table where Adam has two.

    Args:
      steps: how many steps it will be trained for, over which the rates fall, and by which weights may decay less.
    """
    training = model.spec.training
    rate = training.embedding_learning_rate or training.learning_rate
    if training.embedding_optimizer == "adagrad":
        table_optimizer = tf.keras.optimizers.legacy.Adagrad(rate_of(training, rate, steps))
    elif rate != training.learning_rate:
        table_optimizer = LazyAdam(rate_of(training, rate, steps))
    else:
        table_optimizer = None
    optimizer = LazyAdam(rate_of(training, training.learning_rate, steps), training.weight_decay_for(steps))
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


def can_compile() -> bool:
    """Returns whether the process may map the code of one more step; true where the system has no such limit.

    XLA's code stays mapped until the process ends, and beyond the limit the process ends with a segmentation fault: a
    search of many trials trains them all in one process.
    """
    limit, mappings = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
    if not limit.exists():
        return True
    return mappings.read_bytes().count(b"\n") + MAPPINGS_TO_COMPILE <= int(limit.read_text())
