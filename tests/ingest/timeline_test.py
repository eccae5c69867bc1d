"""Examples worked out by hand, of rows in memory."""

import math

import pyarrow as pa
import pytest
from joined_rows import examples_of

from ingest.errors import IngestError
from schema.columns import MISSING, example_columns
from schema.spec import RankingSpec

T = 1_465_413_000  # a Wednesday, 2016-06-08 19:10:00 UTC

EVENTS = {
    "name": "articles",
    "log": {
        "layout": "events",
        "files": "*.csv",
        "user": "who",
        "item": "what",
        "timestamp": {"column": "at", "unit": "s"},
        "event": "did",
        "impression": "VIEW",
        "attribution_window": "60s",
    },
    "features": [
        {"name": "hour", "source": "log", "derive": "hour_of_day"},
        {"name": "weekday", "source": "log", "derive": "day_of_week"},
    ],
    "behaviours": [
        {"name": "viewed", "event": "VIEW", "max_length": 2},
        {"name": "liked", "event": "LIKE", "max_length": 5},
    ],
    "tasks": [{"name": "like", "event": "LIKE"}, {"name": "share", "event": "SHARE", "within": {"event": "LIKE"}}],
}


def _events(*rows: tuple[str, str, int, str], **changes) -> list[dict]:
    spec = RankingSpec.model_validate({**EVENTS, **changes})
    who, what, at, did = zip(*rows, strict=True)
    log = pa.table({"who": who, "what": what, "at": [str(T + seconds) for seconds in at], "did": did})
    examples, bad = examples_of(spec, log)
    assert bad == []
    return examples.to_pylist()


def test_a_sequence_holds_what_was_strictly_before_oldest_first():
    rows = _events(("u", "b", 0, "VIEW"), ("u", "c", 10, "VIEW"), ("u", "a", 10, "LIKE"), ("u", "d", 12, "VIEW"))
    assert [row["item_id"] for row in rows] == ["b", "c", "d"]
    assert [row["viewed_item_id"] for row in rows] == [[], ["b"], ["b", "c"]]
    assert [row["viewed_age_s"] for row in rows] == [[], [10.0], [12.0, 2.0]]
    assert [row["liked_item_id"] for row in rows] == [[], [], ["a"]]


def test_a_sequence_keeps_the_last_max_length():
    rows = _events(*[("u", item, at, "VIEW") for at, item in enumerate("abcd")])
    assert rows[-1]["viewed_item_id"] == ["b", "c"]


def test_simultaneous_impressions_do_not_see_each_other():
    rows = _events(("u", "b", 5, "VIEW"), ("u", "a", 5, "VIEW"), ("u", "c", 5, "LIKE"))
    assert [(row["item_id"], row["viewed_item_id"], row["liked_item_id"]) for row in rows] == [
        ("a", [], []),
        ("b", [], []),
    ]


def test_users_do_not_see_each_other():
    rows = _events(("v", "a", 0, "VIEW"), ("u", "a", 1, "VIEW"), ("v", "a", 2, "LIKE"))
    assert [(row["user_id"], row["viewed_item_id"], row["label_like"]) for row in rows] == [
        ("u", [], 0.0),
        ("v", [], 1.0),
    ]


def test_feedback_labels_the_last_impression_of_its_user_and_item_before_it():
    rows = _events(
        ("u", "a", 0, "VIEW"),
        ("u", "a", 10, "VIEW"),
        ("u", "b", 15, "VIEW"),
        ("u", "a", 20, "VIEW"),
        ("u", "a", 20, "LIKE"),
    )
    # The impression at 20 is not before the feedback at 20.
    assert [row["label_like"] for row in rows] == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("later", "label"), [(60, 1.0), (61, 0.0)])
def test_the_attribution_window_includes_its_end(later, label):
    assert _events(("u", "a", 0, "VIEW"), ("u", "a", later, "LIKE"))[0]["label_like"] == label


def test_a_task_within_another_has_labels_only_in_its_space():
    rows = _events(
        ("u", "a", 0, "VIEW"),
        ("u", "a", 1, "LIKE"),
        ("u", "a", 2, "SHARE"),
        ("u", "b", 3, "VIEW"),
        ("u", "b", 4, "SHARE"),
    )
    assert [(row["space_share"], row["label_share"]) for row in rows] == [(1.0, 1.0), (0.0, 0.0)]
    assert [row["space_like"] for row in rows] == [1.0, 1.0]


def test_a_delayed_behaviour_is_known_only_after_its_delay():
    behaviours = [{"name": "viewed", "event": "VIEW", "delay": "5s"}]
    rows = _events(("u", "a", 0, "VIEW"), ("u", "b", 5, "VIEW"), ("u", "c", 6, "VIEW"), behaviours=behaviours)
    assert [row["viewed_item_id"] for row in rows] == [[], [], ["a"]]
    assert rows[-1]["viewed_age_s"] == [6.0]


