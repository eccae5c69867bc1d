"""Statistics of the past: counts and smoothed rates of a key, on a common scale."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.ages import scaled_age
from models.kinds.base import Columns, Kind, Transformation, in_deviations
from schema.columns import ExampleColumn, label_name, space_name
from schema.spec import RankingSpec
from schema.statistics import Rate, Statistic, ages_of, counts_of, rates_of, slots, smoothed_rate, statistic_of

# How far a prior may be from 0 and 1: its log-odds are finite.
_LEAST = 1e-6


class StatisticVectors(Kind):
    """Of each span `log(1 + n)` of the counts n, and of each label its rate, smoothed towards the train split's p.

        r = (s + m p) / (n + m)          m: `statistics.prior_strength`
        binary tasks:  logit(r) - logit(p)      regressions, measures:  r - p

    Counts are standardised by slot; rates are divided by their deviation and not shifted, so that a key that was never
    seen has 0, which is no news. `in_deviations` cuts both: counts of a whole life grow with time, and those of the
    test split lie ever further out. Ages are scaled as behaviours' are. The last number is 1 where the key is missing;
    all others are 0 there.
    """

    def analysed(self, column: ExampleColumn) -> str:
        # TFT pays for each analysis by itself.
        return "statistics"

    def transformations(
        self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec
    ) -> dict[str, Transformation]:
        """Returns the transformation of each statistic, from two sums over the train split that hold all of them."""
        layouts = {column.name: _Layout.of(spec, statistic_of(spec, column.name)) for column in columns}
        vectors = {name: tf.cast(inputs[name], tf.float64) for name in layouts}
        priors = _priors(layouts, vectors, inputs, spec)
        counts = _moments("statistics_counts", {name: one.log_counts(vectors[name]) for name, one in layouts.items()})
        news = {name: layout.news(vectors[name], priors[name]) for name, layout in layouts.items()}
        rates = _moments("statistics_rates", news)
        return {
            name: functools.partial(_scaled, layout, priors[name], *counts[name], rates[name][1])
            for name, layout in layouts.items()
        }

    def analyse(self, columns: Sequence[ExampleColumn], inputs: Columns, spec: RankingSpec) -> Transformation:
        (column,) = columns
        return self.transformations(columns, inputs, spec)[column.name]

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        return values

    def size(self, column: ExampleColumn, dim: int) -> int:
        return column.model_width or 0


@dataclass(frozen=True)
class _Layout:
    """Where a statistic's vector has what: indices of its slots.

    Attributes:
      counts: what counts are read of.
      sums, totals: of each rate, what it is a share of.
      rates: the rates themselves.
      ages: in seconds.
      strength: `m`.
    """

    counts: list[int]
    sums: list[int]
    totals: list[int]
    rates: tuple[Rate, ...]
    ages: list[int]
    strength: float

    @classmethod
    def of(cls, spec: RankingSpec, statistic: Statistic) -> "_Layout":
        index = {slot.name: i for i, slot in enumerate(slots(spec, statistic))}
        rates = rates_of(spec, statistic)
        return cls(
            [index[slot.name] for slot in counts_of(spec, statistic)],
            [index[rate.sum.name] for rate in rates],
            [index[rate.count.name] for rate in rates],
            rates,
            [index[slot.name] for slot in ages_of(spec, statistic)],
            spec.statistics.prior_strength if spec.statistics else 0.0,
        )

    def log_counts(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns `log(1 + n)`, `(batch, counts)`."""
        return tf.math.log1p(tf.gather(vectors, self.counts, axis=1))

    def news(self, vectors: tf.Tensor, priors: tf.Tensor) -> tf.Tensor:
        """Returns what the smoothed rates say beyond their priors, `(batch, rates)`."""
        sums, totals = tf.gather(vectors, self.sums, axis=1), tf.gather(vectors, self.totals, axis=1)
        smoothed = smoothed_rate(sums, totals, priors, self.strength)
        is_binary = tf.constant([rate.is_binary for rate in self.rates])
        return tf.where(is_binary, _logit(smoothed) - _logit(priors), smoothed - priors)


