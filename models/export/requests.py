"""What requests hold: the tensors of each signature, and how they become the raw columns that Transform reads.

A column keeps the shape of its own side: of one user and N candidates, the user's columns have one row and the
candidates' N. Transform treats every column on its own, so both go through it in one call.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow_transform.tf_metadata import schema_utils

from schema.columns import ITEM_ID, ExampleColumn, example_columns, model_columns
from schema.example_schema import example_schema
from schema.spec import RankingSpec

EXPONENTS = "exponents"

Inputs = Mapping[str, tf.Tensor]
Columns = dict[str, tf.Tensor | tf.RaggedTensor]

_DTYPES = {"string": tf.string, "float": tf.float32, "int": tf.int64}


def request_feature_spec(spec: RankingSpec) -> dict:
    """How to parse a request: the raw columns of an example without labels and sample spaces, nor what isn't read."""
    schema = example_schema(spec)
    parsed = schema_utils.schema_as_feature_spec(schema).feature_spec
    return {column.name: parsed[column.name] for column in model_columns(spec)}


def candidate_columns(spec: RankingSpec) -> list[ExampleColumn]:
    """The columns of the candidate that the ranker reads; without any it can't rank."""
    return [column for column in model_columns(spec) if column.side == "item"]


def rank_inputs(spec: RankingSpec) -> dict[str, tf.TensorSpec]:
    """What `rank` takes of one user and N candidates, by column.

    The user's single-valued columns are scalars and its lists `(n,)`. The candidates' single-valued columns are `(N,)`,
    and their lists `(N, m)`, padded with empty strings.
    """
    shapes = {("user", False): [], ("user", True): [None], ("item", False): [None], ("item", True): [None, None]}
    return {column.name: _tensor_spec(column, shapes[column.side, column.ragged]) for column in model_columns(spec)}


def predict_inputs(spec: RankingSpec) -> dict[str, tf.TensorSpec]:
    """What `predict` takes of B examples, by column: `(B,)`, and lists `(B, m)`.

    Lists of strings are padded with empty strings. A behaviour's other columns may hold anything where its
    `<behaviour>_item_id` is empty; that column is an input even where the ranker doesn't read it.
    """
    positions = {_position(behaviour.name) for behaviour in spec.behaviours}
    read = {column.name for column in model_columns(spec)} | positions
    return {
        column.name: _tensor_spec(column, [None, None] if column.ragged else [None])
        for column in example_columns(spec)
        if column.name in read
    }


def user_and_candidates(inputs: Inputs, spec: RankingSpec) -> Columns:
    """Raw columns of one row for the user and of N for the candidates, from what `rank_inputs` describes.

    Raises:
      tf.errors.InvalidArgumentError: an input of another rank, candidates or positions of a behaviour that differ in
        number, an age that isn't finite; the message names the input.
    """
    inputs = _of_declared_rank(inputs, rank_inputs(spec))
    inputs = _of_one_length(inputs, candidate_columns(spec))
    for behaviour in spec.behaviours:
        inputs = _of_one_length(inputs, [c for c in model_columns(spec) if c.behaviour == behaviour.name])
    columns: Columns = {}
    for column in model_columns(spec):
        values = inputs[column.name]
        if column.side == "user":
            columns[column.name] = _one_row(_finite(values, column)) if column.ragged else values[tf.newaxis]
        else:
            columns[column.name] = _unpadded(values, values != "") if column.ragged else values
    return columns


def examples(inputs: Inputs, spec: RankingSpec) -> Columns:
    """Raw columns of B rows, from what `predict_inputs` describes.

    Raises:
      tf.errors.InvalidArgumentError: an input of another rank, inputs of different shapes where they must be the
        same, an age that isn't finite; the message names the input.
    """
    inputs = _of_declared_rank(inputs, predict_inputs(spec))
    inputs = _of_one_length(inputs, [column for column in example_columns(spec) if column.name in inputs])
    for behaviour in spec.behaviours:
        sequence = [c for c in example_columns(spec) if c.behaviour == behaviour.name and c.name in inputs]
        inputs = _of_one_length(inputs, sequence, axis=1)
    columns: Columns = {}
    for column in model_columns(spec):
        values = inputs[column.name]
        if column.ragged:
            values = _unpadded(values, inputs[_position(column.behaviour) if column.behaviour else column.name] != "")
            values = values.with_flat_values(_finite(values.flat_values, column))
        columns[column.name] = values
    return columns


def _tensor_spec(column: ExampleColumn, shape: Sequence[int | None]) -> tf.TensorSpec:
    return tf.TensorSpec(shape, _DTYPES[column.dtype], name=column.name)


def _position(behaviour: str) -> str:
    """The column of a behaviour that is never empty at a position."""
    return f"{behaviour}_{ITEM_ID}"


def _one_row(values: tf.Tensor) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(values, tf.stack([0, tf.size(values, tf.int64)]), validate=False)


def _unpadded(values: tf.Tensor, mask: tf.Tensor) -> tf.RaggedTensor:
    lengths = tf.reduce_sum(tf.cast(mask, tf.int64), axis=1)
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(values, mask), lengths, validate=False)


def _of_declared_rank(inputs: Inputs, declared: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """TensorFlow Serving compares no shapes with the signature; the operation's name gets into its message."""
    return {
        name: tf.ensure_shape(inputs[name], tensor_spec.shape, name=f"shape_of_{name}")
        for name, tensor_spec in declared.items()
    }


def _of_one_length(inputs: dict[str, tf.Tensor], columns: list[ExampleColumn], axis: int = 0) -> dict[str, tf.Tensor]:
    """The inputs, once the named ones are as long as the first of them is."""
    checked = dict(inputs)
    for column in columns[1:]:
        first, values = inputs[columns[0].name], inputs[column.name]
        expected, given = _length(first, axis), _length(values, axis)
        message = f"{column.name}: expected the length of {columns[0].name} (first below), got the second:"
        # Unlike `tf.debugging.assert_equal`, without a conditional, that costs more than all checks.
        check = tf.raw_ops.Assert(condition=tf.equal(expected, given), data=[message, expected, given])
        with tf.control_dependencies([check]):
            checked[column.name] = tf.identity(values)
    return checked


def _finite(values: tf.Tensor, column: ExampleColumn) -> tf.Tensor:
    """The values; an age is never missing, and one that isn't finite would make every output NaN."""
    if column.dtype != "float" or column.feature is not None:
        return values
    message = f"{column.name}: expected finite seconds"
    check = tf.raw_ops.Assert(condition=tf.reduce_all(tf.math.is_finite(values)), data=[message])
    with tf.control_dependencies([check]):
        return tf.identity(values)


def _length(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    return tf.shape(values)[axis]
