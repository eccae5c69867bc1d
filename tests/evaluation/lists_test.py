"""Metrics by list, and the columns that lists and slices are made of."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from judged_rankers import SPEC

from evaluation.eval_config import eval_config
from evaluation.influence import metric_values
from evaluation.metrics import metric_index
from evaluation.plan import ListColumn, PlannedModel, list_column, make_plan
from evaluation.scored import ScoredRows, decades, slice_views
from evaluation.scoring import parsed
from evaluation.totals import COUNTS, StackedTotals, totals
from schema.spec import RankingSpec

DECLARED = SPEC.model_dump(mode="json", exclude_defaults=True)
MODELS = (PlannedModel("candidate", "", frozenset({"view"})),)


def spec_of(log: dict | None = None, **sections) -> RankingSpec:
    return RankingSpec.model_validate({**DECLARED, "gates": {}, "log": {**DECLARED["log"], **(log or {})}, **sections})


REQUESTED = spec_of({"request": {"column": "request"}})
COUNTED = spec_of(
    statistics={"by": ["item", {"keys": "user", "lifetime": False, "half_lives": ["1d", "9d"], "windows": ["7d"]}]},
    slices=[["item.impressions"], ["tab", "user.impressions"]],
)


def values_of(users, lists, labels, scores) -> tuple[dict[str, float], dict[str, int]]:
    """The metrics and counts of a binary task on the whole."""
    plan = make_plan(spec_of(tasks=DECLARED["tasks"][:1], slices=[]), MODELS)
    rows = ScoredRows(
        np.array(users, np.uint64),
        np.array(lists, np.int64),
        np.array([labels], np.float32),
        np.ones((1, len(users)), bool),
        np.array([[scores]], np.float32),
        {},
    )
    (view,) = slice_views(rows, ())
    ((_, sums),) = totals(rows, view, plan)
    (values,) = metric_values(StackedTotals([sums]), plan)
    names = ("grouped_auc", "ndcg", "mrr")
    return {name: values[0, 0, metric_index(name)] for name in names}, dict(zip(COUNTS, sums.counts[0], strict=True))


def test_a_list_is_ranked_within_itself_alone():
    # User 1 gets one list right, and one wrong that has one more example; between the lists all pairs are wrong.
    # User 2 has a list of one class only, and shares a number with user 1.
    users, lists = [1, 1, 1, 1, 1, 2], [7, 7, 9, 9, 9, 9]
    values, counts = values_of(users, lists, [1, 0, 1, 0, 0, 1], [0.2, 0.1, 0.3, 0.9, 0.8, 0.5])
    assert values["grouped_auc"] == pytest.approx((2 * 1 + 3 * 0) / 5)
    assert values["mrr"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert values["ndcg"] == pytest.approx((1 + 1 / math.log2(4) + 1) / 3)
    assert [counts[name] for name in ("users", "ranked_users", "positive_users", "negative_users")] == [2, 1, 2, 1]


def test_a_user_whose_lists_have_one_class_each_is_not_ranked():
    values, counts = values_of([1, 1, 2, 2], [0, 1, 0, 0], [1, 0, 1, 0], [0.1, 0.9, 0.9, 0.1])
    assert values["grouped_auc"] == 1
    assert counts["ranked_users"] == 1
    assert counts["positive_users"] == 2


def test_what_is_the_same_for_a_whole_list_ranks_nothing():
    # A user's running rate: high after a positive, and so wrong between lists. Within lists all are ties.
    users, lists, labels, rate = [1] * 6, [0, 0, 1, 1, 2, 2], [1, 0, 1, 0, 0, 1], [0.5, 0.5, 0.9, 0.9, 0.1, 0.1]
    assert values_of(users, lists, labels, rate)[0]["grouped_auc"] == 0.5


def serialized(**columns) -> tf.Tensor:
    """An example for each place of the columns, beside which the spec's others are 0 or the same text."""
    rows = []
    for index in range(len(next(iter(columns.values())))):
        example = tf.train.Example()
        for name in ("user_id", "country", "tab"):
            example.features.feature[name].bytes_list.value.append(b"x")
        for task in SPEC.tasks:
            for name in (f"label_{task.name}", f"space_{task.name}"):
                example.features.feature[name].float_list.value.append(0)
        for name, values in columns.items():
            value = values[index]
            if isinstance(value, int):
                example.features.feature[name].int64_list.value.append(value)
            else:
                example.features.feature[name].float_list.value.extend(value)
        rows.append(example.SerializeToString())
    return tf.constant(rows)


