"""From the features of an example to a vector of each task's own: the DTRN bottom."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.bottoms.candidate_aware import CandidateAwareBottom
from models.bottoms.plain import history, products_of
from models.features import Features
from models.layers import RepresentationRefinement, TaskInterest, UserItemRows
from models.layers.arguments import named_in_files
from models.length_groups import is_grouped, joined
from models.precision import precision_scope
from schema.spec import RankingSpec


@named_in_files("TaskEncoder")
class DtrnBottom(CandidateAwareBottom):
    """`r_i = TRM_i([user, candidate, interest_i])`: task i weighs its own input, with what it sees in the behaviours.

    The behaviours that `model.dtrn.behaviours` names (all, if it names none) are read by the task interest module: the
    positions, each of what is known of the item there and its age, and the candidate as the query, described by the
    same columns at age 0. The others are pooled, as in the plain bottom. Of every behaviour the user's side also has
    how many there are and the newest's age. *Inference*: those two, which attention can't see; that a position's age
    stands beside its item; all that `models.layers` marks as such.

    Reference: Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", CIKM 2023.

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).
      tasks: the number of tasks.

    Input: dense features by name (`models.features.dense`). Output: a list of one `(batch, inputs)` per task.
    """

    def __init__(self, spec: RankingSpec, table_sizes: Mapping[str, int], tasks: int, **kwargs):
        super().__init__(spec, table_sizes, spec.dtrn_behaviours, **kwargs)
        dtrn = spec.model.dtrn
        with precision_scope(spec.training.precision):
            self.interest = TaskInterest(
                tasks,
                len(self.read),
                dtrn.units,
                dtrn.heads,
                dtrn.feed_forward,
                dtrn.layers,
                dtrn.block,
                dtrn.condition_dim,
                dtrn.condition_units,
                name="interest",
            )
        self.refinement = None
        if dtrn.refinement != "none":
            fields = tuple(self._field_sizes().values()) if dtrn.refine == "field" else None
            self.refinement = RepresentationRefinement(
                tasks, dtrn.reduction, dtrn.refinement, fields, name="refinement"
            )

    def combine(self, features: Features, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        return self._refined(self._raw(features, values))

    def combine_with_weights(
        self, features: Features, values: Mapping[str, tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[dict[str, tf.Tensor]]]:
        """Returns `combine`, and what each task multiplied each field by, `(batch,)`, the mean of its elements."""
        raw = self._raw(features, values)
        return self._refined(raw), self._weights_by_field(raw)

    def combine_candidates(self, features: Features, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor | UserItemRows]:
        common = self.candidate_rows(features, values)
        # One sequence a behaviour, read for all candidates: (1, candidates, behaviours * units)
        query = self.candidate(values)[tf.newaxis]
        interests = self._interests(features, values, query, axis=0)
        if self.refinement:
            return self.refinement([common, *interests])
        return [UserItemRows(common.user, tf.concat([common.items, interest], axis=-1)) for interest in interests]

    def _refined(self, raw: list[tf.Tensor]) -> list[tf.Tensor]:
        if self.refinement:
            return self.refinement(raw)
        return [tf.concat([raw[0], interest], axis=-1) for interest in raw[1:]]

    def _weights_by_field(self, raw: list[tf.Tensor]) -> list[dict[str, tf.Tensor]]:
        """Returns what each task multiplies each field by, `(batch,)`, the mean of its elements; empty if unrefined."""
        if not self.refinement:
            return []
        sizes = self._field_sizes()
        return [
            {
                name: tf.reduce_mean(weights_of_field, axis=-1)
                for name, weights_of_field in zip(sizes, tf.split(weight, [*sizes.values()], -1), strict=True)
            }
            for weight in self.refinement.refinement_weights(raw)
        ]

    def _raw(self, features: Features, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns what all tasks read, then each task's interest."""
        common = super().combine(features, values)
        query = self.candidate(values)[:, tf.newaxis]
        if not any(is_grouped(name, features) for name in self.read):
            return [common, *self._interests(features, values, query, axis=1)]
        groups = [[*self.groups(name, features, values, query)] for name in self.read]
        # (tasks, batch, 1, units)
        reads = [
            joined(name, features, by_group, axis=1)
            for name, by_group in zip(self.read, self.interest.read_groups(groups), strict=True)
        ]
        return [common, *tf.unstack(tf.cast(tf.concat(reads, axis=-1)[:, :, 0], tf.float32))]

    def _interests(
        self, features: Features, values: Mapping[str, tf.Tensor], queries: tf.Tensor, axis: int
    ) -> list[tf.Tensor]:
        """Returns each task's interest, without the `axis` of size 1, in float32 as the rest of the output."""
        sequences = [self.sequence(name, features, values) for name in self.read]
        reads = self.interest([positions for positions, _ in sequences], [mask for _, mask in sequences], queries)
        return [tf.cast(tf.squeeze(read, axis=axis), tf.float32) for read in reads]

    def _field_sizes(self) -> dict[str, int]:
        """Returns the size of each field of a task's input, in their order there."""
        size = self.embeddings.size
        sizes: dict[str, int] = {}
        for side in ("user", "item"):
            sizes |= {column.name: size(column) for column in [*self.single, *self.multi] if column.side == side}
            if side == "user":
                for name in self.sequences:
                    pooled = sum(size(column) for column in self.contents(name)) if name in self.pooling else 0
                    sizes[history(name)] = 2 + pooled
            if count := self.product_count(side):
                sizes[products_of(side)] = count
        return sizes | {f"{name} (interest)": self.spec.model.dtrn.units for name in self.read}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tasks": self.interest.tasks}
