"""Texts: ids of users and items, categories, several values at once."""

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.base import Columns, EmbeddedKind, Values, map_at_once
from models.kinds.vocabularies import vocabularies
from schema.columns import ExampleColumn
from schema.spec import RankingSpec


class Ids(EmbeddedKind):
    """An id is a text's place in its vocabulary, or an out-of-vocabulary bucket after it; it is embedded."""

    def analysed(self, column: ExampleColumn) -> str:
        return "vocabularies"

    def transform(
        self, columns: Sequence[ExampleColumn], values: Values, inputs: Columns, spec: RankingSpec
    ) -> dict[str, tf.Tensor]:
        """Returns each column's ids: looked up in the vocabulary of every candidate column that names it.

        What stands in a behaviour stood in an earlier row, so behaviours would add next to no values, at many times the
        cost. The few items that are known from behaviours alone (feedback on an item without an impression in the log)
        share the out-of-vocabulary buckets.
        """
        by_vocabulary: dict[str, list[ExampleColumn]] = {}
        for column in columns:
            by_vocabulary.setdefault(self.table(column), []).append(column)
        texts = {name: _candidates(sharing, inputs) for name, sharing in by_vocabulary.items()}
        files = vocabularies(texts, spec.model.max_vocabulary, spec.model.min_frequency)
        ids: dict[str, tf.Tensor] = {}
        for name, sharing in by_vocabulary.items():
            look_up = functools.partial(
                tft.apply_vocabulary,
                deferred_vocab_filename_tensor=files[name],
                num_oov_buckets=spec.model.oov_buckets,
            )
            ids |= map_at_once(look_up, {column.name: values[column.name] for column in sharing})
        return ids

    def table(self, column: ExampleColumn) -> str:
        if column.vocabulary is None:
            raise ValueError(f"{column.name}: a column of ids without a vocabulary")
        return column.vocabulary

    def rows(self, column: ExampleColumn, vocabulary_sizes: Mapping[str, int], spec: RankingSpec) -> int:
        return vocabulary_sizes[self.table(column)] + spec.model.oov_buckets


def _candidates(columns: Sequence[ExampleColumn], inputs: Columns) -> tf.Tensor:
    """Returns the texts of the columns that aren't behaviours', `(n,)`."""
    candidates = [inputs[column.name] for column in columns if column.behaviour is None]
    return tf.concat([getattr(texts, "flat_values", texts) for texts in candidates], axis=0)
