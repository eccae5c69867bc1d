"""The section `statistics`: its forms, its slots by hand, and every refusal with its path."""

import copy
from pathlib import Path

import pytest
import yaml
from tensorflow_transform.tf_metadata import schema_utils

import schema
from schema.columns import example_columns
from schema.example_schema import example_schema
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec
from schema.statistics import Slot, denominator, impressions_by_key, shorter_delays, slots, statistics_of, sums_of

SHORTVIDEO = yaml.safe_load((Path(schema.__file__).parent / "specs" / "shortvideo.yaml").read_text())
# Each test declares its own.
del SHORTVIDEO["statistics"], SHORTVIDEO["log"]["request"]
SHORTVIDEO["slices"].remove(["item.impressions"])


def declared(statistics: dict, **sections) -> RankingSpec:
    return RankingSpec.model_validate({**copy.deepcopy(SHORTVIDEO), "statistics": statistics, **sections})


def refusals(tmp_path: Path, **sections) -> str:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**copy.deepcopy(SHORTVIDEO), **sections}))
    with pytest.raises(SpecError) as error:
        load_spec(path)
    return str(error.value)


def test_an_entry_is_a_key_a_list_of_keys_or_a_mapping_that_beats_the_section():
    author_entry = {"keys": ["user", "author"], "half_lives": ["7d"], "of": ["like"], "expire": "30d", "delay": "0s"}
    spec = declared({"by": ["item", ["user", "category"], author_entry], "delay": "5m", "age": True})
    item, pair, author = statistics_of(spec)
    assert (item.name, item.keys, item.delay, item.half_lives) == ("item", ("item",), 300, (86_400,))
    assert (pair.name, pair.column) == ("user_category", "user_category_statistics")
    assert item.of == ("view_through", "completion", "like", "share", "comment")
    assert (author.delay, author.half_lives, author.of, author.expire) == (0, (604_800,), ("like",), 2_592_000)
    assert author.age
    assert RankingSpec.from_json(spec.to_json()) == spec


def test_a_vector_is_no_key(tmp_path):
    vector = {"name": "embedding", "source": "items", "kind": "vector", "size": 2}
    said = refusals(tmp_path, features=[*SHORTVIDEO["features"], vector], statistics={"by": ["embedding"]})
    assert "statistics.by[0] (embedding).keys[0]: got 'embedding', which is a vector; expected one of user" in said


def test_slots_are_named_by_statistic_sum_and_span():
    by = {"keys": "author", "windows": ["6h"], "of": ["view_through", "like", "share"], "age": True}
    spec = declared({"by": [by], "half_lives": ["24h", "90m"]})
    (author,) = statistics_of(spec)
    # Like and share have the same space, and every impression is in view_through's.
    sums = ["impressions", "view_through", "like", "share", "within_clicked"]
    assert [aggregate.name for aggregate in sums_of(spec, author)] == sums
    spans = ["1d", "90m", "window_6h", "lifetime", "age"]
    assert [slot.name for slot in slots(spec, author)] == [
        f"author.{sum_name}.{span}" for span in spans for sum_name in sums
    ]
    rates = {task.name: denominator(spec, author, task) for task in spec.tasks if task.name in author.of}
    assert rates == {"view_through": "impressions", "like": "within_clicked", "share": "within_clicked"}


def test_a_space_that_a_task_predicts_is_that_tasks_sum():
    tasks = [
        {"name": "click", "column": "clicked"},
        {"name": "like", "column": "like", "within": {"column": "clicked"}},
    ]
    spec = declared({"by": ["item"], "measures": [{"name": "play", "sum": "play_ms"}]}, tasks=tasks, gates={})
    (item,) = statistics_of(spec)
    assert [(aggregate.name, aggregate.bits) for aggregate in sums_of(spec, item)] == [
        ("impressions", 0),
        ("click", 0),
        ("like", 0),
        ("play", 10),
    ]
    assert denominator(spec, item, spec.tasks[1]) == "click"


def test_a_statistic_is_one_vector_of_the_side_that_it_differs_by():
    spec = declared({"by": ["user", ["user", "tab"], "hour", "author", ["user", "category"], ["item", "tab"]]})
    columns = [column for column in example_columns(spec) if column.role == "statistic"]
    assert [column.side for column in columns] == ["user", "user", "user", "item", "item", "item"]
    assert {column.width for column in columns} == {14}
    parsed = schema_utils.schema_as_feature_spec(example_schema(spec)).feature_spec
    assert list(parsed["author_statistics"].shape) == [14]
    assert list(parsed["activity"].shape) == []


