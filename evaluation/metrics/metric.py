"""What a metric is: a name, which way is better, sums over users, a value, and each user's influence on the value."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from evaluation.metrics.histogram import ScoreHistogram
from evaluation.metrics.task_rows import TaskRows

TaskKind = Literal["binary", "regression"]


class TfmaMetric(NamedTuple):
    """The metric of the same name in TFMA's configuration.

    Attributes:
      class_name: of the metric's class.
      module: what TFMA imports the class from; empty for TFMA's own.
      by_user: whether TFMA has to hand it the examples user by user.
    """

    class_name: str
    module: str = ""
    by_user: bool = False


@dataclass(frozen=True)
class MetricTotals:
    """What a metric's value is made of: one model's totals on one task, slice by slice.

    Attributes:
      examples: what those in the task's sample space count for: their number, or the sum of their weights; `(slices,)`.
      sums: what the metric's `sums` gave, over all users, `(slices, sum_count)`.
      histograms: how many positives and negatives have which score, of each slice; none in a regression.
    """

    examples: np.ndarray
    sums: np.ndarray
    histograms: Sequence[ScoreHistogram] = ()


class Metric(ABC):
    """A metric of one task: sums over users that merge by adding, and a value made of them.

    Attributes:
      name: in evaluations, checks and TFMA's files.
      label: what readers of a report see.
      higher_is_better: None where neither way is better, as calibration is best at 1.
      task_kind: which tasks it is taken of.
      sum_count: how many sums its value is made of.
      tfma: its name in TFMA's configuration; None where TFMA has no such metric.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    task_kind: ClassVar[TaskKind]
    sum_count: ClassVar[int]
    tfma: ClassVar[TfmaMetric | None] = None

    @abstractmethod
    def sums(self, rows: TaskRows) -> np.ndarray:
        """Returns the sums that the value is made of, `(slices, sum_count)`. They merge by adding."""

    @abstractmethod
    def value(self, totals: MetricTotals) -> np.ndarray:
        """Returns the metric on every slice, `(slices,)`; NaN where it is undefined."""

    @abstractmethod
    def influence(self, rows: TaskRows, totals: MetricTotals, value: np.ndarray) -> np.ndarray:
        """Returns the derivative of the value by the weight of each (slice, user), `(groups,)`.

        Args:
          rows: all rows of some users.
          totals, value: of all users.
        """

    def counts(self, rows: TaskRows) -> np.ndarray:
        """Returns which (slice, user)s the metric is about, bool `(groups,)`: by default those with an example."""
        return rows.examples > 0


class PerUser(NamedTuple):
    """What each (slice, user) adds to a ratio, all `(groups,)`; `counts`: whether the metric is about the user."""

    numerator: np.ndarray
    denominator: np.ndarray
    counts: np.ndarray


class RatioMetric(Metric):
    """A sum over users by another one: value = sum_u numerator_u / sum_u denominator_u.

    A user's influence on it is (numerator_u - value * denominator_u) / sum_u denominator_u.
    """

    sum_count = 2

    @abstractmethod
    def per_user(self, rows: TaskRows) -> PerUser:
        """Returns each (slice, user)'s numerator and denominator; both 0 where the metric isn't about the user."""

    def sums(self, rows: TaskRows) -> np.ndarray:
        numerator, denominator, _ = self.per_user(rows)
        return rows.by_slice(np.stack([numerator, denominator]).astype(np.float64))

    def value(self, totals: MetricTotals) -> np.ndarray:
        numerators, denominators = totals.sums.T
        with np.errstate(invalid="ignore", divide="ignore"):
            # Without a label, calibration is undefined and not infinite, as in TFMA.
            return np.where(denominators > 0, numerators / denominators, np.nan)

    def influence(self, rows: TaskRows, totals: MetricTotals, value: np.ndarray) -> np.ndarray:
        numerator, denominator, _ = self.per_user(rows)
        of_group = rows.slice_of_group
        with np.errstate(invalid="ignore", divide="ignore"):
            return (numerator - value[of_group] * denominator) / totals.sums[of_group, 1]

    def counts(self, rows: TaskRows) -> np.ndarray:
        return self.per_user(rows).counts
