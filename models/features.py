"""Transformed examples: which columns the ranker reads, their types, and how ragged ones become dense."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.kinds import kind_of
from schema.columns import RANKING_GROUP, ExampleColumn, label_name, model_columns, space_name
from schema.spec import RankingSpec

# What padded positions hold: no id and no age is negative.
PADDING = -1
# Transform writes the values of a ragged output under its name with this ending.
RAGGED_VALUES = "$ragged_values"
# Multi-valued features have no declared length; their widths are powers of two, and seldom above this one, so that XLA,
# which takes twenty seconds or more a shape, compiles one.
MIN_WIDTH = 16

Features = Mapping[str, tf.Tensor]


def table_sizes(spec: RankingSpec, vocabulary_sizes: Mapping[str, int]) -> dict[str, int]:
    """Returns the rows of each embedding table, given the vocabularies' sizes (without out-of-vocabulary buckets).

    Columns of one vocabulary share a table; so do a bucketised feature and its sequences.
    """
    sizes: dict[str, int] = {}
    for column in model_columns(spec):
        kind = kind_of(column)
        table = kind.table(column)
        if table is not None:
            sizes[table] = kind.rows(column, vocabulary_sizes, spec)
    return sizes


def transformed_feature_spec(spec: RankingSpec) -> dict[str, tf.io.RaggedFeature | tf.io.FixedLenFeature]:
    """Returns how to parse transformed examples. An empty string is parsed as one outside every sample space."""
    features: dict[str, tf.io.RaggedFeature | tf.io.FixedLenFeature] = {}
    for column in model_columns(spec):
        dtype = kind_of(column).dtype
        if column.ragged:
            features[column.name] = tf.io.RaggedFeature(
                dtype, value_key=column.name + RAGGED_VALUES, row_splits_dtype=tf.int32
            )
        else:
            shape = _shape(column)
            features[column.name] = tf.io.FixedLenFeature(
                shape, dtype, default_value=np.zeros(shape, dtype.as_numpy_dtype)
            )
    for task in spec.tasks:
        for name in (label_name(task), space_name(task)):
            features[name] = tf.io.FixedLenFeature([], tf.float32, default_value=0.0)
    if spec.training.ranking_loss:
        features[RANKING_GROUP] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    return features


def dense(features: Mapping[str, tf.Tensor | tf.RaggedTensor], spec: RankingSpec) -> dict[str, tf.Tensor]:
    """Makes the model columns in `features` dense, ragged ones padded with `PADDING`, as the ranker reads them.

    Others stay. Sequences become `(batch, max_length)`, of vectors `(batch, max_length, model_width)`; multi-valued
    features `(batch, width)`, the batch's longest rounded up to a power of two. Ids become int32.
    """
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    result = dict(features)
    for column in model_columns(spec):
        if column.name not in features:
            continue
        values = features[column.name]
        if isinstance(values, tf.RaggedTensor):
            width = lengths[column.behaviour] if column.behaviour else _width(values)
            values = _padded(values, width if column.model_width is None else width * column.model_width)
            if column.model_width is not None:
                values = tf.reshape(values, [-1, width, column.model_width])
        elif values.shape.rank == 2 and not column.ragged and column.width is None:
            values = tf.squeeze(values, axis=1)
        result[column.name] = values if values.dtype == tf.float32 else tf.cast(values, tf.int32)
    return result


def placeholders(spec: RankingSpec) -> dict[str, tf.Tensor]:
    """Returns one example of zeros in the shapes and types of `dense`, to create a ranker's weights without data."""
    return {
        column.name: tf.zeros(
            [1, 1, *_shape(column)] if column.ragged else [1, *_shape(column)],
            tf.float32 if kind_of(column).dtype == tf.float32 else tf.int32,
        )
        for column in model_columns(spec)
    }


def _shape(column: ExampleColumn) -> list[int]:
    """Returns the shape of a transformed value, an example's or, in a ragged column, one of its list."""
    return [] if column.model_width is None else [column.model_width]


def _width(values: tf.RaggedTensor) -> tf.Tensor:
    longest = tf.cast(values.bounding_shape(axis=1), tf.float32)
    return tf.cast(2 ** tf.math.ceil(tf.math.log(tf.maximum(longest, MIN_WIDTH)) / tf.math.log(2.0)), tf.int32)


def _padded(values: tf.RaggedTensor, width: int | tf.Tensor) -> tf.Tensor:
    if isinstance(width, int):
        return values.to_tensor(PADDING, shape=[None, width])
    padded = values.to_tensor(PADDING)
    return tf.pad(padded, [[0, 0], [0, width - tf.shape(padded)[1]]], constant_values=PADDING)
