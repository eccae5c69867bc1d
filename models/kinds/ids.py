"""Texts: ids of users and items, categories, several values at once."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, Kind, Transformation
from schema.columns import ExampleColumn
from schema.spec import RankingSpec


class Ids(Kind):
    """An id is a text's place in its vocabulary, or an out-of-vocabulary bucket after it; it is embedded."""

    dtype = tf.int64

    def analysed(self, column: ExampleColumn) -> str:
        return self.table(column)

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        """Returns the look-up in the vocabulary of every candidate column that names it, and not of behaviours'.

        What stands in a behaviour stood in an earlier row, so behaviours would add next to no values, at many times the
        cost. The few items that are known from behaviours alone (feedback on an item without an impression in the log)
        share the out-of-vocabulary buckets.
        """
        name = self.table(columns[0])
        candidates = [inputs[column.name] for column in columns if column.behaviour is None]
        flat = [values.flat_values if isinstance(values, tf.RaggedTensor) else values for values in candidates]
        vocabulary = tft.vocabulary(
            tf.concat([tf.reshape(values, [-1]) for values in flat], axis=0),
            top_k=spec.model.max_vocabulary,
            frequency_threshold=spec.model.min_frequency,
            vocab_filename=name,
            name=f"{name}_vocabulary",
        )
        return lambda values: tft.apply_vocabulary(values, vocabulary, num_oov_buckets=spec.model.oov_buckets)

    def table(self, column: ExampleColumn) -> str:
        if column.vocabulary is None:
            raise ValueError(f"{column.name}: a column of ids without a vocabulary")
        return column.vocabulary

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        return vocabulary_sizes[self.table(column)] + spec.model.oov_buckets

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        return tf.gather(table, tf.maximum(values, 0))

    def size(self, column: ExampleColumn, dim: int) -> int:
        return dim
