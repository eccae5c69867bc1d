"""The Transform graph: ids by vocabulary, numbers scaled, from the spec alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.derived import derive
from models.kinds import kind_of
from models.kinds.base import Columns, Values
from schema.columns import (
    RANKING_GROUP,
    REQUEST_START,
    USER_ID,
    ExampleColumn,
    derived_columns,
    label_name,
    model_columns,
    space_name,
)
from schema.spec import RankingSpec

# So many that no two groups of a log share a number.
_GROUPS = (1 << 63) - 1


def preprocessing_fn(inputs: Columns, custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Turns raw example columns into those that the ranker reads, of the same names; labels and spaces pass through.

    Ragged columns stay ragged. Every string becomes an int64 id: its index in the vocabulary, or an out-of-vocabulary
    bucket after it. Numbers become float32, or int64 ids from 1 on of quantile buckets; a missing one is NaN, or id 0.
    A vector becomes the `model_width` numbers that the ranker reads, of which the last says whether it is missing.
    What the spec derives is made of the raw columns first. With a ranking loss, `RANKING_GROUP` says which examples it
    orders among themselves.

    Args:
      inputs: the columns of `schema.columns.example_columns`.
      custom_config: `{"spec": the ranking spec as JSON}`.
    """
    spec = RankingSpec.from_json(custom_config["spec"])
    columns, derived = model_columns(spec), derived_columns(spec)
    plain = [column for column in columns if column not in derived]
    raw = {column.name: inputs[column.name] for column in plain} | _newest(plain, inputs, spec)
    transformed = _transform({column.name: _values(raw[column.name], column) for column in plain}, plain, inputs, spec)
    if derived:
        derived_inputs = derive(inputs, transformed, spec)
        raw |= derived_inputs
        transformed |= _transform(derived_inputs, derived, {**inputs, **derived_inputs}, spec)
    outputs: dict[str, tf.Tensor | tf.RaggedTensor] = {
        column.name: _as_rows(transformed[column.name], raw[column.name], column) for column in columns
    }
    for task in spec.tasks:
        for name in (label_name(task), space_name(task)):
            outputs[name] = tf.identity(inputs[name])
    if spec.training.ranking_loss:
        outputs[RANKING_GROUP] = _ranking_group(inputs, spec)
    return outputs


def _ranking_group(inputs: Columns, spec: RankingSpec) -> tf.Tensor:
    """Returns a number, int64, that examples share whose order a ranking loss is about: their request's or user's."""
    group = inputs[USER_ID]
    if spec.orders_requests:
        group = tf.strings.join([group, tf.strings.as_string(inputs[REQUEST_START])], separator="\n")
    return tf.strings.to_hash_bucket_fast(group, _GROUPS)


def _newest(columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> dict[str, tf.RaggedTensor]:
    """Returns each behaviour's columns with the newest `max_length` positions of every row.

    Ingest writes no longer ones, but a request may hold more. All columns are cut at once, since each slice of a ragged
    tensor costs dozens of operations.
    """
    sequences = [column for column in columns if column.behaviour is not None]
    if not sequences:
        return {}
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    splits = tf.stack([inputs[column.name].row_splits for column in sequences])
    longest = tf.constant(
        [[lengths[column.behaviour or ""] * (column.width or 1)] for column in sequences], splits.dtype
    )
    ends = splits[:, 1:]
    starts = tf.maximum(splits[:, :-1], ends - longest)
    cut = tf.pad(tf.cumsum(ends - starts, axis=1), [[0, 0], [1, 0]])
    positions = tf.ragged.range(tf.reshape(starts, [-1]), tf.reshape(ends, [-1]), row_splits_dtype=splits.dtype)
    by_column = zip(sequences, tf.unstack(cut), tf.split(positions.flat_values, cut[:, -1]), strict=True)
    return {
        column.name: tf.RaggedTensor.from_row_splits(
            tf.gather(inputs[column.name].flat_values, positions), splits, validate=False
        )
        for column, splits, positions in by_column
    }


def _transform(
    values: Values, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec
) -> dict[str, tf.Tensor]:
    """Returns each column's transformed values; what columns of a kind share is analysed once."""
    shared: dict[tuple[str, str], list[ExampleColumn]] = {}
    for column in columns:
        shared.setdefault((column.kind, kind_of(column).analysed(column)), []).append(column)
    transformed: dict[str, tf.Tensor] = {}
    for group in shared.values():
        transformed |= kind_of(group[0]).transform(group, values, inputs, spec)
    return transformed


def _values(raw: tf.Tensor | tf.RaggedTensor, column: ExampleColumn) -> tf.Tensor:
    """Returns the values of all rows, `(n,)`, of vectors `(n, width)`."""
    if not isinstance(raw, tf.RaggedTensor):
        return raw
    return raw.flat_values if column.width is None else tf.reshape(raw.flat_values, [-1, column.width])


def _as_rows(values: tf.Tensor, raw: tf.Tensor | tf.RaggedTensor, column: ExampleColumn) -> tf.Tensor | tf.RaggedTensor:
    """Returns transformed values in the rows of the raw ones; a sequence of vectors is one list of their numbers."""
    if not isinstance(raw, tf.RaggedTensor):
        return values
    if column.width is None:
        return raw.with_flat_values(values)
    splits = raw.row_splits // column.width * (column.model_width or 0)
    return tf.RaggedTensor.from_row_splits(tf.reshape(values, [-1]), splits, validate=False)
