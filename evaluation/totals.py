"""The first pass: sums over users, of every task, model and metric on every slice. They are merged by adding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.calibration import ECE_BINS, calibration_bins
from evaluation.metrics.histogram import ScoreHistogram, histogram, merged
from evaluation.metrics.ranking import rank_groups, score_bits, tie_runs
from evaluation.plan import Plan
from evaluation.result import METRICS, SliceKey
from evaluation.scored import ScoredRows, SliceView

# The place of each metric in arrays.
METRIC_NAMES = tuple(METRICS)
PLACE = {name: place for place, name in enumerate(METRIC_NAMES)}
# What Keras clips probabilities to in the log loss.
EPSILON = 1e-7

# Of the task's sample space, but for `rows`: all rows of the slice.
COUNTS = ("examples", "users", "rows", "positives", "ranked_users", "positive_users", "negative_users")


@dataclass(frozen=True)
class SliceTotals:
    """What one slice comes to.

    Attributes:
      counts: `(tasks, COUNTS)`; what is about positives and negatives is 0 in a regression.
      numerators, denominators: sums over users, `(tasks, models, metrics)`; 0 for AUC and ECE, which aren't ratios.
      gaps: the sum of score - label by ECE's bins, `(tasks, models, ECE_BINS)`.
      histograms: of each binary task's models; None where a model doesn't have the task.
    """

    counts: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray
    gaps: np.ndarray
    histograms: tuple[tuple[ScoreHistogram | None, ...], ...]


def merged_totals(parts: Sequence[SliceTotals]) -> SliceTotals:
    """The totals of all parts' rows. No user may be in two parts."""
    if len(parts) == 1:
        return parts[0]
    tasks, models, _ = parts[0].numerators.shape
    histograms = tuple(
        tuple(_merged_or_none([part.histograms[t][m] for part in parts]) for m in range(models)) for t in range(tasks)
    )
    return SliceTotals(
        np.sum([part.counts for part in parts], axis=0),
        np.sum([part.numerators for part in parts], axis=0),
        np.sum([part.denominators for part in parts], axis=0),
        np.sum([part.gaps for part in parts], axis=0),
        histograms,
    )


def _merged_or_none(parts: Sequence[ScoreHistogram | None]) -> ScoreHistogram | None:
    present = [part for part in parts if part is not None]
    return merged(present) if present else None


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task's sample space in a view: label, score of one model, (slice, user) group, slice."""

    labels: np.ndarray
    scores: np.ndarray
    group: np.ndarray
    slice: np.ndarray


def task_rows(rows: ScoredRows, view: SliceView, task: int, model: int) -> TaskRows:
    kept = np.flatnonzero(rows.in_space[task][view.rows])
    source = view.rows[kept]
    group = view.group[kept]
    return TaskRows(rows.labels[task][source], rows.scores[model, task][source], group, view.slice_of_group[group])


def user_sums(rows: TaskRows, regression: bool, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Each group's numerator and denominator of each metric, both `(metrics, groups)`; 0 for AUC and ECE."""
    numerators, denominators = np.zeros((2, len(METRIC_NAMES), groups))
    scores = rows.scores.astype(np.float64)

    def put(name: str, numerator: np.ndarray, denominator: np.ndarray) -> None:
        numerators[PLACE[name]], denominators[PLACE[name]] = numerator, denominator

    examples = np.bincount(rows.group, minlength=groups)
    if regression:
        error = scores - rows.labels
        put("mean_squared_error", np.bincount(rows.group, error**2, groups), examples)
        put("mean_absolute_error", np.bincount(rows.group, abs(error), groups), examples)
        return numerators, denominators
    positive = rows.labels > 0.5
    ranking = rank_groups(tie_runs(rows.group, score_bits(rows.scores), positive), groups)
    both = ~np.isnan(ranking.auc)
    put("grouped_auc", np.where(both, ranking.auc, 0) * examples, both * examples)
    some = ranking.positives > 0
    put("ndcg", np.where(some, ranking.ndcg, 0), some)
    put("mrr", np.where(some, ranking.reciprocal_rank, 0), some)
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    loss = -np.log(np.where(positive, clipped, 1 - clipped))
    put("binary_crossentropy", np.bincount(rows.group, loss, groups), examples)
    put("calibration", np.bincount(rows.group, scores, groups), ranking.positives)
    return numerators, denominators


def totals(rows: ScoredRows, view: SliceView, plan: Plan) -> Iterator[tuple[SliceKey, SliceTotals]]:
    """Every slice of the view. The rows must hold all rows of each of their users."""
    slices, first = len(view.keys), view.first_groups
    tasks, models = len(plan.tasks), len(plan.models)
    counts = np.zeros((slices, tasks, len(COUNTS)), np.int64)
    numerators, denominators = np.zeros((2, slices, tasks, models, len(METRIC_NAMES)))
    gaps = np.zeros((slices, tasks, models, ECE_BINS))
    histograms: list[list[list[ScoreHistogram | None]]] = [
        [[None] * models for _ in range(tasks)] for _ in range(slices)
    ]
    for t, task in enumerate(plan.tasks):
        for m in plan.models_of(t):
            own = task_rows(rows, view, t, m)
            if m == 0:
                counts[:, t] = _counts(own, task.regression, view, first)
            sums = user_sums(own, task.regression, view.groups)
            numerators[:, t, m], denominators[:, t, m] = (np.add.reduceat(s, first, axis=1).T for s in sums)
            if task.regression:
                continue
            cell = own.slice * ECE_BINS + calibration_bins(own.scores)
            gaps[:, t, m] = np.bincount(cell, own.scores - own.labels, slices * ECE_BINS).reshape(slices, ECE_BINS)
            runs = tie_runs(own.slice, score_bits(own.scores), own.labels > 0.5)
            edges = np.searchsorted(runs.group, np.arange(slices + 1))
            for s in range(slices):
                part = slice(edges[s], edges[s + 1])
                histograms[s][t][m] = histogram(runs.bits[part], runs.positives[part], runs.negatives[part])
    for s, key in enumerate(view.keys):
        yield (
            key,
            SliceTotals(counts[s], numerators[s], denominators[s], gaps[s], tuple(tuple(row) for row in histograms[s])),
        )


def _counts(rows: TaskRows, regression: bool, view: SliceView, first: np.ndarray) -> np.ndarray:
    """COUNTS by slice, `(slices, COUNTS)`."""
    examples = np.bincount(rows.group, minlength=view.groups)
    by_group = np.zeros((len(COUNTS), view.groups), np.int64)
    by_group[:3] = examples, examples > 0, np.bincount(view.group, minlength=view.groups)
    if not regression:
        positives = np.bincount(rows.group, rows.labels > 0.5, view.groups).astype(np.int64)
        some, not_all = positives > 0, positives < examples
        by_group[3:] = positives, some & not_all, some, not_all
    return np.add.reduceat(by_group, first, axis=1).T
