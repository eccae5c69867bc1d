"""What both passes give for one slice, and the results made of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.curves import curves
from evaluation.influence import targets, values
from evaluation.metrics.uncertainty import Interval, Moments, degrees_of_freedom, standard_error
from evaluation.plan import Plan
from evaluation.result import Counts, Curves, Estimate, ModelName, SliceKey, SliceResult
from evaluation.totals import COUNTS, PLACE, SliceTotals


@dataclass(frozen=True)
class SliceOutcome:
    """One slice: every task, target and metric.

    Attributes:
      counts: `(tasks, COUNTS)`.
      values, errors, degrees: of each target (`influence.targets`), `(tasks, targets, metrics)`; NaN where undefined.
      curves: of the whole split only.
    """

    key: SliceKey
    counts: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    degrees: np.ndarray
    curves: tuple[Curves, ...] = ()

    def count(self, task: int, name: str) -> int:
        return int(self.counts[task, COUNTS.index(name)])

    def interval(self, task: int, target: int, metric: str) -> Interval:
        at = task, target, PLACE[metric]
        return Interval(float(self.values[at]), float(self.errors[at]), float(self.degrees[at]))


def outcome(key: SliceKey, totals: SliceTotals, moments: Moments, plan: Plan) -> SliceOutcome:
    by_model = values(totals)
    by_target = np.stack(
        [by_model[:, one] - (0 if other is None else by_model[:, other]) for one, other in targets(plan)], axis=1
    )
    return SliceOutcome(
        key,
        totals.counts,
        by_target,
        standard_error(moments),
        degrees_of_freedom(moments),
        () if key else curves(totals, plan),
    )


def estimate(interval: Interval) -> Estimate:
    half = interval.half_width()
    return Estimate(_known(interval.value), _known(interval.value - half), _known(interval.value + half))


def slice_result(found: SliceOutcome, plan: Plan, task: int) -> SliceResult:
    """One task on the slice."""
    planned = plan.tasks[task]
    metrics: dict[str, dict[ModelName, Estimate]] = {metric.name: {} for metric in planned.metrics}
    differences: dict[str, dict[ModelName, Estimate]] = {metric.name: {} for metric in planned.metrics}
    evaluated = plan.models_of(task)
    for place, (one, other) in enumerate(targets(plan)):
        if one in evaluated and other in (None, *evaluated):
            for metric in planned.metrics:
                found_of = metrics if other is None else differences
                model = plan.models[one if other is None else other].name
                found_of[metric.name][model] = estimate(found.interval(task, place, metric.name))
    counts = {name: found.count(task, name) for name in COUNTS}
    of_classes = {} if planned.regression else {name: counts[name] for name in COUNTS[3:]}
    return SliceResult(
        planned.name, found.key, Counts(counts["examples"], counts["users"], **of_classes), metrics, differences
    )


def in_order(outcomes: Sequence[SliceOutcome], plan: Plan) -> list[SliceOutcome]:
    """The whole split first, then by the order of the spec's slices, then by value."""
    place = {features: number for number, features in enumerate(((), *plan.slices))}
    return sorted(outcomes, key=lambda one: (place[tuple(name for name, _ in one.key)], one.key))


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
