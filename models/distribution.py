"""Training on several devices: the strategy that a spec asks for, and what all of its replicas have in common.

Every replica reads its part of each batch. Sums over a batch are taken over all replicas (`total`), so that a loss, and
what is made of losses, is that of the whole batch on each of them; gradients are then averaged. The weights are those
that one device would have, but for the order in which floats are added.
"""

import functools

import numpy as np
import tensorflow as tf

from schema.modelling import Training

MULTI_WORKER = "multi_worker_mirrored"


class DistributionError(ValueError):
    """Training can't be distributed so; the message says what was expected."""


def one_machine(training: Training) -> tf.distribute.Strategy:
    """The strategy of `training.distribution` on this machine; TensorFlow's default one, of one replica, for `none`.

    `mirrored` has a replica on each GPU, or on each logical CPU device of a machine without.
    """
    if training.distribution == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One a process, for every training in it: two would give their sums over replicas the same names."""
    return tf.distribute.MirroredStrategy(devices)


def check_batch_size(training: Training, strategy: tf.distribute.Strategy) -> None:
    """Raises DistributionError where the replicas can't share a batch evenly."""
    count = strategy.num_replicas_in_sync
    if training.batch_size % count:
        raise DistributionError(
            f"training.batch_size: got {training.batch_size}, expected a multiple of {count}, "
            f"the replicas that share each batch (training.distribution: {training.distribution})"
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this worker is the one that writes."""
    return strategy.extended.should_checkpoint


def replicas() -> int:
    """How many share the batch of the function that is being traced."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(*values: tf.Tensor) -> list[tf.Tensor]:
    """The sums of tensors over all replicas, with their gradients; the tensors themselves where there is one replica.

    A gradient is a sum as well: what is derived from a total counts once for each replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return list(values)
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, list(values))


def from_chief(strategy: tf.distribute.Strategy, text: str) -> str:
    """The chief's text, on every worker; each of them must call it. Others wait for the slowest."""
    own = np.frombuffer(text.encode() if is_chief(strategy) else b"", np.uint8).astype(np.int32)

    def chiefs(values: np.ndarray) -> np.ndarray:
        """What the first replica has, which is the chief's: the others add nothing to it."""

        def value(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
            return tf.constant(values if context.replica_id_in_sync_group == 0 else np.zeros_like(values))

        return strategy.reduce(
            tf.distribute.ReduceOp.SUM, strategy.experimental_distribute_values_from_function(value), axis=None
        ).numpy()

    (size,) = chiefs(np.array([len(own)], np.int32))
    return chiefs(own if is_chief(strategy) else np.zeros(size, np.int32)).astype(np.uint8).tobytes().decode()
