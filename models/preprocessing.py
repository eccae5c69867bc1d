"""The Transform graph: ids by vocabulary, numbers scaled, from the spec alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.derived import derive
from models.kinds import kind_of
from models.kinds.base import Columns, Transformation
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
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    transformations = _analyse([column for column in columns if column not in derived], inputs, spec)
    if derived:
        inputs = {**inputs, **derive(inputs, transformations, spec)}
        transformations |= _analyse(derived, inputs, spec)
    outputs: dict[str, tf.Tensor | tf.RaggedTensor] = {}
    for column in columns:
        values = inputs[column.name]
        if column.behaviour is not None:
            # Ingest writes no longer ones, but a request may hold more: the newest are kept.
            values = values[:, -lengths[column.behaviour] * (column.width or 1) :]
        outputs[column.name] = _map_values(transformations[column.name], values, column)
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


def _analyse(columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> dict[str, Transformation]:
    """Returns each column's transformation; what columns of a kind share is analysed once."""
    shared: dict[tuple[str, str], list[ExampleColumn]] = {}
    for column in columns:
        shared.setdefault((column.kind, kind_of(column).analysed(column)), []).append(column)
    transformations: dict[str, Transformation] = {}
    for group in shared.values():
        transformations |= kind_of(group[0]).transformations(group, inputs, spec)
    return transformations


def _map_values(
    function: Transformation, values: tf.Tensor | tf.RaggedTensor, column: ExampleColumn
) -> tf.Tensor | tf.RaggedTensor:
    """Returns the transformed values of a column; a sequence of vectors stays one list of the numbers of each."""
    if not isinstance(values, tf.RaggedTensor):
        return function(values)
    if column.width is None:
        return values.with_flat_values(function(values.flat_values))
    vectors = function(tf.reshape(values.flat_values, [-1, column.width]))
    splits = values.row_splits // column.width * (column.model_width or 0)
    return tf.RaggedTensor.from_row_splits(tf.reshape(vectors, [-1]), splits, validate=False)
