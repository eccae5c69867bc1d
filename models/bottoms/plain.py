"""From the features of an example to the one vector that the routing reads: the plain bottom."""

from collections.abc import Mapping
from typing import Any, Self

import tensorflow as tf

from models.embeddings import Embeddings
from models.features import Features
from models.layers import MaskedPooling, UserItemRows, products_between, products_within
from models.layers.arguments import TaskInputs, named_in_files
from models.length_groups import cut, is_grouped, joined, masks
from schema.columns import ExampleColumn, model_columns
from schema.spec import RankingSpec


@named_in_files("FeatureEncoder")
class PlainBottom(tf.keras.layers.Layer):
    """`x = [user, candidate]`, each of embeddings, numbers and pooled multi-valued features: the plain bottom.

    The user's also has the pooled behaviour sequences.

    Ids are embedded, one table per vocabulary, shared by the candidate and the sequences (`Embeddings`). A multi-valued
    feature is the mean of its values' embeddings. A behaviour gives the pooled vectors of its positions (embeddings and
    numbers of the item at each), how many there are, and the newest's age.

    With `model.products` there are also the inner products of the embeddings, pair by pair, those of multi-valued
    features as they are pooled: of two of the user's in the user's part, all others in the candidate's.

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).

    Input: dense features by name, as `models.features.dense` gives them. Output: `(batch, inputs)`.
    """

    def __init__(self, spec: RankingSpec, table_sizes: Mapping[str, int], **kwargs):
        super().__init__(**kwargs)
        self.spec, self.table_sizes = spec, dict(table_sizes)
        columns = model_columns(spec)
        self.single = [column for column in columns if not column.ragged]
        self.multi = [column for column in columns if column.ragged and column.behaviour is None]
        self.sequences = {
            behaviour.name: [column for column in columns if column.behaviour == behaviour.name]
            for behaviour in spec.behaviours
        }
        names = [column.name for column in self.multi] + self.pooled_behaviours()
        self.pooling = {name: MaskedPooling(name=f"{name}_pooling") for name in names}
        looked_up = [*self.single, *self.multi, *(c for name in self.sequences for c in self.contents(name))]
        self.embeddings = Embeddings(looked_up, table_sizes, spec.model.embedding_dim, name="embeddings")

    def pooled_behaviours(self) -> list[str]:
        return list(self.sequences)

    def call(self, features: Features) -> TaskInputs:
        return self.combine(features, self.embeddings(features))

    def combine(self, features: Features, values: Mapping[str, tf.Tensor]) -> TaskInputs:
        """Returns the output from what `embeddings` returned: all of the bottom but its tables."""
        user, item = self.fields(features, values)
        return tf.concat([*user.values(), *item.values()], axis=-1)

    def combine_with_weights(
        self, features: Features, values: Mapping[str, tf.Tensor]
    ) -> tuple[TaskInputs, list[dict[str, tf.Tensor]]]:
        """Returns `combine`, and what each task multiplied each field by, `(batch,)`; nothing, where none does."""
        return self.combine(features, values), []

    def encode_candidates(self, features: Features) -> TaskInputs:
        """Returns the output for one user's candidates: the user's columns have one row, the candidates' one each.

        The layer must have been built.
        """
        return self.combine_candidates(features, self.embeddings(features))

    def combine_candidates(self, features: Features, values: Mapping[str, tf.Tensor]) -> TaskInputs:
        return self.candidate_rows(features, values)

    def candidate_rows(self, features: Features, values: Mapping[str, tf.Tensor]) -> UserItemRows:
        """Returns what all tasks read of one user's candidates."""
        user, items = (list(fields.values()) for fields in self.fields(features, values))
        return UserItemRows(tf.concat(user, axis=-1) if user else tf.zeros([1, 0]), tf.concat(items, axis=-1))

    def contents(self, behaviour: str) -> list[ExampleColumn]:
        """Returns the columns at each position of a behaviour's sequence, beside its age."""
        return [column for column in self.sequences[behaviour] if column.vocabulary or column.feature]

    def fields(
        self, features: Features, values: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Returns the fields of the output that are the user's, and those that are the candidate's, by name."""
        fields = {side: self._parts(side, features, values) for side in ("user", "item")}
        if self.spec.model.products:
            for side, products in self._products(fields).items():
                fields[side][products_of(side)] = products
        return fields["user"], fields["item"]

    def _parts(self, side: str, features: Features, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the fields of a side but its products."""
        parts = {column.name: values[column.name] for column in self.single if column.side == side}
        for column in self.multi:
            if column.side == side:
                pooled = self.pooling[column.name](values[column.name], features[column.name] >= 0)
                parts[column.name] = pooled
        if side == "user":
            for behaviour in self.sequences:
                parts[history(behaviour)] = self._behaviour(behaviour, features, values)
        return parts

    def product_count(self, side: str) -> int:
        """Returns how many products of embeddings there are among the fields of the user, or of the candidate."""
        if not self.spec.model.products:
            return 0
        counts = {of: len(self._embedded(of)) for of in ("user", "item")}
        within = counts[side] * (counts[side] - 1) // 2
        return within + (counts["user"] * counts["item"] if side == "item" else 0)

    def _products(self, fields: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Returns the products of embeddings by side, of the fields by side; a side that has none is left out."""
        vectors = {
            side: tf.stack([fields[side][column.name] for column in embedded], axis=1)
            for side in fields
            if (embedded := self._embedded(side))
        }
        products = {side: products_within(vectors[side]) for side in vectors if self.product_count(side)}
        if len(vectors) == 2:
            between = products_between(vectors["item"], vectors["user"])
            products["item"] = tf.concat([products["item"], between], axis=-1)
        return products

    def _embedded(self, side: str) -> list[ExampleColumn]:
        columns = [*self.single, *self.multi]
        return [column for column in columns if column.side == side and column.is_embedded]

    def positions(self, behaviour: str, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the contents of a sequence, `(batch, length, contents)`; in groups by length `(positions, …)`."""
        return tf.concat([values[column.name] for column in self.contents(behaviour)], axis=-1)

    def _behaviour(self, behaviour: str, features: Features, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        ages = features[f"{behaviour}_age_s"]
        is_pooled = behaviour in self.pooling and bool(self.contents(behaviour))
        contents = self.positions(behaviour, values) if is_pooled else None
        if not is_grouped(behaviour, features):
            return self._history(behaviour, ages, contents)
        groups = masks(behaviour, features)
        contents_by_group = [None] * len(groups) if contents is None else cut(contents, groups)
        by_group = zip(cut(ages, groups), contents_by_group, strict=True)
        return joined(behaviour, features, [self._history(behaviour, *group) for group in by_group])

    def _history(self, behaviour: str, ages: tf.Tensor, contents: tf.Tensor | None) -> tf.Tensor:
        mask = ages >= 0
        count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True)
        newest = tf.reduce_min(tf.where(mask, ages, _OLDEST), axis=1, keepdims=True)
        parts = [tf.math.log1p(count), newest]
        if contents is not None:
            parts.append(self.pooling[behaviour](contents, mask, ages))
        return tf.concat(parts, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "spec": self.spec.to_json(), "table_sizes": dict(self.table_sizes)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(**{**config, "spec": RankingSpec.from_json(config["spec"])})


def history(behaviour: str) -> str:
    """Returns the name of the field that says how many, how recent and, pooled, what.

    It is not the behaviour's, which a feature may have.
    """
    return f"{behaviour} (history)"


def products_of(side: str) -> str:
    """Returns the name of the field of products; it is not a feature's."""
    return f"{side} (products)"


# The age of the newest of no events, on the scale of `models.kinds.ages.scaled_age`: 1 is a day, 1.5 is a year.
_OLDEST = 2.0
