"""What the bottoms share in which the candidate is compared with the positions of behaviour sequences."""

from collections.abc import Mapping

import tensorflow as tf

from models.bottoms.plain import PlainBottom
from models.features import Features
from schema.columns import ITEM_ID, ExampleColumn
from schema.spec import RankingSpec


class CandidateAwareBottom(PlainBottom):
    """A plain bottom, but that some behaviours are not pooled: a subclass reads them for each candidate.

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).
      read: the behaviours that are read; the others are pooled.
    """

    def __init__(self, spec: RankingSpec, table_sizes: Mapping[str, int], read: tuple[str, ...], **kwargs):
        self.read = read
        super().__init__(spec, table_sizes, **kwargs)

    def pooled_behaviours(self) -> list[str]:
        return [name for name in self.sequences if name not in self.read]

    def read_sequences(
        self, features: Features, values: Mapping[str, tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns the positions of each behaviour that is read, `(batch, length, contents + 1)`, and their masks.

        Last comes a position's age.
        """
        ages = [features[f"{behaviour}_age_s"] for behaviour in self.read]
        contents = [self.positions(behaviour, values) for behaviour in self.read]
        with_age = [tf.concat([x, age[:, :, tf.newaxis]], axis=-1) for x, age in zip(contents, ages, strict=True)]
        return with_age, [age >= 0 for age in ages]

    def candidate(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the candidate as a position of a sequence: the same columns, at age 0: `(batch, contents + 1)`."""
        described = [values[_of_candidate(column)] for column in self.contents(self.read[0])]
        return tf.concat([*described, tf.zeros_like(described[0][:, :1])], axis=-1)


def _of_candidate(column: ExampleColumn) -> str:
    return column.feature.name if column.feature else ITEM_ID
