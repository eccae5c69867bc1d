"""Statistics of the past: counts and smoothed rates of a key, on a common scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.kinds.ages import scaled_age
from models.kinds.base import Columns, Kind, Values, in_deviations
from schema.columns import ExampleColumn, label_name, space_name
from schema.spec import RankingSpec
from schema.statistics import Rate, ages_of, counts_of, rates_of, slots, smoothed_rate, statistic_of

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

    def transform(
        self, columns: Sequence[ExampleColumn], values: Values, inputs: Columns, spec: RankingSpec
    ) -> dict[str, tf.Tensor]:
        """Returns what the model reads of each statistic, from two sums over the train split that hold all of them.

        The vectors of a side are one matrix: of one user and N candidates, sides differ in their number. A slot is a
        row of it, since rows are gathered many times as fast as columns.
        """
        sides = {side: [column for column in columns if column.side == side] for side in ("user", "item")}
        layouts = {side: _Layout.of(spec, of_side) for side, of_side in sides.items() if of_side}
        vectors = {
            side: tf.cast(tf.transpose(tf.concat([inputs[column.name] for column in sides[side]], axis=1)), tf.float64)
            for side in layouts
        }
        priors = _priors(layouts, vectors, inputs, spec)
        log_counts = {side: layout.log_counts(vectors[side]) for side, layout in layouts.items()}
        counts = _moments("statistics_counts", log_counts)
        news = {side: layout.news(vectors[side], priors[side]) for side, layout in layouts.items()}
        rates = _moments("statistics_rates", news)
        scaled: dict[str, tf.Tensor] = {}
        for side, layout in layouts.items():
            mean, deviation = counts[side]
            numbers = [
                in_deviations(log_counts[side] - mean, deviation),
                in_deviations(news[side], rates[side][1]),
                layout.scaled_ages(vectors[side]),
            ]
            scaled |= layout.by_statistic(tf.concat(numbers, axis=0), vectors[side])
        return scaled

    def embed(self, values: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        return values

    def size(self, column: ExampleColumn, dim: int) -> int:
        return column.model_width or 0


@dataclass(frozen=True)
class _Layout:
    """Where the vectors of several statistics, one after the other, have what: indices of their slots.

    Attributes:
      widths: of each statistic's vector, by its column.
      counts: what counts are read of.
      sums, totals: of each rate, what it is a share of.
      rates: the rates themselves.
      ages: in seconds.
      readers: of each count, rate and age in this order, which statistic the model reads it for.
      strength: `m`.
    """

    widths: dict[str, int]
    counts: list[int]
    sums: list[int]
    totals: list[int]
    rates: list[Rate]
    ages: list[int]
    readers: list[int]
    strength: float

    @classmethod
    def of(cls, spec: RankingSpec, columns: Sequence[ExampleColumn]) -> "_Layout":
        statistics = [statistic_of(spec, column.name) for column in columns]
        names = [slot.name for statistic in statistics for slot in slots(spec, statistic)]
        index = {name: i for i, name in enumerate(names)}
        counts = [counts_of(spec, statistic) for statistic in statistics]
        rates = [rates_of(spec, statistic) for statistic in statistics]
        ages = [ages_of(spec, statistic) for statistic in statistics]
        return cls(
            {column.name: column.width or 0 for column in columns},
            [index[slot.name] for slot in chain(*counts)],
            [index[rate.sum.name] for rate in chain(*rates)],
            [index[rate.count.name] for rate in chain(*rates)],
            list(chain(*rates)),
            [index[slot.name] for slot in chain(*ages)],
            [i for read in (counts, rates, ages) for i, numbers in enumerate(map(len, read)) for _ in range(numbers)],
            spec.statistics.prior_strength if spec.statistics else 0.0,
        )

    def log_counts(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns `log(1 + n)`, `(counts, batch)`."""
        return tf.math.log1p(_slots(vectors, self.counts))

    def news(self, vectors: tf.Tensor, priors: tf.Tensor) -> tf.Tensor:
        """Returns what the smoothed rates say beyond their priors `(rates, 1)`, `(rates, batch)`."""
        sums, totals = _slots(vectors, self.sums), _slots(vectors, self.totals)
        smoothed = smoothed_rate(sums, totals, priors, self.strength)
        is_binary = tf.constant([[rate.is_binary] for rate in self.rates], tf.bool, [len(self.rates), 1])
        return tf.where(is_binary, _logit(smoothed) - _logit(priors), smoothed - priors)

    def scaled_ages(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns ages on the scale of behaviours', `(ages, batch)`."""
        age = _slots(vectors, self.ages)
        # No such row yet is -1, older than any age.
        return tf.where(age < 0, tf.constant(_NEVER, tf.float64), scaled_age(age))

    def by_statistic(self, numbers: tf.Tensor, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what the model reads of each statistic by its column, float32 `(batch, model_width)`.

        Args:
          numbers: the scaled counts, rates and ages, `(counts + rates + ages, batch)`.
          vectors: the raw ones, which are NaN where a statistic's key is missing.
        """
        nan = tf.split(tf.math.is_nan(vectors), list(self.widths.values()), axis=0)
        missing = tf.stack([tf.reduce_any(of_statistic, axis=0) for of_statistic in nan])
        numbers = tf.where(_slots(missing, self.readers), tf.constant(0.0, tf.float64), numbers)
        both = tf.cast(tf.concat([numbers, tf.cast(missing, tf.float64)], axis=0), tf.float32)
        # Stable: of a statistic its counts, its rates, its ages, and last the indicator.
        readers = np.array([*self.readers, *range(len(self.widths))])
        in_order = _slots(both, np.argsort(readers, kind="stable"))
        by_statistic = tf.split(in_order, np.bincount(readers), axis=0)
        return {name: tf.transpose(numbers) for name, numbers in zip(self.widths, by_statistic, strict=True)}


def _priors(
    layouts: Mapping[str, _Layout], vectors: Columns, inputs: Columns, spec: RankingSpec
) -> dict[str, tf.Tensor]:
    """Returns the train split's mean of each rate, float64 `(rates, 1)`: of a task's label in its space, of a measure
    by its own sums.
    """
    # Statistics count rows, whatever an example weighs.
    spaces = tf.stack([tf.cast(inputs[space_name(task)] > 0, tf.float64) for task in spec.tasks], axis=1)
    labels = tf.stack([tf.cast(inputs[label_name(task)], tf.float64) for task in spec.tasks], axis=1) * spaces
    sums, totals = [labels], [spaces]
    index = {task.name: i for i, task in enumerate(spec.tasks)}
    indices: dict[str, list[int]] = {}
    first = len(spec.tasks)
    for side, layout in layouts.items():
        measured = [i for i, rate in enumerate(layout.rates) if rate.task is None]
        if measured:
            sums.append(tf.transpose(_slots(vectors[side], [layout.sums[i] for i in measured])))
            totals.append(tf.transpose(_slots(vectors[side], [layout.totals[i] for i in measured])))
        places = iter(range(first, first + len(measured)))
        indices[side] = [index[rate.task.name] if rate.task else next(places) for rate in layout.rates]
        first += len(measured)
    both = tf.concat([*sums, *totals], axis=1)
    both = tf.where(tf.math.is_finite(both), both, tf.constant(0.0, tf.float64))
    priors = tf.math.divide_no_nan(*tf.split(tft.sum(both, reduce_instance_dims=False, name="statistics_priors"), 2))
    return {side: tf.gather(priors, tf.constant(of_side, tf.int32))[:, tf.newaxis] for side, of_side in indices.items()}


def _moments(name: str, columns: Columns) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Returns mean and deviation of each slot, float64 `(slots, 1)`, where the key isn't missing."""
    parts = []
    for values in columns.values():
        present = tf.math.is_finite(values)
        filled = tf.where(present, values, tf.constant(0.0, tf.float64))
        parts += [tf.transpose(values) for values in (tf.cast(present, tf.float64), filled, tf.square(filled))]
    summed = tft.sum(tf.concat(parts, axis=1), reduce_instance_dims=False, name=name)
    result = {}
    for column, sums in zip(
        columns, tf.split(summed, [3 * values.shape[0] for values in columns.values()]), strict=True
    ):
        rows, total, squares = tf.split(sums[:, tf.newaxis], 3)
        mean = tf.math.divide_no_nan(total, rows)
        variance = tf.math.divide_no_nan(squares, rows) - tf.square(mean)
        result[column] = mean, tf.sqrt(tf.maximum(variance, tf.constant(0.0, tf.float64)))
    return result


def _slots(vectors: tf.Tensor, indices: Sequence[int] | np.ndarray) -> tf.Tensor:
    return tf.gather(vectors, tf.constant(indices, tf.int32))


# The age of what never was, on the scale of `scaled_age`: 1 is a day, 1.5 a year.
_NEVER = 2.0


def _logit(rates: tf.Tensor) -> tf.Tensor:
    clipped = tf.clip_by_value(rates, _LEAST, 1 - _LEAST)
    return tf.math.log(clipped / (1 - clipped))
