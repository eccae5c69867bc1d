"""Evens the texts of a request out as ingest does those of the logs, so that both meet the same vocabulary entries."""

import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from schema.columns import MISSING, ExampleColumn
from schema.derived import ENTRY
from schema.features import LIST_MARKS
from schema.files import WHOLE_NUMBER
from schema.spec import RankingSpec

Columns = dict[str, tf.Tensor | tf.RaggedTensor]


def even(columns: Mapping[str, tf.Tensor | tf.RaggedTensor], spec: RankingSpec, of: Sequence[ExampleColumn]) -> Columns:
    """Returns raw columns as ingest would have written them; what it wrote stays as it is.

    `1.0` is `1` in ids, categories and a map's keys. An empty category, or a word that the spec reads as one, is
    `MISSING`; in a list of several values there is none in its place. A number that the spec reads as missing is NaN.

    Args:
      of: what the columns are.
    """
    result = dict(columns)
    for column in of:
        values = columns[column.name]
        if column.dtype != "string":
            result[column.name] = _without_numbers(values, column, spec)
        elif column.kind == "map":
            result[column.name] = values.with_flat_values(_even_keys(values.flat_values))
        elif column.ragged and column.behaviour is None:
            result[column.name] = _even_list(values, column, spec)
        elif isinstance(values, tf.RaggedTensor):
            result[column.name] = values.with_flat_values(_even_values(values.flat_values, column, spec))
        else:
            result[column.name] = _even_values(values, column, spec)
    return result


def _without_numbers(
    values: tf.Tensor | tf.RaggedTensor, column: ExampleColumn, spec: RankingSpec
) -> tf.Tensor | tf.RaggedTensor:
    if column.feature is None or column.feature.kind != "numeric":
        return values
    for number in getattr(spec, column.feature.source).missing_numbers:
        is_missing = values == tf.constant(number, values.dtype)
        values = tf.where(is_missing, tf.constant(float("nan"), values.dtype), values)
    return values


def _even_values(values: tf.Tensor, column: ExampleColumn, spec: RankingSpec) -> tf.Tensor:
    numbers = tf.strings.regex_replace(values, WHOLE_NUMBER, r"\1")
    return numbers if column.missing is None else tf.where(_is_missing(numbers, column, spec), MISSING, numbers)


def _even_list(values: tf.RaggedTensor, column: ExampleColumn, spec: RankingSpec) -> tf.RaggedTensor:
    flat = values.flat_values
    if column.feature is not None and column.feature.strip:
        marks = f"[{re.escape(LIST_MARKS)}]+"
        flat = tf.strings.regex_replace(flat, f"^{marks}|{marks}$", "")
    texts = tf.strings.regex_replace(flat, WHOLE_NUMBER, r"\1")
    is_value = ~_is_missing(texts, column, spec)
    return tf.ragged.boolean_mask(values.with_flat_values(texts), values.with_flat_values(is_value))


def _even_keys(entries: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(entries, WHOLE_NUMBER.replace("$", f"({ENTRY})"), r"\1\2")


def _is_missing(values: tf.Tensor, column: ExampleColumn, spec: RankingSpec) -> tf.Tensor:
    """Returns which of a feature's texts are empty, or a word for a missing one in the table or log that has it."""
    assert column.feature is not None
    words = getattr(spec, column.feature.source).missing_texts
    return tf.strings.regex_full_match(values, "|".join(["", *map(re.escape, words)]))
