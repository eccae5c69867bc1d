"""What is guessed to be feedback, of columns and events made by hand."""

import numpy as np
import pyarrow as pa
import pytest

from ingest.draft.attribution import choose_window, event_labels, seconds_since_impression
from ingest.draft.labels import labels_of
from ingest.draft.profile import Profile
from ingest.draft.sections import behaviours_of, gates_of

ROWS = 400
CLICK = [int(n % 2 == 0) for n in range(ROWS)]
LIKE = [int(n % 8 == 0) for n in range(ROWS)]


def column(name: str, cells: list) -> Profile:
    return Profile.of(name, [pa.array(cells)])


def tasks(*columns: Profile, told=()) -> list[dict]:
    return [dict(label.task) for label in labels_of(columns, told).labels]


def test_columns_of_0_and_1_are_tasks_and_what_needs_a_click_lies_within():
    assert tasks(column("is_click", CLICK), column("liked", LIKE)) == [
        {"name": "click", "column": "is_click"},
        {"name": "like", "column": "liked", "within": {"column": "is_click"}},
    ]


def test_what_is_also_done_without_a_click_has_no_space():
    shares = [int(n % 7 == 0) for n in range(ROWS)]
    assert tasks(column("click", CLICK), column("share", shares))[1] == {"name": "share", "column": "share"}


def test_truth_in_words_is_a_label_too():
    assert tasks(column("liked", ["t", "f"] * 20)) == [{"name": "like", "column": "liked"}]


def test_watch_time_by_length_is_a_ratio_and_is_never_a_feature():
    feedback = labels_of(
        [
            column("play_ms", [n % 50 * 100 for n in range(ROWS)]),
            column("duration_ms", [5_000 + n for n in range(ROWS)]),
            column("duration_s", [5.5] * ROWS),
            column("click", CLICK),
        ]
    )
    ratio = feedback.labels[0]
    assert ratio.task["ratio"] == {"numerator": "play_ms", "denominator": "duration_ms"}
    assert ratio.values[1] == pytest.approx(100 / 5_001)
    assert feedback.left_out["play_ms"] == "known only after the impression, as its name says"
    assert "duration_ms" not in feedback.left_out


def test_ratings_are_a_bound_and_the_rating_itself():
    high, rating = labels_of([column("rating", [1, 2, 3, 4, 4, 5, 5, 3] * 10)]).labels
    # Half of them are 4 or 5.
    assert high.task == {"name": "high_rating", "column": "rating", "at_least": 4}
    assert rating.task == {"name": "rating", "column": "rating", "kind": "regression"}
    assert high.doubt
    assert gates_of([high, rating], {})["rating"].value == {
        "mse": pytest.approx(np.var([1, 2, 3, 4, 4, 5, 5, 3]), 0.01)
    }


def test_what_people_dislike_where_it_was_shown_and_what_a_model_said_are_left_out():
    feedback = labels_of(
        [
            column("click", CLICK),
            column("is_hate", LIKE),
            column("position", list(range(ROWS))),
            column("pctr", [0.5] * ROWS),
        ]
    )
    assert set(feedback.left_out) == {"is_hate", "position", "pctr"}
    assert "exponent" in feedback.left_out["is_hate"]


def test_0_and_1_under_another_name_is_a_task_only_where_nothing_else_is():
    odd = column("xyzzy", LIKE)
    feedback = labels_of([column("click", CLICK), odd])
    assert [label.name for label in feedback.labels] == ["click"]
    assert "xyzzy" in feedback.left_out
    (label,) = labels_of([odd]).labels
    assert (label.task, bool(label.doubt)) == ({"name": "xyzzy", "column": "xyzzy"}, True)
    assert tasks(column("is_weekend", LIKE)) == []


def test_without_0_and_1_the_upper_half_of_a_time_is_a_task():
    (label,) = labels_of([column("watch_s", list(range(100)))]).labels
    assert label.task == {"name": "long_watch", "column": "watch_s", "above": 49.5}
    assert label.known.sum() == 50


def test_columns_that_are_told_are_labels():
    assert tasks(column("xyzzy", LIKE), told=["xyzzy"]) == [{"name": "xyzzy", "column": "xyzzy"}]
    assert tasks(column("money", [0.5, 3.25] * 20), told=["money"]) == [
        {"name": "money", "column": "money", "kind": "regression", "transform": "log1p"}
    ]


def test_feedback_that_hardly_occurs_is_left_out():
    rare = column("share", [1, 1] + [0] * (ROWS - 2))
    assert labels_of([rare, column("click", CLICK)]).left_out == {"share": "feedback, but 1 in only 2 of 400 rows"}


def test_no_tasks_name_begins_as_another():
    names = [task["name"] for task in tasks(column("like", LIKE), column("like_comment", CLICK))]
    assert names == ["did_like", "like_comment"]


def test_sequences_are_of_what_is_done_most():
    labels = labels_of([column("click", CLICK), column("like", LIKE)]).labels
    first, second = behaviours_of(labels, "5m")
    assert first.value == {"name": "clicked", "column": "click", "max_length": 50, "delay": "5m"}
    assert second.value == {"name": "liked", "column": "like", "max_length": 20, "delay": "5m"}
    assert gates_of(labels, {})["like"].value == {"if_unjudged": "pass"}


def test_feedback_goes_to_the_last_impression_strictly_before():
    #                  view   like  view   like   other user  at the time of a view
    user = np.array([0, 0, 0, 0, 1, 0])
    item = np.zeros(6, np.int64)
    seconds = np.array([10.0, 15.0, 20.0, 26.0, 30.0, 20.0])
    is_view = np.array([True, False, True, False, False, False])
    gaps = seconds_since_impression(user, item, seconds, is_view)
    assert gaps.tolist() == [np.inf, 5.0, 10.0, 6.0, np.inf, 10.0]


def test_the_window_takes_in_what_comes_of_each_event():
    quick, slow = np.array([60.0] * 100), np.array([7_200.0] * 10)
    assert choose_window({"like": quick})[0] == 1_800
    assert choose_window({"like": quick, "buy": slow})[0] == 6 * 3_600
    assert choose_window({"like": np.array([np.inf])})[0] == 86_400


def test_events_become_tasks_with_why_others_do_not():
    events = column("event", ["view"] * 5 + ["like"] * 4 + ["dislike"] * 4 + ["logout"] * 4 + ["share"])
    gaps = np.array([np.inf] * 5 + [10.0] * 12 + [np.inf])
    labels, left_out = event_labels(events, "view", gaps, 60)
    assert [(label.event, label.name, label.behaviour, bool(label.doubt)) for label in labels] == [
        ("like", "like", "liked", False),
        ("logout", "logout", "did_logout", True),
    ]
    assert set(left_out) == {"dislike", "share"}
    assert [label.event for label in event_labels(events, "view", gaps, 60, ["dislike"])[0]][:1] == ["dislike"]
