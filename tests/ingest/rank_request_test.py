"""The user's side of a request is what ingest would have written for an impression at that moment."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_rows import examples_of
from tiny_logs import SPEC

from ingest.examples import Lookup
from ingest.formats import RawBatch
from ingest.rank_request import RequestError, RequestLogs, ticks
from ingest.rows import columns_of, parse
from schema.columns import model_columns
from schema.loading import load_spec
from schema.spec import RankingSpec

START = 1_500_000_000
NAN = float("nan")


def plain(columns: dict) -> dict:
    """The values as lists of text and numbers."""

    def text(value):
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, list):
            return [text(element) for element in value]
        return value.decode() if isinstance(value, bytes) else value

    return {name: text(values) for name, values in columns.items()}


@pytest.fixture
def logs(tiny) -> RequestLogs:
    spec, folder = tiny
    return RequestLogs.read(load_spec(spec), str(folder), ["ann", "cid"], ["a4", "a2", "new"])


def test_by_default_the_moment_is_just_after_the_last_event(logs):
    # 4,001 s after the start, which is 02:40 in the night: 2 + 1 hours later is hour 3.
    at = plain(logs.user_columns("ann"))
    assert at.pop("battery") == pytest.approx(0.2)
    assert at.pop("viewed_length")[-2:] == pytest.approx([NAN, NAN], nan_ok=True)
    assert at.pop("liked_length") == pytest.approx([10, NAN], nan_ok=True)
    assert at == {
        "user_id": "ann",
        "country": "__missing__",
        "hour": "3",
        "band": "young",
        "viewed_item_id": ["a2", "a3", "gone"],
        "viewed_age_s": [3_901, 3_901, 1],
        "viewed_topic": ["__missing__", "art", "__missing__"],
        "liked_item_id": ["a1", "a3"],
        "liked_age_s": [3_991, 3_851],
        "liked_topic": ["news", "art"],
    }


def test_what_happens_at_the_moment_itself_or_is_not_known_yet_is_not_seen(logs):
    at = plain(logs.user_columns("ann", START + 100))
    assert at["viewed_item_id"] == ["a1"]
    assert at["liked_item_id"] == ["a1"]
    # A like is known a minute after it happened.
    assert plain(logs.user_columns("ann", START + 70))["liked_item_id"] == []
    assert plain(logs.user_columns("ann", START + 71))["liked_item_id"] == ["a1"]


def test_context_comes_from_the_last_row_until_then_or_from_the_caller(logs):
    # Of two rows at that moment the later one counts.
    before = plain(logs.user_columns("ann", START + 100))
    assert (before["country"], before["battery"]) == ("US", pytest.approx(0.3))
    columns = plain(logs.user_columns("ann", START + 100, {"country": "FR", "battery": None}))
    assert columns["country"] == "FR"
    assert np.isnan(columns["battery"])


def test_someone_unknown_has_no_past_and_someone_of_the_table_alone_has_its_features(logs):
    for user, band in (("zoe", "__missing__"), ("cid", "old")):
        columns = logs.user_columns(user, START)
        assert columns["user_id"] == user.encode()
        assert columns["band"] == band.encode()
        assert columns["country"] == b"__missing__"
        assert np.isnan(columns["battery"])
        assert columns["viewed_item_id"].shape == columns["liked_length"].shape == (0,)


def test_candidates_bring_their_features_and_unknown_ones_miss_theirs(logs):
    sent = plain(logs.candidate_columns(["a4", "new", "a2"]))
    assert sent.pop("length") == pytest.approx([40, NAN, 20], nan_ok=True)
    assert sent == {
        "item_id": ["a4", "new", "a2"],
        "topic": ["art", "__missing__", "__missing__"],
        "tags": [["y", "x", "z"], [], []],
    }


def test_no_candidates_are_empty_columns(logs):
    assert plain(logs.candidate_columns([])) == {"item_id": [], "topic": [], "length": [], "tags": []}


def test_reading_keeps_the_rows_of_the_asked_users_alone(logs):
    assert set(logs.log["user"].to_pylist()) == {"ann"}
    # What ann has dealt with and the candidates that the table has.
    assert sorted(logs.items.keys.to_pylist()) == ["a1", "a2", "a3", "a4"]


def test_daily_folders_give_the_users_side_of_their_last_day_of_a_window_or_of_a_moment(tiny_daily, logs):
    spec, folder = load_spec(tiny_daily[0]), str(tiny_daily[1])
    now = plain(RequestLogs.read(spec, folder, ["ann"], ["a4"]).user_columns("ann"))
    assert (now["band"], now["viewed_item_id"]) == ("old", ["a3", "gone", "a4"])
    newest = plain(RequestLogs.read(spec, folder, ["ann"], window="1d:2017-07-15").user_columns("ann"))
    assert (newest["band"], newest["viewed_item_id"]) == ("old", ["a4"])
    # On the first day neither the second's rows nor its table are known.
    moment = START + 4_001
    then = RequestLogs.read(spec, folder, ["ann"], at=moment)
    assert set(then.log["time"].to_numpy() < moment) == {True}
    np.testing.assert_equal(then.user_columns("ann", moment), logs.user_columns("ann", moment))


def test_the_model_reads_every_column_that_a_request_sends_and_no_other(tiny, logs):
    assert logs.user_columns("ann").keys() | logs.candidate_columns(["a1"]).keys() == {
        column.name for column in model_columns(load_spec(tiny[0]))
    }


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"hour": "3"}, "hour: is not a feature that the request may set, expected one from the log: country, battery"),
        ({"battery": "full"}, "battery: expected a number, got 'full'"),
        ({"country": "a\0b"}, "country: holds a NUL byte"),
    ],
)
def test_wrong_context_is_named(logs, context, said):
    with pytest.raises(RequestError, match=said):
        logs.user_columns("ann", context=context)


def test_a_candidate_without_an_id_is_named(logs):
    with pytest.raises(RequestError, match="candidate 2: candidates: the id is missing"):
        logs.candidate_columns(["a1", ""])


def test_moments_are_read_as_iso_times_and_as_ticks(tiny):
    spec = load_spec(tiny[0])
    moment = int(datetime(2017, 7, 14, 2, 40, tzinfo=UTC).timestamp())
    for text in ("2017-07-14T02:40", "2017-07-14T04:40+02:00", str(moment)):
        assert ticks(spec, text) == moment == START
    for text, said in (("noon", "'noon'"), ("-5", "1990 to 2100"), ("1500000000000", "is the unit right")):
        with pytest.raises(RequestError, match=said):
            ticks(spec, text)


LOGGED = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["a1", "a2", "gone"]),
        st.integers(0, 300).map(lambda at: START + at),
        st.sampled_from(["VIEW", "LIKE", "SHARE"]),
        st.sampled_from(["BR", "US", ""]),
        st.sampled_from(["0.5", ""]),
    ),
    min_size=1,
    max_size=25,
)


# By keys of each side, alone and in pairs; of the log, the users table and the items table.
STATISTICS = {
    "by": ["item", "user", "country", ["user", "topic"], "band"],
    "granularity": "1m",
    "delay": "10s",
    "half_lives": ["1h"],
    "age": True,
}


VECTORS = [
    {"name": "charge", "source": "log", "column": "battery", "kind": "vector", "size": 1},
    {"name": "taste", "source": "users", "column": "band", "kind": "vector", "size": 2},
    {"name": "embedding", "source": "items", "kind": "vector", "size": 2},
]


@settings(max_examples=40, deadline=None)
@given(rows=LOGGED)
@pytest.mark.parametrize(
    ("statistics", "vectors"), [(None, []), (STATISTICS, []), (None, VECTORS)], ids=["plain", "statistics", "vectors"]
)
def test_each_example_of_ingest_is_the_request_at_its_moment(tiny, statistics, vectors, rows):
    spec = RankingSpec.model_validate({**SPEC, "statistics": statistics, "features": [*SPEC["features"], *vectors]})
    names = ["who", "what", "at", "did", "country", "battery"]
    log = pa.table(dict(zip(names, map(pa.array, zip(*rows, strict=True)), strict=True)))
    files = {"users": "people.csv", "items": "articles.csv"}
    tables = {
        source: pa.table(pd.read_csv(tiny[1] / name, dtype=str, keep_default_na=False))
        for source, name in files.items()
    }
    tables = {source: table.replace_schema_metadata() for source, table in tables.items()}
    tables["items"] = tables["items"].append_column("embedding", [["1|2", "", "3|4", "5|6"]])
    if vectors:
        tables["users"] = pa.table({"id": ["ann", "cid"], "band": ["0.5|1", ""]})
    examples, bad = examples_of(spec, log, **tables)
    assert not bad
    users, items = (Lookup.of(spec, source, parsed(spec, source, tables[source])) for source in files)
    logs = RequestLogs(spec, parsed(spec, "log", log), users, items)
    for example in examples.to_pylist():
        context = {
            "country": None if example["country"] == "__missing__" else example["country"],
            "battery": None if np.isnan(example["battery"]) else str(example["battery"]),
        }
        if vectors:
            context["charge"] = context["battery"]
        request = example["user_id"], example["timestamp"], context
        user_columns = plain(logs.user_columns(*request))
        np.testing.assert_equal(user_columns, {name: example[name] for name in user_columns})
        candidates = plain(logs.candidate_columns([example["item_id"]], *request))
        np.testing.assert_equal(
            {name: values[0] for name, values in candidates.items()}, {name: example[name] for name in candidates}
        )


def parsed(spec: RankingSpec, source: str, table: pa.Table) -> pa.Table:
    columns = {name: table[name].combine_chunks() for name in columns_of(spec, source)}
    return parse(spec, source, RawBatch(source, np.arange(1, len(table) + 1), columns))[0]
