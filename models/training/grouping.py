"""Orders of examples in which those of a group, a request or a user, stand together: what a ranking loss reads."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from schema.columns import RANKING_GROUP

# How many serialised examples are shuffled at a time; a group may be cut where a window ends.
WINDOW = 1 << 18
# A larger group comes in pieces of this many: a batch of a few users would say little of all.
LARGEST = 32


def shuffled_by_group(records: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Shuffles the groups of each window of serialised examples, and what is in each; larger ones in pieces.

    The order follows from the examples and the seed alone.
    """

    def shuffled(number: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        shuffle_seed = tf.stack([tf.constant(seed, tf.int64), number])
        serialized = tf.random.experimental.stateless_shuffle(serialized, shuffle_seed)
        group = tf.unique(groups_of(serialized)).idx
        by_group = tf.argsort(group, stable=True)
        piece = _pieces(tf.gather(group, by_group))
        rank = tf.random.experimental.stateless_shuffle(tf.range(piece[-1] + 1), shuffle_seed)
        return tf.gather(serialized, tf.gather(by_group, tf.argsort(tf.gather(rank, piece), stable=True)))

    windows = records.batch(WINDOW).enumerate()
    return windows.map(shuffled, deterministic=True).unbatch()


def _pieces(groups: tf.Tensor) -> tf.Tensor:
    """Returns the piece of each example, numbers from 0 on, for groups in rising order from 0 on."""
    places = tf.range(tf.size(groups))
    place_in_group = places - tf.gather(tf.math.segment_min(places, groups), groups)
    return tf.cumsum(tf.cast(place_in_group % LARGEST == 0, tf.int32)) - 1


def sizes_together(serialized: tf.Tensor) -> tf.Tensor:
    """Returns of a window's examples with how many of its group each comes, itself counted: float64 `(examples,)`.

    In a group of several pieces it is the mean over its examples.
    """
    group = tf.unique(groups_of(serialized)).idx
    sizes = tf.math.bincount(group)
    rest = sizes % LARGEST
    pairs = (sizes - rest) * LARGEST + rest * rest
    return tf.gather(pairs / sizes, group)


def groups_of(serialized: tf.Tensor) -> tf.Tensor:
    """Returns the groups of serialised examples, int64 `(examples,)`; 0 of those that hold nothing."""
    column = {RANKING_GROUP: tf.io.FixedLenFeature([], tf.int64, default_value=0)}
    return tf.io.parse_example(serialized, column)[RANKING_GROUP]


def whole_groups(serialized: tf.Tensor, replicas: int) -> tf.Tensor:
    """Returns an order of a batch's examples, int64 `(batch,)`, whose equal parts for the replicas cut few groups."""
    # What fills a batch is in no group, and may stand anywhere.
    fillers = -1 - tf.range(tf.size(serialized, tf.int64))
    groups = tf.where(serialized == "", fillers, groups_of(serialized))
    order = tf.numpy_function(lambda values: parts_of_groups(values, replicas), [groups], tf.int64)
    return tf.ensure_shape(order, groups.shape)


def parts_of_groups(groups: Sequence[int] | np.ndarray, replicas: int) -> np.ndarray:
    """Returns the places of examples, int64 `(examples,)`, in `replicas` parts of equal size, one after another.

    The largest groups are placed first, each in the part with the most room. Only one that fits in no part is cut.

    Args:
      groups: of each example; their number is a multiple of `replicas`.
    """
    _, group = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    size = len(group) // replicas
    parts: list[list[int]] = [[] for _ in range(replicas)]
    for examples in sorted(members, key=len, reverse=True):
        rest = examples.tolist()
        while rest:
            roomiest = min(parts, key=len)
            taken = size - len(roomiest)
            roomiest += rest[:taken]
            rest = rest[taken:]
    return np.array([position for part in parts for position in part], np.int64)
