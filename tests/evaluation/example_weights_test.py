"""A row that counts for 3 is as three rows: in every metric but those of places in a list, and in users' influence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.influence import influence_moments, metric_values
from evaluation.metrics import METRICS, metric_index
from evaluation.outcome import slice_outcome
from evaluation.plan import ListColumn, Plan, PlannedModel, PlannedTask
from evaluation.scored import ScoredRows, Texts, concatenated, slice_views
from evaluation.totals import StackedTotals, merged_totals, totals

TASKS = (PlannedTask("like", False, "", ""), PlannedTask("watched", True, "", ""))
MODELS = tuple(PlannedModel(name, "", frozenset({"like", "watched"})) for name in ("candidate", "baseline"))
PLAN = Plan(TASKS, MODELS, (("tab",),), {"tab": False}, ListColumn("request_start", 1), weighted=True)
BY_PLACE = ("ndcg", "mrr")


def rows_of(seed: int, count: int = 60) -> ScoredRows:
    random = np.random.default_rng(seed)
    return ScoredRows(
        random.integers(0, 6, count).astype(np.uint64),
        random.integers(0, 3, count),
        random.integers(0, 2, (2, count)).astype(np.float32),
        random.random((2, count)) < 0.8,
        random.choice(np.array([0.05, 0.25, 0.4, 0.6, 0.95], np.float32), (2, 2, count)),
        {"tab": Texts(random.integers(0, 2, count).astype(np.int32), ("home", "search"))},
        random.integers(1, 4, (2, count)).astype(np.float32),
    )


def repeated(rows: ScoredRows, task: int) -> ScoredRows:
    """The rows as often as they count for in the task, without weights."""
    assert rows.weights is not None
    times = np.repeat(np.arange(len(rows)), rows.weights[task].astype(int))
    return replace(rows.take(times), weights=None)


def evaluated(rows: ScoredRows, plan: Plan = PLAN) -> dict:
    results = {}
    for view in slice_views(rows, plan.slices):
        of_slices = dict(totals(rows, view, plan))
        for key, moments in influence_moments(rows, view, plan, of_slices):
            results[key] = slice_outcome(key, of_slices[key], moments, plan)
    return results


def compared(task: int) -> list[int]:
    names = [metric.name for metric in TASKS[task].metrics if metric.name not in BY_PLACE]
    return [metric_index(name) for name in names]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("task", [0, 1])
def test_a_weight_is_how_often_a_row_is_there(seed, task):
    rows = rows_of(seed)
    weighted, plain = evaluated(rows), evaluated(repeated(rows, task), replace(PLAN, weighted=False))
    assert weighted.keys() == plain.keys()
    columns = compared(task)
    for key, outcome in weighted.items():
        for name in ("values", "errors", "degrees"):
            actual, expected = (
                getattr(slice_outcome, name)[task][:, columns] for slice_outcome in (outcome, plain[key])
            )
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12, err_msg=f"{key} {name}")
        assert outcome.weighted_count(task) == plain[key].count(task, "examples")
        assert outcome.count(task, "examples") < plain[key].count(task, "examples")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weights_of_one_are_no_weights(seed):
    rows = rows_of(seed, 30)
    ones = evaluated(replace(rows, weights=np.ones((2, 30), np.float32)))
    none = evaluated(replace(rows, weights=None), replace(PLAN, weighted=False))
    for key, outcome in ones.items():
        for name in ("counts", "values", "errors", "degrees"):
            np.testing.assert_array_equal(getattr(outcome, name), getattr(none[key], name), err_msg=f"{key} {name}")


def test_a_list_counts_for_its_mean_weight_by_place():
    # The first list has its positive on top, the second one below a negative.
    rows = ScoredRows(
        np.zeros(4, np.uint64),
        np.array([0, 0, 1, 1]),
        np.array([[1, 0, 1, 0]] * 2, np.float32),
        np.ones((2, 4), bool),
        np.array([[[0.9, 0.1, 0.2, 0.8]] * 2] * 2, np.float32),
        {"tab": Texts(np.zeros(4, np.int32), ("home",))},
        np.array([[4, 2, 1, 1]] * 2, np.float32),
    )
    outcome = evaluated(rows)[()]
    assert outcome.values[0, 0, metric_index("mrr")] == pytest.approx((3 * 1 + 1 * 0.5) / 4)
    second = 1 / np.log2(3)
    assert outcome.values[0, 0, metric_index("ndcg")] == pytest.approx((3 * 1 + 1 * second) / 4)
    # By the lists' weights, 6 and 2; of all pairs: positives of 4 and 1, negatives of 2 and 1, which .2 and .8 order.
    assert outcome.values[0, 0, metric_index("grouped_auc")] == pytest.approx(6 / 8)
    assert outcome.values[0, 0, metric_index("auc")] == pytest.approx((4 * 2 + 4 * 1 + 1 * 2) / (5 * 3))


def test_parts_of_the_users_add_up():
    rows = rows_of(5)
    expected = dict(totals(rows, next(slice_views(rows, ())), PLAN))[()]
    parts = [rows.take(np.flatnonzero(rows.users % 2 == rest)) for rest in (0, 1)]
    merged = merged_totals([dict(totals(part, next(slice_views(part, ())), PLAN))[()] for part in parts])
    np.testing.assert_allclose(merged.weights, expected.weights)
    values = [metric_values(StackedTotals([slice_totals]), PLAN) for slice_totals in (merged, expected)]
    np.testing.assert_allclose(*values, rtol=1e-9)
    joined = concatenated(parts)
    np.testing.assert_array_equal(np.sort(joined.weights), np.sort(rows.weights))
    assert concatenated([replace(part, weights=None) for part in parts]).weights is None
    assert len(METRICS) == values[0].shape[-1]