def _scaled(
    layout: _Layout, priors: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor, spread: tf.Tensor, vectors: tf.Tensor
) -> tf.Tensor:
    """Returns what the model reads of the vectors, float32 `(batch, model_width)`."""
    vectors = tf.cast(vectors, tf.float64)
    missing = tf.reduce_any(tf.math.is_nan(vectors), axis=1, keepdims=True)
    parts = [
        in_deviations(layout.log_counts(vectors) - mean, deviation),
        in_deviations(layout.news(vectors, priors), spread),
    ]
    if layout.ages:
        # No such row yet is -1, older than any age.
        age = tf.gather(vectors, layout.ages, axis=1)
        parts.append(tf.where(age < 0, tf.constant(_NEVER, tf.float64), scaled_age(age)))
    scaled = tf.where(missing, tf.constant(0.0, tf.float64), tf.concat(parts, axis=1))
    return tf.cast(tf.concat([scaled, tf.cast(missing, tf.float64)], axis=1), tf.float32)


def _priors(
    layouts: Mapping[str, _Layout], vectors: Columns, inputs: Columns, spec: RankingSpec
) -> dict[str, tf.Tensor]:
    """Returns the train split's mean of each rate, float64 `(rates,)`: of a task's label in its space, of a measure by
    its own sums.
    """
    # Statistics count rows, whatever an example weighs.
    spaces = {task.name: tf.cast(inputs[space_name(task)] > 0, tf.float64) for task in spec.tasks}
    labels = {task.name: tf.cast(inputs[label_name(task)], tf.float64) * spaces[task.name] for task in spec.tasks}
    sums: dict[str, list[tf.Tensor]] = {name: [] for name in layouts}
    totals: dict[str, list[tf.Tensor]] = {name: [] for name in layouts}
    for name, layout in layouts.items():
        for rate, numerator, denominator in zip(layout.rates, layout.sums, layout.totals, strict=True):
            sums[name].append(labels[rate.task.name] if rate.task else vectors[name][:, numerator])
            totals[name].append(spaces[rate.task.name] if rate.task else vectors[name][:, denominator])
    both = tf.stack([column for name in layouts for column in [*sums[name], *totals[name]]], axis=1)
    both = tf.where(tf.math.is_finite(both), both, tf.constant(0.0, tf.float64))
    summed = tft.sum(both, reduce_instance_dims=False, name="statistics_priors")
    result = {}
    for name, part in zip(layouts, tf.split(summed, [2 * len(sums[name]) for name in layouts]), strict=True):
        result[name] = tf.math.divide_no_nan(*tf.split(part, 2))
    return result


def _moments(name: str, columns: Columns) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Returns mean and deviation of each slot, float64, where the key isn't missing."""
    parts = []
    for values in columns.values():
        present = tf.math.is_finite(values)
        known = tf.where(present, values, tf.constant(0.0, tf.float64))
        parts += [tf.cast(present, tf.float64), known, tf.square(known)]
    summed = tft.sum(tf.concat(parts, axis=1), reduce_instance_dims=False, name=name)
    result = {}
    for column, part in zip(
        columns, tf.split(summed, [3 * values.shape[1] for values in columns.values()]), strict=True
    ):
        rows, total, squares = tf.split(part, 3)
        mean = tf.math.divide_no_nan(total, rows)
        variance = tf.math.divide_no_nan(squares, rows) - tf.square(mean)
        result[column] = mean, tf.sqrt(tf.maximum(variance, tf.constant(0.0, tf.float64)))
    return result


# The age of what never was, on the scale of `scaled_age`: 1 is a day, 1.5 a year.
_NEVER = 2.0


def _logit(rates: tf.Tensor) -> tf.Tensor:
    clipped = tf.clip_by_value(rates, _LEAST, 1 - _LEAST)
    return tf.math.log(clipped / (1 - clipped))
