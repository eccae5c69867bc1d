"""The second pass: each user's influence on every metric and every difference, as sums of its powers by slice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.calibration import ECE_BINS, calibration_bins
from evaluation.metrics.ranking import score_bits
from evaluation.metrics.uncertainty import Moments, auc_row_influence
from evaluation.plan import Plan
from evaluation.result import SliceKey
from evaluation.scored import ScoredRows, SliceView
from evaluation.totals import (
    COUNTS,
    PLACE,
    SliceTotals,
    TaskRows,
    task_rows,
    user_sums,
)

_AUC, _ECE = PLACE["auc"], PLACE["expected_calibration_error"]


def values(totals: SliceTotals) -> np.ndarray:
    """Every metric of a slice, `(tasks, models, metrics)`; NaN where it is undefined or doesn't belong to the task."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # Without a label, calibration is undefined and not infinite, as in TFMA.
        result = np.where(totals.denominators > 0, totals.numerators / totals.denominators, np.nan)
        examples = totals.counts[:, None, COUNTS.index("examples")]
        result[..., _ECE] = np.abs(totals.gaps).sum(axis=-1) / examples
    for t, row in enumerate(totals.histograms):
        for m, own in enumerate(row):
            result[t, m, _AUC] = own.auc if own is not None else np.nan
            if own is None:
                result[t, m, _ECE] = np.nan
    return result


def targets(plan: Plan) -> list[tuple[int, int | None]]:
    """What has an interval: each model, then the candidate against each other model, as places in `plan.models`."""
    models = range(len(plan.models))
    return [(m, None) for m in models] + [(0, m) for m in models if m]


def influence_moments(
    rows: ScoredRows, view: SliceView, plan: Plan, found: Mapping[SliceKey, SliceTotals]
) -> Iterator[tuple[SliceKey, Moments]]:
    """Of every slice of the view, the moments `(tasks, targets, metrics)`; NaN where a target lacks the task.

    Args:
      rows: as in `totals`, all rows of each of their users.
      found: the merged totals of all rows.
    """
    totals = [found[key] for key in view.keys]
    all_values = np.stack([values(one) for one in totals])
    slices, first = len(view.keys), view.first_groups
    shape = (slices, len(plan.tasks), len(targets(plan)), len(PLACE))
    users = np.zeros(shape, np.int64)
    second, fourth = np.full((2, *shape), np.nan)
    for t, task in enumerate(plan.tasks):
        places = [PLACE[metric.name] for metric in task.metrics]
        influence: dict[int, np.ndarray] = {}
        for m in plan.models_of(t):
            own = task_rows(rows, view, t, m)
            influence[m] = _influence(own, view, totals, all_values[:, t, m], t, m, task.regression)[places]
            if m == 0:
                counted = np.add.reduceat(_counted(own, view.groups, task.regression)[places], first, axis=1).T
        for x, (one, other) in enumerate(targets(plan)):
            if one not in influence or other not in (None, *influence):
                continue
            square = (influence[one] if other is None else influence[one] - influence[other]) ** 2
            users[:, t, x, places] = counted
            second[:, t, x, places] = np.add.reduceat(square, first, axis=1).T
            fourth[:, t, x, places] = np.add.reduceat(square**2, first, axis=1).T
    for s, key in enumerate(view.keys):
        yield key, Moments(users[s], second[s], fourth[s])


def _counted(rows: TaskRows, groups: int, regression: bool) -> np.ndarray:
    """Which users each metric is about, 0/1 `(metrics, groups)`: for grouped AUC only those with both classes."""
    examples = np.bincount(rows.group, minlength=groups)
    result = np.broadcast_to(examples > 0, (len(PLACE), groups)).copy()
    if not regression:
        positives = np.bincount(rows.group, rows.labels > 0.5, groups)
        result[PLACE["ndcg"]] = result[PLACE["mrr"]] = positives > 0
        result[PLACE["grouped_auc"]] = (positives > 0) & (positives < examples)
    return result.astype(np.int64)


def _influence(
    rows: TaskRows,
    view: SliceView,
    totals: list[SliceTotals],
    values_of_slice: np.ndarray,
    task: int,
    model: int,
    regression: bool,
) -> np.ndarray:
    """Each (slice, user)'s influence on each metric of one model, `(metrics, groups)`."""
    numerators, denominators = user_sums(rows, regression, view.groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = values_of_slice[view.slice_of_group].T
        whole = np.stack([one.denominators[task, model] for one in totals])[view.slice_of_group].T
        result = (numerators - value * denominators) / whole
        if regression:
            return result
        result[_AUC] = np.bincount(
            rows.group, _auc_influence(rows, totals, values_of_slice[:, _AUC], task, model), view.groups
        )
        sign = np.sign(np.stack([one.gaps[task, model] for one in totals])).ravel()
        gap = sign[rows.slice * ECE_BINS + calibration_bins(rows.scores)] * (
            rows.scores.astype(np.float64) - rows.labels
        )
        examples = np.array([one.counts[task, 0] for one in totals], np.float64)
        weighed = (gap - values_of_slice[rows.slice, _ECE]) / examples[rows.slice]
        result[_ECE] = np.bincount(rows.group, weighed, view.groups)
    return result


@dataclass(frozen=True)
class _Lookup:
    """The histograms of all slices as one sorted table, keyed by slice and score."""

    keys: np.ndarray
    levels: np.ndarray
    negatives_below: np.ndarray
    positives_above: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def _lookup(totals: list[SliceTotals], task: int, model: int) -> _Lookup:
    found = [one.histograms[task][model] for one in totals]
    assert all(one is not None for one in found)
    present = [one for one in found if one is not None]
    return _Lookup(
        np.concatenate([np.uint64(s) << np.uint64(32) | one.bits for s, one in enumerate(present)]),
        np.array([one.level for one in present], np.uint32),
        np.concatenate([one.negatives_below for one in present]),
        np.concatenate([one.positives_above for one in present]),
        np.array([one.total_positives for one in present]),
        np.array([one.total_negatives for one in present]),
    )


def _auc_influence(rows: TaskRows, totals: list[SliceTotals], auc: np.ndarray, task: int, model: int) -> np.ndarray:
    table = _lookup(totals, task, model)
    level = table.levels[rows.slice]
    key = rows.slice.astype(np.uint64) << np.uint64(32) | (score_bits(rows.scores) >> level << level)
    place = np.searchsorted(table.keys, key)
    return auc_row_influence(
        rows.labels > 0.5,
        table.negatives_below[place],
        table.positives_above[place],
        table.positives[rows.slice],
        table.negatives[rows.slice],
        auc[rows.slice],
    )
