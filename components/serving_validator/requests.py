"""Examples as the inputs of each signature, and back. Pure: examples in, named arrays or serialised examples out.

A row is an example by column name: a text (bytes), a number, or a list of them for a ragged column.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from schema.columns import ExampleColumn, example_columns
from schema.spec import RankingSpec

Row: TypeAlias = Mapping[str, Any]
Inputs: TypeAlias = dict[str, np.ndarray]

# The input of `rank` that is no column: the tasks' powers in the score (PLE, eq. 1).
EXPONENTS = "exponents"
# A text that no vocabulary has.
UNKNOWN = b"__unknown__"

_LISTS = {"string": "bytes_list", "float": "float_list", "int": "int64_list"}
_DTYPES: dict[str, Any] = {"string": object, "float": np.float32, "int": np.int64}
_PADDING: dict[str, Any] = {"string": b"", "float": 0.0, "int": 0}


def request_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """The columns that a request may hold: all but the targets."""
    return tuple(column for column in example_columns(spec) if column.side != "target")


def read_rows(spec: RankingSpec, records: Sequence[bytes]) -> list[Row]:
    """The rows in serialised tf.Examples.

    Raises:
      ValueError: a single-valued column does not hold exactly one value.
    """
    columns = request_columns(spec)
    return [_read_row(columns, index, record) for index, record in enumerate(records)]


def _read_row(columns: Sequence[ExampleColumn], index: int, record: bytes) -> Row:
    features = tf.train.Example.FromString(record).features.feature
    row: dict[str, Any] = {}
    for column in columns:
        values = list(getattr(features[column.name], _LISTS[column.dtype]).value)
        if not column.ragged and len(values) != 1:
            raise ValueError(f"example {index}: {column.name!r} holds {len(values)} values, expected one")
        row[column.name] = values if column.ragged else values[0]
    return row


def write_record(spec: RankingSpec, row: Row) -> bytes:
    """A row as a serialised tf.Example without targets."""
    example = tf.train.Example()
    for column in request_columns(spec):
        values = row[column.name] if column.ragged else [row[column.name]]
        getattr(example.features.feature[column.name], _LISTS[column.dtype]).value.extend(values)
    return example.SerializeToString()


def combine(spec: RankingSpec, user: Row, item: Row) -> Row:
    """The row that pairs the user's side of the one with the item's side of the other."""
    return {column.name: (item if column.side == "item" else user)[column.name] for column in request_columns(spec)}


def cold_row(spec: RankingSpec) -> Row:
    """Of a user and an item that nobody has seen: unknown ids and values, missing numbers, no history."""
    values = {"string": UNKNOWN, "float": float("nan"), "int": 0}
    return {column.name: [] if column.ragged else values[column.dtype] for column in request_columns(spec)}


def predict_inputs(spec: RankingSpec, rows: Sequence[Row], names: Collection[str]) -> Inputs:
    """The inputs of `predict` among `names`: single-valued columns `[B]`, ragged ones `[B, m]`, padded."""
    columns = [column for column in request_columns(spec) if column.name in names]
    return {column.name: _batch(column, rows) for column in columns}


def rank_inputs(
    spec: RankingSpec,
    user: Row,
    candidates: Sequence[Row],
    names: Collection[str],
    exponents: Sequence[float] | None = None,
) -> Inputs:
    """The inputs of `rank` among `names`: the user's scalars and `[n]`, the candidates' `[N]` and padded `[N, m]`.

    `exponents` None leaves them out: the model's own, which are the spec's, hold.
    """
    inputs: Inputs = {}
    for column in request_columns(spec):
        if column.name in names:
            item = column.side == "item"
            inputs[column.name] = _batch(column, candidates) if item else _array(column, user[column.name])
    if exponents is not None:
        inputs[EXPONENTS] = np.asarray(exponents, np.float32)
    return inputs


def _batch(column: ExampleColumn, rows: Sequence[Row]) -> np.ndarray:
    values = [row[column.name] for row in rows]
    if not column.ragged:
        return _array(column, values)
    padded = np.full((len(rows), max(map(len, values), default=0)), _PADDING[column.dtype], _DTYPES[column.dtype])
    for index, one in enumerate(values):
        padded[index, : len(one)] = one
    return padded


def _array(column: ExampleColumn, values: Any) -> np.ndarray:
    return np.array(values, _DTYPES[column.dtype])
