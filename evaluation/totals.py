"""The first pass: sums over users, of every task, model and metric on every slice. They are merged by adding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from evaluation import metrics
from evaluation.metrics.histogram import ScoreHistogram, histogram, merged
from evaluation.metrics.metric import Metric, MetricTotals
from evaluation.metrics.task_rows import TaskRows
from evaluation.plan import Plan
from evaluation.result import SliceKey
from evaluation.scored import ScoredRows, SliceView

# Of the task's sample space, but for `rows`: all rows of the slice.
COUNTS = ("examples", "users", "rows", "positives", "ranked_users", "positive_users", "negative_users")


@dataclass(frozen=True)
class SliceTotals:
    """The totals of one slice.

    Attributes:
      counts: `(tasks, COUNTS)`; what is about positives and negatives is 0 in a regression.
      sums: of all metrics side by side (`sum_columns`), `(tasks, models, sums)`; 0 where a metric isn't the task's.
      histograms: of each binary task's models; None where a model doesn't have the task.
      weights: what the examples of the task's sample space count for together, `(tasks,)`; None where each is 1.
    """

    counts: np.ndarray
    sums: np.ndarray
    histograms: tuple[tuple[ScoreHistogram | None, ...], ...]
    weights: np.ndarray | None = None

    @property
    def examples(self) -> np.ndarray:
        """Returns what the examples of each task's sample space count for together, `(tasks,)`."""
        return self.counts[:, COUNTS.index("examples")] if self.weights is None else self.weights


def sum_columns() -> dict[str, slice]:
    """Returns the columns of each metric's sums in `SliceTotals.sums`."""
    edges = accumulate((metric.sum_count for metric in metrics.METRICS), initial=0)
    return {metric.name: slice(*ends) for metric, ends in zip(metrics.METRICS, pairwise(edges), strict=True)}


def merged_totals(parts: Sequence[SliceTotals]) -> SliceTotals:
    """Returns the totals of all parts' rows. No user may be in two parts."""
    if len(parts) == 1:
        return parts[0]
    tasks, models, _ = parts[0].sums.shape
    histograms = tuple(
        tuple(_merged_or_none([part.histograms[t][m] for part in parts]) for m in range(models)) for t in range(tasks)
    )
    weights = [part.weights for part in parts if part.weights is not None]
    return SliceTotals(
        np.sum([part.counts for part in parts], axis=0),
        np.sum([part.sums for part in parts], axis=0),
        histograms,
        np.sum(weights, axis=0) if weights else None,
    )


def _merged_or_none(parts: Sequence[ScoreHistogram | None]) -> ScoreHistogram | None:
    present = [part for part in parts if part is not None]
    return merged(present) if present else None


class StackedTotals:
    """The totals of several slices, stacked, of which each metric takes its columns."""

    def __init__(self, totals: Sequence[SliceTotals]):
        self.slices = len(totals)
        self._examples = np.stack([of_slice.examples for of_slice in totals])
        self._sums = np.stack([of_slice.sums for of_slice in totals])
        self._histograms = [of_slice.histograms for of_slice in totals]
        self._columns = sum_columns()

    def of(self, task: int, model: int, metric: Metric) -> MetricTotals:
        """Returns what the metric's value on every slice is made of, for a model that has the task."""
        histograms = [of_slice[task][model] for of_slice in self._histograms]
        return MetricTotals(
            self._examples[:, task],
            self._sums[:, task, model, self._columns[metric.name]],
            [histogram for histogram in histograms if histogram is not None],
        )


def task_rows(rows: ScoredRows, view: SliceView, task: int, model: int) -> TaskRows:
    """Returns the rows of the view that are in the task's sample space, with the model's scores."""
    in_space = np.flatnonzero(rows.in_space[task][view.rows])
    source = view.rows[in_space]
    return TaskRows(
        rows.labels[task][source],
        rows.scores[model, task][source],
        view.group[in_space],
        view.slice_of_group,
        len(view.keys),
        view.list_of_row[in_space],
        view.group_of_list,
        None if rows.weights is None else rows.weights[task][source],
    )


def totals(rows: ScoredRows, view: SliceView, plan: Plan) -> Iterator[tuple[SliceKey, SliceTotals]]:
    """Yields every slice of the view with its totals. The rows must hold all rows of each of their users."""
    slices, tasks, models = len(view.keys), len(plan.tasks), len(plan.models)
    columns = sum_columns()
    counts = np.zeros((slices, tasks, len(COUNTS)), np.int64)
    weights = np.zeros((slices, tasks))
    sums = np.zeros((slices, tasks, models, sum(metric.sum_count for metric in metrics.METRICS)))
    histograms: list[list[list[ScoreHistogram | None]]] = [
        [[None] * models for _ in range(tasks)] for _ in range(slices)
    ]
    for t, task in enumerate(plan.tasks):
        for m in plan.models_of(t):
            of_model = task_rows(rows, view, t, m)
            if m == 0:
                weights[:, t] = of_model.by_slice(of_model.examples[None])[:, 0]
                counts[:, t] = _counts(of_model, view, task.regression)
            for metric in task.metrics:
                sums[:, t, m, columns[metric.name]] = metric.sums(of_model)
            if not task.regression:
                for s, of_slice in enumerate(_histograms(of_model)):
                    histograms[s][t][m] = of_slice
    for s, key in enumerate(view.keys):
        by_task = tuple(tuple(of_task) for of_task in histograms[s])
        yield key, SliceTotals(counts[s], sums[s], by_task, weights[s] if plan.weighted else None)


def _histograms(rows: TaskRows) -> Iterator[ScoreHistogram]:
    """Yields the histogram of each slice."""
    runs = rows.runs_by_slice()
    for start, end in pairwise(np.searchsorted(runs.group, np.arange(rows.slices + 1))):
        yield histogram(runs.bits[start:end], runs.positives[start:end], runs.negatives[start:end])


def _counts(rows: TaskRows, view: SliceView, regression: bool) -> np.ndarray:
    """Returns COUNTS by slice, `(slices, COUNTS)`."""
    by_group = np.zeros((len(COUNTS), view.groups), np.int64)
    by_group[:3] = rows.counts, rows.counts > 0, np.bincount(view.group, minlength=view.groups)
    if not regression:
        positives = rows.positive_counts.astype(np.int64)
        is_ranked = rows.sum_of_lists(~np.isnan(rows.ranking.auc)) > 0
        by_group[3:] = positives, is_ranked, positives > 0, positives < rows.counts
    return rows.by_slice(by_group)