@pytest.mark.parametrize(("unit", "ticks"), [("s", 1), ("ms", 1000)])
def test_without_requests_a_list_is_a_user_and_a_day_in_utc(unit, ticks):
    plan, day = make_plan(spec_of({"timestamp": {"column": "at", "unit": unit}}), MODELS), 86_400 * ticks
    rows = parsed(serialized(timestamp=[-1, 0, day - 1, day, 20_000 * day]), plan)
    assert rows.lists.tolist() == [-1, 0, 0, 1, 20_000]


def test_with_requests_a_list_is_a_user_and_a_start():
    rows = parsed(serialized(timestamp=[5, 5, 6], request_start=[3, 4, 3]), make_plan(REQUESTED, MODELS))
    assert rows.lists.tolist() == [3, 4, 3]
    assert list_column(REQUESTED) == ListColumn("request_start", 1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SPEC, '{"list_key": "timestamp", "list_length": 86400}'),
        (REQUESTED, '{"list_key": "request_start", "list_length": 1}'),
    ],
)
def test_tfma_is_told_the_same_lists(spec, expected):
    specs = eval_config(spec, ["candidate"]).metrics_specs
    configs = {
        metric.class_name: metric.config for metrics_spec in specs for metric in metrics_spec.metrics if metric.config
    }
    assert configs == dict.fromkeys(("GroupedAUC", "UserNDCG", "UserMRR"), expected)


@pytest.mark.parametrize(
    ("impressions", "decade"),
    [
        (0, "0"),
        (0.99, "0"),
        (1, "1-9"),
        (9.5, "1-9"),
        (10, "10-99"),
        (99, "10-99"),
        (100, "100-999"),
        (1e6, "1000000-9999999"),
    ],
)
def test_impressions_fall_into_decades(impressions, decade):
    assert decades(np.array([impressions], np.float32)).values == (decade,)


@given(st.lists(st.floats(0, 2**60, width=32) | st.just(math.nan), min_size=1, max_size=20))
def test_each_count_lies_in_its_decade_and_decades_sort_as_counts(counts):
    texts = decades(np.array(counts, np.float32))
    row_texts = [texts.values[code] for code in texts.codes]
    for count, text in zip(counts, row_texts, strict=True):
        if math.isnan(count):
            assert text == "missing"
        else:
            low, _, high = text.partition("-")
            assert int(low) <= count < int(high or 0) + 1
            assert not high or int(high) == 10 * int(low) - 1
    numbers = sorted((count, text) for count, text in zip(counts, row_texts, strict=True) if not math.isnan(count))
    assert [text for _, text in numbers] == sorted(text for _, text in numbers)


def test_impressions_are_those_of_all_time_or_of_the_longest_span():
    # Spans side by side, each of impressions, labels and the space that two tasks share; lifetime is the last.
    sums = 1 + len(SPEC.tasks) + 1
    item, user = np.full((2, 2 * sums), 5e6), np.full((2, 3 * sums), 5e6)
    item[:, sums], user[:, sums] = [12, math.nan], [0, 3]
    columns = {"item_statistics": item.tolist(), "user_statistics": user.tolist(), "timestamp": [0, 0]}
    rows = parsed(serialized(**columns), make_plan(COUNTED, MODELS))
    texts = {key: [column.values[code] for code in column.codes] for key, column in rows.slices.items()}
    assert texts == {"item.impressions": ["10-99", "missing"], "user.impressions": ["0", "1-9"], "tab": ["x", "x"]}
