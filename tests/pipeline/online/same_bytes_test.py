"""What is served is what was trained: each completed request equals its impression's example, byte for byte."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from examples_in_memory import examples_of, plain

from ingest.rank_request import RequestError, RequestLogs
from pipeline.online.completion import Completer
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from schema.loading import load_spec
from schema.spec import RankingSpec

KUAIRAND = Path(__file__).resolve().parents[2] / "data" / "kuairand"
SPECS = Path(__file__).resolve().parents[3] / "schema" / "specs"
MISSING = "__missing__"
DAY_MS = 86_400_000


def differences(spec: RankingSpec, completer: Completer, example: dict, at: int | None = None) -> list[str]:
    """Returns the columns of a completed request that aren't those of the example."""
    names = [feature.name for feature in spec.features_of("log") if not feature.derive]
    context = {name: None if example[name] == MISSING else example[name] for name in names}
    done = completer.complete(example["user_id"], [example["item_id"]], at or example["timestamp"], context)
    columns = {**done.user, **{name: values[0] for name, values in done.candidates.items()}}
    assert len(columns) > 20
    return [name for name, value in columns.items() if plain(value) != plain(example[name])]


class Feed:
    """Rows that arrive in the order of their times."""

    def __init__(self, updater: Updater, events: list):
        self._updater, self._events, self._next = updater, events, 0

    def up_to(self, time: int) -> None:
        batch = []
        while self._next < len(self._events) and self._events[self._next].time <= time:
            batch.append(self._events[self._next])
            self._next += 1
        for day in sorted({event.day for event in batch}):
            self._updater.update([event.line for event in batch if event.day == day], day=day)


def drawn(examples: list[dict], since: int, until: int, count: int) -> list[dict]:
    """Returns impressions in the order of time; among them the first and the last, and some of equal times."""
    within = sorted((one for one in examples if since <= one["timestamp"] < until), key=lambda one: one["timestamp"])
    places = np.random.default_rng(7).choice(len(within), count, replace=False)
    twins = [
        place
        for place in range(1, len(within))
        if within[place]["timestamp"] == within[place - 1]["timestamp"]
        and within[place]["user_id"] == within[place - 1]["user_id"]
    ]
    assert twins
    return [within[place] for place in sorted({0, len(within) - 1, *places.tolist(), *twins[:5]})]


def test_each_input_is_the_examples_on_every_backend_over_midnight_and_a_swap(days, any_store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), any_store, date(2026, 1, 2))
    third = 1_767_225_600_000 + 2 * DAY_MS
    feed = Feed(Updater(days.spec, any_store), [event for event in days.events if event.day >= third // DAY_MS])
    completer = Completer(days.spec, any_store)
    swapped = False
    for example in drawn(days.examples, third, third + 2 * DAY_MS, 25):
        feed.up_to(example["timestamp"])
        assert differences(days.spec, completer, example) == []
        if example["timestamp"] > third + 1.2 * DAY_MS and not swapped:
            before = completer.generation()
            materialize(days.spec, str(days.logs), str(tmp_path), any_store, date(2026, 1, 3))
            assert completer.generation() != before
            assert differences(days.spec, completer, example) == []
            swapped = True
    assert swapped


def test_a_day_that_is_made_of_the_days_before_is_what_one_of_all_days_is(days, store, tmp_path):
    for day in (1, 2, 3):
        made = materialize(days.spec, str(days.logs), str(tmp_path / "state"), store, date(2026, 1, day))
    assert made.rows < len(days.examples) / 2
    completer, count = Completer(days.spec, store), 0
    feed = Feed(Updater(days.spec, store), [event for event in days.events if event.day == made.generation.until + 1])
    fourth = 1_767_225_600_000 + 3 * DAY_MS
    for example in drawn(days.examples, fourth, fourth + DAY_MS, 10):
        feed.up_to(example["timestamp"])
        assert differences(days.spec, completer, example) == []
        count += 1
    assert count > 10


def test_unknown_users_and_items_are_answered_as_the_logs_would(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    at = 1_767_225_600_000 + 4 * DAY_MS + 3_600_000
    logs = RequestLogs.read(days.spec, str(days.logs), None, ["new"], at=at)
    known = days.examples[0]["user_id"]
    completer = Completer(days.spec, store)
    for user, items in (
        ("nobody", ["new", days.examples[0]["item_id"]]),
        (known, ["new"]),
        (f"{known}", []),
        ("1.0", []),
    ):
        done = completer.complete(user, items, at)
        user_side = logs.user_columns(user, at, {} if user == known else None)
        item_side = logs.candidate_columns(items, user, at)
        assert {name: plain(value) for name, value in done.user.items()} == {
            name: plain(value) for name, value in user_side.items()
        }
        assert {name: plain(list(value)) for name, value in done.candidates.items()} == {
            name: plain(list(value)) for name, value in item_side.items()
        }
        assert (done.unknown_user, done.unknown_items) == (user != known, items.count("new"))


def test_what_can_not_be_told_any_more_is_refused(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    with pytest.raises(RequestError, match="timestamp: got 1767225600000, expected one from"):
        Completer(days.spec, store).complete("u1", [], 1_767_225_600_000)
    with pytest.raises(RequestError, match="user_id: the id is missing"):
        Completer(days.spec, store).complete("", [])
    with pytest.raises(RequestError, match=r"item_id: holds a NUL byte.* at place 1"):
        Completer(days.spec, store).complete("u1", ["a", "\0"])


def test_kuairands_last_day_is_what_its_examples_hold(store, tmp_path):
    spec, logs = load_spec(SPECS / "kuairand.yaml"), tmp_path / "logs"
    logs.mkdir()
    sources = {
        source: [path for pattern in getattr(spec, source).files for path in sorted(KUAIRAND.glob(pattern))]
        for source in ("log", "users", "items")
    }
    for path in sources["users"] + sources["items"]:
        (logs / path.name).symlink_to(path)
    # The log repeats some rows; a stream can't tell a repeated row from one that comes again with its feedback.
    rows = pd.concat([pd.read_parquet(path) for path in sources["log"]])
    rows = rows.drop_duplicates(["user_id", "video_id", "time_ms"], keep="last")
    sources["log"] = [logs / sources["log"][0].name]
    rows.to_parquet(sources["log"][0])
    examples = examples_of(spec, sources).to_pylist()
    last = int(rows.time_ms.max()) // DAY_MS
    materialize(spec, str(logs), str(tmp_path), store, date.fromordinal(date(1970, 1, 1).toordinal() + last - 1))
    feed = Feed(Updater(spec, store), events_of(rows[rows.time_ms >= last * DAY_MS]))
    completer = Completer(spec, store)
    of_day = sorted((one for one in examples if one["timestamp"] >= last * DAY_MS), key=lambda one: one["timestamp"])
    for example in [of_day[place] for place in np.linspace(0, len(of_day) - 1, 15).astype(int)]:
        feed.up_to(example["timestamp"])
        assert differences(spec, completer, example) == []


def events_of(rows: pd.DataFrame) -> list:
    """Returns rows of KuaiRand's log as they arrive."""
    return [
        SimpleNamespace(time=row["time_ms"], day=row["time_ms"] // DAY_MS, line=json.dumps(row).encode())
        for row in rows.sort_values("time_ms", kind="stable").to_dict("records")
    ]
