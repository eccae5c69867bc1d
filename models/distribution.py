"""Training on several devices: the strategy that a spec asks for, and what all of its replicas have in common.

Every replica reads its part of each batch. Sums over a batch are taken over all replicas (`all_reduce_sum`), so that a
loss, and what is made of losses, is that of the whole batch on each of them; gradients are then averaged. The weights
are those that one device would have, but for the order in which floats are added.
"""

import functools

import numpy as np
import tensorflow as tf

from schema.modelling import Training
from schema.spec import RankingSpec

MULTI_WORKER = "multi_worker_mirrored"


class DistributionError(ValueError):
    """Training can't be distributed so; the message says what was expected."""


def local_strategy(training: Training) -> tf.distribute.Strategy:
    """Returns this machine's strategy for `training.distribution`; for `none` TensorFlow's default, of one replica.

    `mirrored` has a replica on each GPU, or on each logical CPU device of a machine without.
    """
    if training.distribution == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Returns the same strategy for every training in a process: two would name their sums over replicas alike."""
    return tf.distribute.MirroredStrategy(devices)


def check_batch_size(training: Training, strategy: tf.distribute.Strategy, where: str = "training.batch_size") -> None:
    """Raises DistributionError where the replicas can't share a batch evenly."""
    count = strategy.num_replicas_in_sync
    if training.batch_size % count:
        raise DistributionError(
            f"{where}: got {training.batch_size}, expected a multiple of {count}, "
            f"the replicas that share each batch (training.distribution: {training.distribution})"
        )


def check_batch_sizes(spec: RankingSpec, strategy: tf.distribute.Strategy) -> None:
    """Raises DistributionError for a batch size, of training or one to be tried in tuning, that can't be shared."""
    check_batch_size(spec.training, strategy)
    for index, size in enumerate(spec.tuning.batch_size if spec.tuning else ()):
        candidate = spec.training.model_copy(update={"batch_size": size})
        check_batch_size(candidate, strategy, f"tuning.batch_size[{index}]")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this worker is the one that writes."""
    return strategy.extended.should_checkpoint


def replica_count() -> int:
    """Returns how many replicas share the batch of the function that is being traced."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_index() -> tf.Tensor | int:
    """Returns which of the replicas that share a batch the code runs on; 0 outside of one."""
    replica = tf.distribute.get_replica_context()
    return 0 if replica is None else replica.replica_id_in_sync_group


def all_reduce_sum(*values: tf.Tensor) -> list[tf.Tensor]:
    """Sums each tensor over all replicas; with one replica, or outside of one, returns the tensors themselves.

    Its gradient is a sum over replicas as well: the derivative of a sum counts once for each replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return list(values)
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, list(values))


def broadcast_from_chief(strategy: tf.distribute.Strategy, text: str) -> str:
    """Returns the chief's text on every worker. Each must call it, and waits for the slowest."""
    encoded = np.frombuffer(text.encode() if is_chief(strategy) else b"", np.uint8).astype(np.int32)
    (size,) = _first_replicas(strategy, np.array([len(encoded)], np.int32))
    buffer = encoded if is_chief(strategy) else np.zeros(size, np.int32)
    return _first_replicas(strategy, buffer).astype(np.uint8).tobytes().decode()


def _first_replicas(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Returns the first replica's values, which are the chief's: all others add zeros to them."""

    def summand(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        return tf.constant(values if context.replica_id_in_sync_group == 0 else np.zeros_like(values))

    summands = strategy.experimental_distribute_values_from_function(summand)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, summands, axis=None).numpy()
