"""Many requests at a moment are what each would be alone, and rows that follow count as those of a file do."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.live_logs import Ask, LiveLogs
from ingest.rank_request import RequestError
from schema.spec import RankingSpec

START = 1_700_000_000
FILE = "log.parquet"
SPEC = {
    "name": "live",
    "log": {
        "layout": "impressions",
        "files": FILE,
        "user": "user",
        "item": "item",
        "timestamp": {"column": "time"},
        "request": {"gap": "10m"},
    },
    "features": [{"name": "place", "source": "log", "kind": "categorical"}],
    "behaviours": [{"name": "liked", "column": "like", "max_length": 5, "delay": "1m"}],
    "tasks": [{"name": "click", "column": "click"}, {"name": "like", "column": "like", "within": {"column": "click"}}],
    "statistics": {"delay": "5m", "by": ["item", "user", ["user", "place"]]},
}


def rows(count: int, seed: int, first: int) -> dict[str, pa.Array]:
    rng = np.random.default_rng(seed)
    click = rng.integers(2, size=count)
    columns = {
        "user": [f"u{user}" for user in rng.integers(6, size=count)],
        "item": [f"v{item}" for item in rng.integers(8, size=count)],
        "time": first + np.sort(rng.integers(50_000, size=count)),
        "place": rng.choice(["home", "away"], size=count).tolist(),
        "click": click,
        "like": click * rng.integers(2, size=count),
    }
    return {name: pa.array(values) for name, values in columns.items()}


@pytest.fixture
def spec() -> RankingSpec:
    return RankingSpec.model_validate(SPEC)


@pytest.fixture
def logs(spec, tmp_path) -> LiveLogs:
    pq.write_table(pa.table(rows(300, 1, START)), tmp_path / FILE)
    return LiveLogs.read(spec, str(tmp_path))


def assert_equal(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("at", [START + 20_000, START + 50_300, START + 90_000])
def test_requests_of_a_moment_are_those_that_each_user_would_send_alone(logs, at):
    asks = [
        Ask("u3", ["v1", "v2", "v7"]),
        Ask("u0", ["v2"], {"place": "away"}),
        Ask("nobody", ["v2", "new"], {"place": None}),
        Ask("u1", []),
    ]
    requests = logs.requests(asks, at)
    assert len(requests) == len(asks)
    for ask, (user, candidates) in zip(asks, requests, strict=True):
        assert_equal(user, logs.user_columns(ask.user, at, ask.context))
        assert_equal(candidates, logs.candidate_columns(ask.item_ids, ask.user, at, ask.context))


def test_two_requests_of_a_user_at_once_are_refused(logs):
    with pytest.raises(RequestError, match="one request of each"):
        logs.requests([Ask("u1", ["v1"]), Ask("u1", ["v2"])], START)


def test_rows_that_follow_count_as_if_the_file_had_had_them(logs, spec, tmp_path):
    later, at = rows(100, 2, START + 60_000), START + 120_000
    all_rows = pa.concat_tables([pa.table(rows(300, 1, START)), pa.table(later)])
    folder = tmp_path / "whole"
    folder.mkdir()
    pq.write_table(all_rows, folder / FILE)
    asks = [Ask(f"u{user}", ["v1", "v5"]) for user in range(6)]
    grown = logs.with_rows(later)
    for (user, items), (user_of_whole, items_of_whole), (_, items_before) in zip(
        grown.requests(asks, at),
        LiveLogs.read(spec, str(folder)).requests(asks, at),
        logs.requests(asks, at),
        strict=True,
    ):
        assert_equal(user, user_of_whole)
        assert_equal(items, items_of_whole)
        assert (items["item_statistics"] != items_before["item_statistics"]).any()


def test_rows_that_can_not_be_used_are_refused_by_their_number(logs):
    bad = rows(3, 3, START) | {"user": pa.array(["u1", None, "u2"])}
    with pytest.raises(RequestError, match="row 2 of the new rows: user"):
        logs.with_rows(bad)
    with pytest.raises(RequestError, match="expected the columns that the spec reads, got none of place"):
        logs.with_rows({name: values for name, values in bad.items() if name != "place"})
