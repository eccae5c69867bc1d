"""Events are counted exactly once, however often they come and wherever a writer is killed."""

import json
import threading
import time
from contextlib import nullcontext
from datetime import date

import pytest
from any_stores import contents, kill_at_commit, refill
from fed_store import Dying, KilledError
from tiny_logs import START

from ingest.raw import BadRow
from pipeline.online import generations
from pipeline.online.generations import Updates
from pipeline.online.materialize import materialize
from pipeline.online.updater import StreamGapError, Updater
from schema.loading import load_spec
from serving.store.memory import MemoryStore
from serving.store.opening import open_store
from serving.store.protocol import ConflictError

THIRD = (date(2026, 1, 3) - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def base(days, tmp_path_factory):
    """The store at the end of the second day: values and marks."""
    store = open_store("memory:")
    materialize(days.spec, str(days.logs), str(tmp_path_factory.mktemp("base")), store, date(2026, 1, 2))
    return store._values, store._marks


@pytest.fixture(scope="module")
def event_base(event_days, tmp_path_factory):
    """The same of the days as a log of events."""
    store = open_store("memory:")
    materialize(event_days.spec, str(event_days.logs), str(tmp_path_factory.mktemp("base")), store, date(2026, 1, 2))
    return store._values, store._marks


@pytest.fixture
def based(base):
    store = MemoryStore()
    store._values, store._marks = dict(base[0]), dict(base[1])
    return store


@pytest.fixture(scope="module")
def lines(days) -> list[bytes]:
    return [event.line for event in days.events if event.day == THIRD][:90]


@pytest.fixture(scope="module")
def expected(days, base, lines) -> dict[bytes, bytes]:
    """What the store holds where each event has come once."""
    store = MemoryStore()
    store._values, store._marks = dict(base[0]), dict(base[1])
    done = Updater(days.spec, store).update(lines, day=THIRD)
    assert (done.counted, done.rejected, done.repeated) == (len(lines), (), 0)
    assert len(store._values) > len(base[0]) + 20
    return store._values


def test_batches_of_any_size_and_prefixes_that_come_again_are_what_one_batch_is(days, based, lines, expected):
    updater = Updater(days.spec, based)
    for start, stop in [(0, 7), (0, 31), (20, 31), (31, 32), (0, 32), (32, 90), (0, 90)]:
        updater.update(lines[start:stop], day=THIRD)
    assert based._values == expected


def test_a_position_of_the_stream_is_counted_once(days, based, lines, expected):
    updater = Updater(days.spec, based)
    # Rows that are alike come again under another position, and are one all the same.
    assert updater.update(lines[:40], "a", 0, THIRD).counted == 40
    assert updater.position("a") == 40
    again = updater.update(lines[:50], "a", 0, THIRD)
    assert (again.repeated, again.counted) == (40, 10)
    assert updater.update(lines[:10], "a", 10, THIRD).repeated == 10
    with pytest.raises(StreamGapError, match="50 events have been counted"):
        updater.update(lines[60:], "a", 60, THIRD)
    updater.update(lines[50:], "a", day=THIRD)
    assert (updater.position("a"), updater.position("b")) == (90, 0)
    assert based._values == expected


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_between_any_two_statements_and_run_again_each_event_counts_once(
    days, any_store, base, lines, expected, after
):
    at = 1
    while True:
        refill(any_store, *base)
        dying = Dying(any_store, at, after)
        try:
            for start in (0, 45):
                Updater(days.spec, dying).update(lines[start : start + 45], "a", start, THIRD)
            break
        except KilledError:
            at += 1
        for start in (0, 45):
            Updater(days.spec, any_store).update(lines[start : start + 45], "a", start, THIRD)
        assert contents(any_store) == expected
        assert Updater(days.spec, any_store).position("a") == 90
    assert at > 8


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_the_commit_of_a_batch_it_is_counted_as_a_whole_or_not_at_all(
    days, shared_url, base, lines, expected, after
):
    """The process is really killed: with SQLite's transaction open, or before and after Redis gets its EXEC."""
    store = open_store(shared_url, timeout_seconds=20)
    refill(store, *base)
    assert kill_at_commit(
        shared_url, lambda killed: Updater(days.spec, killed).update(lines, "a", 0, THIRD), 1, after=after
    )
    updater = Updater(days.spec, store)
    assert updater.position("a") == (90 if after else 0)
    assert contents(store) == (expected if after else base[0])
    assert updater.update(lines, "a", 0, THIRD).counted == (0 if after else 90)
    assert contents(store) == expected
    store.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_feedback_of_a_log_of_events_counts_once_wherever_its_writer_is_killed(
    event_days, any_store, event_base, after
):
    spec = event_days.spec
    lines = [event.line for event in event_days.events if event.day == THIRD][:120]
    assert {json.loads(line)["event"] for line in lines} == {"show", "play", "like", "share"}
    calm = MemoryStore()
    refill(calm, *event_base)
    assert Updater(spec, calm).update(lines, day=THIRD).counted == len(lines)
    at = 1
    while True:
        refill(any_store, *event_base)
        dying = Dying(any_store, at, after)
        try:
            Updater(spec, dying).update(lines[:70], "a", 0, THIRD)
            Updater(spec, dying).update(lines[70:], "a", 70, THIRD)
            break
        except KilledError:
            at += 1
        updater = Updater(spec, any_store)
        position = updater.position("a")
        assert position in (0, 70, 120)
        updater.update(lines[position:], "a", position, THIRD)
        assert contents(any_store) == calm._values
    assert at > 8


def test_writers_of_several_streams_at_once_lose_nothing(days, based, lines, expected):
    def write(stream: int) -> None:
        updater = Updater(days.spec, based)
        for line in lines[stream::3]:
            updater.update([line], str(stream), day=THIRD)

    threads = [threading.Thread(target=write, args=(stream,)) for stream in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    users = b".t%d/user./" % THIRD
    # A user's rows stand in the order in which they have come.
    assert {key: value for key, value in based._values.items() if users not in key} == {
        key: value for key, value in expected.items() if users not in key
    }
    assert {key: len(value) for key, value in based._values.items()} == {
        key: len(value) for key, value in expected.items()
    }


def test_feedback_that_comes_later_takes_the_place_of_its_impression(days, based, lines, expected):
    updater = Updater(days.spec, based)
    unseen = {"play_ms": "0", "clicked": "0", "like": "0", "share": "0", "comment": "0", "tab": "elsewhere"}
    updater.update([json.dumps({**json.loads(line), **unseen}).encode() for line in lines], day=THIRD)
    assert based._values != expected
    updater.update(lines, day=THIRD)
    # Keys of the tab that no row is of any more hold no tile.
    left = {key: value for key, value in based._values.items() if key not in expected}
    assert left
    assert all(b"elsewhere" in key for key in left)
    assert {key: based._values[key] for key in expected} == expected


def test_rows_that_can_not_be_used_are_told_with_their_place_and_do_not_stop_the_others(days, based, lines, expected):
    updater = Updater(days.spec, based)
    row = json.loads(lines[0])
    broken = [
        b"not json",
        b'{"user_id": "u1"}',
        json.dumps({**row, "timestamp": "0"}).encode(),
        json.dumps({**row, "user_id": "x" * 70_000}).encode(),
        b"\xff\xfe",
        b"[" * 10_000,
        b"",
        json.dumps({**row, "timestamp": str(int(row["timestamp"]) + 20 * 86_400_000)}).encode(),
    ]
    done = updater.update([*broken, *lines], "a", day=THIRD)
    assert done.counted == len(lines)
    assert sorted({bad.row for bad in done.rejected}) == [0, 1, 2, 3, 4, 5, 7]
    assert based._values == expected
    assert updater.position("a") == len(broken) + len(lines)


def test_rows_of_days_that_the_base_holds_are_not_counted_again(days, based, base, lines):
    done = Updater(days.spec, based).update(lines, day=THIRD)
    assert done.settled == 0
    before = [event.line for event in days.events if event.day == THIRD - 1][:20]
    store = MemoryStore()
    store._values, store._marks = dict(base[0]), dict(base[1])
    done = Updater(days.spec, store).update(before, day=THIRD - 1)
    assert (done.counted, done.settled) == (0, 20)
    assert store._values == base[0]


def test_events_of_clocks_that_are_ahead_are_rejected_and_are_not_the_latest(tiny, tmp_path):
    spec, store = load_spec(tiny[0]), MemoryStore()
    digest = generations.digest_of(spec)
    materialize(spec, str(tiny[1]), str(tmp_path), store)
    now = START + 2 * 86_400
    row = {"who": "ann", "what": "a1", "did": "VIEW", "country": "BR", "battery": "0.5"}
    ahead = spec.log.allowed_lateness
    times = [now, now + ahead, now + ahead + 1, now + 70 * 365 * 86_400]
    done = Updater(spec, store, lambda: now).update([json.dumps({**row, "at": time}).encode() for time in times])
    assert (done.counted, [bad.row for bad in done.rejected]) == (2, [2, 3])
    assert {bad.kind for bad in done.rejected} == {"at: lies in the future"}
    updates = Updates.from_json(store.mark(generations.updates_mark(digest)))
    assert (updates.latest, updates.days) == (now + ahead, (now // 86_400,))


def test_a_batch_without_a_row_of_use_is_no_event(days, based, base):
    done = Updater(days.spec, based).update([b"{}", b"no json"], "a", day=THIRD)
    assert (done.counted, done.lag_seconds, Updater(days.spec, based).position("a")) == (0, None, 2)
    assert based._marks.keys() - base[1].keys() == {generations.stream_mark(generations.digest_of(days.spec), "a")}


def test_the_lag_is_that_of_the_latest_event(days, based, lines):
    now = max(json.loads(line)["timestamp"] for line in lines[:5])
    updater = Updater(days.spec, based, lambda: int(now) / 1_000 + 60)
    assert updater.update(lines[:5], day=THIRD).lag_seconds == pytest.approx(60)
    assert updater.update([b"{}"], day=THIRD).lag_seconds == pytest.approx(60)


def test_what_can_not_be_used_is_kept_before_a_kill_can_lose_it(days, base, lines):
    kept: list[BadRow] = []
    batch, calls = [b"{}", *lines[:3]], 0
    for at in (0, 1):
        # Once to count the calls, then killed after the last of them, which has written.
        memory = MemoryStore()
        refill(memory, *base)
        store = Dying(memory, at * calls, after=True)
        kept.clear()
        with pytest.raises(KilledError) if at else nullcontext():
            Updater(days.spec, store).update(batch, "a", 0, THIRD, kept.extend)
        calls = store.calls
    assert Updater(days.spec, memory).position("a") == len(batch)
    assert [bad.row for bad in kept] == [0]


class Busy(MemoryStore):
    """A store whose other writers are faster for 1.5 seconds from the first write on."""

    until = 0.0

    def write(self, *arguments):
        self.until = self.until or time.monotonic() + 1.5
        if time.monotonic() < self.until:
            raise ConflictError("busy")
        super().write(*arguments)


def test_a_writer_waits_for_others_and_keeps_what_can_not_be_used_once(days, base, lines):
    store, kept = Busy(), []
    store._values, store._marks = dict(base[0]), dict(base[1])
    done = Updater(days.spec, store).update([b"{}", lines[0]], day=THIRD, keep=kept.extend)
    assert (done.counted, len(kept)) == (1, 1)
