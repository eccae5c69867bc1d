"""Vectors of a fixed size, such as an item's embedding from another model."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, Kind, Transformation
from schema.columns import ExampleColumn
from schema.spec import RankingSpec


class Vectors(Kind):
    """A vector's numbers on a common scale, and last 1 where it is missing (all others are 0 there), else 0.

        none: x        l2: x / |x|        standardize: (x - mean) / deviation, of each place

    Mean and deviation are those of the candidates of the train split that have a vector; of a behaviour's items the
    vectors are scaled by them too.
    """

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        feature = columns[0].feature
        assert feature is not None
        scale_known = _SCALES.get(feature.scale) or _standardize(feature.name, inputs[feature.name])

        def scale(vectors: tf.Tensor) -> tf.Tensor:
            # A request may hold a vector that is missing in some places; ingest refuses it.
            missing = tf.reduce_any(~tf.math.is_finite(vectors), axis=1, keepdims=True)
            scaled = tf.where(missing, 0.0, scale_known(vectors))
            return tf.concat([scaled, tf.cast(missing, tf.float32)], axis=1)

        return scale

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        # Padded positions may hold anything, and NaN times a weight of 0 is NaN.
        return tf.where(tf.math.is_finite(values), values, 0.0)

    def size(self, column: ExampleColumn, dim: int) -> int:
        return column.model_width or 0


def _standardize(name: str, candidates: tf.Tensor) -> Transformation:
    """Returns `(x - mean) / deviation` of each place; one that is the same in all candidates becomes 0."""
    # TFT leaves NaN out of both.
    mean = tft.mean(candidates, reduce_instance_dims=False, name=f"{name}_mean")
    deviation = tf.sqrt(tft.var(candidates, reduce_instance_dims=False, name=f"{name}_var"))
    return lambda vectors: tf.math.divide_no_nan(vectors - mean, deviation)


def _to_unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Returns `x / |x|`; a vector of zeros stays."""
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, axis=1, keepdims=True))


_SCALES: dict[str, Transformation] = {"none": tf.identity, "l2": _to_unit_length}
