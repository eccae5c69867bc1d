"""The second pass: each user's influence on every metric and every difference, as sums of its powers by slice."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from evaluation import metrics
from evaluation.metrics.uncertainty import Moments
from evaluation.plan import Plan
from evaluation.result import SliceKey
from evaluation.scored import ScoredRows, SliceView
from evaluation.totals import SliceTotals, StackedTotals, task_rows


class Comparison(NamedTuple):
    """What has an interval, by indices of `Plan.models`: a model, or its difference from another one (`against`)."""

    model: int
    against: int | None


def comparisons(plan: Plan) -> list[Comparison]:
    """Returns each model alone, then the candidate against each other model."""
    models = range(len(plan.models))
    return [Comparison(m, None) for m in models] + [Comparison(0, m) for m in models if m]


def metric_values(totals: StackedTotals, plan: Plan) -> np.ndarray:
    """Returns every metric, `(slices, tasks, models, METRICS)`; NaN where it is undefined or not the task's."""
    values = np.full((totals.slices, len(plan.tasks), len(plan.models), len(metrics.METRICS)), np.nan)
    for t, task in enumerate(plan.tasks):
        for m in plan.models_of(t):
            for metric in task.metrics:
                values[:, t, m, metrics.metric_index(metric.name)] = metric.value(totals.of(t, m, metric))
    return values


def influence_moments(
    rows: ScoredRows, view: SliceView, plan: Plan, totals: Mapping[SliceKey, SliceTotals]
) -> Iterator[tuple[SliceKey, Moments]]:
    """Yields every slice of the view with its moments `(tasks, comparisons, METRICS)`; NaN without the task.

    Args:
      rows: as `totals.totals` takes them, all rows of each of their users.
      totals: of all users.
    """
    stacked = StackedTotals([totals[key] for key in view.keys])
    values = metric_values(stacked, plan)
    shape = (len(view.keys), len(plan.tasks), len(comparisons(plan)), len(metrics.METRICS))
    users = np.zeros(shape, np.int64)
    second, fourth = np.full((2, *shape), np.nan)
    for t, task in enumerate(plan.tasks):
        columns = [metrics.metric_index(metric.name) for metric in task.metrics]
        influence: dict[int, np.ndarray] = {}
        for m in plan.models_of(t):
            of_model = task_rows(rows, view, t, m)
            influence[m] = np.stack(
                [
                    metric.influence(of_model, stacked.of(t, m, metric), values[:, t, m, column])
                    for metric, column in zip(task.metrics, columns, strict=True)
                ]
            )
            if m == 0:
                counts = np.stack([metric.counts(of_model) for metric in task.metrics])
                counted_users = of_model.by_slice(counts.astype(np.int64))
        for c, (model, against) in enumerate(comparisons(plan)):
            if model not in influence or against not in (None, *influence):
                continue
            square = (influence[model] if against is None else influence[model] - influence[against]) ** 2
            users[:, t, c, columns] = counted_users
            second[:, t, c, columns] = of_model.by_slice(square)
            fourth[:, t, c, columns] = of_model.by_slice(square**2)
    for s, key in enumerate(view.keys):
        yield key, Moments(users[s], second[s], fourth[s])