def test_a_delay_below_a_behaviours_on_the_same_column_is_pointed_out():
    statistics = {"by": ["item", {"keys": "user", "delay": "1m", "of": ["like"]}], "delay": "5m"}
    assert list(shorter_delays(declared(statistics))) == [
        "statistic 'user': delay 1m is shorter than the 5m of behaviour 'liked' on the same column 'like'"
    ]


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        ({"by": []}, "statistics.by: expected at least one"),
        ({"by": [3]}, "statistics.by[0]: expected a mapping, got 3 (int)"),
        ({"by": ["itm"]}, "statistics.by[0] (itm).keys[0]: got 'itm', expected one of user, item, tab"),
        ({"by": ["item", "tags"]}, "statistics.by[1] (tags).keys[0]: got 'tags', which is multi-valued"),
        ({"by": ["duration_s"]}, "statistics.by[0] (duration_s).keys[0]: got 'duration_s', which is numeric"),
        ({"by": [["user", "user"]]}, "statistics.by[0] (user_user).keys[1]: got 'user' twice"),
        ({"by": ["user", "user"]}, "the name 'user' is statistics.by[0]'s; give it a `name`"),
        ({"by": ["item"], "of": ["lik"]}, "statistics.of[0]: got 'lik', no such task, expected one of view_through"),
        (
            {"by": [{"keys": "item", "of": ["like", "like"]}]},
            "statistics.by[0] (item).of[1]: got 'like' twice",
        ),
        (
            {"by": ["item"], "half_lives": ["30m"]},
            "statistics.by[0] (item).half_lives[0]: got 30m, which is shorter than the granularity 1h",
        ),
        (
            {"by": ["item"], "windows": ["30m"]},
            "statistics.by[0] (item).windows[0]: got 30m, which is shorter than the granularity 1h",
        ),
        ({"by": ["item"], "windows": ["90m"]}, "got 90m, expected a multiple of the granularity 1h"),
        ({"by": ["item"], "windows": ["84d"]}, "got 84d, 2,016 times the granularity 1h"),
        ({"by": ["item"], "expire": "90m"}, "statistics.by[0] (item).expire: got 90m, expected a multiple"),
        ({"by": ["item"], "granularity": "30s"}, "statistics.by[0] (item).granularity: got 30s, expected at least 1m"),
        ({"by": ["item"], "half_lives": [], "lifetime": False}, "statistics.by[0] (item): expected a span"),
        ({"by": [{"keys": "item", "delai": "5m"}]}, "statistics.by[0].delai: unknown key"),
        (
            {"by": ["item"], "measures": [{"name": "e", "event": "x"}]},
            "statistics.measures[0] (e): got `event`, which needs layout `events`",
        ),
        (
            {"by": ["item"], "measures": [{"name": "like", "column": "like"}]},
            "the sum 'like' would be there twice among tasks and measures",
        ),
        (
            {"by": ["item"], "measures": [{"name": "m", "column": "like", "sum": "play_ms"}]},
            "expected exactly one of `event` or `column` or `sum`, got column and sum",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(tmp_path, statistics, expected):
    assert expected in refusals(tmp_path, statistics=statistics)


def test_a_key_that_a_task_predicts_is_refused(tmp_path):
    features = [*SHORTVIDEO["features"], {"name": "liked_it", "source": "log", "column": "like", "kind": "categorical"}]
    message = refusals(tmp_path, features=features, statistics={"by": ["liked_it"]})
    assert "statistics.by[0] (liked_it).keys[0]: got 'liked_it', whose column task 'like' predicts" in message


def test_a_column_that_exists_and_an_ambiguous_key_are_refused(tmp_path):
    features = [*SHORTVIDEO["features"], {"name": "item_statistics", "source": "items", "kind": "numeric"}]
    assert "'item_statistics' would be written twice" in refusals(
        tmp_path, features=features, statistics={"by": ["item"]}
    )
    features = [*SHORTVIDEO["features"], {"name": "item", "source": "items", "kind": "categorical"}]
    assert "the id of the log, but a feature has that name too" in refusals(
        tmp_path, features=features, statistics={"by": ["item"]}
    )


def test_a_request_is_a_column_or_a_gap_and_a_skip_leaves_a_train_split(tmp_path):
    log = SHORTVIDEO["log"]
    both = refusals(tmp_path, log={**log, "request": {"column": "r", "gap": "30m"}})
    assert "log.request: expected exactly one of `column` or `gap`" in both
    split = refusals(tmp_path, split={"skip": 0.8, "eval": 0.1, "test": 0.1})
    assert "skip + eval + test must leave something to train on, got 0.8 + 0.1 + 0.1" in split


def test_a_spec_without_statistics_travels_as_before():
    text = RankingSpec.model_validate(SHORTVIDEO).to_json()
    assert all(word not in text for word in ("statistics", "request", "skip"))


def test_a_statistics_impressions_are_a_slice_and_nothing_else_of_it_is(tmp_path):
    by = ["item", {"keys": ["user", "author"], "name": "fans"}]
    spec = declared({"by": by}, slices=[["item.impressions"], ["tab", "fans.impressions"]], gates={})
    assert RankingSpec.from_json(spec.to_json()).slices == (("item.impressions",), ("tab", "fans.impressions"))
    expected = "or a statistic's impressions: item.impressions, fans.impressions"
    for wrong in ("item.like", "author.impressions", "user_author.impressions"):
        refused = refusals(tmp_path, statistics={"by": by}, slices=[["tab"], ["tab", wrong]], gates={})
        assert f"slices[1][1]: got '{wrong}', expected a feature, neither numeric nor a vector: " in refused
        assert expected in refused
    refused = refusals(tmp_path, slices=[["item.impressions"]], gates={})
    assert "or a statistic's impressions: the spec has no `statistics`" in refused


@pytest.mark.parametrize(
    ("settings", "span"),
    [
        ({"half_lives": ["30d"], "windows": ["60d"]}, "lifetime"),
        ({"lifetime": False, "half_lives": ["3d", "1d"], "windows": ["2d"]}, "3d"),
        ({"lifetime": False, "half_lives": ["1d"], "windows": ["2d", "36h"]}, "window_2d"),
    ],
)
def test_the_impressions_of_a_slice_are_of_all_time_or_the_longest_span(settings, span):
    spec = declared({"by": [{"keys": "item", **settings}]})
    (statistic,) = statistics_of(spec)
    assert impressions_by_key(spec) == {"item.impressions": (statistic, Slot("item", "impressions", span))}
