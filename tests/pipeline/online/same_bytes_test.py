"""What is served is what was trained: each completed request equals its impression's example, byte for byte."""

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pytest
import yaml
from any_stores import refill
from examples_in_memory import examples_of, plain
from fed_store import Event, Feed, differences, drawn

from ingest.rank_request import RequestError, RequestLogs
from pipeline.online import materialize as batch
from pipeline.online.completion import Completer
from pipeline.online.materialize import materialize
from pipeline.online.updater import Updater
from schema.loading import load_spec
from schema.spec import RankingSpec
from serving.store.opening import open_store
from serving.store.protocol import OnlineStore

DESKDROP = Path(__file__).resolve().parents[4] / "shared" / "data" / "deskdrop" / "users_interactions.zip"
KUAIRAND = Path(__file__).resolve().parents[2] / "data" / "kuairand"
SPECS = Path(__file__).resolve().parents[3] / "schema" / "specs"
DAY_MS = 86_400_000


def test_each_input_is_the_examples_on_every_backend_over_midnight_and_a_swap(either, any_store, tmp_path):
    days = either
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


def test_a_day_that_is_made_of_the_days_before_is_what_one_of_all_days_is(either, store, tmp_path):
    days = either
    for day in (1, 2, 3):
        materialized = materialize(days.spec, str(days.logs), str(tmp_path / "state"), store, date(2026, 1, day))
    assert materialized.rows < len(days.events) / 2
    completer, count = Completer(days.spec, store), 0
    feed = Feed(
        Updater(days.spec, store), [event for event in days.events if event.day == materialized.generation.until + 1]
    )
    fourth = 1_767_225_600_000 + 3 * DAY_MS
    for example in drawn(days.examples, fourth, fourth + DAY_MS, 10):
        feed.up_to(example["timestamp"])
        assert differences(days.spec, completer, example) == []
        count += 1
    assert count > 10


