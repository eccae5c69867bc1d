"""What a training step hides at random, against learning by heart: ids, embeddings, and numbers that networks read."""

import zlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.distribution import replica_count, replica_index
from models.features import Features
from models.kinds import kind_of
from models.layers.arguments import TaskInputs
from models.length_groups import flattened, is_grouped, order_name
from schema.columns import ExampleColumn, model_columns
from schema.spec import RankingSpec


class TrainingNoise:
    """The spec's `id_mask`, `embedding_dropout` and `dropout`.

    What is hidden follows from the seed, the step and an example's place in the batch of all replicas alone: it is the
    same after a resumed training, under XLA, and on several devices. Whatever is kept of a dropout is divided by its
    probability.

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).
    """

    def __init__(self, spec: RankingSpec, table_sizes: Mapping[str, int]):
        self.training, self.oov_buckets = spec.training, spec.model.oov_buckets
        columns = {column: kind_of(column).table(column) for column in model_columns(spec)}
        embedded = {column: table for column, table in columns.items() if table is not None}
        self.embedded = [column.name for column in embedded]
        self.behaviours = {column.name: column.behaviour for column in embedded if column.behaviour}
        self.longest = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
        # The out-of-vocabulary buckets are the last rows of a table.
        self.first_buckets = {
            column.name: table_sizes[table] - self.oov_buckets
            for column, table in embedded.items()
            if _is_masked(column, spec)
        }

    def moment(self, step: tf.Tensor) -> tf.Tensor | None:
        """Returns what all draws of a step depend on, `(step, replica)`; None if nothing is hidden."""
        training = self.training
        if not (training.dropout or training.embedding_dropout or (training.id_mask and self.first_buckets)):
            return None
        return tf.stack([tf.cast(step, tf.int64), tf.cast(replica_index(), tf.int64)])

    def mask_ids(self, features: Features, moment: tf.Tensor) -> Features:
        """Returns the features with all ids of some examples in out-of-vocabulary buckets, spread over all of them.

        All at once: with one of its ids left an example could still be learnt by heart, and nothing would learn what
        to do for a new user and a new item.
        """
        rate = self.training.id_mask
        if not rate:
            return features
        hidden: dict[str, tf.Tensor] = {}
        for name, first_bucket in self.first_buckets.items():
            ids = features[name]
            stays = self._column_stays(name, rate, ids, features, "id_mask", moment, by_example=True)
            # Padding is no id.
            hidden[name] = tf.where(stays | (ids < 0), ids, first_bucket + ids % self.oov_buckets)
        return {**features, **hidden}

    def drop_embeddings(
        self, values: Mapping[str, tf.Tensor], features: Features, encoder: str, moment: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the columns' values `(…, size)` with the embeddings of some ids all 0."""
        rate = self.training.embedding_dropout
        if not rate:
            return dict(values)
        dropped = dict(values)
        for name in self.embedded:
            if name in values:
                embedding = values[name]
                place = f"embedding_dropout/{encoder}/{name}"
                stays = self._column_stays(name, rate, embedding[..., 0], features, place, moment)
                dropped[name] = _kept(embedding, stays[..., tf.newaxis], rate)
        return dropped

    def drop_inputs(self, inputs: TaskInputs, reader: str, moment: tf.Tensor | None) -> Any:
        """Returns what `reader` reads, `(batch, inputs)` or a list of such, with some numbers 0; as it is at no moment.

        In one tensor that all tasks read the same numbers are 0 for all.
        """
        rate = self.training.dropout
        if not rate or moment is None:
            return inputs
        if isinstance(inputs, list | tuple):
            return [self._dropped(x, rate, f"dropout/{reader}/{i}", moment) for i, x in enumerate(inputs)]
        return self._dropped(inputs, rate, f"dropout/{reader}", moment)

    def _dropped(self, x: tf.Tensor, rate: float, name: str, moment: tf.Tensor) -> tf.Tensor:
        return _kept(x, self._stays(rate, tf.shape(x), name, moment), rate)

    def _column_stays(
        self,
        column: str,
        rate: float,
        values: tf.Tensor,
        features: Features,
        name: str,
        moment: tf.Tensor,
        by_example: bool = False,
    ) -> tf.Tensor:
        """Returns which of a column's values are not hidden; the same ones of a sequence with and without padding.

        Args:
          by_example: whether an example's values are hidden all or not at all.
        """
        behaviour = self.behaviours.get(column)
        grouped = behaviour if behaviour is not None and is_grouped(behaviour, features) else None
        shape = tf.shape(values)
        if grouped:
            shape = tf.stack([tf.size(features[order_name(grouped)]), self.longest[grouped]])
        if by_example:
            positions = [1] * (values.shape.rank - 1 if grouped is None else 1)
            stays = tf.reshape(self._stays(rate, shape[:1], name, moment), [-1, *positions])
            stays = tf.broadcast_to(stays, shape)
        else:
            stays = self._stays(rate, shape, name, moment)
        return flattened(grouped, features, stays) if grouped else stays

    def _stays(self, rate: float, shape_of_values: tf.Tensor, name: str, moment: tf.Tensor) -> tf.Tensor:
        """Returns which values, of the shape `(batch,)` or `(batch, positions)`, are not hidden."""
        batch, *positions = tf.unstack(shape_of_values)
        # A value's number: how far a batch is padded doesn't change what is drawn for the positions before.
        numbers = tf.range(batch) + tf.cast(moment[1], tf.int32) * batch
        if positions:
            of_positions = tf.range(positions[0]) * (batch * replica_count())
            numbers = numbers[:, tf.newaxis] + of_positions[tf.newaxis, :]
        seed = tf.stack([moment[0], zlib.crc32(f"{self.training.seed}/{name}".encode())])
        key = tf.random.stateless_uniform([], seed, None, None, tf.uint32, alg="philox")
        return _scattered(tf.cast(numbers, tf.uint32), key) >= tf.constant(round(rate * 2**32), tf.uint32)


def _scattered(numbers: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Returns uint32 draws, one for each number: SplitMix with MurmurHash3's 32-bit finaliser.

    TensorFlow's generators take half of a step where XLA compiles them for a CPU; this is part of what reads it. It is
    the same on every device.

    Sources: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; MurmurHash3's
    `fmix32`.
    """
    state = numbers * tf.constant(0x9E3779B9, tf.uint32) + key
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = _folded(state, shift) * tf.constant(factor, tf.uint32)
    return _folded(state, 16)


def _folded(state: tf.Tensor, shift: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, tf.constant(shift, tf.uint32)))


def _is_masked(column: ExampleColumn, spec: RankingSpec) -> bool:
    if column.kind != "id":
        return False
    is_named = column.feature is not None and column.feature.name in spec.training.id_mask_features
    return is_named or column.vocabulary in spec.model.embed_ids


def _kept(x: tf.Tensor, stays: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.where(stays, x / tf.cast(1.0 - rate, x.dtype), tf.zeros([], x.dtype))
