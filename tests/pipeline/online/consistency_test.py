"""`fulcrum consistency` finds nothing where nothing is amiss, and names each fault that is put in."""

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.online.consistency import reasons
from pipeline.online.consistency.records import read_requests
from pipeline.online.consistency.report import check_consistency
from pipeline.online.gateway import StoreCompleting
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from schema.served import rank_inputs
from schema.spec import RankingSpec
from serving.gateway.completing import IdRequest
from serving.gateway.request_log import RequestLog
from serving.store.opening import open_store

SECOND = date(2026, 1, 2)
THIRD = (date(2026, 1, 3) - date(1970, 1, 1)).days
DAY_MS = 86_400_000


class Gateway:
    """What a gateway does of requests and events of the third day, without a model; requests are logged."""

    def __init__(self, spec: RankingSpec, store, path: Path, share: float = 1.0):
        self.path, self.counts = path, []
        self._completing, self._updater = StoreCompleting(spec, store), Updater(spec, store)
        self._log = RequestLog(path, share)
        self._names = [tensor.name for tensor in rank_inputs(spec)]

    def update(self, events: list) -> None:
        self._updater.update([event.line for event in events], day=THIRD)

    def ask(self, user: str, items: list[str], at: int, given: dict | None = None, degraded: str | None = None) -> None:
        request = IdRequest(user, items, at, given or {})
        complete = self._completing.without_store if degraded else self._completing.complete
        done = complete(request)
        inputs = {name: done.inputs[name] for name in self._names if name not in request.given}
        self._log.add(request, done, inputs, degraded, self.counts.append)

    def close(self) -> Path:
        self._log.close()
        assert set(self.counts) <= {"written"}
        return self.path


@pytest.fixture(scope="module")
def events(days) -> list:
    return [event for event in days.events if event.day == THIRD]


@pytest.fixture(scope="module")
def state(days, tmp_path_factory) -> dict:
    """A store at the end of the second day."""
    store = open_store("memory:")
    materialize(days.spec, str(days.logs), str(tmp_path_factory.mktemp("state")), store, SECOND)
    return {"_values": store._values, "_marks": store._marks}


@pytest.fixture
def based(state):
    store = open_store("memory:")
    store._values, store._marks = dict(state["_values"]), dict(state["_marks"])
    return store


def copied(store):
    """Returns a store in memory with the same values."""
    twin = open_store("memory:")
    twin._values, twin._marks = dict(store._values), dict(store._marks)
    return twin


