"""Both passes against the plainest computation: metrics as functions of the users' weights, and their differences."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.influence import comparisons, influence_moments, metric_values
from evaluation.metrics import METRICS, metric_index
from evaluation.metrics.expected_calibration_error import ECE_BINS
from evaluation.metrics.ranking import rank_groups, score_bits, tie_runs
from evaluation.metrics.uncertainty import standard_error
from evaluation.plan import ListColumn, Plan, PlannedModel, PlannedTask
from evaluation.scored import ScoredRows, Texts, concatenated, slice_views
from evaluation.totals import StackedTotals, merged_totals, totals

TASKS = (PlannedTask("like", False, "", ""), PlannedTask("completion", True, "", ""))
MODELS = tuple(PlannedModel(name, "", frozenset({"like", "completion"})) for name in ("candidate", "baseline"))
PLAN = Plan(TASKS, MODELS, (("tab",), ("tags", "tab")), {"tab": False, "tags": True}, ListColumn("request_start", 1))


@st.composite
def scored_rows(draw) -> ScoredRows:
    """A few rows with ties, users of one class, rows outside of a space, rows without a tag."""
    count = draw(st.integers(1, 25))
    scores = draw(hnp.arrays(np.float32, (2, 2, count), elements=st.sampled_from([0.05, 0.25, 0.4, 0.6, 0.95])))
    labels = draw(hnp.arrays(np.float32, (2, count), elements=st.sampled_from([0.0, 1.0])))
    labels[1] *= np.float32(0.7)
    lengths = draw(hnp.arrays(np.int64, count, elements=st.integers(0, 2)))
    tags = draw(hnp.arrays(np.int32, int(lengths.sum()), elements=st.integers(0, 1)))
    return ScoredRows(
        draw(hnp.arrays(np.uint64, count, elements=st.integers(0, 4))),
        # Numbers that users share, as days are.
        draw(hnp.arrays(np.int64, count, elements=st.sampled_from([-3, 8, 9]))),
        labels,
        draw(hnp.arrays(bool, (2, count))),
        scores,
        {
            "tab": Texts(draw(hnp.arrays(np.int32, count, elements=st.integers(0, 1))), ("home", "search")),
            "tags": Texts(tags, ("a", "b"), lengths),
        },
    )


def weighted(metric: str, users, lists, labels, scores) -> Callable[[np.ndarray], float]:
    """The metric as a function of the weights of the users, row by row."""
    user_ids = sorted(set(users.tolist()))
    rankings = {}
    for user, number in set(zip(users.tolist(), lists.tolist(), strict=True)):
        in_list = (users == user) & (lists == number)
        group = np.zeros(in_list.sum(), int)
        rankings[user, number] = rank_groups(tie_runs(group, score_bits(scores[in_list]), labels[in_list] > 0.5), 1)

    def mean(value_and_share: Callable[[tuple[int, int]], tuple[float, float]], weights: np.ndarray) -> float:
        pairs = [(weights[user_ids.index(key[0])], *value_and_share(key)) for key in rankings]
        total = sum(w * share for w, _, share in pairs)
        return sum(w * share * value for w, value, share in pairs if share) / total if total else math.nan

    def by_row(weights: np.ndarray) -> np.ndarray:
        return weights[np.searchsorted(user_ids, users)]

    def auc(weights: np.ndarray) -> float:
        w, positive = by_row(weights), labels > 0.5
        wins = (scores[positive][:, None] > scores[~positive]) + (scores[positive][:, None] == scores[~positive]) / 2
        pairs = np.outer(w[positive], w[~positive])
        return float((pairs * wins).sum() / pairs.sum()) if pairs.size else math.nan

    def of_rows(per_row: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda weights: float((by_row(weights) * per_row).sum() / by_row(weights).sum())

    def ece(weights: np.ndarray) -> float:
        bins = np.floor(scores.astype(float) * ECE_BINS)
        gap = by_row(weights) * (scores.astype(float) - labels)
        return sum(abs(gap[bins == index].sum()) for index in set(bins)) / by_row(weights).sum()

    def calibration(weights: np.ndarray) -> float:
        w = by_row(weights)
        return float((w * scores).sum() / (w * labels).sum()) if labels.any() else math.nan

    def of_lists(value: str, share: Callable[[tuple[int, int]], float]) -> Callable[[np.ndarray], float]:
        return lambda weights: mean(lambda key: (getattr(rankings[key], value)[0], share(key)), weights)

    size = {key: ((users == key[0]) & (lists == key[1])).sum() for key in rankings}
    some = {key: float(ranking.positives[0] > 0) for key, ranking in rankings.items()}
    both = {key: size[key] * (some[key] * (ranking.negatives[0] > 0)) for key, ranking in rankings.items()}
    error = scores.astype(float) - labels
    return {
        "auc": auc,
        "grouped_auc": of_lists("auc", both.__getitem__),
        "ndcg": of_lists("ndcg", some.__getitem__),
        "mrr": of_lists("reciprocal_rank", some.__getitem__),
        "binary_crossentropy": of_rows(-np.log(np.where(labels > 0.5, scores, 1 - scores.astype(float)))),
        "expected_calibration_error": ece,
        "calibration": calibration,
        "mean_squared_error": of_rows(error**2),
        "mean_absolute_error": of_rows(abs(error)),
    }[metric]


def derivatives(function: Callable[[np.ndarray], float], users: int, step: float = 1e-4) -> np.ndarray:
    result = np.zeros(users)
    for user in range(users):
        up, down = np.ones(users), np.ones(users)
        up[user], down[user] = 1 + step, 1 - step
        result[user] = (function(up) - function(down)) / (2 * step)
    return result


def in_slice(rows: ScoredRows, key) -> np.ndarray:
    held = np.ones(len(rows), bool)
    for name, value in key:
        column = rows.slices[name]
        code = column.values.index(value)
        if column.lengths is None:
            held &= column.codes == code
        else:
            edges = np.concatenate(([0], np.cumsum(column.lengths)))
            held &= [code in column.codes[edges[i] : edges[i + 1]] for i in range(len(rows))]
    return held


@settings(deadline=None, max_examples=40)
@given(scored_rows())
def test_values_and_standard_errors_equal_the_plain_ones(rows):
    parts = [rows.take(np.flatnonzero(rows.users % 2 == half)) for half in (0, 1)]
    parts = [part for part in parts if len(part)]
    sums: dict = {}
    for part in parts:
        for view in slice_views(part, PLAN.slices):
            for key, of_slice in totals(part, view, PLAN):
                sums.setdefault(key, []).append(of_slice)
    totals_by_slice = {key: merged_totals(slice_totals) for key, slice_totals in sums.items()}
    moments: dict = {}
    for part in parts:
        for view in slice_views(part, PLAN.slices):
            for key, of_slice in influence_moments(part, view, PLAN, totals_by_slice):
                moments[key] = moments[key] + of_slice if key in moments else of_slice

    everywhere = {()} | {(("tab", tab),) for tab in ("home", "search")}
    everywhere |= {(("tags", tag), ("tab", tab)) for tab in ("home", "search") for tag in ("a", "b")}
    assert totals_by_slice.keys() == {key for key in everywhere if in_slice(rows, key).any()}
    for key, of_slice in totals_by_slice.items():
        (value,) = metric_values(StackedTotals([of_slice]), PLAN)
        error = standard_error(moments[key])
        for t, task in enumerate(TASKS):
            held = in_slice(rows, key) & rows.in_space[t]
            for metric in task.metrics:
                _check(metric.name, rows, held, t, value[t], error[t])


def _check(metric: str, rows: ScoredRows, held, t: int, value, error) -> None:
    users, lists, labels = rows.users[held], rows.lists[held], rows.labels[t, held]
    functions = [
        weighted(metric, users, lists, labels, rows.scores[m, t, held]) if held.any() else None for m in (0, 1)
    ]
    if functions[0] is None or math.isnan(functions[0](np.ones(len(set(users.tolist()))))):
        assert np.isnan(value[:, metric_index(metric)]).all()
        return
    count = len(set(users.tolist()))
    counted = np.array([_counts(metric, users == user, lists, labels) for user in sorted(set(users.tolist()))]).sum()
    influences = []
    for m, function in enumerate(functions):
        assert value[m, metric_index(metric)] == pytest.approx(function(np.ones(count)), abs=1e-6)
        influences.append(derivatives(function, count))
    for x, (model, against) in enumerate(comparisons(PLAN)):
        influence = influences[model] - (0 if against is None else influences[against])
        if metric == "expected_calibration_error" and _at_a_kink(rows, held, t):
            continue
        expected = math.sqrt((influence**2).sum() * counted / (counted - 1)) if counted > 1 else math.nan
        assert error[x, metric_index(metric)] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def _at_a_kink(rows: ScoredRows, held, t: int) -> bool:
    """|gap| of a bin has no derivative at 0."""
    for m in (0, 1):
        gap = rows.scores[m, t, held].astype(float) - rows.labels[t, held]
        bins = np.floor(rows.scores[m, t, held].astype(float) * ECE_BINS)
        if any(abs(gap[bins == index].sum()) < 1e-2 for index in set(bins)):
            return True
    return False


def _counts(metric: str, of_user, lists, labels) -> bool:
    if metric == "grouped_auc":
        return any(0 < labels[of_user & (lists == number)].mean() < 1 for number in set(lists[of_user].tolist()))
    return bool(labels[of_user].any()) if metric in ("ndcg", "mrr") else True


def test_every_metric_has_a_plain_counterpart():
    users, labels = np.array([0, 0, 1]), np.array([0.0, 1.0, 1.0])
    for metric in METRICS:
        assert math.isfinite(
            weighted(metric.name, users, users, labels, np.array([0.2, 0.6, 0.7], np.float32))(np.ones(2))
        )


def one_task(tabs: Texts, tags: Texts) -> ScoredRows:
    rows = len(tabs.codes)
    return ScoredRows(
        np.zeros(rows, np.uint64),
        np.arange(rows),
        np.zeros((1, rows)),
        np.ones((1, rows), bool),
        np.zeros((1, 1, rows)),
        {"tab": tabs, "tags": tags},
    )


def test_concatenated_rows_keep_their_texts():
    first = one_task(Texts(np.array([0, 1]), ("a", "b")), Texts(np.array([0, 1, 1]), ("x", "y"), np.array([1, 2])))
    second = one_task(Texts(np.array([0]), ("b",)), Texts(np.array([0]), ("y",), np.array([1])))
    both = concatenated([first, second])
    assert [both.slices["tab"].values[code] for code in both.slices["tab"].codes] == ["a", "b", "b"]
    last = both.take(np.array([1, 2])).slices["tags"]
    assert [last.values[code] for code in last.codes] == ["y", "y", "y"]
    assert last.lengths.tolist() == [2, 1]
    assert both.lists.tolist() == [0, 1, 0]
    assert both.take(np.array([1, 2])).lists.tolist() == [1, 0]
