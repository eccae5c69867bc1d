"""Numbers on a common scale."""

import math
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, Kind, Transformation, in_deviations
from schema.columns import ExampleColumn
from schema.spec import RankingSpec


class Numbers(Kind):
    """`(x - mean) / deviation`, of x or of log1p(x), by the candidates of the train split; a missing number is NaN.

    It is cut as `in_deviations` says.
    """

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        feature = columns[0].feature
        assert feature is not None
        compressed = _log if feature.scale == "log" else tf.identity
        # TFT leaves NaN and infinity out of both.
        candidates = compressed(inputs[feature.name])
        mean = tft.mean(candidates, name=f"{feature.name}_mean")
        deviation = tf.sqrt(tft.var(candidates, name=f"{feature.name}_var"))

        def scale(values: tf.Tensor) -> tf.Tensor:
            scaled = in_deviations(compressed(values) - mean, deviation)
            return tf.where(tf.math.is_finite(values), scaled, math.nan)

        return scale


def _log(values: tf.Tensor) -> tf.Tensor:
    return tf.sign(values) * tf.math.log1p(tf.abs(values))
