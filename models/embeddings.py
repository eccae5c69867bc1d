"""The embedding tables, and the values of an example's columns that are looked up in them."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import tensorflow as tf
from pydantic import TypeAdapter

from models.features import Features
from models.kinds import kind_of
from models.layers.arguments import PACKAGE
from schema.columns import ExampleColumn
from schema.spec import Feature

_COLUMNS = TypeAdapter(list[ExampleColumn])
# `schema.columns` names this type and, as the spec imports it, doesn't import it.
_COLUMNS.rebuild(_types_namespace={"Feature": Feature})


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Embeddings(tf.keras.layers.Layer):
    """Looks up the values of columns: an id's embedding, or a number with its indicator of being missing.

    There is one table per vocabulary, shared by all columns of its ids. A missing number (NaN) is 0 with an indicator
    of 1. Padded positions get row 0 of their table.

    Args:
      columns: the columns to look up.
      table_sizes: rows of each table (`models.features.table_sizes`).
      dim: the size of an embedding.

    Input: dense features by name (`models.features.dense`). Output: by name, with one more axis, of
    `size(column)`.
    """

    def __init__(self, columns: Sequence[ExampleColumn], table_sizes: Mapping[str, int], dim: int, **kwargs):
        super().__init__(**kwargs)
        self.columns, self.table_sizes, self.dim = list(columns), dict(table_sizes), dim
        self.tables: dict[str, tf.Variable] = {}

    def build(self, input_shape) -> None:
        for name, rows in self.table_sizes.items():
            self.tables[name] = self.add_weight(name=f"{name}_embedding", shape=(rows, self.dim), initializer="uniform")
        super().build(input_shape)

    def call(self, features: Features) -> dict[str, tf.Tensor]:
        return {column.name: self._values(column, features[column.name]) for column in self.columns}

    def _values(self, column: ExampleColumn, values: tf.Tensor) -> tf.Tensor:
        kind = kind_of(column)
        table = kind.table(column)
        return kind.embed(values, None if table is None else self.tables[table])

    def size(self, column: ExampleColumn) -> int:
        """Returns the size of the last axis of a column's values."""
        return kind_of(column).size(column, self.dim)

    def get_config(self) -> dict[str, Any]:
        columns = _COLUMNS.dump_python(list(self.columns), mode="json", exclude_defaults=True)
        return {**super().get_config(), "columns": columns, "table_sizes": dict(self.table_sizes), "dim": self.dim}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(**{**config, "columns": _COLUMNS.validate_python(config["columns"])})
