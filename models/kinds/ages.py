"""How long ago a behaviour was."""

import math
from collections.abc import Sequence

import tensorflow as tf

from models.kinds.base import Columns, Kind, Transformation
from schema.columns import ExampleColumn
from schema.spec import RankingSpec

DAY_S = 86_400.0


class Ages(Kind):
    """Seconds on a logarithmic scale that needs no analysis (`scaled_age`)."""

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        return scaled_age


def scaled_age(seconds: tf.Tensor) -> tf.Tensor:
    """Returns `log(1 + s) / log(1 + a day)`: 0 is now, 1 a day ago, 1.5 a year ago."""
    return tf.math.log1p(tf.maximum(seconds, 0.0)) / math.log1p(DAY_S)
