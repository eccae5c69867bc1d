"""Labels without bounds: from the log's column to the examples, the quarantine and statistics."""

import numpy as np
import pyarrow as pa
import pytest
from joined_rows import examples_of

from schema.spec import RankingSpec
from schema.statistics import slots, statistics_of

START = 1_465_412_400  # a whole hour


def spec(*tasks: dict, **sections) -> RankingSpec:
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    return RankingSpec.model_validate({"name": "clips", "log": log, "tasks": tasks, **sections})


def rows(values: list, **columns: list) -> pa.Table:
    count = len(values)
    return pa.table(
        {"u": ["u1"] * count, "i": ["v1"] * count, "t": START + np.arange(count), "play_ms": values, **columns}
    )


SECONDS = {"name": "watch_s", "column": "play_ms", "kind": "regression", "scale": 0.001}


def test_the_label_is_the_columns_value_times_the_scale_and_missing_is_outside_the_space():
    examples, bad = examples_of(spec(SECONDS), rows([1500.0, None, -250.0, 3e9]))
    assert bad == []
    np.testing.assert_array_equal(examples["label_watch_s"], np.float32([1.5, 0.0, -0.25, 3e6]))
    np.testing.assert_array_equal(examples["space_watch_s"], [1, 0, 1, 1])


def test_the_label_is_taken_within_the_sample_space():
    within = {**SECONDS, "transform": "log1p", "within": {"column": "click"}}
    examples, bad = examples_of(spec(within), rows([2000, -1, 4000], click=[1, 0, 0]))
    assert bad == []
    np.testing.assert_array_equal(examples["label_watch_s"], [2, 0, 0])
    np.testing.assert_array_equal(examples["space_watch_s"], [1, 0, 0])


@pytest.mark.parametrize(
    ("fields", "value", "reason"),
    [
        ({"transform": "log1p"}, "-1", "play_ms: expected at least 0, of which watch_s takes log1p"),
        ({}, "inf", "play_ms: expected a finite number"),
        ({}, "long", "play_ms: expected a number"),
        ({"scale": 1e30}, "1e20", "play_ms: expected a finite label of watch_s"),
    ],
)
def test_what_is_no_label_is_left_out_with_the_reason(fields, value, reason):
    examples, bad = examples_of(spec({**SECONDS, **fields}), rows(["1000", value, "0"]))
    (row,) = bad
    assert (row.row, row.reason) == (2, f"{reason}, got {value!r}")
    assert examples.num_rows == 2


def test_statistics_sum_labels_in_units_of_two_to_the_minus_ten_negative_ones_too():
    by = {"keys": "item", "half_lives": [], "granularity": "1m", "age": True}
    declared = spec(SECONDS, statistics={"by": [by]})
    table = rows([1500, -2750, 1000, 0]).set_column(2, "t", pa.array(START + np.array([0, 60, 120, 180])))
    examples, _ = examples_of(declared, table)
    (statistic,) = statistics_of(declared)
    names = [slot.name for slot in slots(declared, statistic)]
    vectors = np.array(examples[statistic.column].to_pylist())
    np.testing.assert_array_equal(vectors[:, names.index("item.watch_s.lifetime")], [0, 1.5, -1.25, -0.25])
    # A negative value is added as well.
    np.testing.assert_array_equal(vectors[:, names.index("item.watch_s.age")], [-1, 60, 60, 60])
