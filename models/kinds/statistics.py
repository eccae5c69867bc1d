"""Statistics of the past: counts and smoothed rates of a key, on a common scale."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.ages import scaled_age
from models.kinds.base import Columns, Kind, Transformation
from schema.columns import ExampleColumn, label_name, space_name
from schema.spec import RankingSpec
from schema.statistics import Rate, Slot, ages_of, counts_of, rates_of, slots, statistics_of

# How far a prior may be from 0 and 1: its log-odds are finite.
_LEAST = 1e-6


class StatisticVectors(Kind):
    """Of each span `log(1 + n)` of the counts n, and of each label its rate, smoothed towards the train split's p.

        r = (s + m p) / (n + m)          m: `statistics.prior_strength`
        binary tasks:  logit(r) - logit(p)      regressions, measures:  r - p

    Counts are standardised by slot; rates are divided by their deviation and not shifted, so that a key that was never
    seen has 0, which is no news. Ages are scaled as behaviours' are. The last number is 1 where the key is missing;
    all others are 0 there.
    """

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        (column,) = columns
        values = inputs[column.name]
        (statistic,) = (statistic for statistic in statistics_of(spec) if statistic.column == column.name)
        names = [slot.name for slot in slots(spec, statistic)]
        strength = spec.statistics.prior_strength if spec.statistics else 0.0

        def picked(vectors: tf.Tensor, chosen: Sequence[Slot]) -> tf.Tensor:
            return tf.gather(vectors, [names.index(slot.name) for slot in chosen], axis=1)

        counted, rates, ages = counts_of(spec, statistic), rates_of(spec, statistic), ages_of(spec, statistic)

        def sums_and_counts(vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return picked(vectors, [rate.sum for rate in rates]), picked(vectors, [rate.count for rate in rates])

        priors = _priors(column.name, rates, *sums_and_counts(values), inputs)
        is_binary = tf.constant([rate.is_binary for rate in rates])

        def log_counts(vectors: tf.Tensor) -> tf.Tensor:
            return tf.math.log1p(picked(vectors, counted))

        def news_of(vectors: tf.Tensor) -> tf.Tensor:
            sums, totals = sums_and_counts(vectors)
            smoothed = (sums + strength * priors) / (totals + strength)
            return tf.where(is_binary, _logit(smoothed) - _logit(priors), smoothed - priors)

        # TFT leaves NaN out of both.
        counts = log_counts(values)
        mean = tft.mean(counts, reduce_instance_dims=False, name=f"{column.name}_mean")
        deviation = tf.sqrt(tft.var(counts, reduce_instance_dims=False, name=f"{column.name}_var"))
        spread = tf.sqrt(tft.var(news_of(values), reduce_instance_dims=False, name=f"{column.name}_rates_var"))

        def scale(vectors: tf.Tensor) -> tf.Tensor:
            missing = tf.reduce_any(tf.math.is_nan(vectors), axis=1, keepdims=True)
            parts = [
                tf.math.divide_no_nan(log_counts(vectors) - mean, deviation),
                tf.math.divide_no_nan(news_of(vectors), spread),
            ]
            if ages:
                # No such row yet is -1, older than any age.
                age = picked(vectors, ages)
                parts.append(tf.where(age < 0, _NEVER, scaled_age(age)))
            scaled = tf.where(missing, 0.0, tf.concat(parts, axis=1))
            return tf.concat([scaled, tf.cast(missing, tf.float32)], axis=1)

        return scale

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        return values

    def size(self, column: ExampleColumn, dim: int) -> int:
        return column.model_width or 0


# The age of what never was, on the scale of `scaled_age`: 1 is a day, 1.5 a year.
_NEVER = 2.0


def _priors(column: str, rates: Sequence[Rate], sums: tf.Tensor, counts: tf.Tensor, inputs: Columns) -> tf.Tensor:
    """Returns the train split's mean of each rate: of a task's label in its space, of a measure by its own sums.

    One analysis for all: TFT pays for each by itself.
    """
    labels = [inputs[label_name(rate.task)] * inputs[space_name(rate.task)] if rate.task else None for rate in rates]
    spaces = [inputs[space_name(rate.task)] if rate.task else None for rate in rates]
    totals = tf.stack([sums[:, k] if label is None else label for k, label in enumerate(labels)], axis=1)
    rows = tf.stack([counts[:, k] if space is None else space for k, space in enumerate(spaces)], axis=1)
    both = tf.concat([totals, rows], axis=1)
    both = tf.where(tf.math.is_finite(both), both, 0.0)
    total, count = tf.split(tft.sum(both, reduce_instance_dims=False, name=f"{column}_priors"), 2)
    return tf.math.divide_no_nan(total, count)


def _logit(rates: tf.Tensor) -> tf.Tensor:
    clipped = tf.clip_by_value(rates, _LEAST, 1 - _LEAST)
    return tf.math.log(clipped / (1 - clipped))
