"""What both passes give for one slice, and the results made of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.curves import curves
from evaluation.influence import comparisons, metric_values
from evaluation.metrics import metric_index
from evaluation.metrics.uncertainty import Interval, Moments, degrees_of_freedom, standard_error
from evaluation.plan import Plan
from evaluation.result import Counts, Curves, Estimate, ModelName, SliceKey, SliceResult
from evaluation.totals import COUNTS, SliceTotals, StackedTotals


@dataclass(frozen=True)
class SliceOutcome:
    """One slice: every task, comparison and metric.

    Attributes:
      counts: `(tasks, COUNTS)`.
      values, errors, degrees: of each of `influence.comparisons`, `(tasks, comparisons, METRICS)`; NaN where undefined.
      curves: of the whole split only.
      examples: what those of each task's sample space count for together, `(tasks,)`; None: their number.
    """

    key: SliceKey
    counts: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    degrees: np.ndarray
    curves: tuple[Curves, ...] = ()
    examples: np.ndarray | None = None

    def weighted_count(self, task: int) -> float:
        """Returns what the examples of the task's sample space count for together."""
        return float(self.count(task, "examples") if self.examples is None else self.examples[task])

    def count(self, task: int, name: str) -> int:
        """Returns the count of this name, one of COUNTS."""
        return int(self.counts[task, COUNTS.index(name)])

    def interval(self, task: int, comparison: int, metric: str) -> Interval:
        """Returns the metric's value or difference, by its index in `influence.comparisons`, with its interval."""
        at = task, comparison, metric_index(metric)
        return Interval(float(self.values[at]), float(self.errors[at]), float(self.degrees[at]))


def slice_outcome(key: SliceKey, totals: SliceTotals, moments: Moments, plan: Plan) -> SliceOutcome:
    """Returns what the totals and moments of all users come to on one slice."""
    (of_models,) = metric_values(StackedTotals([totals]), plan)
    values = [
        of_models[:, model] - (0 if against is None else of_models[:, against]) for model, against in comparisons(plan)
    ]
    return SliceOutcome(
        key,
        totals.counts,
        np.stack(values, axis=1),
        standard_error(moments),
        degrees_of_freedom(moments),
        () if key else curves(totals, plan),
        totals.weights,
    )


def estimate(interval: Interval) -> Estimate:
    """Returns the interval by its ends; None for what is undefined."""
    half = interval.half_width()
    return Estimate(
        _finite_or_none(interval.value), _finite_or_none(interval.value - half), _finite_or_none(interval.value + half)
    )


def slice_result(outcome: SliceOutcome, plan: Plan, task: int) -> SliceResult:
    """Returns one task's results on the slice."""
    planned = plan.tasks[task]
    metrics: dict[str, dict[ModelName, Estimate]] = {metric.name: {} for metric in planned.metrics}
    differences: dict[str, dict[ModelName, Estimate]] = {metric.name: {} for metric in planned.metrics}
    evaluated = plan.models_of(task)
    for c, (model, against) in enumerate(comparisons(plan)):
        if model in evaluated and against in (None, *evaluated):
            by_metric, shown = (metrics, model) if against is None else (differences, against)
            for metric in planned.metrics:
                by_metric[metric.name][plan.models[shown].name] = estimate(outcome.interval(task, c, metric.name))
    counts = {name: outcome.count(task, name) for name in COUNTS}
    of_classes = {} if planned.regression else {name: counts[name] for name in COUNTS[3:]}
    return SliceResult(
        planned.name, outcome.key, Counts(counts["examples"], counts["users"], **of_classes), metrics, differences
    )


def in_order(outcomes: Sequence[SliceOutcome], plan: Plan) -> list[SliceOutcome]:
    """Returns the whole split first, then by the order of the spec's slices, then by value."""
    order = {features: number for number, features in enumerate(((), *plan.slices))}
    return sorted(outcomes, key=lambda outcome: (order[tuple(name for name, _ in outcome.key)], outcome.key))


def _finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
