"""Turns the tensors of a request, which `schema.served` declares, into the raw columns that Transform reads.

Texts are evened out, as ingest does it: a client may send a row of its logs as it is.

A column keeps the shape of its own side: of one user and N candidates, the user's columns have one row and the
candidates' N. Transform treats every column on its own but for crosses and look-ups, which bring both to N rows: so
both go through it in one call.
"""

from collections.abc import Iterable, Mapping

import tensorflow as tf
from tensorflow_transform.tf_metadata import schema_utils

from models.export.evening import even
from schema.columns import ExampleColumn, example_columns, input_columns
from schema.example_schema import example_schema
from schema.served import ServedTensor, predict_inputs, rank_inputs
from schema.spec import RankingSpec

Inputs = Mapping[str, tf.Tensor]
Columns = dict[str, tf.Tensor | tf.RaggedTensor]


def request_feature_spec(spec: RankingSpec) -> dict:
    """Returns how to parse an example: its raw columns without labels and sample spaces, nor what isn't read."""
    schema = example_schema(spec)
    parsed = schema_utils.schema_as_feature_spec(schema).feature_spec
    return {column.name: parsed[column.name] for column in input_columns(spec)}


def tensor_specs(tensors: Iterable[ServedTensor]) -> dict[str, tf.TensorSpec]:
    """Returns the served tensors as TensorFlow's, by name."""
    return {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in tensors}


def user_and_candidates(inputs: Inputs, spec: RankingSpec) -> Columns:
    """Returns raw columns of one row for the user and of N for the candidates, from what `rank_inputs` describes.

    Raises:
      tf.errors.InvalidArgumentError: an input of another rank, candidates or positions of a behaviour that differ in
        number, an age that isn't finite; the message names the input.
    """
    declared = rank_inputs(spec)
    inputs = _of_declared_rank(inputs, declared)
    inputs = _of_one_length(inputs, [column for column in input_columns(spec) if column.side == "item"])
    for behaviour in spec.behaviours:
        inputs = _of_one_length(inputs, [c for c in input_columns(spec) if c.behaviour == behaviour.name])
    masks = _masks(inputs, declared)
    columns: Columns = {}
    for column in input_columns(spec):
        values = inputs[column.name]
        if column.side == "user":
            columns[column.name] = _one_row(_finite(values, column)) if column.ragged else values[tf.newaxis]
        else:
            columns[column.name] = _unpadded(values, masks[column.name], column) if column.ragged else values
    return even(columns, spec, input_columns(spec))


def examples(inputs: Inputs, spec: RankingSpec) -> Columns:
    """Returns raw columns of B rows, from what `predict_inputs` describes.

    Raises:
      tf.errors.InvalidArgumentError: an input of another rank, inputs of different shapes where they must be the
        same, an age that isn't finite; the message names the input.
    """
    declared = predict_inputs(spec)
    inputs = _of_declared_rank(inputs, declared)
    inputs = _of_one_length(inputs, [column for column in example_columns(spec) if column.name in inputs])
    for behaviour in spec.behaviours:
        sequence = [c for c in example_columns(spec) if c.behaviour == behaviour.name and c.name in inputs]
        inputs = _of_one_length(inputs, sequence, axis=1)
    masks = _masks(inputs, declared)
    columns: Columns = {}
    for column in input_columns(spec):
        values = inputs[column.name]
        if column.ragged:
            values = _unpadded(values, masks[column.name], column)
            values = values.with_flat_values(_finite(values.flat_values, column))
        columns[column.name] = values
    return even(columns, spec, input_columns(spec))


def _masks(inputs: Inputs, declared: Iterable[ServedTensor]) -> dict[str, tf.Tensor]:
    """Returns where each padded input holds values."""
    return {tensor.name: inputs[tensor.mask] != "" for tensor in declared if tensor.mask is not None}


def _one_row(values: tf.Tensor) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(values, tf.stack([0, tf.size(values, tf.int64)]), validate=False)


def _unpadded(values: tf.Tensor, mask: tf.Tensor, column: ExampleColumn) -> tf.RaggedTensor:
    """Returns the rows without their padding; of vectors `mask` has one place and `values` have `width`."""
    if column.width is not None:
        mask = tf.repeat(mask, column.width, axis=1)
    lengths = tf.reduce_sum(tf.cast(mask, tf.int64), axis=1)
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(values, mask), lengths, validate=False)


def _of_declared_rank(inputs: Inputs, declared: Iterable[ServedTensor]) -> dict[str, tf.Tensor]:
    """Returns the inputs once they have the declared ranks.

    TensorFlow Serving compares no shapes with the signature; the operation's name gets into its message.
    """
    return {
        tensor.name: tf.ensure_shape(inputs[tensor.name], tensor.shape, name=f"shape_of_{tensor.name}")
        for tensor in declared
    }


def _of_one_length(inputs: dict[str, tf.Tensor], columns: list[ExampleColumn], axis: int = 0) -> dict[str, tf.Tensor]:
    """Returns the inputs once the named ones are as long as the first of them is; lists of vectors `width` times."""
    checked = dict(inputs)
    for column in columns[1:]:
        first, values = inputs[columns[0].name], inputs[column.name]
        expected, actual = _length(first, axis), _length(values, axis)
        times = ""
        if column.behaviour and column.width is not None and axis == values.shape.rank - 1:
            expected, times = expected * column.width, f"{column.width} times "
        message = f"{column.name}: expected {times}the length of {columns[0].name} (first below), got the second:"
        # Unlike `tf.debugging.assert_equal`, without a conditional, that costs more than all checks.
        check = tf.raw_ops.Assert(condition=tf.equal(expected, actual), data=[message, expected, actual])
        with tf.control_dependencies([check]):
            checked[column.name] = tf.identity(values)
    return checked


def _finite(values: tf.Tensor, column: ExampleColumn) -> tf.Tensor:
    """Returns the values; an age is never missing, and one that isn't finite would make every output NaN."""
    if column.dtype != "float" or column.missing is not None:
        return values
    message = f"{column.name}: expected finite seconds"
    check = tf.raw_ops.Assert(condition=tf.reduce_all(tf.math.is_finite(values)), data=[message])
    with tf.control_dependencies([check]):
        return tf.identity(values)


def _length(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    return tf.shape(values)[axis]
