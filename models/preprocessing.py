"""The Transform graph: ids by vocabulary, numbers scaled, from the spec alone."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema.columns import ExampleColumn, label_name, model_columns, space_name
from schema.spec import Feature, RankingSpec

DAY_S = 86_400.0

Columns = Mapping[str, tf.Tensor | tf.RaggedTensor]


def preprocessing_fn(inputs: Columns, custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Turns raw example columns into those that the ranker reads, of the same names; labels and spaces pass through.

    Ragged columns stay ragged. Every string becomes an int64 id: its index in the vocabulary, or an out-of-vocabulary
    bucket after it. Numbers become float32, or int64 ids from 1 on of quantile buckets; a missing one is NaN, or id 0.

    Args:
      inputs: the columns of `schema.columns.example_columns`.
      custom_config: `{"spec": the ranking spec as JSON}`.
    """
    spec = RankingSpec.from_json(custom_config["spec"])
    columns = model_columns(spec)
    vocabularies = {name: _vocabulary(name, inputs, columns, spec) for name in _vocabulary_names(columns)}
    # Sequences repeat values of candidates and would weigh them by how active users are: they are scaled, not analysed.
    numbers = [feature for feature in spec.features if feature.is_numeric]
    scalers = {feature.name: _Scaler(feature, inputs[feature.name]) for feature in numbers}
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    outputs: dict[str, tf.Tensor | tf.RaggedTensor] = {}
    for column in columns:
        values = inputs[column.name]
        if column.behaviour is not None:
            # Ingest writes no longer ones, but a request may hold more: the newest are kept.
            values = values[:, -lengths[column.behaviour] :]
        if column.vocabulary is not None:
            outputs[column.name] = tft.apply_vocabulary(
                values, vocabularies[column.vocabulary], num_oov_buckets=spec.model.oov_buckets
            )
        elif column.feature is not None:
            outputs[column.name] = _map_values(scalers[column.feature.name], values)
        else:
            outputs[column.name] = _map_values(scaled_age, values)
    for task in spec.tasks:
        for name in (label_name(task), space_name(task)):
            outputs[name] = tf.identity(inputs[name])
    return outputs


def scaled_age(seconds: tf.Tensor) -> tf.Tensor:
    """Returns `log(1 + s) / log(1 + a day)`: 0 is now, 1 a day ago, 1.5 a year ago."""
    return tf.math.log1p(tf.maximum(seconds, 0.0)) / math.log1p(DAY_S)


def _vocabulary_names(columns: tuple[ExampleColumn, ...]) -> list[str]:
    return list(dict.fromkeys(column.vocabulary for column in columns if column.vocabulary is not None))


def _vocabulary(name: str, inputs: Columns, columns: tuple[ExampleColumn, ...], spec: RankingSpec):
    """Analyses the vocabulary over every candidate column that names it, and not over sequences.

    A sequence's values were those of earlier rows, so sequences would add next to no values, at many times the cost,
    and weigh the frequencies by how active users are. The few items that are in sequences alone (feedback on an item
    without an impression in the log) share the out-of-vocabulary buckets.
    """
    sources = [column.name for column in columns if column.vocabulary == name and column.behaviour is None]
    flat = [inputs[source].flat_values if _is_ragged(inputs[source]) else inputs[source] for source in sources]
    return tft.vocabulary(
        tf.concat([tf.reshape(values, [-1]) for values in flat], axis=0),
        top_k=spec.model.max_vocabulary,
        frequency_threshold=spec.model.min_frequency,
        vocab_filename=name,
        name=f"{name}_vocabulary",
    )


class _Scaler:
    """Scales a number as the feature says, by statistics of its candidate column, which missing values don't enter."""

    def __init__(self, feature: Feature, values: tf.Tensor):
        self.feature = feature
        if feature.scale == "buckets":
            finite = tf.boolean_mask(values, tf.math.is_finite(values))
            self.boundaries = tft.quantiles(finite, feature.buckets, epsilon=0.01, name=f"{feature.name}_quantiles")
            return
        # TFT leaves NaN and infinity out of both.
        self.mean = tft.mean(self._compressed(values), name=f"{feature.name}_mean")
        self.deviation = tf.sqrt(tft.var(self._compressed(values), name=f"{feature.name}_var"))

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        finite = tf.math.is_finite(values)
        if self.feature.scale == "buckets":
            ids = tft.apply_buckets(tf.where(finite, values, 0.0), self.boundaries)
            return tf.where(finite, ids + 1, 0)
        scaled = tf.math.divide_no_nan(self._compressed(values) - self.mean, self.deviation)
        return tf.where(finite, scaled, math.nan)

    def _compressed(self, values: tf.Tensor) -> tf.Tensor:
        if self.feature.scale == "log":
            return tf.sign(values) * tf.math.log1p(tf.abs(values))
        return values


def _is_ragged(values: tf.Tensor | tf.RaggedTensor) -> bool:
    return isinstance(values, tf.RaggedTensor)


def _map_values(function, values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor | tf.RaggedTensor:
    return values.with_flat_values(function(values.flat_values)) if _is_ragged(values) else function(values)