def moments(days, events: list) -> list[tuple[str, list[str], int]]:
    """Returns requests at the times of some events, of their users and of items that they have dealt with or not."""
    items = sorted({example["item_id"] for example in days.examples})
    result = []
    for index in np.linspace(len(events) // 3, len(events) - 1, 8).astype(int).tolist():
        row = json.loads(events[index].line)
        result.append((row["user_id"], [row["video_id"], *items[index % 7 :: 30]], events[index].time))
    return result


def serve(gateway: Gateway, requests: list, events: list, lost: Callable[[int], bool] = lambda index: False) -> Path:
    """Serves requests, each after the events up to its time, but for those that are lost."""
    fed = 0
    for user, items, at in requests:
        batch = []
        while fed < len(events) and events[fed].time <= at:
            batch += [] if lost(fed) else [events[fed]]
            fed += 1
        if batch:
            gateway.update(batch)
        gateway.ask(user, items, at)
    return gateway.close()


def named(report) -> dict[str, str]:
    """Returns the reason of each column that differs, by its name."""
    return {row.part.name: row.first.reason.name for row in report.rows if row.first}


def checked(spec: RankingSpec, logs: Path, path: Path):
    report = check_consistency(spec, str(logs), path)
    assert report.requests > 0
    assert report.unreadable == (0, "")
    return report


def with_log(days, folder: Path, change: Callable[[list[dict]], list[dict]]) -> Path:
    """Returns a copy of the logs, the third day's rows changed."""
    logs = folder / "logs"
    shutil.copytree(days.logs, logs)
    (path,) = (logs / "2026-01-03").glob("impressions-*.csv.gz")
    with gzip.open(path, "rt") as stream:
        rows = list(csv.DictReader(stream))
    with gzip.open(path, "wt", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(change(rows))
    return logs


def test_what_was_served_in_time_is_what_the_logs_tell_byte_for_byte(either, store, tmp_path):
    days, events = either, [event for event in either.events if event.day == THIRD]
    materialize(days.spec, str(days.logs), str(tmp_path), store, SECOND)
    gateway = Gateway(days.spec, store, tmp_path / "requests.jsonl")
    requests = moments(days, events)
    user, items, _ = requests[0]
    requests += [("7.0", ["new", items[0], "8.0"], events[-1].time + 1), (user, [], events[-1].time + 2)]
    report = checked(days.spec, days.logs, serve(gateway, requests, events))
    assert named(report) == {}
    assert report.requests == 10
    candidates = sum(len(items) for _, items, _ in requests)
    counts = {row.part.name: row.counts.counts for row in report.rows}
    assert len(counts) > 60
    assert {tuple(count.items()) for count in counts.values()} == {
        (("equal", number), ("mismatch", 0), ("missing", 0), ("extra", 0)) for number in (10, candidates)
    }
    assert counts["author.impressions.lifetime"]["equal"] == candidates
    assert counts[f"{days.spec.behaviours[0].name}_item_id"]["equal"] == 10


def test_a_feature_that_the_request_brought_counts_as_a_key_and_is_not_compared(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    user, items, at = moments(days, events)[0]
    gateway.update([event for event in events if event.time <= at])
    gateway.ask(user, items, at, {"tab": np.array(b"search", object)})
    report = checked(days.spec, days.logs, gateway.close())
    assert named(report) == {}
    assert next(row for row in report.rows if row.part.name == "tab").counts.total == 0


def test_a_lag_is_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    user, items, at = moments(days, events)[-1]
    came = [event for event in events if event.time <= at - 7_200_000]
    gateway.update(came)
    gateway.ask(user, items, at)
    report = checked(days.spec, days.logs, gateway.close())
    assert set(named(report).values()) == {reasons.LATE}
    (detail,) = {row.first.reason.detail for row in report.rows if row.first}
    seconds = round((at - came[-1].time) / 1000)
    assert f"{seconds:,} s before the request" in detail
    # What is older than the lag is the same all the same.
    assert named(report).keys() < {row.part.name for row in report.rows}


def test_events_that_were_lost_are_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    report = checked(days.spec, days.logs, serve(gateway, moments(days, events), events, lambda index: index % 5 == 2))
    assert set(named(report).values()) == {reasons.LATE}
    (sequence,) = (row for row in report.rows if row.part.name == "watched_item_id")
    assert "came later, or was lost" in sequence.first.reason.detail
    # The event that the user's sequence lacks is one of the lost ones.
    lost = {json.loads(event.line)["video_id"] for index, event in enumerate(events) if index % 5 == 2}
    assert any(repr(item) in sequence.first.reason.detail for item in lost)
    assert sum(row.counts.counts["extra"] for row in report.rows if row.part.slot is not None) == 0


def test_events_that_the_logs_lack_are_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    path = serve(gateway, moments(days, events), events)
    logs = with_log(days, tmp_path, lambda rows: [row for index, row in enumerate(rows) if index % 5])
    reason_names = named(checked(days.spec, logs, path))
    assert set(reason_names.values()) == {reasons.UNLOGGED}
    assert {"watched_item_id", "author.impressions.lifetime"} <= reason_names.keys()


def test_events_that_stand_twice_in_the_logs_are_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    path = serve(gateway, moments(days, events), events)
    logs = with_log(days, tmp_path, lambda rows: rows + rows[::3])
    reason_names = named(checked(days.spec, logs, path))
    assert set(reason_names.values()) == {reasons.DOUBLED}
    assert {"watched_item_id", "author.impressions.lifetime"} <= reason_names.keys()


def test_an_event_that_was_counted_under_another_time_too_is_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    user, items, at = moments(days, events)[-1]
    gateway.update([event for event in events if event.time <= at])
    row = json.loads(next(event.line for event in events if json.loads(event.line)["user_id"] == user))
    again = {**row, "timestamp": str(int(row["timestamp"]) + 1_000)}
    gateway._updater.update([json.dumps(again).encode()], day=THIRD)
    gateway.ask(user, items, at)
    assert set(named(checked(days.spec, days.logs, gateway.close())).values()) == {reasons.UNLOGGED}


def test_another_delay_is_named_with_both(days, events, tmp_path):
    behaviours = tuple(
        behaviour.model_copy(update={"delay": behaviour.delay + 10_800}) for behaviour in days.spec.behaviours
    )
    section = days.spec.statistics.model_copy(update={"delay": 0})
    served = days.spec.model_copy(update={"behaviours": behaviours, "statistics": section})
    store = open_store("memory:")
    materialize(served, str(days.logs), str(tmp_path / "state"), store, SECOND)
    gateway = Gateway(served, store, tmp_path / "requests.jsonl")
    report = checked(days.spec, days.logs, serve(gateway, moments(days, events), events))
    reason_names = named(report)
    assert set(reason_names.values()) == {reasons.DELAY}
    assert {"watched_item_id", "author.impressions.lifetime"} <= reason_names.keys()
    (detail,) = {row.first.reason.detail for row in report.rows if row.first}
    assert "author 0 s, here 5400 s" in detail


def test_a_generation_that_no_event_came_after_is_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    for user, items, at in moments(days, events):
        gateway.ask(user, items, at)
    report = checked(days.spec, days.logs, gateway.close())
    assert set(named(report).values()) == {reasons.GENERATION}
    details = {row.first.reason.detail for row in report.rows if row.first}
    assert all("holds the days until 2026-01-02" in detail for detail in details)


def test_tables_that_have_changed_since_are_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    path = serve(gateway, moments(days, events), events)
    logs = with_log(days, tmp_path, lambda rows: rows)
    with (logs / "items.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with (logs / "items.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, "category": "renamed"} for row in rows)
    reason_names = named(checked(days.spec, logs, path))
    assert {"category", "user_category.impressions.lifetime", "watched_category"} <= reason_names.keys()
    assert set(reason_names.values()) == {reasons.GENERATION}


def test_answers_without_the_store_and_other_definitions_are_named(days, events, based, tmp_path):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    user, items, at = moments(days, events)[0]
    gateway.ask(user, items, at, degraded="StoreUnavailableError")
    report = checked(days.spec, days.logs, gateway.close())
    assert set(named(report).values()) == {reasons.DEGRADED}
    behaviours = tuple(behaviour.model_copy(update={"max_length": 3}) for behaviour in days.spec.behaviours)
    changed = days.spec.model_copy(update={"behaviours": behaviours})
    gateway = Gateway(days.spec, based, tmp_path / "again.jsonl")
    path = serve(gateway, moments(days, events), events)
    assert set(named(checked(changed, days.logs, path)).values()) == {reasons.DEFINITION}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("origin", "moment"), "soon"),
        (("origin", "ticks_per_second"), 0),
        (("origin", "statistic_delays"), {"author": None}),
        (("origin",), None),
        (("user_id",), 7),
        (("user_id",), ""),
        (("item_id",), ["v1"]),
        (("given",), {"tab": 3.5}),
        (("inputs", "author_statistics"), [[1.0]]),
        (("inputs", "tab"), ["a"]),
        (("inputs", "watched_age_s"), ["old"]),
        (("inputs",), []),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_line_that_is_no_request_is_told_and_stops_no_other(days, events, based, tmp_path, where, value):
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    path = serve(gateway, moments(days, events)[:1], events)
    good = path.read_text()
    record = json.loads(good)
    inner = record
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    tensors = {tensor.name: tensor for tensor in rank_inputs(days.spec)}
    path.write_text(json.dumps(record) + "\n\n" + good)
    bad, served = read_requests(days.spec, tensors, path)
    assert str(bad).startswith("line 1: is no request")
    assert (served.line, served.items) == (3, json.loads(good)["item_id"])


def test_the_command_prints_each_column_and_ends_with_an_error_where_more_differs_than_is_allowed(
    days, events, based, tmp_path
):
    spec = tmp_path / "spec.yaml"
    spec.write_text(days.spec.to_json())
    gateway = Gateway(days.spec, based, tmp_path / "requests.jsonl")
    fresh = Gateway(days.spec, copied(based), tmp_path / "right.jsonl")
    right = serve(fresh, moments(days, events), events)
    path = serve(gateway, moments(days, events), events, lambda index: index % 5 == 2)
    arguments = ["consistency", str(spec), "--logs", str(days.logs), "--requests", str(path)]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 1, printed.output
    assert "late event" in printed.output
    assert "author.impressions.lifetime" in printed.output
    passed = CliRunner().invoke(app, [*arguments[:-1], str(right)])
    assert (passed.exit_code, "author_statistics (" in passed.output) == (0, True), passed.output
    assert "author.impressions" not in passed.output
    assert CliRunner().invoke(app, [*arguments, "--tolerance", "1"]).exit_code == 0
    result = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (result["requests"], result["ok"], result["too_new"], result["unreadable"]) == (8, False, 0, 0)
    column = next(column for column in result["columns"] if column["name"] == "watched_item_id")
    assert column["first"]["reason"] == "late event"
    assert column["equal"] + column["mismatch"] + column["missing"] + column["extra"] == 8
    # Requests that the logs don't reach yet, and lines that are none, are told and left out.
    record = json.loads(path.read_text().splitlines()[0])
    record["origin"]["moment"] += 9 * DAY_MS
    path.write_text(json.dumps(record) + "\nnonsense\n")
    empty = CliRunner().invoke(app, arguments)
    assert empty.exit_code == 2
    assert "1 are of days that the logs don't have yet" in empty.stderr
    path.write_text("nonsense\n")
    assert "line 1: is no request" in CliRunner().invoke(app, arguments).stderr
    assert CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "absent")]).exit_code == 2
