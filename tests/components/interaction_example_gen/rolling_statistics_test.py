"""Statistics of daily folders: one day after the other gives what one run over everything gives, to the bit."""

import csv
import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from schema.spec import RankingSpec
from simulation.logs import simulate

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"
DAY_MS, FIRST = 86_400_000, 1_767_225_600_000  # 2026-01-01
BY = [
    {"keys": "author", "windows": ["6h", "30h"], "age": True},
    {"keys": ["user", "category"], "age": True, "windows": ["30h"], "granularity": "10m", "half_lives": ["1d", "5h"]},
    {"keys": ["user", "author"], "half_lives": ["7d"], "of": ["like"], "expire": "12h"},
    {"keys": ["item", "tab"], "expire": "20h", "windows": ["26h"], "of": ["completion"]},
    {"keys": "hour", "half_lives": [], "of": ["like"]},
]
DAYS = ("1d:2026-01-01", "2d:2026-01-02", "1d:2026-01-03", "1d:2026-01-04", "2d:2026-01-05")


def _spec(by: list | None = None, **log) -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    behaviours = [{**behaviour, "max_length": 5} for behaviour in declared["behaviours"]]
    log = {**declared["log"], "request": {"gap": "45m"}, **log}
    changed = {"behaviours": behaviours, "log": log, "slices": [], "statistics": {"by": by or BY, "delay": "90m"}}
    return RankingSpec.model_validate({**declared, **changed})


