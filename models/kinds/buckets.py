"""Numbers as ids of quantile buckets."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, EmbeddedKind, Transformation
from schema.columns import ExampleColumn
from schema.spec import Feature, RankingSpec


class Buckets(EmbeddedKind):
    """A number's id is that of its quantile bucket, from 1 on; a missing number's is 0."""

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        feature = _feature(columns[0])
        candidates = inputs[feature.name]
        finite = tf.boolean_mask(candidates, tf.math.is_finite(candidates))
        boundaries = tft.quantiles(finite, feature.buckets, epsilon=0.01, name=f"{feature.name}_quantiles")

        def bucket(values: tf.Tensor) -> tf.Tensor:
            is_finite = tf.math.is_finite(values)
            return tf.where(is_finite, tft.apply_buckets(tf.where(is_finite, values, 0.0), boundaries) + 1, 0)

        return bucket

    def table(self, column: ExampleColumn) -> str:
        return f"{_feature(column).name}.buckets"

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        return _feature(column).buckets + 1


def _feature(column: ExampleColumn) -> Feature:
    if column.feature is None:
        raise ValueError(f"{column.name}: a column of buckets without a feature")
    return column.feature
