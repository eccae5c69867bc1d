"""What the bottoms share in which the candidate is compared with the positions of behaviour sequences."""

from collections.abc import Iterator, Mapping

import tensorflow as tf

from models.bottoms.plain import PlainBottom
from models.features import Features
from models.length_groups import cut, examples_by_group, is_grouped, masks
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

    def sequence(
        self, behaviour: str, features: Features, values: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a behaviour's positions, `(batch, length, contents + 1)`, and their mask. Last comes the age.

        Grouped by length they are `(positions, contents + 1)` and `(positions,)`.
        """
        ages = features[f"{behaviour}_age_s"]
        return tf.concat([self.positions(behaviour, values), ages[..., tf.newaxis]], axis=-1), ages >= 0

    def groups(
        self, behaviour: str, features: Features, values: Mapping[str, tf.Tensor], queries: tf.Tensor
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Yields positions, mask and queries `(rows, …)` of each group by length; of all examples, if not grouped."""
        positions, mask = self.sequence(behaviour, features, values)
        if not is_grouped(behaviour, features):
            yield positions, mask, queries
            return
        cuts = masks(behaviour, features)
        yield from zip(cut(positions, cuts), cuts, examples_by_group(behaviour, features, queries), strict=True)

    def candidate(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the candidate as a position of a sequence: the same columns, at age 0: `(batch, contents + 1)`."""
        described = [values[_of_candidate(column)] for column in self.contents(self.read[0])]
        return tf.concat([*described, tf.zeros_like(described[0][:, :1])], axis=-1)


def _of_candidate(column: ExampleColumn) -> str:
    return column.feature.name if column.feature else ITEM_ID
