"""Tensors of tf.Examples, column by column, written without the codec of `serving.requests`, which they check."""

import tensorflow as tf

from schema.columns import model_columns
from schema.spec import RankingSpec


def values_of(example: tf.train.Example, column) -> list:
    feature = example.features.feature[column.name]
    return list(feature.bytes_list.value if column.dtype == "string" else feature.float_list.value)


def as_tensor(column, rows: list[list], leading: int = 0) -> tf.Tensor:
    dtype = tf.string if column.dtype == "string" else tf.float32
    if not column.ragged:
        shape = [len(rows)] if column.width is None else [len(rows), column.width]
        return tf.constant([value for values in rows for value in values], dtype, shape)
    # A behaviour's vectors are one list.
    leading *= column.width or 1
    padding = b"" if column.dtype == "string" else -7.0
    width = max((len(values) for values in rows), default=0)
    padded = [[padding] * leading + values + [padding] * (width - len(values)) for values in rows]
    return tf.reshape(tf.constant(padded, dtype), [len(rows), leading + width])


def without_lists(example: tf.train.Example, spec: RankingSpec) -> tf.train.Example:
    bare = tf.train.Example.FromString(example.SerializeToString())
    for column in model_columns(spec):
        if column.ragged:
            del bare.features.feature[column.name]
    return bare
