"""Numbers as ids of quantile buckets."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, EmbeddedKind, Transformation
from schema.columns import ExampleColumn
from schema.spec import Feature, RankingSpec

# How many quantiles for each bucket are looked at.
_FINE = 16


class Buckets(EmbeddedKind):
    """A number's id is that of its bucket, from 1 on; a missing number's is 0.

    Buckets hold as many numbers each, but that a number which would fill several, as 0 often does, takes one of them,
    and the others are spread over the rest.
    """

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        feature = _feature(columns[0])
        candidates = inputs[feature.name]
        finite = tf.boolean_mask(candidates, tf.math.is_finite(candidates))
        fine = feature.buckets * _FINE
        quantiles = tft.quantiles(finite, fine, epsilon=0.5 / fine, name=f"{feature.name}_quantiles")
        least = tft.min(finite, name=f"{feature.name}_min")
        boundaries = spread_boundaries(quantiles, least, feature.buckets)

        def bucket(values: tf.Tensor) -> tf.Tensor:
            is_finite = tf.math.is_finite(values)
            return tf.where(is_finite, tft.apply_buckets(tf.where(is_finite, values, 0.0), boundaries) + 1, 0)

        return bucket

    def table(self, column: ExampleColumn) -> str:
        return f"{_feature(column).name}.buckets"

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        return _feature(column).buckets + 1


def spread_boundaries(quantiles: tf.Tensor, least: tf.Tensor, buckets: int) -> tf.Tensor:
    """Returns where the buckets after the first begin: at most `buckets - 1` of the distinct quantiles, evenly chosen.

    Args:
      quantiles: ascending, `(1, count)`; a number that stands for many rows is there many times.
      least: the least number, with which the first bucket begins.

    Returns:
      `(1, boundaries)`.
    """
    values = quantiles[0]
    distinct = tf.boolean_mask(values, values > tf.concat([[least], values[:-1]], axis=0)[: tf.size(values)])
    count = tf.size(distinct)
    # Of m k - 1 distinct ones every m-th, the quantiles of k buckets.
    places = tf.range(1, buckets) * (count + 1) // buckets - 1
    return tf.cond(count < buckets, lambda: distinct, lambda: tf.gather(distinct, places))[tf.newaxis]


def _feature(column: ExampleColumn) -> Feature:
    if column.feature is None:
        raise ValueError(f"{column.name}: a column of buckets without a feature")
    return column.feature
