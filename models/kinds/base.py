"""The interface of a kind of column: how Transform analyses and transforms it, and what the model makes of it."""

import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from schema.columns import ExampleColumn
from schema.spec import RankingSpec

Columns = Mapping[str, tf.Tensor | tf.RaggedTensor]
# The values of columns by name, of all rows one after the other: `(n,)`, of vectors `(n, width)`; n differs by column.
Values = Mapping[str, tf.Tensor]
# From raw values to transformed ones: `(n,)`, of vectors `(n, width)` to `(n, model_width)`.
Transformation = Callable[[tf.Tensor], tf.Tensor]


class Kind:
    """What the values of a column are.

    Attributes:
      dtype: of the transformed values: int64 for ids, which select rows of an embedding table, float32 for numbers.
    """

    dtype: tf.DType = tf.float32

    def analysed(self, column: ExampleColumn) -> str:
        """Returns the name of what is analysed once for all columns that share it."""
        return column.feature.name if column.feature else column.name

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        """Returns how the columns are transformed, from TFT's analyses of the train split.

        Args:
          columns: those that share what is analysed. A behaviour's repeats values of candidates and would weigh them by
            how active users are: it is transformed, not analysed.
          inputs: all raw columns.
        """
        raise NotImplementedError(f"{type(self).__name__}: either `analyse` or `transform` says what its values become")

    def transform(
        self, columns: Sequence[ExampleColumn], values: Values, inputs: Columns, spec: RankingSpec
    ) -> dict[str, tf.Tensor]:
        """Returns the transformed values of each column by its name, by default by `analyse`'s transformation.

        It is applied once, to the values of all columns one after the other: TFT traces, saves and loads each operation
        of the graph many times.

        Args:
          columns: those that share what is analysed.
          values: theirs.
          inputs: all raw columns.
        """
        return map_at_once(
            self.analyse(columns, inputs, spec), {column.name: values[column.name] for column in columns}
        )

    def table(self, column: ExampleColumn) -> str | None:
        """Returns the name of the embedding table that the column's ids select from; None for numbers."""
        return None

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        """Returns how many rows the column's table has."""
        raise ValueError(f"{column.name}: a column of kind {column.kind!r} has no embedding table")

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        """Returns what the model reads, `(…)` -> `(…, size)`: of a missing number 0 and an indicator of 1."""
        missing = tf.math.is_nan(values)
        return tf.stack([tf.where(missing, 0.0, values), tf.cast(missing, tf.float32)], axis=-1)

    def size(self, column: ExampleColumn, dim: int) -> int:
        """Returns the size of the last axis of `embed`, where embeddings are of size `dim`."""
        return 2


class EmbeddedKind(Kind):
    """Values that become ids, which select rows of an embedding table."""

    dtype = tf.int64

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        return tf.gather(table, tf.maximum(values, 0))

    def size(self, column: ExampleColumn, dim: int) -> int:
        return dim


def map_at_once(transformation: Transformation, values: Values) -> dict[str, tf.Tensor]:
    """Returns the transformed values of each column, by one application to all of them."""
    if len(values) == 1:
        return {name: transformation(raw) for name, raw in values.items()}
    transformed = transformation(tf.concat(list(values.values()), axis=0))
    lengths = [tf.size(raw) // math.prod(raw.shape[1:]) for raw in values.values()]
    return dict(zip(values, tf.split(transformed, lengths), strict=True))


# Beyond how many deviations a number says no more.
_REACH = 2.0


def in_deviations(differences: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """Returns differences in units of the train split's deviation, of 0 where that is 0, cut at `_REACH` of them.

    What lies beyond is rare in the train split or later than it, where a network extrapolates a line that nothing has
    tested; a tree would stop at its last threshold.
    """
    scaled = tf.math.divide_no_nan(differences, deviation)
    return tf.clip_by_value(scaled, tf.constant(-_REACH, scaled.dtype), tf.constant(_REACH, scaled.dtype))