def test_hour_and_weekday_are_in_utc_and_monday_is_0():
    row = _events(("u", "a", 0, "VIEW"))[0]
    assert (row["hour"], row["weekday"], row["timestamp"]) == ("19", "2", T)


IMPRESSIONS = {
    "name": "videos",
    "log": {
        "layout": "impressions",
        "files": "*.csv",
        "user": "user",
        "item": "video",
        "timestamp": {"column": "at", "unit": "ms"},
    },
    "users": {"files": "users.csv", "key": "id"},
    "items": {"files": "items.csv", "key": "id"},
    "features": [
        {"name": "tab", "source": "log", "kind": "categorical"},
        {"name": "speed", "source": "log", "kind": "numeric"},
        {"name": "country", "source": "users", "kind": "categorical"},
        {"name": "author", "source": "items", "kind": "categorical"},
        {"name": "length", "source": "items", "kind": "numeric"},
        {"name": "tags", "source": "items", "kind": "multi"},
    ],
    "behaviours": [{"name": "played", "column": "ms", "at_least": 3000}],
    "tasks": [
        {"name": "view", "column": "ms", "at_least": 3000},
        {"name": "part", "ratio": {"numerator": "ms", "denominator": "total"}, "within": {"column": "click"}},
        {"name": "like", "column": "like", "within": {"column": "click", "equals": 1}},
    ],
}


def _impressions() -> list[dict]:
    ms = T * 1000
    log = pa.table(
        {
            "user": ["1.0", "1.0", "1.0", "2"],
            "video": ["x", "y", "x", "z"],
            "at": [ms, ms + 500, ms + 2000, ms],
            "tab": ["home", "", None, "home"],
            "speed": ["1.5", "", "2", "nan"],
            "ms": ["3000", "2999", "", "9000"],
            "total": ["4000", "0", "4000", "4500"],
            "click": ["1", "true", "1", "0"],
            "like": ["1", "", "0", "1"],
        }
    )
    users = pa.table({"id": ["1", "1"], "country": ["FR", "BR"]})
    items = pa.table({"id": ["x", "y"], "author": ["ann", ""], "length": ["4", None], "tags": ["fun||cats", None]})
    examples, bad = examples_of(RankingSpec.model_validate(IMPRESSIONS), log, users, items)
    assert bad == []
    return examples.to_pylist()


def test_labels_and_spaces_of_columns_comparisons_and_ratios():
    rows = _impressions()
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("1", "x"), ("1", "y"), ("1", "x"), ("2", "z")]
    # Missing feedback is outside the space, and so is a ratio whose denominator isn't above 0.
    assert [(row["space_view"], row["label_view"]) for row in rows] == [(1, 1), (1, 0), (0, 0), (1, 1)]
    assert [(row["space_part"], row["label_part"]) for row in rows] == [(1, 0.75), (0, 0), (0, 0), (0, 0)]
    assert [(row["space_like"], row["label_like"]) for row in rows] == [(1, 1), (0, 0), (1, 0), (0, 0)]


def test_user_and_item_features_come_from_the_tables_and_a_later_row_of_a_key_wins():
    rows = _impressions()
    assert [row["country"] for row in rows] == ["BR", "BR", "BR", MISSING]
    assert [row["author"] for row in rows] == ["ann", MISSING, "ann", MISSING]
    assert [row["tags"] for row in rows] == [["fun", "cats"], [], ["fun", "cats"], []]
    assert [row["tab"] for row in rows] == ["home", MISSING, MISSING, "home"]
    assert [None if math.isnan(row["length"]) else row["length"] for row in rows] == [4.0, None, 4.0, None]
    assert [None if math.isnan(row["speed"]) else row["speed"] for row in rows] == [1.5, None, 2.0, None]


def test_item_features_go_into_the_sequences():
    last = _impressions()[2]
    assert (last["played_item_id"], last["played_age_s"]) == (["x"], [2.0])
    assert (last["played_author"], last["played_length"]) == (["ann"], [4.0])


def test_the_columns_are_those_that_the_schema_derives():
    assert list(_impressions()[0]) == [
        column.name for column in example_columns(RankingSpec.model_validate(IMPRESSIONS))
    ]


def test_a_missing_column_is_named_with_what_needs_it():
    with pytest.raises(IngestError, match=r"no column 'did', which log\.event needs"):
        examples_of(RankingSpec.model_validate(EVENTS), pa.table({"who": ["u"], "what": ["a"], "at": ["1"]}))
