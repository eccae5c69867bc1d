"""Four days of simulated logs in daily folders, their examples, and their rows as events that arrive one by one."""

import csv
import gzip
import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from examples_in_memory import examples_of
from fed_store import Days, Event
from redis_server import NO_REDIS, REDIS, redis_server

from schema.spec import RankingSpec
from serving.store.opening import open_store
from simulation.logs import simulate

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"
BY = [
    {"keys": "author", "windows": ["6h", "30h"], "age": True},
    {"keys": ["user", "category"], "age": True, "windows": ["30h"], "granularity": "10m", "half_lives": ["1d", "5h"]},
    {"keys": ["user", "author"], "half_lives": ["7d"], "of": ["like"], "expire": "12h"},
    {"keys": ["item", "tab"], "expire": "20h", "windows": ["26h"], "of": ["completion"]},
    {"keys": ["hour", "country"], "half_lives": [], "of": ["like"]},
]
# How long before midnight a row is late: it lies in the next day's folder.
LATE_MS = 1_800_000


def day_number(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.fixture(scope="session")
def days(tmp_path_factory) -> Days:
    """The last half hour of each day is late and lies in the next day's folder; one user's times are often equal."""
    logs = tmp_path_factory.mktemp("daily")
    simulate(logs, users=40, impressions=1_500, seed=3, days=4, daily=True)
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    behaviours = [{**behaviour, "max_length": 5} for behaviour in declared["behaviours"]]
    changed = {"behaviours": behaviours, "slices": [], "statistics": {"by": BY, "delay": "90m"}}
    spec = RankingSpec.model_validate({**declared, **changed, "log": {**declared["log"], "request": {"gap": "45m"}}})
    late: list[dict] = []
    events = []
    for folder in sorted(logs.glob("2026-*")):
        (file,) = folder.glob("impressions-*.csv.gz")
        with gzip.open(file, "rt") as stream:
            rows = list(csv.DictReader(stream))
        end = (day_number(folder.name) + 1) * 86_400_000 - LATE_MS
        for before, row in pairwise(rows):
            if row["user_id"] == before["user_id"] and int(row["video_id"][-1], 36) % 2:
                row["timestamp"] = before["timestamp"]
        moved = [row for row in rows if int(row["timestamp"]) >= end]
        rows, late = [row for row in rows if row not in moved] + late, moved
        # An example has one place in time, user and item.
        rows = list({(row["user_id"], row["video_id"], row["timestamp"]): row for row in rows}.values())
        with gzip.open(file, "wt", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        day = day_number(folder.name)
        events += [Event(int(row["timestamp"]), day, json.dumps(row).encode()) for row in rows]
    events.sort(key=lambda event: event.time)
    sources = {
        "log": sorted(logs.glob("2026-*/*.gz")),
        "users": [logs / "users.csv"],
        "items": [logs / "items.csv"],
    }
    return Days(spec, logs, examples_of(spec, sources).to_pylist(), events)


# The feedback of the log of events: its name, its column in the log of impressions, and how many seconds it takes.
FEEDBACK = (("play", "clicked", 40), ("like", "like", 4_000), ("share", "share", 20_000))


@pytest.fixture(scope="session")
def event_days(days, tmp_path_factory) -> Days:
    """The same days as a log of events: a row is shown, and feedback comes as rows of its own, up to hours later."""
    logs = tmp_path_factory.mktemp("events")
    declared = days.spec.model_dump(mode="json", exclude_defaults=True)
    log = {**declared["log"], "layout": "events", "files": ["events-*.jsonl"], "event": "event"}
    log |= {"impression": "show", "attribution_window": "1d"}
    by = [{**entry, **({"of": ["like"]} if "of" in entry else {})} for entry in BY]
    spec = RankingSpec.model_validate(
        {
            **{name: declared[name] for name in ("name", "users", "items", "features")},
            "log": log,
            "behaviours": [
                {"name": f"{event}s", "event": event, "max_length": 5, "delay": "5m"} for event in ("play", "like")
            ],
            "tasks": [{"name": event, "event": event} for event, _, _ in FEEDBACK],
            "statistics": {"by": by, "delay": "90m"},
        }
    )
    rows: list[tuple[int, int, dict]] = []
    for event in days.events:
        row = json.loads(event.line)
        shared = {name: row[name] for name in ("user_id", "video_id", "tab", "network")}
        rows.append((event.time, event.day, {**shared, "timestamp": event.time, "event": "show"}))
        for name, column, seconds in FEEDBACK:
            time = event.time + 1_000 * (1 + int(row["play_ms"]) % seconds)
            day = max(event.day, time // 86_400_000)
            if row[column] == "1" and day <= days.events[-1].day:
                rows.append((time, day, {**shared, "timestamp": time, "event": name}))
    # A user may share one item twice at a time: such rows are one.
    alike = {(row["user_id"], row["video_id"], time, row["event"]): (time, day, row) for time, day, row in rows}
    events = [Event(time, day, json.dumps(row).encode()) for time, day, row in alike.values()]
    for day in sorted({event.day for event in events}):
        folder = logs / str(date.fromordinal(date(1970, 1, 1).toordinal() + day))
        folder.mkdir()
        lines = [event.line for event in events if event.day == day]
        (folder / "events-1.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for table in ("users.csv", "items.csv"):
        (logs / table).write_bytes((days.logs / table).read_bytes())
    sources = {
        "log": sorted(logs.glob("2026-*/*.jsonl")),
        "users": [logs / "users.csv"],
        "items": [logs / "items.csv"],
    }
    events.sort(key=lambda event: event.time)
    return Days(spec, logs, examples_of(spec, sources).to_pylist(), events)


@pytest.fixture(params=["impressions", "events"])
def either(request) -> Days:
    """The days in each layout of the log."""
    return request.getfixturevalue({"impressions": "days", "events": "event_days"}[request.param])


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


BACKENDS = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.skipif(not REDIS, reason=NO_REDIS))]


def address(request, tmp_path) -> str:
    """Returns the address of an empty store."""
    if request.param != "redis":
        return {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/store.db"}[request.param]
    url = request.getfixturevalue("redis_url")
    store = open_store(url)
    store._client.flushdb()
    store.close()
    return url


@pytest.fixture(params=BACKENDS)
def any_store(request, tmp_path):
    """A store of each backend, empty."""
    opened = open_store(address(request, tmp_path), timeout_seconds=20, create=True)
    yield opened
    opened.close()


@pytest.fixture(params=BACKENDS[1:])
def shared_url(request, tmp_path) -> str:
    """The address of an empty store of each backend that several processes share."""
    url = address(request, tmp_path)
    open_store(url, create=True).close()
    return url


@pytest.fixture
def store():
    return open_store("memory:")
