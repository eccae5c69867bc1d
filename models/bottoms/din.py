"""From the features of an example to one vector, in which behaviours are seen from the candidate: the DIN bottom."""

from collections.abc import Mapping

import tensorflow as tf

from models.bottoms.candidate_aware import CandidateAwareBottom
from models.features import Features
from models.layers import TargetAttention, UserItemRows
from models.layers.arguments import PACKAGE
from models.length_groups import joined
from schema.spec import RankingSpec


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DinBottom(CandidateAwareBottom):
    """`x = [user, candidate, v_1, v_2, …]`: of each behaviour j, `v_j` is what matters to the candidate.

    The behaviours that `model.din.behaviours` names (all, if it names none) are read by an attention each
    (`TargetAttention`): the keys are the positions, each of what is known of the item there and its age; the query is
    the candidate, described by the same columns at age 0. The others are pooled, as in the plain bottom. Of every
    behaviour the user's side also has how many there are and the newest's age. *Inference*: those two, and that a
    position's age stands beside its item.

    Reference: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).

    Input: dense features by name (`models.features.dense`). Output: `(batch, inputs)`.
    """

    def __init__(self, spec: RankingSpec, table_sizes: Mapping[str, int], **kwargs):
        super().__init__(spec, table_sizes, spec.din_behaviours, **kwargs)
        self.attentions = [TargetAttention(spec.model.din.units, name=f"{name}_attention") for name in self.read]

    def combine(self, features: Features, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.concat([super().combine(features, values), self._interests(features, values)], axis=-1)

    def combine_candidates(self, features: Features, values: Mapping[str, tf.Tensor]) -> UserItemRows:
        common = self.candidate_rows(features, values)
        return UserItemRows(common.user, tf.concat([common.items, self._interests(features, values)], axis=-1))

    def _interests(self, features: Features, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[v_1, v_2, …]`, a row for each candidate: of one user's candidates the sequences have one."""
        query = self.candidate(values)
        interests = []
        for behaviour, attention in zip(self.read, self.attentions, strict=True):
            by_group = [attention(*group) for group in self.groups(behaviour, features, values, query)]
            interests.append(joined(behaviour, features, by_group))
        return tf.concat(interests, axis=-1)