def test_while_a_batch_runs_requests_and_events_are_what_they_were_before(event_days, any_store, tmp_path, monkeypatch):
    days, materializing = event_days, []
    monkeypatch.setattr(batch, "_VALUES_A_WRITE", 20)
    materialize(days.spec, str(days.logs), str(tmp_path), any_store, date(2026, 1, 2))
    third = 1_767_225_600_000 + 2 * DAY_MS
    feed = Feed(Updater(days.spec, any_store), [event for event in days.events if event.day >= third // DAY_MS])
    completer, write = Completer(days.spec, any_store), any_store.write
    # Of the fourth day, for which the generation that is being made is complete.
    requests = iter(drawn(days.examples, third + DAY_MS, third + 2 * DAY_MS, 12))
    answered = []

    def write_and_ask(*arguments):
        write(*arguments)
        if materializing and len(arguments[0] if isinstance(arguments[0], list) else []) == 20:
            # What follows writes, too.
            materializing.clear()
            example = next(requests, None)
            if example is not None:
                feed.up_to(example["timestamp"])
                assert differences(days.spec, completer, example) == []
                answered.append(completer.generation().until)
            materializing.append(True)

    monkeypatch.setattr(any_store, "write", write_and_ask)
    materializing.append(True)
    materialized = materialize(days.spec, str(days.logs), str(tmp_path), any_store, date(2026, 1, 3))
    materializing.clear()
    assert len(answered) > 5
    assert set(answered) == {materialized.generation.until - 1}
    for example in drawn(days.examples, third + DAY_MS, third + 2 * DAY_MS, 5)[-3:]:
        feed.up_to(example["timestamp"])
        assert differences(days.spec, completer, example) == []
    assert completer.generation() == materialized.generation


def test_rows_that_come_out_of_order_and_again_are_the_same_rows(either, any_store, tmp_path):
    days, random = either, np.random.default_rng(5)
    materialize(days.spec, str(days.logs), str(tmp_path), any_store, date(2026, 1, 3))
    fourth = 1_767_225_600_000 + 3 * DAY_MS
    example = drawn(days.examples, fourth, fourth + DAY_MS, 5)[-2]
    rows = [event for event in days.events if event.day == fourth // DAY_MS and event.time <= example["timestamp"]]
    updater, order = Updater(days.spec, any_store), random.permutation(len(rows))
    for places in np.array_split(np.concatenate((order, order[::3])), 7):
        updater.update([rows[index].line for index in places.tolist()], day=fourth // DAY_MS)
    assert differences(days.spec, Completer(days.spec, any_store), example) == []


def test_unknown_users_and_items_are_answered_as_the_logs_would(days, any_store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), any_store)
    at = 1_767_225_600_000 + 4 * DAY_MS + 3_600_000
    logs = RequestLogs.read(days.spec, str(days.logs), None, ["new"], at=at)
    known_user = days.examples[0]["user_id"]
    completer = Completer(days.spec, any_store)
    for user, items in (
        ("nobody", ["new", days.examples[0]["item_id"]]),
        (known_user, ["new"]),
        (f"{known_user}", []),
        ("1.0", []),
    ):
        done = completer.complete(user, items, at)
        user_side = logs.user_columns(user, at, {} if user == known_user else None)
        item_side = logs.candidate_columns(items, user, at)
        assert {name: plain(value) for name, value in done.user.items()} == {
            name: plain(value) for name, value in user_side.items()
        }
        assert {name: plain(list(value)) for name, value in done.candidates.items()} == {
            name: plain(list(value)) for name, value in item_side.items()
        }
        assert (done.unknown_user, done.unknown_items) == (user != known_user, items.count("new"))


def test_what_can_not_be_told_any_more_is_refused(days, store, tmp_path):
    materialize(days.spec, str(days.logs), str(tmp_path), store)
    with pytest.raises(RequestError, match="timestamp: got 1767225600000, expected one from"):
        Completer(days.spec, store).complete("u1", [], 1_767_225_600_000)
    with pytest.raises(RequestError, match="user_id: the id is missing"):
        Completer(days.spec, store).complete("", [])
    with pytest.raises(RequestError, match=r"item_id: holds a NUL byte.* at place 1"):
        Completer(days.spec, store).complete("u1", ["a", "\0"])


@dataclass(frozen=True)
class LastDay:
    """The last day of a real log, and what a store held before it.

    Attributes:
      examples, events: of that day; examples in the order of time.
      base: values and marks of the store.
    """

    spec: RankingSpec
    examples: list[dict]
    events: list[Event]
    base: tuple[dict[bytes, bytes], dict[str, bytes]]

    @classmethod
    def of(cls, spec: RankingSpec, logs: Path, examples: list[dict], start: int, events: list[Event]) -> Self:
        """Returns the day from the time `start`, in the unit of the log."""
        day, store = events[0].day, open_store("memory:")
        before = date.fromordinal(date(1970, 1, 1).toordinal() + day - 1)
        materialize(spec, str(logs), str(logs.parent), store, before)
        of_day = [example for example in examples if example["timestamp"] >= start]
        return cls(
            spec, sorted(of_day, key=lambda example: example["timestamp"]), events, (store._values, store._marks)
        )

    def check(self, store: OnlineStore, places: Iterable[int]) -> None:
        """Asks for some of the examples while the day's events arrive."""
        refill(store, *self.base)
        feed, completer = Feed(Updater(self.spec, store), self.events), Completer(self.spec, store)
        for place in sorted(places):
            feed.up_to(self.examples[place]["timestamp"])
            assert differences(self.spec, completer, self.examples[place]) == []

    def spread(self, count: int) -> list[int]:
        """Returns the places of some examples, the first and the last among them."""
        return np.linspace(0, len(self.examples) - 1, count).astype(int).tolist()


@pytest.fixture(scope="module")
def kuairand(tmp_path_factory) -> LastDay:
    spec, logs = load_spec(SPECS / "kuairand.yaml"), tmp_path_factory.mktemp("kuairand") / "logs"
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
    return LastDay.of(spec, logs, examples, last * DAY_MS, events_of(rows[rows.time_ms >= last * DAY_MS]))


def test_kuairands_last_day_is_what_its_examples_hold(kuairand, any_store):
    kuairand.check(any_store, kuairand.spread(15))


@pytest.fixture(scope="module")
def deskdrop(tmp_path_factory) -> LastDay:
    if not DESKDROP.exists():
        pytest.skip("the online store on a real log of events: Deskdrop isn't there")
    declared = yaml.safe_load((SPECS / "deskdrop.yaml").read_text())
    statistics = {"delay": "10m", "age": True, "by": ["item", ["user", "country"], {"keys": "user", "windows": ["3h"]}]}
    spec = RankingSpec.model_validate({**declared, "statistics": statistics, "slices": []})
    rows = deskdrop_week()
    last = int(rows.timestamp.max()) // 86_400
    logs = tmp_path_factory.mktemp("deskdrop") / "logs"
    logs.mkdir()
    with zipfile.ZipFile(logs / "users_interactions.zip", "w") as archive:
        archive.writestr("users_interactions.csv", rows.to_csv(index=False))
    examples = examples_of(spec, {"log": [logs / "users_interactions.zip"]}).to_pylist()
    events = deskdrop_events(rows[rows.timestamp >= last * 86_400])
    return LastDay.of(spec, logs, examples, last * 86_400, events)


def test_deskdrops_events_of_a_day_are_what_its_examples_hold(deskdrop, any_store):
    users = {key.rpartition(b"/user./")[2].decode() for key in deskdrop.base[0]}
    new = [place for place, example in enumerate(deskdrop.examples) if example["user_id"] not in users]
    assert new
    deskdrop.check(any_store, {*deskdrop.spread(15), *new[:2]})


def deskdrop_week() -> pd.DataFrame:
    """Returns a busy week of Deskdrop's rows, texts but for the time; of rows that a stream can't tell apart one."""
    with zipfile.ZipFile(DESKDROP) as archive:
        rows = pd.read_csv(archive.open("users_interactions.csv"), dtype=str, keep_default_na=False)
    rows["timestamp"] = rows.timestamp.astype(int)
    days = rows.timestamp // 86_400
    rows = rows[(days > days.value_counts().idxmax() - 7) & (days <= days.value_counts().idxmax())]
    return rows.drop_duplicates(["personId", "contentId", "timestamp", "eventType"], keep="last")


def deskdrop_events(rows: pd.DataFrame) -> list[Event]:
    """Returns rows of Deskdrop's log as they arrive."""
    return [
        Event(row["timestamp"], row["timestamp"] // 86_400, json.dumps(row).encode())
        for row in rows.sort_values("timestamp", kind="stable").to_dict("records")
    ]


def events_of(rows: pd.DataFrame) -> list[Event]:
    """Returns rows of KuaiRand's log as they arrive."""
    return [
        Event(row["time_ms"], row["time_ms"] // DAY_MS, json.dumps(row).encode())
        for row in rows.sort_values("time_ms", kind="stable").to_dict("records")
    ]