@pytest.fixture(scope="module")
def five_days(tmp_path_factory) -> Path:
    """Simulated logs, a folder a day; the last half hour of each day is late and lies in the next day's folder."""
    logs = tmp_path_factory.mktemp("daily")
    simulate(logs, users=40, impressions=1_500, seed=3, days=5, daily=True)
    late: list[dict] = []
    for number, folder in enumerate(sorted(logs.glob("2026-*"))):
        (file,) = folder.glob("impressions-*.csv.gz")
        with gzip.open(file, "rt") as stream:
            rows = list(csv.DictReader(stream))
        file.unlink()
        end = FIRST + (number + 1) * DAY_MS - 1_800_000
        moved = [row for row in rows if number < 4 and int(row["timestamp"]) >= end]
        rows, late = [row for row in rows if row not in moved] + late, moved
        with gzip.open(folder / "impressions-0.csv.gz", "wt", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return logs


@pytest.fixture
def logs(five_days, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(five_days, tmp_path / "logs"))


def _rows(ingested, since: int, scale: int = 1) -> dict[tuple, list[str]]:
    """What the examples from a day on hold, by user, item and time."""
    result: dict[tuple, list[str]] = {}
    for row in ingested.rows:
        if row["timestamp"][0] * scale >= FIRST + (since - 1) * DAY_MS:
            key = row["user_id"][0], row["item_id"][0], row["timestamp"][0]
            result.setdefault(key, []).append(repr(sorted(row.items())))
    return {key: sorted(values) for key, values in result.items()}


def _bytes(ingested) -> list[bytes]:
    return [file.read_bytes() for file in sorted(Path(ingested.examples.uri).rglob("*.gz"))]


@pytest.mark.parametrize("request_", [None, {"gap": "45m"}], ids=["impression", "request"])
def test_day_by_day_the_statistics_are_those_of_one_run_over_everything(five_days, ingest_logs, tmp_path, request_):
    state, spec = tmp_path / "state", _spec(request=request_)
    everything = _spec(files="*/impressions-*.csv.gz", request=request_)
    expected = _rows(ingest_logs(everything, five_days, shards=2), 1)
    read = 0
    for shards, window in zip((1, 2, 1, 2, 2), DAYS, strict=True):
        ingested = ingest_logs(spec, five_days, window=window, state=state, shards=shards)
        actual = _rows(ingested, 1)
        assert actual
        assert {key: expected[key] for key in actual} == actual
        read += ingested.summary["sources"]["log"]["files"]
    # Of the days before its window a run reads only the 2nd, once: the run before it began with the 1st.
    assert read == 8
    assert len(list(state.glob("*-statistics-*"))) == len(BY)


def test_without_statistics_a_request_that_spans_midnight_begins_where_it_does_in_one_run(
    five_days, ingest_logs, tmp_path
):
    state, request = tmp_path / "state", {"gap": "6h"}
    none = {"statistics": None, "behaviours": ()}
    everything = _spec(files="*/impressions-*.csv.gz", request=request).model_copy(update=none)
    expected = _rows(ingest_logs(everything, five_days, shards=2), 1)
    for window in DAYS[:2]:
        ingested = ingest_logs(_spec(request=request).model_copy(update=none), five_days, window=window, state=state)
        actual = _rows(ingested, 1)
        assert actual
        assert {key: expected[key] for key in actual} == actual
    midnight = FIRST + DAY_MS
    spanning = [
        row for row in ingested.rows if row["request_start"][0] < midnight - 1_800_000 < midnight < row["timestamp"][0]
    ]
    assert spanning
    assert all(row["timestamp"][0] - row["request_start"][0] <= DAY_MS for row in ingested.rows)


def test_a_statistic_added_later_reads_its_days_and_leaves_the_others_alone(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    expected = _rows(ingest_logs(_spec(files="*/impressions-*.csv.gz"), logs), 1)
    for window in DAYS[:3]:
        ingest_logs(_spec(BY[:1]), logs, window=window, state=state)
    before = {file: file.read_bytes() for file in state.rglob("*") if file.is_file()}
    actual = _rows(ingest_logs(_spec(BY), logs, window="1d:2026-01-04", state=state), 4)
    assert {key: expected[key] for key in actual} == actual
    assert all(file.read_bytes() == data for file, data in before.items())

    # From then on it reads no more than the others.
    last = ingest_logs(_spec(BY), logs, window="1d:2026-01-05", state=state)
    assert last.summary["sources"]["log"]["files"] == 1
    actual = _rows(last, 5)
    assert {key: expected[key] for key in actual} == actual


def test_a_kill_between_the_parts_and_the_manifest_changes_nothing(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    ingest_logs(_spec(), logs, window="1d:2026-01-02", state=state, shards=2)
    first = _bytes(ingest_logs(_spec(), logs, window="1d:2026-01-03", state=state, shards=2))
    contents = {file: file.read_bytes() for file in state.rglob("2026-01-04/**/*") if file.is_file()}
    assert len(contents) > 2 * len(BY)
    for manifest in state.glob("*-statistics-*/*/*/manifest.json"):
        manifest.unlink()
        for part in manifest.parent.glob("part-00000-*"):
            part.write_bytes(b"half")
    assert _bytes(ingest_logs(_spec(), logs, window="1d:2026-01-03", state=state, shards=2)) == first
    assert {file: file.read_bytes() for file in state.rglob("2026-01-04/**/*") if file.is_file()} == contents


def test_earlier_days_may_be_gone_but_not_changed(logs, ingest_logs, tmp_path):
    state = tmp_path / "state"
    ingest_logs(_spec(), logs, window="2d:2026-01-02", state=state)
    first = _bytes(ingest_logs(_spec(), logs, window="1d:2026-01-03", state=state))
    shutil.rmtree(logs / "2026-01-01")
    assert _bytes(ingest_logs(_spec(), logs, window="1d:2026-01-03", state=state)) == first

    # A like more on an earlier day is read, and counts.
    file = logs / "2026-01-02" / "impressions-0.csv.gz"
    with gzip.open(file, "rt") as stream:
        rows = list(csv.DictReader(stream))
    with gzip.open(file, "wt", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, "clicked": "1", "like": "1"} for row in rows)
    assert _bytes(ingest_logs(_spec(), logs, window="1d:2026-01-03", state=state)) != first


EVENTS = {
    "name": "articles",
    "log": {
        "layout": "events",
        "files": "log.csv",
        "user": "user",
        "item": "item",
        "timestamp": {"column": "at"},
        "event": "event",
        "impression": "VIEW",
        "attribution_window": "6h",
        "request": {"column": "request"},
    },
    "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
    "behaviours": [{"name": "viewed", "event": "VIEW", "max_length": 2}],
    "tasks": [{"name": "like", "event": "LIKE"}, {"name": "share", "event": "SHARE", "within": {"event": "OPEN"}}],
    "statistics": {
        "by": ["item", {"keys": ["user", "tab"], "age": True, "windows": ["5h"]}, "user"],
        "measures": [{"name": "hide", "event": "HIDE"}],
        "delay": "10m",
    },
}


def test_events_and_requests_over_midnight_are_the_same_day_by_day(ingest_logs, tmp_path):
    random, logs = np.random.default_rng(5), tmp_path / "logs"
    hours = np.sort(random.uniform(0, 4 * 24, 3_000))
    rows: dict[int, list[dict]] = {}
    for hour in hours.tolist():
        user = f"u{random.integers(5)}"
        rows.setdefault(int(hour // 24), []).append(
            {
                "user": user,
                "item": f"v{random.integers(4)}",
                "at": FIRST // 1000 + int(hour * 3600),
                "tab": ["home", "deep", ""][random.integers(3)],
                "event": ["VIEW", "VIEW", "LIKE", "SHARE", "OPEN", "HIDE"][random.integers(6)],
                # Of seven hours, so that some span midnight, and beside another of the same time; some have none.
                "request": ["", f"{user}-{int(hour // 7)}", f"{user}-{int(hour // 7)}-b"][random.integers(3)],
            }
        )
    for day, here in rows.items():
        folder = logs / f"2026-01-0{day + 1}"
        folder.mkdir(parents=True)
        with (folder / "log.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, here[0])
            writer.writeheader()
            writer.writerows(here)
    spec = RankingSpec.model_validate(EVENTS)
    everything = RankingSpec.model_validate({**EVENTS, "log": {**EVENTS["log"], "files": "*/log.csv"}})
    expected = _rows(ingest_logs(everything, logs), 1, scale=1000)
    for day in (1, 2, 3, 4):
        ingested = ingest_logs(spec, logs, window=f"1d:2026-01-0{day}", state=tmp_path / "state")
        assert ingested.summary["sources"]["log"]["files"] == 1
        actual = _without_labels(_rows(ingested, day, scale=1000))
        assert actual
        assert {key: _without_labels(expected)[key] for key in actual} == actual


def _without_labels(rows: dict[tuple, list[str]]) -> dict[tuple, list[str]]:
    """Labels are left out: those that come after midnight are for a window that has both days."""
    label = re.compile(r"\('(label|space)_\w+', \[[^]]*\]\)")
    return {key: sorted(label.sub("", row) for row in values) for key, values in rows.items()}
