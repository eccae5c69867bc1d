"""From the features of an example to the one vector that the routing reads."""

from collections.abc import Mapping

import tensorflow as tf

from models.features import Features, model_columns, table_name
from models.layers import MaskedPooling, SharedRows
from schema.columns import ExampleColumn
from schema.spec import RankingSpec


class FeatureEncoder(tf.keras.layers.Layer):
    """`x = [user, candidate]`, each of embeddings, numbers and pooled multi-valued features.

    The user's also has the pooled behaviour sequences.

    Ids are embedded, one table per vocabulary, shared by the candidate and the sequences. A missing number (NaN) is 0
    with an indicator of 1. A multi-valued feature is the mean of its values' embeddings. A behaviour gives the pooled
    vectors of its positions (embeddings and numbers of the item at each), how many there are, and the newest's age.

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
        names = [column.name for column in self.multi] + list(self.sequences)
        self.pooling = {name: MaskedPooling(name=f"{name}_pooling") for name in names}
        self.tables: dict[str, tf.Variable] = {}

    def build(self, input_shape) -> None:
        for name, rows in self.table_sizes.items():
            self.tables[name] = self.add_weight(
                name=f"{name}_embedding", shape=(rows, self.spec.model.embedding_dim), initializer="uniform"
            )
        super().build(input_shape)

    def call(self, features: Features) -> tf.Tensor:
        return tf.concat(self._side("user", features) + self._side("item", features), axis=-1)

    def encode_candidates(self, features: Features) -> SharedRows:
        """One user's candidates: the user's columns have one row, the candidates' one each. Needs the built layer."""
        user, items = self._side("user", features), self._side("item", features)
        return SharedRows(tf.concat(user, axis=-1) if user else tf.zeros([1, 0]), tf.concat(items, axis=-1))

    def _side(self, side: str, features: Features) -> list[tf.Tensor]:
        """The parts of the output that are the user's, or the candidate's."""
        parts = [self._values(column, features) for column in self.single if column.side == side]
        parts += [
            self.pooling[column.name](self._values(column, features), features[column.name] >= 0)
            for column in self.multi
            if column.side == side
        ]
        if side == "user":
            for behaviour, columns in self.sequences.items():
                parts += self._sequence(behaviour, columns, features)
        return parts

    def _values(self, column: ExampleColumn, features: Features) -> tf.Tensor:
        """Embeddings, or a number with its indicator of being missing: a last axis more than the column has."""
        values = features[column.name]
        table = table_name(column)
        if table is not None:
            # Padded positions read row 0, and pooling masks them.
            return tf.gather(self.tables[table], tf.maximum(values, 0))
        missing = tf.math.is_nan(values)
        return tf.stack([tf.where(missing, 0.0, values), tf.cast(missing, tf.float32)], axis=-1)

    def _sequence(self, behaviour: str, columns: list[ExampleColumn], features: Features) -> list[tf.Tensor]:
        ages = features[f"{behaviour}_age_s"]
        mask = ages >= 0
        contents = [column for column in columns if column.vocabulary or column.feature]
        count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True)
        newest = tf.reduce_min(tf.where(mask, ages, _OLDEST), axis=1, keepdims=True)
        parts = [tf.math.log1p(count), newest]
        if contents:
            positions = tf.concat([self._values(column, features) for column in contents], axis=-1)
            parts.append(self.pooling[behaviour](positions, mask, ages))
        return parts


# The age of the newest of no events, on the scale of `models.preprocessing.scaled_age`: 1 is a day, 1.5 is a year.
_OLDEST = 2.0
