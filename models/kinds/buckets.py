"""Numbers as ids of buckets."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, EmbeddedKind, Transformation
from schema.columns import ExampleColumn
from schema.spec import Feature, RankingSpec

# At least so many quantiles are looked at, and so many for each bucket.
_FINE, _FINE_BY_BUCKET = 1_024, 16


class Buckets(EmbeddedKind):
    """A number's id is that of its bucket, from 1 on; a missing number's is 0.

    A number that alone would fill a bucket, as 0 often does, has one to itself; the others hold as many rows each.
    """

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        feature = _feature(columns[0])
        candidates = inputs[feature.name]
        finite = tf.boolean_mask(candidates, tf.math.is_finite(candidates))
        fine = feature.buckets * max(_FINE_BY_BUCKET, -(-_FINE // feature.buckets))
        quantiles = tft.quantiles(finite, fine, epsilon=0.5 / fine, name=f"{feature.name}_quantiles")
        boundaries = bucket_boundaries(quantiles[0], feature.buckets)[tf.newaxis]

        def bucket(values: tf.Tensor) -> tf.Tensor:
            is_finite = tf.math.is_finite(values)
            return tf.where(is_finite, tft.apply_buckets(tf.where(is_finite, values, 0.0), boundaries) + 1, 0)

        return bucket

    def table(self, column: ExampleColumn) -> str:
        return f"{_feature(column).name}.buckets"

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        return _feature(column).buckets + 1


def bucket_boundaries(quantiles: tf.Tensor, buckets: int) -> tf.Tensor:
    """Returns where the buckets after the first begin, at most `buckets - 1` of the quantiles, each once.

    A value that more than a bucket's share of the quantiles equal is *heavy*, and a bucket by itself. Between heavy
    values lie runs of others. Each run has one of the remaining buckets, and of those that are left then as many as its
    share of the rows; it is cut into buckets of equal rows. With fewer buckets than runs and heavy values all are one
    run.

    Args:
      quantiles: ascending, `(count,)`: the more rows have a value, the more of them equal it.
    """
    values, _, rows = tf.unique_with_counts(quantiles)
    heavy = rows * buckets > tf.size(quantiles) + 1
    run, has_room = _runs(heavy, buckets)
    heavy, run = heavy & has_room, tf.where(has_room, run, 0)
    light = tf.where(heavy, 0, rows)
    count = tf.size(rows) + 1
    rows_of = tf.math.unsorted_segment_sum(light, run, count)
    is_run = tf.cast(rows_of > 0, tf.int32)
    left = buckets - tf.reduce_sum(tf.cast(heavy, tf.int32)) - tf.reduce_sum(is_run)
    until = left * tf.cumsum(rows_of) // tf.maximum(tf.reduce_sum(rows_of), 1)
    buckets_of = is_run + until - tf.concat([[0], until[:-1]], axis=0)
    # Twice the middle of a value's rows in its run, of n rows from 1 to n.
    before = tf.cumsum(light, exclusive=True) - tf.gather(tf.cumsum(rows_of, exclusive=True), run)
    bucket_in_run = (2 * before + light + 1) * tf.gather(buckets_of, run) // (2 * (tf.gather(rows_of, run) + 1))
    bucket = tf.stack([tf.cast(heavy, tf.int32), run, tf.where(heavy, 0, bucket_in_run)], axis=1)
    begins = tf.reduce_any(bucket[1:] != bucket[:-1], axis=1) | heavy[1:]
    return tf.boolean_mask(values[1:], begins)


def _runs(heavy: tf.Tensor, buckets: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each value's run, `(values,)`, and whether there are buckets enough for runs and heavy values."""
    run = tf.cumsum(tf.cast(heavy, tf.int32))
    is_light = tf.cast(~heavy, tf.int32)
    runs = tf.reduce_sum(tf.cast(tf.math.unsorted_segment_sum(is_light, run, tf.size(run) + 1) > 0, tf.int32))
    return run, runs + tf.reduce_sum(tf.cast(heavy, tf.int32)) <= buckets


def _feature(column: ExampleColumn) -> Feature:
    if column.feature is None:
        raise ValueError(f"{column.name}: a column of buckets without a feature")
    return column.feature
